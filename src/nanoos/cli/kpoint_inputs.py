"""Inputs of pw.x that ``nanoos kpoints --write-input`` writes: they run where they lie."""

from pathlib import Path
from typing import TYPE_CHECKING

from nanoos.cli.output import make_folder, write_bytes

if TYPE_CHECKING:
    from nanoos.kpoints import KMesh
    from nanoos.structures import ReadOutcome, Structure


class InputFolder:
    """A folder of inputs, one for each structure, and their pseudopotentials in ``pseudos``.

    Args:
        folder: Made with the first input.
        family: Of pseudopotentials; None for the default one.
    """

    def __init__(self, folder: Path, family: str | None) -> None:
        self.folder = folder
        self._family = family
        self._names: set[str] = set()
        self._pseudos: set[str] = set()

    def write(self, read: "ReadOutcome", structure: "Structure", mesh: "KMesh") -> Path:
        """Write the input of a structure and the pseudopotentials that are not there yet.

        Raises:
            NotFoundError: the family is not installed.
            InvalidInputError: the family lacks an element, or the folder cannot be written.
        """
        from nanoos.services.kpoint_inputs import (
            PSEUDO_FOLDER,
            espresso_input,
            pseudopotential_files,
        )

        made = espresso_input(structure, mesh, family=self._family)
        if not self._pseudos.issuperset(made.pseudopotentials.values()):
            make_folder(self.folder / PSEUDO_FOLDER)
            for file, data in pseudopotential_files(made).items():
                write_bytes(self.folder / PSEUDO_FOLDER / file, data)
                self._pseudos.add(file)
        path = self.folder / f"{self._free_name(read, structure)}.in"
        write_bytes(path, made.text.encode())
        return path

    def _free_name(self, read: "ReadOutcome", structure: "Structure") -> str:
        """``POSCAR_Si``, and ``POSCAR_Si_2`` for the next file that is called so."""
        place = f"_{read.index}" if read.index else ""
        first = name = f"{Path(read.file).stem}{place}_{structure.formula}"
        number = 1
        while name.casefold() in self._names:
            number += 1
            name = f"{first}_{number}"
        self._names.add(name.casefold())
        return name
