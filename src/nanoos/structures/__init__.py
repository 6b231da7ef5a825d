"""Crystal structures: the value, files, symmetry, prototypes."""

from nanoos.structures.structure import Structure, reduced_formula

__all__ = ["Structure", "reduced_formula"]
