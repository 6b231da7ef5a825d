"""What the page for k-points says of one structure."""

import json
import uuid
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from typing import Final

from nanoos.core.errors import NanoosError, StructureRefusedError
from nanoos.kpoints import KpointPrediction
from nanoos.services.kpoint_inputs import EspressoInput, espresso_input
from nanoos.services.kpoints import KpointService
from nanoos.structures import Structure, analyze_symmetry
from nanoos.web.interval_plot import IntervalPlot, interval_plot

_MAX_SYMMETRY_SITES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a structure came from; one of them is there.

    Attributes:
        file: Name of an upload.
        stored: Id of a stored structure.
        url: Of an entry of a database.
    """

    file: str | None = None
    stored: uuid.UUID | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KpointResult:
    """An answer and everything that is shown beside it.

    Attributes:
        name: Of the structure: its file, or what a database calls it.
        structure: As it was given.
        origin: Where it came from.
        space_group: ``Fm-3m (225)``; None where it cannot be told.
        found: What the model says.
        plot: The interval, to be drawn.
        made: The input of pw.x; None where it cannot be written.
        problem: Why it cannot be.
        content: The structure, as the forms send it back.
    """

    name: str
    structure: Structure
    origin: Origin
    space_group: str | None
    found: KpointPrediction
    plot: IntervalPlot
    made: EspressoInput | None
    problem: NanoosError | None
    content: str

    @property
    def mesh(self) -> str:
        """``11 × 11 × 7``."""
        return " × ".join(str(n) for n in self.found.mesh.divisions)

    @property
    def level(self) -> str:
        """The level of the interval that is shown: a careful one outside of the domain."""
        return f"{self.found.interval_level:.2f}"

    @property
    def vacuum(self) -> str:
        """The lattice directions that are vacuum: ``c``, or nothing."""
        along = zip("abc", self.found.mesh.vacuum, strict=True)
        return ", ".join(name for name, empty in along if empty)

    def commands(self, base_url: str) -> str:
        """What gives the same from a terminal: the API, then the command line."""
        found, lines = self.found, []
        if self.origin.stored is not None:
            question = {
                "structure_id": str(self.origin.stored),
                "model": found.model,
                "confidence": found.level,
            }
            body = f"-H 'Content-Type: application/json' \\\n  -d {quote(json.dumps(question))}"
            file = f"{self.structure.formula}.cif"
            lines.append(f"nanoos structures export {self.origin.stored} --output {file}")
        else:
            file = self.origin.file or f"{self.structure.formula}.json"
            if self.origin.url is not None:
                lines.append(f"curl -o {quote(file)} {quote(self.origin.url)}")
            fields = {"file": f"@{file}", "model": found.model, "confidence": str(found.level)}
            body = " ".join(f"-F {quote(f'{name}={value}')}" for name, value in fields.items())
        call = (
            f'curl -H "Authorization: Bearer $TOKEN" {body} \\\n  {base_url}api/v1/kpoints/predict'
        )
        command = (
            f"nanoos kpoints {quote(file)} --model {found.model} --confidence {found.level:g}"
            " --write-input"
        )
        return "\n".join([*lines, call, command])


def kpoint_result(
    service: KpointService,
    structure: Structure,
    *,
    model_name: str,
    confidence: float,
    origin: Origin,
) -> KpointResult:
    """Predict, and write the input where the pseudopotentials for it are there.

    Args:
        service: Predicts.
        structure: Labelled with its name.
        model_name: ``RF``.
        confidence: A calibrated level.
        origin: Where it came from.

    Raises:
        NanoosError: as :meth:`nanoos.services.kpoints.KpointService.predict`; an input that
            cannot be written is no error of the page.
    """
    found = service.predict(structure, model_name=model_name, confidence=confidence)
    made, problem = None, None
    try:
        made = espresso_input(structure, found.mesh)
    except NanoosError as error:
        problem = error
    return KpointResult(
        name=structure.label or structure.formula,
        structure=structure,
        origin=origin,
        space_group=_space_group(structure),
        found=found,
        plot=interval_plot(found.kdist_lower, found.kdist, found.kdist_upper),
        made=made,
        problem=problem,
        content=json.dumps(structure.as_dict(), separators=(",", ":")),
    )


def _space_group(structure: Structure) -> str | None:
    if structure.n_sites > _MAX_SYMMETRY_SITES:
        return None
    with suppress(StructureRefusedError):
        symmetry = analyze_symmetry(structure)
        return f"{symmetry.symbol} ({symmetry.number})"
    return None
