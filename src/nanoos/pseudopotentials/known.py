"""Families that can be installed by name, and what their makers say of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from nanoos.core.units import HARTREE_EV, RYDBERG_EV
from nanoos.pseudopotentials.family import ACCURACIES, Accuracy, Cutoffs

NC_DUAL: Final = 4.0
"""Density cutoff over wavefunction cutoff of norm-conserving pseudopotentials: exact at 4."""

_DATA: Final = Path(__file__).parent / "data"
_DOJO: Final = "http://www.pseudo-dojo.org/pseudos/"
_SSSP: Final = "https://archive.materialscloud.org/api/records/rcyfm-68h65/files/"
_DOJO_CITATION: Final = (
    "van Setten et al., Comput. Phys. Commun. 226, 39 (2018), DOI 10.1016/j.cpc.2018.01.012; "
    "Hamann, Phys. Rev. B 88, 085117 (2013), DOI 10.1103/PhysRevB.88.085117"
)
_SSSP_CITATION: Final = (
    "Prandini et al., npj Comput. Mater. 4, 72 (2018), DOI 10.1038/s41524-018-0127-2; and the "
    "makers of each file"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFamily:
    """A published family.

    Attributes:
        name: How it is looked up here.
        version: Of the table.
        functional: ``PBE``, ``PBEsol``, ``LDA``.
        relativistic: ``scalar`` or ``full``.
        license: Of the files.
        citation: What to cite.
        url: Archive of UPF files.
        metadata_url: Cutoffs and checksums, where they are not in the archive; else None.
        stem: How the published file names begin, to know an archive by its name.
        pins: File with hashes and cutoffs that this version of nanoos holds; else None.
    """

    name: str
    version: str
    functional: str
    relativistic: str
    license: str
    citation: str
    url: str
    metadata_url: str | None
    stem: str
    pins: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What is known beforehand of an element's file: its hash and its cutoffs."""

    sha256: str
    cutoffs: Mapping[Accuracy, Cutoffs]


def hartree_cutoffs(ecuts_ha: Mapping[str, float]) -> dict[Accuracy, Cutoffs]:
    """Cutoffs in Ry of a norm-conserving pseudopotential whose hints are in Hartree."""
    found: dict[Accuracy, Cutoffs] = {}
    for accuracy in ACCURACIES:
        if accuracy in ecuts_ha:
            wfc = float(ecuts_ha[accuracy]) * HARTREE_EV / RYDBERG_EV
            found[accuracy] = Cutoffs(wfc_ry=wfc, rho_ry=NC_DUAL * wfc)
    return found


@cache
def pins_of(family: KnownFamily) -> dict[str, Pin]:
    """Element to what is known beforehand; empty where nothing is."""
    if family.pins is None:
        return {}
    document = json.loads((_DATA / family.pins).read_text(encoding="utf-8"))
    return {
        element: Pin(
            sha256=entry["sha256"],
            cutoffs=hartree_cutoffs(dict(zip(ACCURACIES, entry["ecut_ha"], strict=True))),
        )
        for element, entry in document.items()
    }


def _dojo(name: str, functional: str, stem: str, pins: str | None = None) -> KnownFamily:
    return KnownFamily(
        name=name,
        version=name.split("-")[1],
        functional=functional,
        relativistic="scalar",
        license="CC-BY-4.0",
        citation=_DOJO_CITATION,
        url=f"{_DOJO}{stem}_upf.tgz",
        metadata_url=None if pins else f"{_DOJO}{stem}_djrepo.tgz",
        stem=f"{stem}_upf",
        pins=pins,
    )


def _sssp(kind: str) -> KnownFamily:
    stem = f"SSSP_1.3.0_PBE_{kind}"
    return KnownFamily(
        name=f"SSSP-1.3.0-PBE-{kind}",
        version="1.3.0",
        functional="PBE",
        relativistic="scalar",
        license="mixed, see https://www.materialscloud.org/discover/sssp",
        citation=_SSSP_CITATION,
        url=f"{_SSSP}{stem}.tar.gz/content",
        metadata_url=f"{_SSSP}{stem}.json/content",
        stem=stem,
    )


DEFAULT_FAMILY: Final = "PseudoDojo-0.4.1-PBE-SR-standard"

KNOWN_FAMILIES: Final[Mapping[str, KnownFamily]] = {
    family.name: family
    for family in (
        _dojo(
            DEFAULT_FAMILY,
            "PBE",
            "nc-sr-04_pbe_standard",
            "pseudodojo_0.4.1_pbe_sr_standard.json",
        ),
        _dojo("PseudoDojo-0.4-PBE-SR-stringent", "PBE", "nc-sr-04_pbe_stringent"),
        _dojo("PseudoDojo-0.4-PBEsol-SR-standard", "PBEsol", "nc-sr-04_pbesol_standard"),
        _dojo("PseudoDojo-0.4-LDA-SR-standard", "LDA", "nc-sr-04_pw_standard"),
        _dojo("PseudoDojo-0.5-PBE-SR-standard", "PBE", "nc-sr-05_pbe_standard"),
        _sssp("efficiency"),
        _sssp("precision"),
    )
}
"""Name to what is known of it."""
