"""Pseudopotential files as pw.x gets them, and what is recorded of them."""

from typing import Any

from nanoos.engines.espresso.parameters import EspressoParameters
from nanoos.pseudopotentials import PseudopotentialFamily
from nanoos.pseudopotentials.tails import COULOMB_FROM_BOHR, with_coulomb_tail
from nanoos.structures import Structure


def pseudo_file(family: PseudopotentialFamily, symbol: str, checked: EspressoParameters) -> bytes:
    """The file of an element as pw.x gets it."""
    data = family.verified_bytes(symbol)
    if checked.local_tail == "as_given":
        return data
    return with_coulomb_tail(data, family.pseudos[symbol].z_valence)


def family_record(
    family: PseudopotentialFamily, structure: Structure, checked: EspressoParameters
) -> dict[str, Any]:
    """Files with the hashes they were installed with, and whose local potential was mended."""
    pseudos = family.of(structure.species)
    mended = [s for s in pseudos if pseudo_file(family, s, checked) != family.verified_bytes(s)]
    return {
        "coulomb_tails": mended,
        "coulomb_from_bohr": COULOMB_FROM_BOHR if mended else None,
        "family": family.name,
        "version": family.info.version,
        "functional": family.info.functional,
        "relativistic": family.info.relativistic,
        "license": family.info.license,
        "citation": family.info.citation,
        "files": {symbol: [one.file, one.sha256] for symbol, one in pseudos.items()},
    }
