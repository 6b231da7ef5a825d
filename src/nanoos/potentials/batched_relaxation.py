"""Relaxation of many crystals at once, each with its own optimiser.

The potential sees the current geometry of every crystal that is not finished in one batch; the
rest (:mod:`nanoos.potentials.descent`) is each crystal's own. What counts as converged and how
symmetry is kept is as in :func:`~nanoos.potentials.relaxation.relax`, so the minima are the same. A crystal leaves the batch when it has converged or
failed, and its failure is its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nanoos.core.errors import EngineError, InvalidInputError, NanoosError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.potentials.base import FloatArray, Potential, PotentialResult, check_coverage
from nanoos.potentials.checkpoint import Checkpoint
from nanoos.potentials.descent import Descent, symmetrised
from nanoos.potentials.relaxation import (
    Relaxation,
    RelaxationStep,
    check_sane,
    exploded,
    finished,
    not_converged,
    packed_steps,
    share_done,
    space_group_label,
    unpacked_steps,
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
    checkpoint: Checkpoint | None = None,
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
        checkpoint: Keeps where each crystal is: killed, those that have converged are not begun
            again and the others go on with the step they were at.

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
    kept = _Kept(checkpoint)
    for walker in walkers:
        if (found := kept.take_up(walker)) is not None:
            end(walker.index, found)
    walkers = [walker for walker in walkers if walker.index not in outcomes]
    while walkers:
        going = []
        for walker, answer in _answers(walkers, potential, batch_size):
            outcome = _advance(walker, answer, potential, fmax=fmax, max_steps=max_steps)
            if outcome is None:
                going.append(walker)
            else:
                kept.ended(walker, outcome)
                end(walker.index, outcome)
        walkers = going
        kept.save(walkers)
        if progress is not None:
            shares = [share_done(walker.steps, fmax) for walker in walkers]
            done_so_far = (len(outcomes) + sum(shares)) / len(structures)
            progress(min(0.99, done_so_far), _told(walkers, len(structures)))
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


def _told(walkers: Sequence[_Walker], total: int) -> str:
    """How many have ended, and how far the others are."""
    text = f"{total - len(walkers)} of {total} crystals ended"
    if not walkers:
        return text
    steps = max(len(walker.steps) for walker in walkers) - 1
    force = max(walker.steps[-1].max_force_ev_a for walker in walkers)
    return f"{text}, step {steps}, force {force:.4f} eV/Å"


class _Kept:
    """Where every crystal of the batch is, in the arrays of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self._checkpoint = checkpoint
        self._before = dict(checkpoint.load()) if checkpoint is not None else {}
        self._ended: dict[str, FloatArray] = {}

    def take_up(self, walker: _Walker) -> Relaxation | None:
        """Put a crystal where it was; its relaxation if that had converged."""
        prefix = f"{walker.index}_"
        arrays = {
            name.removeprefix(prefix): array
            for name, array in self._before.items()
            if name.startswith(prefix)
        }
        if not arrays:
            return None
        walker.steps = unpacked_steps(arrays, walker.structure)
        if "energy" not in arrays:
            walker.descent.restore(arrays)
            return None
        result = PotentialResult(
            energy_ev=float(arrays["energy"]),
            energy_ev_per_atom=float(arrays["energy"]) / walker.structure.n_sites,
            forces=arrays["forces"],
            stress=arrays.get("stress"),
            magmoms=arrays.get("magmoms"),
        )
        final = walker.steps[-1].structure
        found = finished(walker.structure, final, result, walker.steps, walker.before)
        self.ended(walker, found)
        return found

    def ended(self, walker: _Walker, outcome: Relaxation | NanoosError) -> None:
        """Keep what a crystal came to; one that failed is begun again."""
        if self._checkpoint is None or isinstance(outcome, NanoosError):
            return
        result = outcome.result
        answer = {"energy": np.array(result.energy_ev), "forces": result.forces}
        if result.stress is not None:
            answer["stress"] = result.stress
        if result.magmoms is not None:
            answer["magmoms"] = result.magmoms
        self._ended |= _prefixed(walker.index, answer | packed_steps(walker.steps))

    def save(self, walkers: Sequence[_Walker]) -> None:
        """Write it all; ``walkers`` are those that go on."""
        if self._checkpoint is None:
            return

        def arrays() -> dict[str, FloatArray]:
            found = dict(self._ended)
            for walker in walkers:
                state = walker.descent.state() | packed_steps(walker.steps)
                found |= _prefixed(walker.index, state)
            return found

        self._checkpoint.save(arrays, whatever_it_costs=not walkers)


def _prefixed(index: int, arrays: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {f"{index}_{name}": array for name, array in arrays.items()}


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
