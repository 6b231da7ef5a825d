"""100 crystals of at most 20 atoms relaxed in one batch and one by one: ``python benchmarks/mlip_relaxation.py``.

One by one is what a script with ASE does: the potential's own calculator (``--baseline library``;
CHGNet and SevenNet) or ours (``--baseline ours``), ASE's BFGS on its Frechet cell filter, the same
force. Nothing keeps the symmetry there, and nothing does in the batch unless ``--symmetry`` is
given. Prints a markdown table: seconds, evaluations, the largest difference in energy among the
crystals that ended in the same place (same volume within 1 %), and those that did not.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nanoos.core.errors import NanoosError
from nanoos.potentials import Relaxation, get_potential, relax_many
from nanoos.structures import Structure
from nanoos.structures.generate import build_prototype

PAIRS = {
    "rocksalt": [("Mg", "O"), ("Ti", "C"), ("Ti", "N"), ("Na", "Cl"), ("Zr", "C"), ("Ca", "S")],
    "zincblende": [("Ga", "As"), ("Zn", "S"), ("Si", "C"), ("B", "N"), ("In", "P"), ("Cd", "Te")],
    "wurtzite": [("Zn", "O"), ("Ga", "N"), ("Al", "N"), ("Zn", "S"), ("Cd", "Se"), ("In", "N")],
    "nias": [("Ni", "As"), ("Fe", "S"), ("Co", "Te"), ("Cr", "Sb"), ("V", "S"), ("Ti", "Se")],
}
REPEATS = ((1, 1, 1), (2, 1, 1), (2, 2, 1))
MAX_SITES = 20


def crystals(count: int) -> list[Structure]:
    """Repeated prototypes with every atom and the cell a little off, the same on every machine."""
    rng = np.random.default_rng(11)
    found: list[Structure] = []
    cells = [build_prototype(n, {"A": a, "X": x}) for n, pairs in PAIRS.items() for a, x in pairs]
    while len(found) < count:
        for cell in cells:
            repeats = REPEATS[rng.integers(len(REPEATS))]
            atoms = cell.to_ase().repeat(repeats)
            if len(atoms) > MAX_SITES:
                continue
            atoms.rattle(0.05, rng=rng)
            strain = np.eye(3) + 0.02 * rng.normal(size=(3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            found.append(Structure.from_ase(atoms))
    return found[:count]


def library_calculator(name: str) -> Any:
    """What the potential's own package gives to ASE."""
    if name == "CHGNet":
        from chgnet.model.dynamics import CHGNetCalculator

        return CHGNetCalculator(use_device="cpu")
    if name == "SevenNet":
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator("7net-0", device="cpu")
    raise SystemExit(f"{name} has no calculator of its own here: --baseline ours")


def one_by_one(
    structures: list[Structure], calculator: Any, *, fmax: float, max_steps: int
) -> tuple[list[tuple[float, float] | None], int]:
    """Energy (eV/atom) and volume (Å^3/atom) of each, None where it failed; evaluations."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    ends: list[tuple[float, float] | None] = []
    evaluations = 0
    for structure in structures:
        atoms = structure.to_ase()
        atoms.calc = calculator
        optimiser = BFGS(FrechetCellFilter(atoms), logfile=None)
        try:
            converged = optimiser.run(fmax=fmax, steps=max_steps)
        except (NanoosError, ValueError, RuntimeError, np.linalg.LinAlgError):
            converged = False
        evaluations += optimiser.nsteps + 1
        n = len(atoms)
        ends.append(
            (atoms.get_potential_energy() / n, atoms.get_volume() / n) if converged else None
        )
    return ends, evaluations


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--potential", default="CHGNet")
    parser.add_argument("--baseline", choices=["library", "ours"], default="library")
    parser.add_argument("--fmax", type=float, default=0.02)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--symmetry", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the libraries of the potentials
    structures = crystals(arguments.count)
    potential = get_potential(arguments.potential)
    potential.compute(structures[:1])
    ours = arguments.baseline == "ours"
    calculator = potential.ase_calculator() if ours else library_calculator(arguments.potential)
    together, batch_s = timed(
        lambda: relax_many(
            structures,
            potential,
            fmax=arguments.fmax,
            max_steps=500,
            keep_symmetry=arguments.symmetry,
            batch_size=arguments.batch_size,
        )
    )
    (alone, alone_n), alone_s = timed(
        lambda: one_by_one(structures, calculator, fmax=arguments.fmax, max_steps=500)
    )
    done = [one for one in together if isinstance(one, Relaxation)]
    differences, elsewhere = [], 0
    for one, other in zip(together, alone, strict=True):
        if not isinstance(one, Relaxation) or other is None:
            continue
        volume = one.structure.volume / one.structure.n_sites
        if abs(volume / other[1] - 1) > 0.01:
            elsewhere += 1
        else:
            differences.append(1000 * (one.result.energy_ev_per_atom - other[0]))
    print("| how | crystals | s | evaluations | failed |")
    print("|---|---:|---:|---:|---:|")
    batch_n = sum(len(one.steps) for one in done)
    print(f"| batch | {len(together)} | {batch_s:.1f} | {batch_n} | {len(together) - len(done)} |")
    failed = sum(end is None for end in alone)
    print(f"| one by one, ASE | {len(alone)} | {alone_s:.1f} | {alone_n} | {failed} |")
    print()
    sizes = np.abs(differences or [0.0])
    apart = sizes > 1.0
    lower = int((np.array(differences or [0.0])[apart] < 0).sum())
    print(
        f"{alone_s / batch_s:.2f} times faster. {len(differences)} crystals ended in the same place, "
        f"{elsewhere} elsewhere; energies there differ by {np.median(sizes):.3f} meV/atom in the "
        f"median and {sizes.max():.3f} at most, {int(apart.sum())} by more than 1 (in {lower} of "
        "them the batch is lower)."
    )


if __name__ == "__main__":
    main()
