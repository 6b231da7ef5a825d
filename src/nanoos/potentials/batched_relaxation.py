"""Relaxation of many crystals at once, each with its own optimiser.

The potential sees the current geometry of every crystal that is not finished in one batch; the
rest (:mod:`nanoos.potentials.descent`) is each crystal's own. What counts as converged and how
symmetry is kept is as in :func:`~nanoos.potentials.relaxation.relax`, so the minima are the same. A crystal leaves the batch when it has converged or
failed, and its failure is its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from nanoos.core.errors import EngineError, InvalidInputError, NanoosError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.potentials.base import Potential, PotentialResult, check_coverage
from nanoos.potentials.descent import Descent, symmetrised
from nanoos.potentials.relaxation import (
    Relaxation,
    RelaxationStep,
    check_sane,
    exploded,
    finished,
    not_converged,
    space_group_label,
)
from nanoos.structures import Structure

Done = Callable[[int, Relaxation | NanoosError], None]
Progress = Callable[[float, str], None]


@dataclass(slots=True, kw_only=True, eq=False)
class _Walker:
    """One crystal on its way down."""

    index: int
    structure: Structure
    before: str
    descent: Descent
    steps: list[RelaxationStep] = field(default_factory=list)


def relax_many(
    structures: Sequence[Structure],
    potential: Potential,
    *,
    fmax: float = 0.01,
    max_steps: int = 300,
    relax_cell: bool = True,
    keep_symmetry: bool = True,
    pressure_gpa: float = 0.0,
    batch_size: int = 16,
    progress: Progress | None = None,
    done: Done | None = None,
) -> list[Relaxation | NanoosError]:
    """Relax every structure; see :func:`~nanoos.potentials.relaxation.relax` for the arguments.

    Args:
        structures: Where to start; of any size and composition.
        potential: What to minimise.
        fmax: eV/Å, on atoms and on the virial divided by the number of atoms.
        max_steps: Geometries tried for each before giving it up.
        relax_cell: Whether cells move.
        keep_symmetry: Whether space groups are imposed.
        pressure_gpa: External pressure, GPa, positive in compression.
        batch_size: Crystals in one pass through the network; more are taken in turns.
        progress: Told of (fraction, message) after each round; may raise to stop.
        done: Told of (index, outcome) as soon as a crystal has ended; may raise to stop.

    Returns:
        For each structure, in order, its relaxation or the error that ended it: code
        ``uncovered_element``, ``isolated_atom``, ``not_converged``, ``exploded``, ...

    Raises:
        InvalidInputError: fmax, max_steps or batch_size is not positive.
    """
    if fmax <= 0 or max_steps < 1:
        raise InvalidInputError(f"fmax {fmax} and max_steps {max_steps} must be positive.")
    outcomes: dict[int, Relaxation | NanoosError] = {}

    def end(index: int, outcome: Relaxation | NanoosError) -> None:
        outcomes[index] = outcome
        if done is not None:
            done(index, outcome)

    walkers: list[_Walker] = []
    for index, structure in enumerate(structures):
        try:
            walkers.append(
                _begin(
                    index,
                    structure,
                    potential,
                    relax_cell=relax_cell,
                    keep_symmetry=keep_symmetry,
                    pressure_gpa=pressure_gpa,
                )
            )
        except NanoosError as error:
            end(index, error)
    while walkers:
        going = []
        for walker, answer in _answers(walkers, potential, batch_size):
            outcome = _advance(walker, answer, potential, fmax=fmax, max_steps=max_steps)
            if outcome is None:
                going.append(walker)
            else:
                end(walker.index, outcome)
        walkers = going
        if progress is not None:
            progress(
                min(0.99, len(outcomes) / len(structures)),
                f"{len(outcomes)} of {len(structures)} crystals ended",
            )
    return [outcomes[index] for index in range(len(structures))]


def _begin(
    index: int,
    structure: Structure,
    potential: Potential,
    *,
    relax_cell: bool,
    keep_symmetry: bool,
    pressure_gpa: float,
) -> _Walker:
    check_coverage(potential, [structure.validated()])
    start, projection = symmetrised(structure) if keep_symmetry else (structure, None)
    return _Walker(
        index=index,
        structure=structure,
        before=space_group_label(structure),
        descent=Descent(
            start,
            projection,
            relax_cell=relax_cell,
            pressure_ev_a3=pressure_gpa / GPA_PER_EV_A3,
        ),
    )


Answer = tuple[Structure, PotentialResult | NanoosError]


def _answers(
    walkers: Sequence[_Walker], potential: Potential, batch_size: int
) -> Iterator[tuple[_Walker, Answer]]:
    """What the potential says of each; the one that spoils a batch spoils itself only."""
    for start in range(0, len(walkers), batch_size):
        batch = walkers[start : start + batch_size]
        geometries = [walker.descent.geometry() for walker in batch]
        results: list[PotentialResult | NanoosError]
        try:
            results = list(potential.compute(geometries, batch_size=batch_size))
        except InvalidInputError:
            results = [_alone(geometry, potential) for geometry in geometries]
        yield from zip(batch, zip(geometries, results, strict=True), strict=True)


def _alone(geometry: Structure, potential: Potential) -> PotentialResult | NanoosError:
    try:
        return potential.compute([geometry])[0]
    except InvalidInputError as error:
        return error


def _advance(
    walker: _Walker, answer: Answer, potential: Potential, *, fmax: float, max_steps: int
) -> Relaxation | NanoosError | None:
    """Take one step; the outcome when there is no other to take."""
    geometry, result = answer
    if isinstance(result, NanoosError):
        if not walker.steps:
            return result  # refused as it was given
        return exploded(result.message, len(walker.steps))
    try:
        largest = walker.descent.see(result.forces, result.stress)
        ratio = geometry.volume / walker.structure.volume
        check_sane(ratio, result.energy_ev, largest)
        walker.steps.append(
            RelaxationStep(energy_ev=result.energy_ev, max_force_ev_a=largest, structure=geometry)
        )
        if largest < fmax:
            return finished(walker.structure, geometry, result, walker.steps, walker.before)
        if len(walker.steps) > max_steps:
            return not_converged(
                walker.structure, potential, walker.steps, fmax=fmax, max_steps=max_steps
            )
        walker.descent.step()
    except EngineError as error:
        return error
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        return exploded(str(error), len(walker.steps))
    return None
