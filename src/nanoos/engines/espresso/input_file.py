"""The input of pw.x as a person would write it.

Ref: INPUT_PW of Quantum ESPRESSO 7.2.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from nanoos.core.units import BOHR_A
from nanoos.engines.espresso.choices import Choices
from nanoos.structures import Structure
from nanoos.structures.elements import ATOMIC_MASSES

Value = bool | int | float | str
KPoint = tuple[float, float, float]

PREFIX: Final = "pwscf"
BY_HAND: Final = "./tmp"
"""Where pw.x keeps its files when a person runs the input."""
_NAMELISTS: Final = ("control", "system", "electrons", "ions", "cell")


@dataclass(frozen=True, slots=True, kw_only=True)
class PwTask:
    """One start of pw.x.

    Attributes:
        calculation: ``scf``, ``relax``, ``vc-relax``, ``nscf``, ``bands``.
        structure: What it is of.
        choices: What the rules chose.
        pseudos: Element to file name.
        pseudo_dir: Where those lie, as seen from where pw.x runs.
        outdir: Where pw.x keeps its own files.
        mesh: Instead of that of the choices.
        kpoints: Fractional k-points, instead of a mesh.
        settings: Namelist to keyword to value, over everything else.
    """

    calculation: str
    structure: Structure
    choices: Choices
    pseudos: Mapping[str, str]
    pseudo_dir: str = "./"
    outdir: str = BY_HAND
    mesh: tuple[int, int, int] | None = None
    kpoints: Sequence[KPoint] | None = None
    settings: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)

    def with_settings(self, changes: Mapping[str, Mapping[str, Value]]) -> "PwTask":
        """The same with some keywords changed."""
        merged = {name: dict(words) for name, words in self.settings.items()}
        for name, words in changes.items():
            merged.setdefault(name, {}).update(words)
        return replace(self, settings=merged)

    def keyword(self, namelist: str, name: str) -> Value | None:
        """What the input says of a keyword."""
        return _namelists(self)[namelist].get(name)


def pw_input(task: PwTask) -> str:
    """The text of the input file."""
    lines = []
    for name, words in _namelists(task).items():
        if words or name in {"control", "system", "electrons"}:
            lines += [f"&{name.upper()}", *(f"  {k} = {_text(v)}" for k, v in words.items()), "/"]
    lines += _cards(task)
    return "\n".join(lines) + "\n"


def _namelists(task: PwTask) -> dict[str, dict[str, Value]]:
    choices = task.choices
    scf = task.calculation in {"scf", "relax", "vc-relax"}
    control: dict[str, Value] = {
        "calculation": task.calculation,
        "prefix": PREFIX,
        "outdir": task.outdir,
        "pseudo_dir": task.pseudo_dir,
        "disk_io": "low",
        "verbosity": "low",
    }
    if scf:
        control |= {"tprnfor": True, "tstress": True}
    system: dict[str, Value] = {
        "ibrav": 0,
        "nat": task.structure.n_sites,
        "ntyp": len(choices.species),
        "ecutwfc": choices.ecutwfc_ry,
        "ecutrho": choices.ecutrho_ry,
    }
    if choices.smearing is None:
        system["occupations"] = "fixed"
    else:
        system |= {
            "occupations": "smearing",
            "smearing": choices.smearing,
            "degauss": choices.degauss_ry,
        }
    if choices.nbnd is not None:
        system["nbnd"] = choices.nbnd
    if choices.polarised:
        system["nspin"] = 2
    electrons: dict[str, Value] = {"mixing_beta": choices.mixing_beta}
    found = dict(
        zip(_NAMELISTS, (control, system, electrons, {}, {}), strict=True),
    )
    for name, words in task.settings.items():
        found[name].update(words)
    return found


def fft_grid(structure: Structure, choices: Choices) -> dict[str, int]:
    """Keywords for the FFT grids that hold all plane waves of a cell, in sizes that are fast to transform.

    pw.x takes what it is given: on a prime number of points an SCF is four times slower.

    Args:
        structure: The largest cell that they are for.
        choices: Their cutoffs, Ry. A cutoff of the density over four times that of the
            wavefunctions has two grids.
    """

    def points(cutoff_ry: float) -> list[int]:
        per_length = math.sqrt(cutoff_ry) / BOHR_A / (2 * math.pi)
        return [_fast_size(2 * int(per_length * length) + 1) for length in structure.lengths]

    wfc, rho = choices.ecutwfc_ry, choices.ecutrho_ry
    grid = dict(zip(("nr1", "nr2", "nr3"), points(rho), strict=True))
    if rho > 4 * wfc:
        grid |= zip(("nr1s", "nr2s", "nr3s"), points(4 * wfc), strict=True)
    return grid


def _fast_size(at_least: int) -> int:
    """The next product of twos, threes and fives, which are the sizes pw.x itself chooses."""
    size = at_least
    while 30**at_least % size:
        size += 1
    return size


def starting_magnetizations(choices: Choices, valences: Mapping[str, float]) -> dict[str, Value]:
    """The keywords that polarise: moments as shares of the valence electrons."""
    if not choices.polarised:
        return {}
    return {
        f"starting_magnetization({i})": round(one.moment / valences[one.element], 6)
        for i, one in enumerate(choices.species, 1)
    }


def _cards(task: PwTask) -> list[str]:
    choices, structure = task.choices, task.structure
    lines = ["ATOMIC_SPECIES"]
    lines += [
        f"  {one.label} {ATOMIC_MASSES[one.element]:.4f} {task.pseudos[one.element]}"
        for one in choices.species
    ]
    if task.kpoints is not None:
        lines += ["K_POINTS crystal", str(len(task.kpoints))]
        lines += [f"  {a:.10f} {b:.10f} {c:.10f} 1.0" for a, b, c in task.kpoints]
    else:
        mesh = task.mesh or choices.mesh
        shift = [s if n > 1 else 0 for s, n in zip(choices.shift, mesh, strict=True)]
        lines += ["K_POINTS automatic", "  " + " ".join(str(n) for n in (*mesh, *shift))]
    lines.append("CELL_PARAMETERS angstrom")
    lines += ["  " + " ".join(f"{x:.12f}" for x in row) for row in structure.lattice]
    lines.append("ATOMIC_POSITIONS crystal")
    for kind, row in zip(choices.site_species, structure.frac_coords, strict=True):
        label = choices.species[kind].label
        lines.append(f"  {label} " + " ".join(f"{x:.12f}" for x in row))
    return lines


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, str):
        return f"'{value}'"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
