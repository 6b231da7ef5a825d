"""VASP as an engine: inputs written, outputs read; untested with the licensed binary."""
