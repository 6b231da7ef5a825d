"""From parameters to the commands that make a potential in LAMMPS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Final

from nanoos.core.errors import InvalidInputError
from nanoos.engines.lammps.catalogue import (
    SNAP_SCRIPT,
    PotentialFile,
    files_covering,
    find_file,
    meam_library,
    potential_file,
    snap_script,
)
from nanoos.engines.lammps.conventions import METAL, REAL, UnitSystem
from nanoos.engines.lammps.parameters import (
    LENNARD_JONES,
    HybridPart,
    LammpsParameters,
    PairParameters,
)
from nanoos.structures.elements import ATOMIC_NUMBERS

ZBL: Final = "zbl"
INPUT: Final = "${input}"
"""Where input files are, as a variable of the script."""

_MAX_ZBL_A: Final = 10.0

NOBLE_GASES: Final[Mapping[str, PairParameters]] = {
    "Ne": PairParameters(epsilon=0.0031, sigma=2.74),
    "Ar": PairParameters(epsilon=0.0104, sigma=3.40),
    "Kr": PairParameters(epsilon=0.0140, sigma=3.65),
    "Xe": PairParameters(epsilon=0.0200, sigma=3.98),
}
"""Ref: Ashcroft & Mermin, Solid State Physics (1976), table 20.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interactions:
    """A potential, ready to be written.

    Attributes:
        name: What the result calls it.
        types: Element of each atom type, in order.
        pair_style: Arguments of ``pair_style``.
        coefficients: Arguments of each ``pair_coeff``; files as ``${input}/NAME``.
        files: Files to copy beside the input.
        styles: Pair styles that must be compiled in.
        units: Unit system of the script.
        charges: Whether atoms carry charges (``atom_style charge``).
        fixes: Commands that the potential needs in every step.
        universal: Name of the universal potential that ``fix external`` asks, if any.
        citation: Of the potential, where its file gives it.
        max_timestep_fs: A longer step is not worth trying.
        newton: Whether forces between processes are computed once (``newton on``, as by default).
    """

    name: str
    types: tuple[str, ...]
    pair_style: str
    coefficients: tuple[str, ...]
    files: tuple[Path, ...] = ()
    styles: tuple[str, ...] = ()
    units: UnitSystem = METAL
    charges: bool = False
    fixes: tuple[str, ...] = ()
    universal: str | None = None
    citation: str = ""
    max_timestep_fs: float = field(default=10.0)
    newton: bool = True


def interactions(elements: Sequence[str], parameters: LammpsParameters) -> Interactions:
    """The potential that the parameters ask for, for a structure of ``elements``.

    Raises:
        InvalidInputError: no potential is named, it does not cover an element (code
            ``uncovered_element``), or its parameters are not complete.
        NotFoundError: code ``unknown_potential``.
    """
    from nanoos.engines.lammps.learned import learned_interactions, universal_interactions
    from nanoos.potentials import POTENTIALS

    wanted = sorted(set(elements), key=ATOMIC_NUMBERS.__getitem__)
    if parameters.ml_potential_config is not None:
        return learned_interactions(wanted, parameters.ml_potential_config)
    if parameters.hybrid:
        return _hybrid(wanted, parameters)
    name = parameters.potential
    if name is None:
        raise InvalidInputError(
            "No potential is given.",
            hint=f"Set potential. {_covered_by(wanted)}",
            code="no_potential",
        )
    if name == LENNARD_JONES:
        return _lennard_jones(wanted, parameters.pairs, parameters.pair_cutoff)
    if name in POTENTIALS:
        return universal_interactions(wanted, POTENTIALS.canonical_name(name))
    if name == ZBL:
        raise InvalidInputError(
            "zbl has no attraction: it is one part of a hybrid.", code="invalid_potential"
        )
    return _of_file(wanted, potential_file(name))


def _covered_by(wanted: Sequence[str]) -> str:
    from nanoos.potentials import potentials_covering

    names = [*files_covering(wanted), *potentials_covering(wanted)]
    what = ", ".join(wanted)
    return f"Covering {what}: {', '.join(names)}." if names else f"None here covers {what}."


def refuse_uncovered(name: str, missing: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise if anything is missing.

    Raises:
        InvalidInputError: code ``uncovered_element``.
    """
    if missing:
        shown = ", ".join(missing[:6]) + (", ..." if len(missing) > 6 else "")  # noqa: PLR2004
        raise InvalidInputError(
            f"{name} does not cover {shown}.",
            hint=_covered_by(wanted),
            details={"elements": list(missing), "potential": name},
            code="uncovered_element",
        )


def _of_file(wanted: Sequence[str], file: PotentialFile) -> Interactions:
    refuse_uncovered(file.name, file.coverage.missing(wanted), wanted)
    if file.name.endswith(SNAP_SCRIPT):
        return _snap_script(file)
    reaxff = file.pair_style == "reaxff"
    return Interactions(
        name=file.name,
        types=tuple(wanted),
        pair_style=file.style,
        coefficients=tuple(f"{on} {words}" for on, words in _coefficients(file, wanted, wanted)),
        files=_files(file),
        styles=(file.pair_style,),
        units=REAL if file.units == "real" else METAL,
        charges=reaxff,
        fixes=("charges all qeq/reaxff 1 0.0 10.0 1.0e-6 reaxff",) if reaxff else (),
        citation=file.citation,
        max_timestep_fs=0.5 if reaxff else 10.0,
    )


def _coefficients(
    file: PotentialFile, types: Sequence[str], acting_on: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Types, and what follows them (in a hybrid, the style comes between); others are NULL."""
    path = f"{INPUT}/{file.name}"
    mapped = [element if element in acting_on else "NULL" for element in types]
    if file.pair_style == "eam":  # one element, which the file does not let us name
        number = types.index(acting_on[0]) + 1
        return ((f"{number} {number}", path),)
    if file.pair_style == "meam":
        library, entries = meam_library(file.path)
        labels = [entries[e] if e in acting_on else "NULL" for e in types]
        entry_names = " ".join(entries.values())
        return (("* *", f"{INPUT}/{library} {entry_names} {path} {' '.join(labels)}"),)
    return (("* *", f"{path} {' '.join(mapped)}"),)


def _files(file: PotentialFile) -> tuple[Path, ...]:
    if file.pair_style == "meam":
        return (find_file(meam_library(file.path)[0]), file.path)
    return (file.path,)


def _snap_script(file: PotentialFile) -> Interactions:
    """The commands of a ``.snap`` file; its types are all there, used or not."""
    script = snap_script(file.path.read_text(encoding="utf-8"))
    coefficients = []
    for line in script.coefficients:
        words = [f"{INPUT}/{word}" if word in script.files else word for word in line.split()]
        coefficients.append(" ".join(words))
    return Interactions(
        name=file.name,
        types=script.coverage.elements,
        pair_style=script.style,
        coefficients=tuple(coefficients),
        files=(file.path, *(find_file(name) for name in script.files)),
        styles=tuple(word for word in script.style.split() if word in {"snap", "zbl"}),
        citation=file.citation,
    )


def zbl_style(inner_a: float, outer_a: float) -> str:
    """``zbl INNER OUTER``: a repulsive core, switched off between two distances, Å.

    Raises:
        InvalidInputError: it would not end behind where it begins, or reach too far.
    """
    if not 0 < inner_a < outer_a <= _MAX_ZBL_A:
        raise InvalidInputError(
            f"zbl is switched off from {inner_a:g} to {outer_a:g} Å, which cannot be.",
            hint=f"Give an inner radius above 0 and a larger outer one, at most {_MAX_ZBL_A:g} Å.",
            code="invalid_parameter",
        )
    return f"{ZBL} {inner_a:g} {outer_a:g}"


# -- Lennard-Jones and hybrids -------------------------------------------------------------------


def _lennard_jones(
    wanted: Sequence[str], pairs: Mapping[str, PairParameters], cutoff: float
) -> Interactions:
    table = _pair_table(pairs)
    for element, gas in NOBLE_GASES.items():
        table.setdefault((element, element), gas)
    missing = [element for element in wanted if (element, element) not in table]
    if missing:
        first = missing[0]
        raise InvalidInputError(
            f"{LENNARD_JONES} has no parameters for {', '.join(missing)}: it does not cover it.",
            hint=f'Give them: pairs = {{"{first}-{first}": {{"epsilon": eV, "sigma": Å}}}}.',
            details={"elements": missing},
            code="uncovered_element",
        )
    coefficients = []
    for i, j in combinations_with_replacement(range(len(wanted)), 2):
        a, b = wanted[i], wanted[j]
        one = table.get((a, b)) or _mixed(table[a, a], table[b, b])
        coefficients.append(f"{i + 1} {j + 1} {one.epsilon:.10g} {one.sigma:.10g}")
    return Interactions(
        name=LENNARD_JONES,
        types=tuple(wanted),
        pair_style=f"{LENNARD_JONES} {cutoff:g}",
        coefficients=tuple(coefficients),
        styles=(LENNARD_JONES,),
    )


def _mixed(a: PairParameters, b: PairParameters) -> PairParameters:
    """Lorentz-Berthelot."""
    return PairParameters(epsilon=(a.epsilon * b.epsilon) ** 0.5, sigma=0.5 * (a.sigma + b.sigma))


def _pair_table(pairs: Mapping[str, PairParameters]) -> dict[tuple[str, str], PairParameters]:
    """Both orders of each pair.

    Raises:
        InvalidInputError: a key that is not two elements.
    """
    table = {}
    for key, value in pairs.items():
        a, _, b = key.partition("-")
        if a not in ATOMIC_NUMBERS or b not in ATOMIC_NUMBERS:
            raise InvalidInputError(f"{key!r} is no pair of elements.", hint='Write "Ar-Cu".')
        table[a, b] = table[b, a] = value
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One style of a hybrid: its arguments, and its coefficients after their types.

    ``pairs`` are those that it acts on; one that ``binds`` covers them.
    """

    style: str
    coefficients: tuple[tuple[str, str], ...]
    pairs: frozenset[tuple[str, str]]
    files: tuple[Path, ...] = ()
    binds: bool = True


def _hybrid(wanted: Sequence[str], parameters: LammpsParameters) -> Interactions:
    parts = [_part(wanted, part) for part in parameters.hybrid]
    covered = frozenset[tuple[str, str]]().union(*(part.pairs for part in parts if part.binds))
    pairs = list(combinations_with_replacement(wanted, 2))
    uncovered = [f"{a}-{b}" for a, b in pairs if (a, b) not in covered]
    refuse_uncovered("The hybrid", uncovered, wanted)
    if parameters.hybrid_mode == "exclusive":
        _refuse_twice(pairs, parts)
    mode = "hybrid/overlay" if parameters.hybrid_mode == "overlay" else "hybrid"
    names = [part.style.split()[0] for part in parts]
    coefficients = []
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        of_this = f"{name} {names[: number + 1].count(name)}" if names.count(name) > 1 else name
        coefficients += [f"{types} {of_this} {words}" for types, words in part.coefficients]
    citations = [
        potential_file(part.potential).citation
        for part in parameters.hybrid
        if part.potential not in {LENNARD_JONES, ZBL}
    ]
    return Interactions(
        name="+".join(part.potential for part in parameters.hybrid),
        types=tuple(wanted),
        pair_style=f"{mode} {' '.join(part.style for part in parts)}",
        coefficients=tuple(coefficients),
        files=tuple(dict.fromkeys(file for part in parts for file in part.files)),
        styles=(mode, *dict.fromkeys(names)),
        citation="; ".join(citation for citation in citations if citation),
    )


def _refuse_twice(pairs: Sequence[tuple[str, str]], parts: Sequence[_Part]) -> None:
    for pair in pairs:
        if sum(pair in part.pairs for part in parts) > 1:
            raise InvalidInputError(
                f"Two potentials act on {'-'.join(pair)}.",
                hint="Use hybrid_mode 'overlay' if they are meant to be added.",
                code="invalid_hybrid",
            )


def _part(wanted: Sequence[str], part: HybridPart) -> _Part:
    number = {element: i + 1 for i, element in enumerate(wanted)}
    if part.potential == LENNARD_JONES:
        lines, pairs = [], set()
        for (a, b), one in _pair_table(part.pairs).items():
            if a in number and b in number and number[a] <= number[b]:
                types = f"{number[a]} {number[b]}"
                lines.append((types, f"{one.epsilon:.10g} {one.sigma:.10g} {part.cutoff:g}"))
                pairs.add((a, b))
        _refuse_idle(part.potential, lines)
        return _Part(
            style=f"{LENNARD_JONES} {part.cutoff:g}",
            coefficients=tuple(lines),
            pairs=frozenset(pairs),
        )
    if part.potential == ZBL:
        chosen = [e for e in wanted if not part.elements or e in part.elements]
        _refuse_idle(part.potential, chosen)
        repelled = list(combinations_with_replacement(chosen, 2))
        zs = [
            (f"{number[a]} {number[b]}", f"{ATOMIC_NUMBERS[a]} {ATOMIC_NUMBERS[b]}")
            for a, b in repelled
        ]
        return _Part(
            style=zbl_style(part.inner, part.outer),
            coefficients=tuple(zs),
            pairs=frozenset(repelled),
            binds=False,
        )
    return _file_part(wanted, part)


def _refuse_idle(name: str, acting: Sequence[object]) -> None:
    if not acting:
        raise InvalidInputError(
            f"{name} acts on no element of the structure.", code="invalid_hybrid"
        )


def _file_part(wanted: Sequence[str], part: HybridPart) -> _Part:
    file = potential_file(part.potential)
    if file.units != METAL.name or file.name.endswith(SNAP_SCRIPT):
        raise InvalidInputError(
            f"{file.name} cannot be one part of a hybrid here.",
            hint="Parts are in metal units and use one style each.",
            code="invalid_hybrid",
        )
    acting = [e for e in wanted if e in (part.elements or file.elements)]
    refuse_uncovered(file.name, file.coverage.missing(acting), wanted)
    _refuse_idle(file.name, acting)
    return _Part(
        style=file.style,
        coefficients=_coefficients(file, wanted, acting),
        pairs=frozenset((a, b) for a in acting for b in acting),
        files=_files(file),
    )
