"""A structure in one cell of a table: JSON of several kinds, CIF or POSCAR text, a path."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from nanoos.core.errors import NanoosError, StructureRefusedError
from nanoos.structures import Structure, check_structure
from nanoos.structures.checks import fractional_coords
from nanoos.structures.elements import ATOMIC_NUMBERS
from nanoos.structures.io.cif import cif_entries
from nanoos.structures.io.json_formats import json_entries
from nanoos.structures.io.outcome import DEFAULT_LIMITS
from nanoos.structures.io.poscar import poscar_entries
from nanoos.structures.io.reading import read_structure

_CIF: Final = re.compile(r"^\s*(#.*\n\s*)*data_", re.IGNORECASE)


def structure_of_cell(cell: Any, *, folder: Path | None = None) -> Structure:
    """The structure that a cell holds, checked, right-handed.

    Args:
        cell: A structure; ``{lattice, frac_coords, species or atomic_numbers}``, pymatgen's ``as_dict``, an
            OPTIMADE entry or a JARVIS ``atoms`` object, each as an object or as JSON text; CIF
            or POSCAR text; or the path of a file.
        folder: Where relative paths begin, and outside of which none may lead; None: a path is
            no structure (an upload must not read the server's files).

    Raises:
        StructureRefusedError: nothing of these, or an impossible crystal; ``error_code`` says.
    """
    structure = _understood(cell, folder)
    check_structure(structure)
    return structure.right_handed()


def _understood(cell: Any, folder: Path | None) -> Structure:
    if isinstance(cell, Structure):
        return cell
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", errors="replace")
    if isinstance(cell, Mapping):
        return _of_document(cell)
    if not isinstance(cell, str) or not cell.strip():
        raise StructureRefusedError(
            "The row has no structure.",
            hint="Give JSON, CIF or POSCAR text, or the path of a file.",
            code="missing_structure",
        )
    if cell.lstrip()[:1] in {"{", "["}:
        return _of_document(_parsed(cell))
    if _CIF.match(cell):
        return _first(cif_entries(cell, DEFAULT_LIMITS))
    if "\n" in cell.strip():
        return _first(poscar_entries(cell, DEFAULT_LIMITS))
    return _of_path(cell.strip(), folder)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StructureRefusedError(
            f"The structure is not JSON: {error}.",
            hint="The cell may be cut off; write it again.",
            code="malformed_file",
        ) from None


def _of_document(document: Any) -> Structure:
    if isinstance(document, Mapping):
        if "lattice_mat" in document:
            return _of_jarvis(document)
        if "frac_coords" in document and ("atomic_numbers" in document or "species" in document):
            return Structure.from_dict(document)
    return _first(json_entries(json.dumps(document, default=_listed), DEFAULT_LIMITS))


def _listed(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(type(value).__name__)


def _of_jarvis(atoms: Mapping[str, Any]) -> Structure:
    """From JARVIS' ``Atoms.to_dict()``: lattice_mat, coords, cartesian, elements."""
    try:
        lattice = np.array(atoms["lattice_mat"], dtype=np.float64)
        coords = np.array(atoms["coords"], dtype=np.float64).reshape(-1, 3)
        species = tuple(str(symbol).strip() for symbol in atoms["elements"])
    except (KeyError, TypeError, ValueError) as error:
        raise StructureRefusedError(
            f"This is not a JARVIS structure: {type(error).__name__} at {error}.",
            hint="Expected keys: lattice_mat (3x3, Å), coords, elements, cartesian.",
            code="invalid_json",
        ) from error
    if atoms.get("cartesian"):
        coords = fractional_coords(coords, lattice)
    unknown = next((symbol for symbol in species if symbol not in ATOMIC_NUMBERS), None)
    if unknown is not None:
        raise StructureRefusedError(
            f"There is no element {unknown!r}.",
            hint="Correct the elements of the row.",
            code="unknown_element",
        )
    return Structure(lattice=lattice, species=species, frac_coords=coords)


def _first(entries: Any) -> Structure:
    for entry in entries:
        structure: Structure = entry.build()
        return structure
    raise StructureRefusedError("The cell holds no structure.", code="no_structures")


def _of_path(text: str, folder: Path | None) -> Structure:
    refusal = StructureRefusedError(
        f"{text[:60]!r} is neither a structure nor the path of a file.",
        hint="Give JSON, CIF or POSCAR text, or a path beside the table.",
        code="unknown_format",
    )
    if folder is None or len(text) > 4096 or "\x00" in text:  # noqa: PLR2004 - longest path
        raise refusal
    root = folder.resolve()
    path = (root / text).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise refusal
    return read_structure(path)


def refusal_of(problem: Exception) -> NanoosError:
    """Any error of a row as one of ours: foreign input meets foreign parsers here."""
    if isinstance(problem, NanoosError):
        return problem
    text = str(problem).strip().splitlines()
    return StructureRefusedError(
        f"The row cannot be understood: {text[0][:200] if text else type(problem).__name__}",
        hint="Check it with the program that wrote it.",
        details={"exception": type(problem).__name__},
        code="malformed_row",
    )
