"""Quantum ESPRESSO's pw.x as an engine."""
