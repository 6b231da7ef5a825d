"""Complete Quantum ESPRESSO inputs with a predicted mesh."""

from dataclasses import dataclass
from typing import Final, Literal

from nanoos.core.errors import InvalidInputError
from nanoos.kpoints import KMesh
from nanoos.structures import Structure

_MOST_DIVISIONS = 200

PSEUDO_FOLDER: Final = "pseudos"
"""Where an input expects its pseudopotentials, from the folder that pw.x is started in."""

Shift = Literal[0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class EspressoInput:
    """An input of pw.x.

    Attributes:
        text: Of the file.
        filename: ``Si.scf.in``.
        family: Pseudopotentials it names.
        pseudopotentials: Element to file name.
        reasons: Name of a choice to why it was made.
    """

    text: str
    filename: str
    family: str
    pseudopotentials: dict[str, str]
    reasons: dict[str, str]


def espresso_input(
    structure: Structure, mesh: KMesh, *, family: str | None = None
) -> EspressoInput:
    """A complete SCF input: cutoffs, smearing and spin by the rules of the engine, this mesh.

    Args:
        structure: As given.
        mesh: Of k-points.
        family: Installed pseudopotential family; None for the default one.

    Raises:
        NotFoundError: the family is not installed; the hint has the command.
        InvalidInputError: the family lacks an element, or the mesh is too fine for pw.x.
    """
    from nanoos.engines.espresso.choices import choose
    from nanoos.engines.espresso.input_file import PwTask, pw_input, starting_magnetizations
    from nanoos.engines.espresso.orientation import orientation
    from nanoos.engines.espresso.parameters import ScfParameters
    from nanoos.pseudopotentials import DEFAULT_FAMILY, get_family

    if max(mesh.divisions) > _MOST_DIVISIONS:
        raise InvalidInputError(f"A mesh of {mesh.divisions} points is too fine for an input.")
    name = family or DEFAULT_FAMILY
    pseudos = get_family(name)
    parameters = ScfParameters(family=name, kmesh=mesh.divisions, kshift=_zero_or_one(mesh))
    choices, turning = choose(structure, parameters, pseudos), orientation(structure)
    used = pseudos.of(structure.species)
    files = {symbol: used[symbol].file for symbol in structure.elements}
    valences = {symbol: used[symbol].z_valence for symbol in structure.elements}
    task = PwTask(
        calculation="scf",
        structure=turning.to_pw(structure),
        choices=choices,
        pseudos=files,
        pseudo_dir=f"./{PSEUDO_FOLDER}",
        settings={
            "system": starting_magnetizations(choices, valences),
            "electrons": {
                "conv_thr": structure.n_sites * parameters.conv_thr_ry_per_atom,
                "electron_maxstep": parameters.max_scf_steps,
            },
        },
    )
    return EspressoInput(
        text=pw_input(task),
        filename=f"{structure.formula}.scf.in",
        family=name,
        pseudopotentials=files,
        reasons={
            **choices.reasons,
            **turning.reasons(),
            "mesh": "that of the k-point prediction",
        },
    )


def pseudopotential_files(made: EspressoInput) -> dict[str, bytes]:
    """The files that an input names, as pw.x gets them from the engine: name to content.

    Raises:
        NotFoundError: the family is no longer installed.
        InvalidInputError: a file of it was changed.
    """
    from nanoos.engines.espresso.parameters import ScfParameters
    from nanoos.engines.espresso.pseudo_files import pseudo_file
    from nanoos.pseudopotentials import get_family

    family, checked = get_family(made.family), ScfParameters(family=made.family)
    return {
        file: pseudo_file(family, symbol, checked) for symbol, file in made.pseudopotentials.items()
    }


def _zero_or_one(mesh: KMesh) -> tuple[Shift, Shift, Shift]:
    first, second, third = mesh.shift
    return _shift(first), _shift(second), _shift(third)


def _shift(moved: int) -> Shift:
    return 1 if moved else 0
