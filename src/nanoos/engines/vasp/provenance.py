"""Where a result comes from: the program, the POTCARs, and what its numbers mean."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nanoos import __version__
from nanoos.core.records import Provenance
from nanoos.engines.commands import shown_command
from nanoos.engines.vasp.choices import Choices
from nanoos.engines.vasp.parameters import VaspParameters
from nanoos.engines.vasp.potcars import Potcar
from nanoos.engines.vasp.program import VaspProgram
from nanoos.engines.vasp.reading import VaspRun

_INPUTS: Final = ("INCAR", "KPOINTS", "POSCAR")


def provenance_of(
    parameters: VaspParameters,
    choices: Choices,
    potcars: Mapping[str, Potcar],
    run: VaspRun,
    *,
    program: VaspProgram,
    folders: tuple[Path, Path],
    inputs: Mapping[str, str],
) -> Provenance:
    """Of a workflow that ran here.

    Args:
        parameters: What was asked for.
        choices: What the rules chose.
        potcars: Element to POTCAR.
        run: The last start.
        program: Which VASP.
        folders: Input and output.
        inputs: File name to hash of each input file.
    """
    here, there = (folder.name for folder in folders)
    given = parameters.potcar_titles
    beside = f" with {', '.join(sorted(given.values()))}" if given else ""
    record = {s: [p.title, p.titel, p.sha256] for s, p in potcars.items()}
    together = "".join(potcars[symbol].sha256 for symbol in sorted(potcars))
    return Provenance(
        producer="VASP",
        version=f"{__version__}/{run.version}",
        weights_sha256=hashlib.sha256(together.encode()).hexdigest(),
        parameters={
            **parameters.model_dump(mode="json"),
            "level_of_theory": {
                "functional": parameters.functional,
                "corrections": "none",
                "reference": f"VASP PAW {parameters.potcars}{beside}",
            },
            "pseudopotentials": {"release": parameters.potcars, "files": record},
            "choices": choices.as_dict(),
        },
        software={"nanoos": __version__, "vasp": run.version},
        command=f"python -m nanoos.engines.vasp {here} {there}; the first start alone: "
        f"python -m nanoos.engines.vasp --potcar {here} && cd {here} && {shown_command(program.command)}",
        inputs_sha256=dict(inputs),
    )


def provenance_of_folder(folder: Path, run: VaspRun) -> Provenance:
    """Of a run that somebody made by hand: what its files say."""
    functional = "PBE" if run.run_type == "GGA" and _all_pbe(run) else run.run_type
    found = [folder / name for name in _INPUTS if (folder / name).is_file()]
    return Provenance(
        producer="VASP",
        version=f"{__version__}/{run.version}",
        parameters={
            "workflow": workflow_of(run),
            "incar": {name: _plain(value) for name, value in run.incar.items()},
            "level_of_theory": {
                "functional": functional,
                "corrections": "none",
                "reference": f"VASP {', '.join(run.titels)}",
            },
        },
        software={"nanoos": __version__, "vasp": run.version},
        inputs_sha256={p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found},
    )


def workflow_of(run: VaspRun) -> str:
    """Which of the workflows a run by hand was."""
    if run.relaxed is None:
        return "scf"
    return "vc_relax" if int(run.incar.get("ISIF", 2)) > 2 else "relax"  # noqa: PLR2004


def _all_pbe(run: VaspRun) -> bool:
    return all("PBE" in titel for titel in run.titels)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, list)) else str(value)
