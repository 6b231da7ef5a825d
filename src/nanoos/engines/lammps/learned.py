"""Machine-learned potentials: natively where LAMMPS has the style, else by ``fix external``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from nanoos.core.errors import InvalidInputError
from nanoos.engines.lammps.catalogue import find_file
from nanoos.engines.lammps.coverage import Coverage, pod_elements, snap_elements, uf3_elements
from nanoos.engines.lammps.interactions import INPUT, Interactions, refuse_uncovered, zbl_style
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
    from nanoos.potentials import POTENTIALS, check_elements

    _refuse_left_out(wanted, config)
    kind = config.descriptor_type.casefold()
    if kind in _NATIVE:
        needed, build = _NATIVE[kind]
        _check_files(config, needed)
        return build(wanted, config)
    if config.descriptor_type in POTENTIALS:
        if config.files:
            raise InvalidInputError(
                f"{config.descriptor_type} takes no files in a run.",
                hint="Leave files out. Weights of your own are added once: nanoos models add.",
                code="invalid_potential",
            )
        _check_params(config, ())
        named = (*wanted, *config.elements)
        check_elements(config.descriptor_type, named)
        return universal_interactions(wanted, POTENTIALS.canonical_name(config.descriptor_type))
    known = sorted({*(name.upper() for name in _NATIVE), *POTENTIALS.names()} - {"LJ"})
    raise InvalidInputError(
        f"There is no machine-learned potential {config.descriptor_type!r}.",
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


def _refuse_left_out(wanted: Sequence[str], config: MLPotentialConfig) -> None:
    missing = [element for element in wanted if element not in config.elements]
    if config.elements and missing:
        raise InvalidInputError(
            f"The structure has {', '.join(missing)}, ml_potential_config.elements only "
            f"{', '.join(config.elements)}.",
            hint="Name the elements that the potential is for, or choose one that covers these.",
            details={"elements": missing},
            code="uncovered_element",
        )


def _covering(
    file: Path,
    wanted: Sequence[str],
    config: MLPotentialConfig,
    read: Callable[[str], Coverage] | None = None,
) -> None:
    """Refuse what the file does not cover; ``read`` asks the file itself.

    Raises:
        InvalidInputError: an element that is not covered, one that is said to be and is not, or
            a file that cannot be read or needs to be told its elements.
    """
    if read is None:
        if not config.elements:
            raise InvalidInputError(
                f"{file.name} does not say its elements.", hint="Set ml_potential_config.elements."
            )
        return
    try:
        elements = read(file.read_text(encoding="utf-8")).elements
    except (ValueError, IndexError) as error:
        raise InvalidInputError(
            f"{file.name} is no file of {config.descriptor_type}: {error}.",
            code="unreadable_potential",
        ) from error
    refuse_uncovered(file.name, [e for e in wanted if e not in elements], wanted)
    foreign = [element for element in config.elements if element not in elements]
    if foreign:
        raise InvalidInputError(
            f"{file.name} is for {', '.join(elements)}, not for {', '.join(foreign)}.",
            hint="Correct ml_potential_config.elements, or leave it out.",
            details={"elements": foreign, "potential": file.name},
            code="invalid_potential",
        )


def _snap(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
    """pair_style snap, with a ZBL core where params ask for one."""
    coefficients, parameters = (
        find_file(config.files[key]) for key in ("coefficients", "parameters")
    )
    _covering(coefficients, wanted, config, snap_elements)
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
    zbl = zbl_style(params.get("zbl_inner", 4.0), params.get("zbl_outer", 4.8))
    return Interactions(
        name=coefficients.name,
        types=tuple(wanted),
        pair_style=f"hybrid/overlay {zbl} snap",
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


def _one_file(
    style: str, read: Callable[[str], Coverage] | None = None
) -> Callable[[Sequence[str], MLPotentialConfig], Interactions]:
    """Styles whose ``pair_coeff`` is ``* * FILE El1 El2 ...``."""

    def build(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
        file = find_file(config.files["coefficients"])
        _covering(file, wanted, config, read)
        _check_params(config, ())
        words = f"* * {INPUT}/{file.name} {' '.join(wanted)}"
        return _plain(file.name, wanted, style, words, (file,))

    return build


def _pod(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
    parameters, coefficients = (
        find_file(config.files[key]) for key in ("parameters", "coefficients")
    )
    _covering(parameters, wanted, config, pod_elements)
    _check_params(config, ())
    words = f"* * {INPUT}/{parameters.name} {INPUT}/{coefficients.name} {' '.join(wanted)}"
    return _plain(coefficients.name, wanted, "pod", words, (parameters, coefficients))


def _gap(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
    """pair_style quip; the sparse points (``gp.xml.sparseX*``) lie beside the file."""
    file = find_file(config.files["coefficients"])
    _covering(file, wanted, config)
    _check_params(config, ())
    numbers = " ".join(str(ATOMIC_NUMBERS[element]) for element in wanted)
    beside = sorted(file.parent.glob(f"{file.name}.sparseX*"))
    words = f'* * {INPUT}/{file.name} "Potential xml_label=" {numbers}'
    return _plain(file.name, wanted, "quip", words, (file, *beside))


def _nequip(wanted: Sequence[str], config: MLPotentialConfig) -> Interactions:
    """pair_style nequip, which refuses to run with newton on."""
    return replace(_one_file("nequip")(wanted, config), newton=False)


_Builder = Callable[[Sequence[str], MLPotentialConfig], Interactions]

_NATIVE: Final[dict[str, tuple[tuple[str, ...], _Builder]]] = {
    "snap": (("coefficients", "parameters"), _snap),
    "ace": (("coefficients",), _one_file("pace")),
    "gap": (("coefficients",), _gap),
    "uf3": (("coefficients",), _one_file("uf3 3", uf3_elements)),
    "pod": (("coefficients", "parameters"), _pod),
    "nequip": (("coefficients",), _nequip),
}
"""Descriptor to the files it takes and what builds its commands. Whether the style is compiled
in is asked from the program."""
