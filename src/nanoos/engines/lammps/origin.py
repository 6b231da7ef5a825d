"""What a result says of its origin."""

import shlex
from pathlib import Path

from nanoos import __version__
from nanoos.core.records import Provenance
from nanoos.engines.base import hashes
from nanoos.engines.lammps.case import Case
from nanoos.engines.lammps.program import LammpsProgram
from nanoos.engines.lammps.script import SCRIPT_FILE


def provenance_of(case: Case, program: LammpsProgram, input_dir: Path) -> Provenance:
    """How a result was made; with a universal potential, that potential's version stands in it."""
    software = {"nanoos": __version__, "lammps": program.version}
    version, weights = f"{__version__}/{program.version}", None
    command = f"{shlex.join(program.command)} -in {SCRIPT_FILE}"
    inputs = hashes(input_dir)
    if case.potential.universal is not None:
        from nanoos.potentials import get_potential

        potential = get_potential(case.potential.universal)
        software |= potential.software
        version, weights = f"{__version__}/{potential.version}", potential.weights_sha256
        command = f"python -m nanoos.engines.lammps.external {potential.name} {SCRIPT_FILE}"
    elif case.potential.files:
        weights = inputs[case.potential.files[-1].name]
    return Provenance(
        producer=f"LAMMPS/{case.potential.name}",
        version=version,
        weights_sha256=weights,
        parameters=case.parameters.model_dump(mode="json"),
        software=software,
        command=command,
        inputs_sha256=inputs,
    )


def labels_of(case: Case, program: LammpsProgram, parts: int) -> dict[str, str]:
    """What was run, in words; ``parts`` counts the starts of the program."""
    labels = {
        "backend": f"LAMMPS {program.version}"
        + (f", fix external, {case.potential.name}" if case.potential.universal else ""),
        "potential": case.potential.name,
        "pair_style": case.potential.pair_style,
        "simulation_cell": f"{case.structure.formula}, {case.structure.n_sites} atoms",
    }
    if case.potential.citation:
        labels["citation"] = case.potential.citation
    if parts > 1:
        labels["resumed"] = f"{parts - 1} times"
    return labels
