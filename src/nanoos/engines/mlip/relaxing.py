"""Relaxations that are a part of a workflow: kept while it runs, and its error where they fail."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nanoos.core.errors import EngineError, NanoosError
from nanoos.engines.mlip.checkpoints import checkpoint
from nanoos.engines.mlip.parameters import RelaxingParameters
from nanoos.potentials import Potential, Relaxation, relax_many
from nanoos.structures import Structure


def relaxed_first(
    structure: Structure,
    potential: Potential,
    parameters: RelaxingParameters,
    tell: Callable[[float, str], None],
    folder: Path,
) -> Relaxation:
    """The crystal with its cell relaxed, before the work begins.

    Args:
        structure: Where to start.
        potential: What to minimise.
        parameters: Of the workflow.
        tell: Told of (share of the relaxation, message).
        folder: Of the run's output, where the state is kept.

    Raises:
        EngineError: the relaxation failed; its code tells how.
    """
    (found,) = relax_many(
        [structure],
        potential,
        fmax=parameters.fmax,
        max_steps=parameters.max_steps,
        keep_symmetry=parameters.keep_symmetry,
        progress=lambda done, message: tell(done, f"relaxing: {message}"),
        checkpoint=checkpoint(folder, "relax", potential, parameters, [structure]),
    )
    return _or_raise(found, "The relaxation that comes first failed")


def relaxed_atoms(
    cells: Sequence[Structure],
    potential: Potential,
    parameters: RelaxingParameters,
    tell: Callable[[float, str], None],
    folder: Path,
    *,
    stage: str,
    keep_symmetry: bool,
) -> list[Relaxation]:
    """Cells of one crystal with the atoms relaxed in each, all in one batch.

    Args:
        cells: Of the same atoms.
        potential: What to minimise.
        parameters: Of the workflow.
        tell: Told of (share done, message).
        folder: Of the run's output, where the state is kept.
        stage: Name of the state.
        keep_symmetry: Whether the space group of each cell is imposed.

    Raises:
        EngineError: one of them failed; its code tells how.
    """
    found = relax_many(
        cells,
        potential,
        fmax=parameters.fmax,
        max_steps=parameters.max_steps,
        relax_cell=False,
        keep_symmetry=keep_symmetry,
        progress=tell,
        checkpoint=checkpoint(folder, stage, potential, parameters, cells),
    )
    return [_or_raise(one, f"The relaxation of a cell ({stage}) failed") for one in found]


def _or_raise(found: Relaxation | NanoosError, what: str) -> Relaxation:
    if isinstance(found, Relaxation):
        return found
    raise EngineError(
        f"{what}: {found.message}",
        hint=found.hint or "Start from a better geometry.",
        details=found.details,
        code=found.error_code,
    ) from found
