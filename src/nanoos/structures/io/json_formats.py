"""JSON: our own, pymatgen's ``Structure.as_dict`` and OPTIMADE responses; one or a list.

OPTIMADE: https://specification.optimade.org, entry type ``structures``.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nanoos.core.errors import StructureRefusedError
from nanoos.structures.checks import check_n_sites, fractional_coords, unknown_element
from nanoos.structures.conversions import (
    OCCUPANCY_TOLERANCE,
    noncollinear_spins,
    partial_occupancy,
)
from nanoos.structures.elements import ATOMIC_NUMBERS
from nanoos.structures.io.outcome import Entry, ReadLimits
from nanoos.structures.io.text import missing_lattice
from nanoos.structures.structure import FloatArray, Structure

_HINT = (
    "Give one structure or a list: {lattice, species, frac_coords}, pymatgen's Structure.as_dict() "
    "or an OPTIMADE response."
)
_ID_KEYS = ("id", "source_id", "material_id", "structure_id", "task_id")


def json_entries(text: str, limits: ReadLimits) -> Iterator[Entry]:
    """One entry for each structure of the document, in order."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise StructureRefusedError(
            f"Line {error.lineno}, column {error.colno}: not JSON: {error.msg}.",
            hint="The file may be cut off; write it again.",
            details={"line": error.lineno, "column": error.colno},
            code="malformed_file",
        ) from None
    except RecursionError:
        raise invalid_json("the document is nested too deeply") from None
    yield from _entries(document, None, limits)


def invalid_json(what: str) -> StructureRefusedError:
    """The refusal of JSON that is not a structure."""
    return StructureRefusedError(
        f"This JSON is not a structure: {what}.", hint=_HINT, code="invalid_json"
    )


def _entries(item: Any, source_id: str | None, limits: ReadLimits) -> Iterator[Entry]:
    if isinstance(item, list):
        for child in item:
            yield from _entries(child, None, limits)
        return
    if isinstance(item, Mapping):
        source_id = _identifier(item) or source_id
        # a response, a list of ours, or a record around a structure
        for key in ("data", "structures", "structure"):
            inner = item.get(key)
            if isinstance(inner, list | dict) and "lattice" not in item and "sites" not in item:
                yield from _entries(inner, source_id, limits)
                return
    yield Entry(build=lambda: _structure(item, limits), source_id=source_id)


def _identifier(item: Mapping[str, Any]) -> str | None:
    for key in _ID_KEYS:
        if isinstance(item.get(key), str | int) and not isinstance(item[key], bool):
            return str(item[key])
    return None


def _structure(item: Any, limits: ReadLimits) -> Structure:
    if not isinstance(item, Mapping):
        raise invalid_json(f"found {type(item).__name__} where an object belongs")
    if "attributes" in item or "lattice_vectors" in item or "species_at_sites" in item:
        attributes = item.get("attributes", item)
        if not isinstance(attributes, Mapping):
            raise invalid_json("attributes is not an object")
        return _from_optimade(attributes, limits)
    if "sites" in item:
        return _from_pymatgen_dict(item, limits)
    sites = item.get("species") or item.get("atomic_numbers")
    if not isinstance(sites, list):
        raise invalid_json(f"it has the keys {', '.join(sorted(map(str, item))[:8]) or 'none'}")
    check_n_sites(len(sites), max_sites=limits.max_sites)
    if item.get("lattice") is None:
        raise missing_lattice("The structure has no lattice.", _HINT)
    return Structure.from_dict(item)


def _array(value: Any, columns: int, what: str) -> FloatArray:
    """(n, columns) numbers; None among them is refused by name."""
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise invalid_json(f"{what} does not hold numbers") from None
    if found.ndim != 2 or found.shape[1] != columns:  # noqa: PLR2004
        raise invalid_json(f"{what} has shape {found.shape}, expected (n, {columns})")
    return found


def _lattice(value: Any, what: str) -> FloatArray:
    lattice = _array(value, 3, what)
    if len(lattice) != 3:  # noqa: PLR2004
        raise missing_lattice(f"{what} has {len(lattice)} vectors.", "Give three.")
    return lattice


# -- OPTIMADE ----------------------------------------------------------------------------------


def _from_optimade(attributes: Mapping[str, Any], limits: ReadLimits) -> Structure:
    names = attributes.get("species_at_sites")
    if not isinstance(names, list):
        raise invalid_json("species_at_sites is missing (ask the server for all fields)")
    check_n_sites(len(names), max_sites=limits.max_sites)
    vectors = attributes.get("lattice_vectors")
    if not isinstance(vectors, list) or any(
        not isinstance(vector, list) or None in vector for vector in vectors
    ):
        raise missing_lattice(
            "The OPTIMADE entry has no lattice vectors in all three directions.",
            "Only entries that are periodic in three directions (nperiodic_dimensions=3) go in.",
        )
    lattice = _lattice(vectors, "lattice_vectors")
    positions = _array(attributes.get("cartesian_site_positions"), 3, "cartesian_site_positions")
    elements = _optimade_species(attributes.get("species"))
    species = []
    for site, name in enumerate(names, start=1):
        symbol = elements.get(name, name) if isinstance(name, str) else str(name)
        if isinstance(symbol, StructureRefusedError):
            raise symbol
        if symbol not in ATOMIC_NUMBERS:
            raise unknown_element(symbol, where=f"site {site}")
        species.append(symbol)
    coords = fractional_coords(positions, lattice)
    return Structure(lattice=lattice, species=tuple(species), frac_coords=coords)


def _optimade_species(kinds: Any) -> dict[str, str | StructureRefusedError]:
    """Species name to element, or to why sites of it are refused."""
    found: dict[str, str | StructureRefusedError] = {}
    for kind in kinds if isinstance(kinds, list) else []:
        if not isinstance(kind, Mapping) or not isinstance(kind.get("chemical_symbols"), list):
            raise invalid_json("an entry of species has no chemical_symbols")
        name, symbols = str(kind.get("name")), [str(s) for s in kind["chemical_symbols"]]
        shares = kind.get("concentration") or [1.0] * len(symbols)
        where = f"Species {name!r}"
        if len(symbols) != 1 or "vacancy" in symbols:
            share = float(shares[0]) if shares else 0.0
            found[name] = partial_occupancy("/".join(symbols), share, where=where)
        elif abs(float(shares[0]) - 1) > OCCUPANCY_TOLERANCE:
            found[name] = partial_occupancy(symbols[0], float(shares[0]), where=where)
        elif any(kind.get("nattached") or []):
            found[name] = StructureRefusedError(
                f"{where} has attached atoms without positions.",
                hint="Give the positions of all atoms.",
                code="missing_atoms",
            )
        else:
            found[name] = symbols[0]
    return found


# -- pymatgen ------------------------------------------------------------------------------------


def _from_pymatgen_dict(item: Mapping[str, Any], limits: ReadLimits) -> Structure:
    """From ``Structure.as_dict()``, without importing pymatgen: its reader would round and warn."""
    sites = item["sites"]
    if not isinstance(sites, list):
        raise invalid_json("sites is not a list")
    check_n_sites(len(sites), max_sites=limits.max_sites)
    lattice_part = item.get("lattice")
    if not isinstance(lattice_part, Mapping) or lattice_part.get("matrix") is None:
        raise missing_lattice(
            "The pymatgen object has no lattice.",
            "A Molecule is not a crystal: give a Structure.",
        )
    lattice = _lattice(lattice_part["matrix"], "lattice.matrix")
    species: list[str] = []
    charges: list[float | None] = []
    spins: list[float | None] = []
    coords: list[Any] = []
    for number, site in enumerate(sites, start=1):
        if not isinstance(site, Mapping) or not isinstance(site.get("species"), list):
            raise invalid_json(f"site {number} has no species")
        kind = _only_species(site["species"], number)
        species.append(str(kind.get("element")))
        charges.append(kind.get("oxidation_state"))
        spins.append(_spin(site, kind))
        coords.append(_site_coordinates(site, lattice, number))
    return Structure(
        lattice=lattice,
        species=tuple(species),
        frac_coords=_array(coords, 3, "the coordinates of the sites"),
        charges=_per_site(charges, "oxidation_state"),
        spins=_per_site(spins, "magmom"),
    )


def _only_species(kinds: list[Any], number: int) -> Mapping[str, Any]:
    shares = [k for k in kinds if isinstance(k, Mapping)]
    if not shares:
        raise invalid_json(f"site {number} has no species")
    occupancy = shares[0].get("occu", 1)
    if len(shares) != 1 or abs(float(occupancy) - 1) > OCCUPANCY_TOLERANCE:
        names = "/".join(str(k.get("element")) for k in shares)
        raise partial_occupancy(names, float(occupancy), where=f"Site {number}")
    symbol = str(shares[0].get("element"))
    if symbol not in ATOMIC_NUMBERS:
        raise unknown_element(symbol, where=f"site {number}")
    return shares[0]


def _spin(site: Mapping[str, Any], kind: Mapping[str, Any]) -> Any:
    properties = site.get("properties")
    value = properties.get("magmom") if isinstance(properties, Mapping) else None
    if value is None:
        value = kind.get("spin", (kind.get("properties") or {}).get("spin"))
    if isinstance(value, Mapping):
        value = value.get("moment")
    if isinstance(value, list):
        raise noncollinear_spins("The pymatgen object")
    return value


def _site_coordinates(site: Mapping[str, Any], lattice: FloatArray, number: int) -> Any:
    if "abc" in site:
        return site["abc"]
    if "xyz" in site:
        return fractional_coords(_array([site["xyz"]], 3, f"xyz of site {number}"), lattice)[0]
    raise invalid_json(f"site {number} has neither abc nor xyz")


def _per_site(values: list[Any], what: str) -> tuple[float, ...] | None:
    """None where no site has a value; sites without one get 0 otherwise."""
    if all(value is None for value in values):
        return None
    try:
        return tuple(0.0 if value is None else float(value) for value in values)
    except (TypeError, ValueError):
        raise invalid_json(f"a site's {what} is not a number") from None
