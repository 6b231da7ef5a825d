"""Energies of the elements, which formation energies are measured from.

Every potential has a table of its own, made by relaxing crystals of the elements with that
same potential: an energy of one potential minus an element of another means nothing, so a
table carries the potential's name and the hash of its weights, and refuses anything else.

The reference of an element is its experimental ground state at low temperature (see
:mod:`nanoos.potentials.elemental`), also where the potential prefers another crystal; the
table says which candidate is lowest and by how much, so odd ones are seen. For CHGNet, whose
training energies carry the MP2020 corrections, the scheme is consistent: MP2020 corrects
compounds only and leaves the elements as computed.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from nanoos import __version__
from nanoos.core.errors import (
    ConflictError,
    EngineError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from nanoos.potentials.base import Potential
from nanoos.potentials.elemental import (
    DISPERSION_BOUND,
    ElementalCrystal,
    candidates,
    ground_states,
)
from nanoos.potentials.relaxation import Relaxation, relax

_FORMAT: Final = 1
_FMAX_EV_A: Final = 0.02
_MAX_STEPS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementReference:
    """The reference crystal of one element.

    Attributes:
        element: Symbol.
        energy_ev_per_atom: Energy after relaxation, eV/atom.
        structure: Name of the crystal: ``"bcc (A2)"``.
        space_group: After relaxation.
        n_sites: Atoms in the primitive cell.
        lengths: a, b, c of the primitive cell, Å.
        angles: Its angles, degrees.
        volume_a3_per_atom: Å^3.
        cell: ``relaxed``, or ``experimental`` where dispersion binds the crystal, or where
            the potential's own cell runs away.
        lowest: Name of the lowest candidate, the same where the ground state is lowest.
        lowest_below_ev_per_atom: How far the lowest lies below the reference, eV/atom, >= 0.
        candidates: Name to eV/atom of every candidate, None where its relaxation failed.
    """

    element: str
    energy_ev_per_atom: float
    structure: str
    space_group: str
    n_sites: int
    lengths: tuple[float, float, float]
    angles: tuple[float, float, float]
    volume_a3_per_atom: float
    cell: str
    lowest: str
    lowest_below_ev_per_atom: float
    candidates: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTable:
    """The elements of one potential with one set of weights.

    Attributes:
        potential: Name.
        potential_version: Version of the weights.
        weights_sha256: Their hash, None for an analytic potential.
        references: Symbol to reference.
        command: The command that made the table.
        nanoos_version: The version that made it.
        software: Package name to version.
    """

    potential: str
    potential_version: str
    weights_sha256: str | None
    references: Mapping[str, ElementReference]
    command: str
    nanoos_version: str
    software: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        data = asdict(self)
        data["format"] = _FORMAT
        data["references"] = [asdict(self.references[e]) for e in self.references]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ReferenceTable":
        """The inverse of :meth:`as_dict`.

        Raises:
            InvalidInputError: not a table, or one of a newer format.
        """
        fields = dict(data)
        if fields.pop("format", None) != _FORMAT:
            raise InvalidInputError(
                "This is not a table of elemental references of format 1.",
                hint="Make it again with `nanoos models references build`.",
            )
        rows = [
            ElementReference(
                **{**row, "lengths": tuple(row["lengths"]), "angles": tuple(row["angles"])}
            )
            for row in fields.pop("references")
        ]
        return cls(references={row.element: row for row in rows}, **fields)

    def check_belongs_to(self, potential: str, weights_sha256: str | None) -> None:
        """Refuse energies of any other potential or weights.

        Raises:
            ConflictError: code ``references_mismatch``.
        """
        if (potential, weights_sha256) != (self.potential, self.weights_sha256):
            raise ConflictError(
                f"Elemental references of {self.potential} "
                f"({(self.weights_sha256 or 'no weights')[:12]}) cannot serve an energy of "
                f"{potential} ({(weights_sha256 or 'no weights')[:12]}).",
                hint=f"Build them: nanoos models references build {potential}",
                code="references_mismatch",
            )


def formation_energy_ev_per_atom(
    energy_ev_per_atom: float,
    composition: Mapping[str, int],
    references: ReferenceTable,
    *,
    potential: Potential,
) -> float:
    """Energy relative to the elements, eV/atom; negative is bound against the elements.

    A negative value is not stability: other compounds may lie lower still.

    Args:
        energy_ev_per_atom: Of the crystal, from ``potential``.
        composition: Element to number of atoms.
        references: The elements of the same potential and weights.
        potential: What gave the energy.

    Raises:
        ConflictError: the table belongs to another potential or other weights.
        InvalidInputError: an element is not in the table.
    """
    references.check_belongs_to(potential.name, potential.weights_sha256)
    missing = sorted(set(composition) - set(references.references))
    if missing:
        raise InvalidInputError(
            f"No elemental reference of {references.potential} for {', '.join(missing)}.",
            hint=f"Build it: nanoos models references build {references.potential}",
            code="uncovered_element",
        )
    total = sum(composition.values())
    elements = sum(references.references[e].energy_ev_per_atom * n for e, n in composition.items())
    return energy_ev_per_atom - elements / total


@cache
def load_references(potential: str) -> ReferenceTable:
    """The shipped table of a potential (registered spelling).

    Raises:
        UnavailableError: none is shipped, as for the Lennard-Jones reference member.
    """
    resource = files("nanoos.potentials") / "data" / f"references_{potential.casefold()}.json"
    if not resource.is_file():
        raise UnavailableError(
            f"There are no elemental references for {potential}.",
            hint=f"Build them: nanoos models references build {potential}",
        )
    return ReferenceTable.from_dict(json.loads(resource.read_text(encoding="utf-8")))


def build_references(
    potential: Potential,
    *,
    elements: Iterable[str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> ReferenceTable:
    """Relax the crystals of the elements with ``potential`` and make the table.

    Args:
        potential: Which one; its table serves only itself.
        elements: Symbols; by default all that it covers and that have a known ground state.
        progress: Told of (fraction, message) after each element.

    Raises:
        NotFoundError: an element without a known ground state was asked for.
        EngineError: the ground state of an element does not relax; the message says which.
    """
    from nanoos.structures.elements import ATOMIC_NUMBERS

    known = set(ground_states())
    wanted = set(elements) if elements is not None else known & potential.elements
    if wanted - known:
        raise NotFoundError(
            f"No ground-state crystal is known here for {', '.join(sorted(wanted - known))}."
        )
    ordered = sorted(wanted, key=ATOMIC_NUMBERS.__getitem__)
    found = {}
    for i, element in enumerate(ordered, start=1):
        found[element] = _reference(element, potential)
        if progress is not None:
            row = found[element]
            progress(i / len(ordered), f"{element} {row.structure} {row.energy_ev_per_atom:.4f} eV")
    return ReferenceTable(
        potential=potential.name,
        potential_version=potential.version,
        weights_sha256=potential.weights_sha256,
        references=found,
        command=f"nanoos models references build {potential.name}",
        nanoos_version=__version__,
        software=potential.software,
    )


def write_references(table: ReferenceTable, path: Path) -> None:
    """Write the table as JSON, whole or not at all."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(json.dumps(table.as_dict(), indent=1) + "\n", encoding="utf-8")
    os.replace(scratch, path)  # noqa: PTH105  (the atomic one)


def _reference(element: str, potential: Potential) -> ElementReference:
    crystals = candidates(element)
    cell = "experimental" if element in DISPERSION_BOUND else "relaxed"
    try:
        ground = _relaxed(crystals[0], element, potential, cell=cell)
    except EngineError:
        cell = "experimental"
        ground = _relaxed(crystals[0], element, potential, cell=cell)
    energies: dict[str, float | None] = {crystals[0].label: ground.result.energy_ev_per_atom}
    for crystal in crystals[1:]:
        try:
            relaxed = _relaxed(crystal, element, potential, cell=cell)
        except EngineError:
            energies[crystal.label] = None
        else:
            energies[crystal.label] = relaxed.result.energy_ev_per_atom
    lowest = min((e, label) for label, e in energies.items() if e is not None)
    structure = ground.structure
    return ElementReference(
        element=element,
        energy_ev_per_atom=round(ground.result.energy_ev_per_atom, 6),
        structure=crystals[0].label,
        space_group=ground.space_group_after,
        n_sites=structure.n_sites,
        lengths=_rounded(structure.lengths),
        angles=_rounded(structure.angles),
        volume_a3_per_atom=round(structure.volume / structure.n_sites, 4),
        cell=cell,
        lowest=lowest[1],
        lowest_below_ev_per_atom=round(ground.result.energy_ev_per_atom - lowest[0], 6),
        candidates={k: None if e is None else round(e, 6) for k, e in energies.items()},
    )


def _rounded(values: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (round(value, 4) for value in values)
    return x, y, z


def _relaxed(
    crystal: ElementalCrystal, element: str, potential: Potential, *, cell: str
) -> Relaxation:
    return relax(
        crystal.structure(element),
        potential,
        fmax=_FMAX_EV_A,
        max_steps=_MAX_STEPS,
        relax_cell=cell == "relaxed",
    )
