"""Universal potentials as an engine."""
