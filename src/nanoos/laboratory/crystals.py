"""Structures in the laboratory: whatever a notebook holds goes in, stored structures come out."""

import uuid
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.laboratory.showing import Listing, html_table
from nanoos.services.access import Principal
from nanoos.services.container import Services
from nanoos.services.structure_records import StructureRecord
from nanoos.structures import Structure

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.figure import Figure
    from pymatgen.core.structure import Structure as PymatgenStructure

Crystal = Any
"""A Structure, a StoredStructure, an ``ase.Atoms``, a pymatgen Structure, or a path of a file."""

_PAGE = 200


def as_structure(crystal: Crystal) -> Structure:
    """The structure that a notebook object is.

    Args:
        crystal: A :class:`~nanoos.structures.Structure`, a :class:`StoredStructure`, an
            ``ase.Atoms``, a ``pymatgen.core.Structure``, or the path of a file with one.

    Raises:
        InvalidInputError: it is something else.
        StructureRefusedError: it cannot be used.
        NotFoundError: there is no such file.
    """
    if isinstance(crystal, Structure):
        return crystal
    if isinstance(crystal, StoredStructure):
        return crystal.structure
    if isinstance(crystal, str | PathLike):
        from nanoos.structures import read_structure

        return read_structure(Path(crystal).expanduser())
    if hasattr(crystal, "get_chemical_symbols"):
        return Structure.from_ase(crystal)
    if hasattr(crystal, "lattice") and hasattr(crystal, "site_properties"):
        return Structure.from_pymatgen(crystal)
    raise InvalidInputError(
        f"A {type(crystal).__name__} is not a crystal.",
        hint="Give a Structure, an ase.Atoms, a pymatgen Structure or the path of a file.",
    )


def _origin(crystal: Crystal) -> dict[str, Any]:
    """The ``source`` of what a notebook adds."""
    if isinstance(crystal, str | PathLike):
        return {"kind": "file", "file": str(crystal), "index": 0}
    return {"kind": "notebook"}


class StoredStructure:
    """A structure of the laboratory.

    Attributes:
        record: Everything that is known of it.
    """

    def __init__(self, record: StructureRecord) -> None:
        self.record = record

    @property
    def id(self) -> uuid.UUID:
        """Its id."""
        return self.record.id

    @property
    def structure(self) -> Structure:
        """The crystal itself."""
        return self.record.structure

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return self.record.formula

    def to_ase(self) -> "Atoms":
        """An ``ase.Atoms``."""
        atoms: Atoms = self.structure.to_ase()
        return atoms

    def to_pymatgen(self) -> "PymatgenStructure":
        """A pymatgen ``Structure``."""
        structure: PymatgenStructure = self.structure.to_pymatgen()
        return structure

    def plot(self, rotation: str = "10x,-10y,0z") -> "Figure":
        """The unit cell, seen along z and a little turned."""
        from ase.visualize.plot import plot_atoms
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4, 4))
        axes = figure.subplots()
        plot_atoms(self.to_ase(), axes, rotation=rotation)
        axes.set_title(self.formula)
        axes.set_axis_off()
        return figure

    def _facts(self) -> list[list[str]]:
        record = self.record
        a, b, c = record.structure.lengths
        alpha, beta, gamma = record.structure.angles
        symmetry = (
            "unknown"
            if record.space_group is None
            else f"space group {record.space_group}, {record.crystal_system}"
        )
        return [
            ["id", str(record.id)],
            ["sites", str(record.n_sites)],
            ["symmetry", symmetry],
            ["cell", f"{a:.4f} {b:.4f} {c:.4f} Å, {alpha:.2f} {beta:.2f} {gamma:.2f}°"],
            ["volume", f"{record.volume_a3:.3f} Å³"],
            ["density", f"{record.density_g_cm3:.3f} g/cm³"],
            ["dimensionality", str(record.dimensionality)],
            ["source", ", ".join(f"{key} {value}" for key, value in record.source.items())],
        ]

    def __repr__(self) -> str:
        record = self.record
        group = "" if record.space_group is None else f", space group {record.space_group}"
        return f"<{record.formula}: {record.n_sites} sites{group}, id {record.id.hex[:8]}>"

    def _repr_html_(self) -> str:
        return html_table(self.formula, ["", ""], self._facts())


_COLUMNS = {
    "id": lambda item: item.id.hex[:8],
    "formula": lambda item: item.formula,
    "sites": lambda item: item.record.n_sites,
    "space group": lambda item: item.record.space_group,
    "volume Å³": lambda item: item.record.volume_a3,
    "source": lambda item: item.record.source.get("file") or item.record.source.get("kind", ""),
}


class StructureShelf:
    """The structures of the laboratory: ``lab.structures``."""

    def __init__(self, services: Services, who: Principal) -> None:
        self._services = services
        self._who = who

    def add(self, crystal: Crystal, *, as_given: bool = False) -> StoredStructure:
        """Store a crystal; the one that is there already is answered where it is the same.

        Args:
            crystal: As in :func:`as_structure`.
            as_given: Another cell of the same crystal is another one.
        """
        if isinstance(crystal, StoredStructure):
            return crystal
        record, _ = self._services.structures.add(
            as_structure(crystal), self._who, source=_origin(crystal), as_given=as_given
        )
        return StoredStructure(record)

    def add_files(self, *paths: str | PathLike[str]) -> Listing[Any]:
        """Import files, folders and zip files; says what became of each structure."""
        from nanoos.structures import iter_paths

        outcomes = iter_paths([Path(path).expanduser() for path in paths])
        return Listing(
            list(self._services.structures.import_outcomes(outcomes, self._who)),
            {
                "file": lambda line: line.file,
                "index": lambda line: line.index,
                "status": lambda line: line.status,
                "formula": lambda line: line.formula or "",
                "id": lambda line: "" if line.id is None else line.id.hex[:8],
                "error": lambda line: "" if line.error is None else line.error["message"],
            },
        )

    def list(
        self, *, elements: str | Sequence[str] = (), limit: int = _PAGE, **filters: Any
    ) -> Listing[StoredStructure]:
        """The newest structures that meet all filters.

        Args:
            elements: Each must be in the structure: ``"Li,O"`` or ``["Li", "O"]``.
            limit: At most so many.
            filters: ``formula, min_sites, max_sites, space_group, crystal_system, source``.
        """
        if isinstance(elements, str):
            elements = [symbol for symbol in elements.replace(",", " ").split() if symbol]
        found: list[StoredStructure] = []
        cursor: str | None = None
        while True:
            page = self._services.structures.page(
                self._who,
                elements=elements,
                cursor=cursor,
                limit=max(1, min(_PAGE, limit - len(found))),
                **filters,
            )
            found += [StoredStructure(record) for record in page.items]
            cursor = page.next
            if cursor is None or len(found) >= limit:
                return Listing(found, _COLUMNS, total=page.total)

    def find(self, text: str) -> Listing[StoredStructure]:
        """By id, by the first six or more digits of one, or by formula."""
        records = self._services.structures.find(text, self._who)
        return Listing([StoredStructure(record) for record in records], _COLUMNS)

    def get(self, name: str | uuid.UUID) -> StoredStructure:
        """The one structure with this id, beginning of an id or formula.

        Raises:
            NotFoundError: there is none.
            InvalidInputError: there are several.
        """
        found = self.find(str(name))
        if not found:
            raise NotFoundError(
                f"There is no structure {name}.", hint="lab.structures.list() shows what is there."
            )
        if len(found) > 1:
            ids = ", ".join(item.id.hex[:8] for item in found[:5])
            raise InvalidInputError(
                f"There are {len(found)} structures {name}.", hint=f"Choose by id: {ids}."
            )
        return found[0]

    def export(self, crystals: Iterable[StoredStructure], path: str | PathLike[str]) -> Path:
        """Write stored structures to a file; its name says the format."""
        from nanoos.structures import write_structures

        return write_structures([item.structure for item in crystals], Path(path).expanduser())

    def delete(self, crystal: StoredStructure | str | uuid.UUID) -> None:
        """Delete a structure with its predictions and simulations."""
        stored = crystal if isinstance(crystal, StoredStructure) else self.get(crystal)
        self._services.structures.delete(stored.id, self._who)

    def __len__(self) -> int:
        return self._services.structures.page(self._who, limit=1).total

    def __iter__(self) -> Any:
        return iter(self.list(limit=len(self) or 1))

    def __repr__(self) -> str:
        return repr(self.list(limit=20))

    def _repr_html_(self) -> str:
        return self.list(limit=20)._repr_html_()
