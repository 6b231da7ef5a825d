"""What the engine works with: crystal, choices and files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nanoos.engines.espresso.choices import Choices, choose, choose_as_metal
from nanoos.engines.espresso.input_file import PwTask, Value, starting_magnetizations
from nanoos.engines.espresso.orientation import Orientation, orientation
from nanoos.engines.espresso.parameters import EspressoParameters
from nanoos.pseudopotentials import PseudopotentialFamily, get_family
from nanoos.structures import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a run is of, wherever pw.x is."""

    structure: Structure
    parameters: EspressoParameters
    family: PseudopotentialFamily
    choices: Choices
    orientation: Orientation
    input_dir: Path
    output_dir: Path

    def as_metal(self, stage: str) -> "Setting":
        """The same with the choices for a metal, because ``stage`` found no gap."""
        choices = choose_as_metal(self.structure, self.parameters, self.family, stage)
        return replace(self, choices=_explained(choices, self.orientation))


def setting_of(
    structure: Structure, parameters: EspressoParameters, input_dir: Path, output_dir: Path
) -> Setting:
    """What the rules make of a crystal and its parameters; errors as of ``choose``."""
    family = get_family(parameters.family)
    turning = orientation(structure, keep=parameters.in_plane)
    return Setting(
        structure=structure,
        parameters=parameters,
        family=family,
        choices=_explained(choose(structure, parameters, family), turning),
        orientation=turning,
        input_dir=input_dir,
        output_dir=output_dir,
    )


def task_of(setting: Setting, *, pseudo_dir: str, outdir: str) -> PwTask:
    """The SCF that every workflow begins with; relaxations change it."""
    structure, parameters, choices = setting.structure, setting.parameters, setting.choices
    pseudos = setting.family.of(structure.species)
    valences = {symbol: pseudo.z_valence for symbol, pseudo in pseudos.items()}
    electrons: dict[str, Value] = {
        "conv_thr": structure.n_sites * parameters.conv_thr_ry_per_atom,
        "electron_maxstep": parameters.max_scf_steps,
    }
    settings: dict[str, Mapping[str, Value]] = {"electrons": electrons}
    if choices.polarised:
        settings["system"] = starting_magnetizations(choices, valences)
    return PwTask(
        calculation="scf",
        structure=setting.orientation.to_pw(structure),
        choices=choices,
        pseudos={symbol: pseudo.file for symbol, pseudo in pseudos.items()},
        pseudo_dir=pseudo_dir,
        outdir=outdir,
        settings=settings,
    )


def _explained(choices: Choices, turning: Orientation) -> Choices:
    return replace(choices, reasons={**choices.reasons, **turning.reasons()})
