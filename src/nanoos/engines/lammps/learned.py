"""Machine-learned potentials: natively where LAMMPS has the style, else by ``fix external``."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from nanoos.core.errors import InvalidInputError
from nanoos.engines.lammps.catalogue import find_file
from nanoos.engines.lammps.coverage import snap_elements
from nanoos.engines.lammps.interactions import INPUT, Interactions, refuse_uncovered
from nanoos.engines.lammps.parameters import MLPotentialConfig
from nanoos.structures.elements import ATOMIC_NUMBERS

_ZERO_CUTOFF_A: Final = 4.0
"""Reach of the ghost atoms beside a universal potential, which asks for none."""


def universal_interactions(wanted: Sequence[str], name: str) -> Interactions:
    """A universal potential of this package, asked by ``fix external`` in every step.

    Raises:
        InvalidInputError: code ``uncovered_element``.
        UnavailableError: it cannot run here.
    """
    from nanoos.potentials import check_elements, check_potential

    check_elements(name, wanted)
    check_potential(name)
    return Interactions(
        name=name,
        types=tuple(wanted),
        pair_style=f"zero {_ZERO_CUTOFF_A:g} nocoeff",
        coefficients=("* *",),
        styles=("zero",),
        universal=name,
    )


def learned_interactions(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
    """The potential that ``ml_potential_config`` describes.

    Raises:
        InvalidInputError: an unknown descriptor, a missing file or an element not covered.
        NotFoundError: a file that is not in the folders of potentials.
    """
    from nanoos.potentials import POTENTIALS

    kind = config.descriptor_type.casefold()
    if kind in _NATIVE:
        needed, build = _NATIVE[kind]
        _check_files(config, needed)
        return build(wanted, config)
    if config.descriptor_type in POTENTIALS and not config.files:
        return universal_interactions(wanted, POTENTIALS.canonical_name(config.descriptor_type))
    known = sorted({*(name.upper() for name in _NATIVE), *POTENTIALS.names()} - {"LJ"})
    raise InvalidInputError(
        f"There is no machine-learned potential {config.descriptor_type!r}"
        f"{' that takes files' if config.files else ''}.",
        hint=f"There are: {', '.join(known)}.",
        code="unknown_descriptor",
    )


def _check_files(config: MLPotentialConfig, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in config.files]
    unknown = sorted(set(config.files) - set(needed))
    if missing or unknown:
        raise InvalidInputError(
            f"{config.descriptor_type} takes the files {', '.join(needed)}: "
            + (f"{missing[0]} is missing." if missing else f"not {unknown[0]}."),
            hint="Names of files in the folder of potentials (NANO_OS_LAMMPS_POTENTIAL_DIR).",
            code="invalid_potential",
        )


def _check_params(config: MLPotentialConfig, known: Sequence[str]) -> Mapping[str, float]:
    unknown = sorted(set(config.params) - set(known))
    if unknown:
        raise InvalidInputError(
            f"{config.descriptor_type} has no parameter {unknown[0]!r}.",
            hint=f"There are: {', '.join(known) or 'none'}.",
            code="unknown_parameter",
        )
    return config.params


def _covering(name: str, wanted: Sequence[str], elements: Sequence[str]) -> None:
    if not elements:
        raise InvalidInputError(
            f"{name} does not say its elements.", hint="Set ml_potential_config.elements."
        )
    refuse_uncovered(name, [e for e in wanted if e not in elements], wanted)


def _snap(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
    """pair_style snap, with a ZBL core where params ask for one."""
    coefficients, parameters = (
        find_file(config.files[key]) for key in ("coefficients", "parameters")
    )
    try:
        elements = snap_elements(coefficients.read_text(encoding="utf-8")).elements
    except (ValueError, IndexError) as error:
        raise InvalidInputError(
            f"{coefficients.name} holds no SNAP coefficients: {error}.",
            code="unreadable_potential",
        ) from error
    _covering(coefficients.name, wanted, elements)
    params = _check_params(config, ("zbl_inner", "zbl_outer"))
    line = f"{INPUT}/{coefficients.name} {INPUT}/{parameters.name} {' '.join(wanted)}"
    files = (coefficients, parameters)
    if not params:
        return _plain(coefficients.name, wanted, "snap", f"* * {line}", files)
    core = [
        f"{i + 1} {j + 1} zbl {ATOMIC_NUMBERS[a]} {ATOMIC_NUMBERS[b]}"
        for i, a in enumerate(wanted)
        for j, b in enumerate(wanted)
        if i <= j
    ]
    inner, outer = params.get("zbl_inner", 4.0), params.get("zbl_outer", 4.8)
    return Interactions(
        name=coefficients.name,
        types=tuple(wanted),
        pair_style=f"hybrid/overlay zbl {inner:g} {outer:g} snap",
        coefficients=(*core, f"* * snap {line}"),
        files=files,
        styles=("hybrid/overlay", "zbl", "snap"),
    )


def _plain(
    name: str, types: Sequence[str], style: str, coefficients: str, files: Sequence[Path]
) -> Interactions:
    return Interactions(
        name=name,
        types=tuple(types),
        pair_style=style,
        coefficients=(coefficients,),
        files=tuple(files),
        styles=(style.split(maxsplit=1)[0],),
    )


def _one_file(style: str) -> Callable[[Sequence[str], MLPotentialConfig], Interactions]:
    """Styles whose ``pair_coeff`` is ``* * FILE El1 El2 ...``."""

    def build(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
        file = find_file(config.files["coefficients"])
        _covering(file.name, wanted, config.elements)
        _check_params(config, ())
        words = f"* * {INPUT}/{file.name} {' '.join(wanted)}"
        return _plain(file.name, wanted, style, words, (file,))

    return build


def _pod(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
    parameters, coefficients = (
        find_file(config.files[key]) for key in ("parameters", "coefficients")
    )
    _covering(coefficients.name, wanted, config.elements)
    _check_params(config, ())
    words = f"* * {INPUT}/{parameters.name} {INPUT}/{coefficients.name} {' '.join(wanted)}"
    return _plain(coefficients.name, wanted, "pod", words, (parameters, coefficients))


def _gap(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
    """pair_style quip; the sparse points (``gp.xml.sparseX*``) lie beside the file."""
    file = find_file(config.files["coefficients"])
    _covering(file.name, wanted, config.elements)
    _check_params(config, ())
    numbers = " ".join(str(ATOMIC_NUMBERS[element]) for element in wanted)
    beside = sorted(file.parent.glob(f"{file.name}.sparseX*"))
    words = f'* * {INPUT}/{file.name} "Potential xml_label=" {numbers}'
    return _plain(file.name, wanted, "quip", words, (file, *beside))


_Builder = Callable[[Sequence[str], MLPotentialConfig], Interactions]

_NATIVE: Final[dict[str, tuple[tuple[str, ...], _Builder]]] = {
    "snap": (("coefficients", "parameters"), _snap),
    "ace": (("coefficients",), _one_file("pace")),
    "gap": (("coefficients",), _gap),
    "uf3": (("coefficients",), _one_file("uf3 3")),
    "pod": (("coefficients", "parameters"), _pod),
    "nequip": (("coefficients",), _one_file("nequip")),
}
"""Descriptor to the files it takes and what builds its commands. Whether the style is compiled
in is asked from the program."""
