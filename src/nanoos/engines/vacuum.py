"""Cells with vacuum, where a volume or a stress is not that of a material."""

from nanoos.core.errors import InvalidInputError
from nanoos.kpoints.mesh import vacuum_directions
from nanoos.structures import Structure


def refuse_vacuum(structure: Structure, what: str, *, instead: str = "") -> None:
    """Refuse a workflow that changes the volume of a cell with vacuum in it.

    Args:
        structure: What is asked for.
        what: What would be done, for the message: ``A relaxed cell``.
        instead: What else can be done than to relax the atoms alone.

    Raises:
        InvalidInputError: code ``vacuum_in_cell``.
    """
    along = [n for n, empty in zip("abc", vacuum_directions(structure), strict=True) if empty]
    if along:
        raise InvalidInputError(
            f"{what} means nothing for {structure.formula}: there is vacuum along {', '.join(along)}.",
            hint=f"Relax the atoms in the cell as it is: workflow relax. {instead}".strip(),
            code="vacuum_in_cell",
        )
