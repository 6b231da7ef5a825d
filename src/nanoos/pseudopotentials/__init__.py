"""Pseudopotential families: named, hashed, installed as a whole, looked up by element."""

from nanoos.pseudopotentials.family import (
    ACCURACIES,
    Accuracy,
    Cutoffs,
    FamilyInfo,
    Pseudopotential,
    PseudopotentialFamily,
)
from nanoos.pseudopotentials.installing import Label, install_family
from nanoos.pseudopotentials.known import DEFAULT_FAMILY, KNOWN_FAMILIES, KnownFamily
from nanoos.pseudopotentials.store import (
    families,
    get_family,
    pseudo_folder,
    remove_family,
    set_pseudo_folder,
)

__all__ = [
    "ACCURACIES",
    "DEFAULT_FAMILY",
    "KNOWN_FAMILIES",
    "Accuracy",
    "Cutoffs",
    "FamilyInfo",
    "KnownFamily",
    "Label",
    "Pseudopotential",
    "PseudopotentialFamily",
    "families",
    "get_family",
    "install_family",
    "pseudo_folder",
    "remove_family",
    "set_pseudo_folder",
]
