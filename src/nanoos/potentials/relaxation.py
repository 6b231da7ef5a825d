"""Relaxation of positions and cell to the nearest minimum, with the symmetry kept."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nanoos.core.errors import EngineError, InvalidInputError
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.potentials.base import FloatArray, Potential, PotentialResult, check_coverage
from nanoos.potentials.checkpoint import Arrays, Checkpoint
from nanoos.structures import Structure

SYMMETRY_TOLERANCE_A: Final = 0.01
_MIN_VOLUME_RATIO: Final = 0.2
_MAX_VOLUME_RATIO: Final = 4.0
_MAX_FORCE_EV_A: Final = 1e4
_MOST_TOLD: Final = 0.99

Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RelaxationStep:
    """One accepted geometry on the way.

    Attributes:
        energy_ev: Total energy of the cell, eV.
        max_force_ev_a: Largest component norm that is being driven to zero, eV/Å: atoms, and
            the virial divided by the number of atoms where the cell moves.
        structure: The geometry.
    """

    energy_ev: float
    max_force_ev_a: float
    structure: Structure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relaxation:
    """A converged relaxation.

    Attributes:
        structure: The minimum.
        result: The potential's answer there.
        steps: Every geometry, the first being the one given (symmetrised).
        space_group_before: International symbol and number, at 0.01 Å.
        space_group_after: The same of the minimum.
        max_displacement_a: Largest change of a site in the relaxed cell's metric, Å.
        volume_change: Relative.
    """

    structure: Structure
    result: PotentialResult
    steps: tuple[RelaxationStep, ...]
    space_group_before: str
    space_group_after: str
    max_displacement_a: float
    volume_change: float


def relax(
    structure: Structure,
    potential: Potential,
    *,
    fmax: float = 0.01,
    max_steps: int = 300,
    relax_cell: bool = True,
    keep_symmetry: bool = True,
    pressure_gpa: float = 0.0,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Relaxation:
    """Move atoms, and the cell if asked, until no force is above ``fmax``.

    BFGS on positions and the logarithm of the deformation gradient (Frechet cell filter);
    with ``keep_symmetry`` forces, stress and steps are projected on the space group found at
    0.01 Å, so a saddle point protected by symmetry stays one.

    Args:
        structure: Where to start.
        potential: What to minimise.
        fmax: eV/Å, on atoms and on the virial divided by the number of atoms.
        max_steps: Geometries tried before giving up.
        relax_cell: Whether the cell moves.
        keep_symmetry: Whether the space group is imposed.
        pressure_gpa: External pressure, GPa, positive in compression.
        progress: Told of (fraction, message) now and then; may raise to stop.
        checkpoint: Keeps geometries and Hessian: a relaxation that was killed goes on with the
            step it was at.

    Raises:
        InvalidInputError: an element is not covered, or fmax or max_steps is not positive.
        EngineError: codes ``not_converged``, ``exploded``; never a silent half-result.
    """
    if fmax <= 0 or max_steps < 1:
        raise InvalidInputError(f"fmax {fmax} and max_steps {max_steps} must be positive.")
    check_coverage(potential, [structure])
    before = space_group_label(structure)
    atoms = structure.to_ase()
    atoms.calc = potential.ase_calculator()
    steps: list[RelaxationStep] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ASE on logm accuracy, spglib on its own deprecations
        target = constrained(
            atoms,
            relax_cell=relax_cell,
            keep_symmetry=keep_symmetry,
            pressure_ev_a3=pressure_gpa / GPA_PER_EV_A3,
        )
        converged = _minimise(
            atoms,
            target,
            steps,
            fmax=fmax,
            max_steps=max_steps,
            progress=progress,
            checkpoint=checkpoint,
        )
    if not converged:
        raise not_converged(structure, potential, steps, fmax=fmax, max_steps=max_steps)
    final = from_atoms(atoms, structure)
    (result,) = potential.compute([final])
    return finished(structure, final, result, steps, before)


def finished(
    structure: Structure,
    final: Structure,
    result: PotentialResult,
    steps: Sequence[RelaxationStep],
    before: str,
) -> Relaxation:
    """A converged relaxation from where it began, where it ended and the steps between."""
    return Relaxation(
        structure=final,
        result=result,
        steps=tuple(steps),
        space_group_before=before,
        space_group_after=space_group_label(final),
        max_displacement_a=max_displacement_a(structure, final),
        volume_change=final.volume / structure.volume - 1,
    )


def space_group_label(structure: Structure, tolerance_a: float = SYMMETRY_TOLERANCE_A) -> str:
    """International symbol and number, ``Fm-3m (225)``; ``P1 (1)`` where none can be found."""
    import spglib

    cell: Any = (structure.lattice, structure.frac_coords, structure.atomic_numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.get_spacegroup(cell, symprec=tolerance_a)
    return str(found) if found else "P1 (1)"


def max_displacement_a(before: Structure, after: Structure) -> float:
    """Largest move of a site relative to the centre of all, Å, in the cell of ``after``."""
    shift = after.frac_coords - before.frac_coords
    shift = shift - np.rint(shift)
    cartesian = shift @ after.lattice
    cartesian = cartesian - cartesian.mean(axis=0)
    return float(np.linalg.norm(cartesian, axis=1).max())


def share_done(steps: Sequence[RelaxationStep], fmax: float) -> float:
    """How far a relaxation is, 0 to 0.99: forces shrink by about the same factor in each step."""
    forces = [step.max_force_ev_a for step in steps]
    highest, lowest = max(forces), max(min(forces), 1e-30)
    if highest <= fmax:
        return _MOST_TOLD
    return min(_MOST_TOLD, math.log(highest / lowest) / math.log(highest / fmax))


def constrained(atoms: Any, *, relax_cell: bool, keep_symmetry: bool, pressure_ev_a3: float) -> Any:
    """What the optimiser moves: the atoms, or atoms and cell."""
    from ase.constraints import FixSymmetry
    from ase.filters import FrechetCellFilter

    if keep_symmetry:
        atoms.set_constraint(FixSymmetry(atoms, symprec=SYMMETRY_TOLERANCE_A))
    if relax_cell:
        return FrechetCellFilter(atoms, scalar_pressure=pressure_ev_a3)
    return atoms


def _minimise(
    atoms: Any,
    target: Any,
    steps: list[RelaxationStep],
    *,
    fmax: float,
    max_steps: int,
    progress: Progress | None,
    checkpoint: Checkpoint | None,
) -> bool:
    """Run the optimiser, recording and checking every geometry; whether it converged."""
    from ase.optimize import BFGS

    start_volume = float(atoms.get_volume())
    optimiser = BFGS(target, logfile=None, maxstep=0.2)
    if checkpoint is not None:
        steps += _take_up(checkpoint.load(), atoms, optimiser)
    taken = len(steps)

    def observe() -> None:
        forces: FloatArray = target.get_forces()
        largest = float(np.sqrt((forces**2).sum(axis=1).max()))
        energy = float(atoms.get_potential_energy())
        check_sane(float(atoms.get_volume()) / start_volume, energy, largest)
        steps.append(
            RelaxationStep(
                energy_ev=energy, max_force_ev_a=largest, structure=from_atoms(atoms, None)
            )
        )
        if progress is not None:
            done = share_done(steps, fmax)
            progress(done, f"step {len(steps) - 1}: {energy:.5f} eV, force {largest:.4f} eV/Å")
        if checkpoint is not None:
            checkpoint.save(lambda: _state(atoms, optimiser, steps))

    optimiser.attach(observe, interval=1)
    try:
        return bool(optimiser.run(fmax=fmax, steps=max_steps - taken))
    except (InvalidInputError, np.linalg.LinAlgError, FloatingPointError) as error:
        # atoms that fly apart leave the cutoff, or the cell becomes singular
        raise exploded(f"{error}", len(steps)) from error


def _state(atoms: Any, optimiser: Any, steps: Sequence[RelaxationStep]) -> Arrays:
    """Where the optimiser is; the last step is the geometry that the atoms are in."""
    state = {
        "cell": np.array(atoms.cell.array),
        "positions": np.array(atoms.positions),
        **packed_steps(steps),
    }
    if optimiser.state is not None:
        state |= {
            "hessian": optimiser.H,
            "last_point": optimiser.pos0,
            "last_forces": optimiser.forces0,
        }
    return state


def _take_up(state: Arrays, atoms: Any, optimiser: Any) -> list[RelaxationStep]:
    """Put atoms and optimiser where they were; the steps before that geometry."""
    if not state:
        return []
    template = from_atoms(atoms, None)
    atoms.set_cell(state["cell"], scale_atoms=False, apply_constraint=False)
    atoms.set_positions(state["positions"], apply_constraint=False)
    if "hessian" in state:
        optimiser.H0 = state["hessian"]
        optimiser.pos0, optimiser.forces0 = state["last_point"], state["last_forces"]
        optimiser.update(optimiser.pos0, optimiser.forces0, None, None)  # begins with H0
    return unpacked_steps(state, template)[:-1]


def check_sane(volume_ratio: float, energy: float, largest: float) -> None:
    """Stop where the numbers no longer describe a crystal.

    Raises:
        EngineError: code ``exploded``.
    """
    if not (np.isfinite(energy) and np.isfinite(largest)) or largest > _MAX_FORCE_EV_A:
        raise exploded(f"energy {energy} eV, largest force {largest} eV/Å", 0)
    if not _MIN_VOLUME_RATIO < volume_ratio < _MAX_VOLUME_RATIO:
        raise exploded(f"the volume became {volume_ratio:.2f} times what it was", 0)


def not_converged(
    structure: Structure,
    potential: Potential,
    steps: Sequence[RelaxationStep],
    *,
    fmax: float,
    max_steps: int,
) -> EngineError:
    """What to say of a relaxation that used up its steps."""
    last = steps[-1]
    return EngineError(
        f"{structure.formula}: not converged after {max_steps} steps with {potential.name}: "
        f"largest force {last.max_force_ev_a:.4f} eV/Å, wanted {fmax:g}.",
        hint="Raise max_steps, loosen fmax, or start from a better geometry.",
        details={"max_force_ev_a": last.max_force_ev_a, "fmax": fmax, "steps": len(steps) - 1},
        code="not_converged",
    )


def exploded(what: str, step: int) -> EngineError:
    """What to say of a geometry that no longer is a crystal."""
    return EngineError(
        f"The relaxation ran away: {what}.",
        hint="Start from a more reasonable geometry, or another potential.",
        details={"step": step},
        code="exploded",
    )


def from_atoms(atoms: Any, template: Structure | None) -> Structure:
    """ASE atoms as a structure, with charges, spins and label of the template."""
    return Structure(
        lattice=np.array(atoms.cell.array),
        species=tuple(atoms.get_chemical_symbols()),
        frac_coords=atoms.get_scaled_positions(wrap=False),
        charges=template.charges if template else None,
        spins=template.spins if template else None,
        label=template.label if template else None,
    )


def packed_steps(steps: Sequence[RelaxationStep]) -> dict[str, FloatArray]:
    """Geometries of a relaxation as arrays."""
    return {
        "step_energies": np.array([step.energy_ev for step in steps]),
        "step_forces": np.array([step.max_force_ev_a for step in steps]),
        "step_lattices": np.array([step.structure.lattice for step in steps]),
        "step_coords": np.array([step.structure.frac_coords for step in steps]),
    }


def unpacked_steps(arrays: Arrays, template: Structure) -> list[RelaxationStep]:
    """The inverse of :func:`packed_steps`; what does not change comes from the template."""
    return [
        RelaxationStep(
            energy_ev=float(energy),
            max_force_ev_a=float(force),
            structure=Structure(
                lattice=lattice,
                species=template.species,
                frac_coords=coords,
                charges=template.charges,
                spins=template.spins,
                label=template.label,
            ),
        )
        for energy, force, lattice, coords in zip(
            arrays["step_energies"],
            arrays["step_forces"],
            arrays["step_lattices"],
            arrays["step_coords"],
            strict=True,
        )
    ]
