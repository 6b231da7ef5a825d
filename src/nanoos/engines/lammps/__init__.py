"""LAMMPS as an engine: classical and machine-learned molecular dynamics."""
