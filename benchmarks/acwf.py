"""Equations of state of QE against the all-electron average of the ACWF study.

    python benchmarks/acwf.py run --work FOLDER [--systems Al-X/FCC ...] [--protocol reference]
    python benchmarks/acwf.py run --work FOLDER --protocol coarse
    python benchmarks/acwf.py report [--work FOLDER] --output FOLDER

Each system and protocol is a job in a laboratory in FOLDER; `run` submits what is not there, tries
again what failed, and works until all have ended. Interrupted or killed, it goes on where it was. What has
ended is kept in `--results`, which is `benchmarks/acwf_results.json`, and is not computed again; with a file of
your own everything is. `report` needs no pw.x: it adds what a laboratory has to the results, draws acwf.svg and
writes the tables of the documentation to acwf.md.

Protocols: `reference` is that of Bosoni et al., Nat. Rev. Phys. 6, 45 (2024), DOI
10.1038/s42254-023-00655-3, as `verification-PBE-v1` of aiida-common-workflows has it for QE: PBE, not
spin-polarised, Fermi-Dirac smearing of 0.0045 Ry (61.2 meV), SCF threshold 1e-10 Ry per atom, the structures
of the study at seven volumes of 94 to 106 %, all on the mesh that has k-points 0.06 Å^-1 apart in the smallest
of them. `coarse` is the same with k-points 0.12 Å^-1 apart, in metals of d electrons 0.15 Å^-1 and in insulators
0.25 Å^-1: an eighth, a fifteenth and a seventieth of the work.
`default` is what this package chooses by itself at the same volumes; where it finds a moment, the
all-electron average, which has none, is no reference, and the crystal is left out of the medians. To see
which choice of it matters, `fermi-dirac`, `narrow`, `dense` and `high` change one: the smearing to the study's,
its width to half, the k-points to 0.06 Å^-1, the cutoffs to the high ones. `trial` shows in minutes that all of
it works; its numbers mean nothing.

Data: shared/data/acwf_eos and shared/pseudos, beside the checkout. pw.x is the one of your own settings.
"""

import argparse
import json
import shlex
import sys
import time
import uuid
from pathlib import Path

from acwf_report import draw, show, table, variants
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines.espresso.eos_metrics import EosDistance, eos_distance
from nanoos.engines.mlip.birch_murnaghan import BirchMurnaghan
from nanoos.structures import Structure

SHARED = Path(__file__).resolve().parents[2] / "shared"
DATA = SHARED / "data" / "acwf_eos"
PSEUDOS = SHARED / "pseudos" / "pseudodojo_pbe_sr_v0.4.1_standard.tar.xz"
RESULTS = Path(__file__).with_name("acwf_results.json")
REFERENCE = "AE-average"
STRAIN = 0.06
SMALLEST = (1 - STRAIN) ** (1 / 3)
"""Length of the smallest cell over that of the middle one, for which a workflow here chooses the mesh."""
REFERENCE_PROTOCOL = {
    "accuracy": "high",
    "kdist": 0.06 * SMALLEST,
    "smearing": "fermi-dirac",
    "degauss_ry": 0.0045,
    "spin": "none",
    "conv_thr_ry_per_atom": 1e-10,
}
TRIAL = {"ecutwfc_ry": 24, "kdist": 0.4, "conv_thr_ry_per_atom": 1e-7, "spin": "none"}
COMMON = {"eos_points": 7, "eos_strain": STRAIN, "eos_recentre": False, "relax_atoms": False}
VARIANTS = {
    "fermi-dirac": {"smearing": "fermi-dirac", "degauss_ry": 0.0045},
    "narrow": {"degauss_ry": 0.005},
    "dense": {"kdist": 0.06},
    "high": {"accuracy": "high"},
}
"""The default with one choice changed."""
PROTOCOLS = {
    "reference": REFERENCE_PROTOCOL,
    "coarse": REFERENCE_PROTOCOL | {"kdist": 0.12},  # or COARSER
    "default": {},
    **VARIANTS,
    "trial": TRIAL,
}
SYSTEMS = (
    "Al-X/FCC", "Si-X/Diamond", "Li-X/BCC", "Na-X/BCC", "Mg-X/FCC", "C-X/Diamond", "Ge-X/Diamond",
    "Cu-X/FCC", "Ag-X/FCC", "Au-X/FCC", "Pt-X/FCC", "W-X/BCC", "Pb-X/FCC", "Ti-X/FCC", "Fe-X/BCC",
    "Be-XO", "Mg-XO", "Ca-XO", "Sr-XO", "Ba-XO", "Zn-XO", "Al-X2O3", "Si-XO2", "Ti-XO2", "Zr-XO2",
    "Ge-XO2", "Sn-XO2", "Hf-XO2", "Li-X2O", "Na-X2O", "Rb-X2O", "Cu-X2O", "Al-XO",
    "Si-X/SC", "P-X/SC", "S-X/SC", "Cl-X/SC", "Br-X/SC", "Be-X/BCC", "Rb-X/BCC", "Cs-X/BCC",
    "Ba-X/BCC", "Ta-X/BCC", "Ar-X/FCC", "Kr-X/FCC",
)  # fmt: skip
COARSER = {
    "C-X/Diamond": 0.25, "Si-X/Diamond": 0.25, "Be-XO": 0.25, "Mg-XO": 0.25, "Ca-XO": 0.25, "Sr-XO": 0.25,
    "Ba-XO": 0.25, "Zn-XO": 0.25, "Li-X2O": 0.25, "Na-X2O": 0.25, "Si-XO2": 0.25, "Ti-XO2": 0.25,
    "Zr-XO2": 0.25, "Hf-XO2": 0.25, "Al-X2O3": 0.25, "Ge-XO2": 0.25, "Sn-XO2": 0.25, "Rb-X2O": 0.25,
    "Ti-X/FCC": 0.15, "Fe-X/BCC": 0.15, "Cu-X/FCC": 0.15, "Ag-X/FCC": 0.15, "W-X/BCC": 0.15,
    "Pt-X/FCC": 0.15, "Au-X/FCC": 0.15, "Pb-X/FCC": 0.15, "Cu-X2O": 0.15,
}  # fmt: skip
"""k-points of ``coarse`` that are farther apart, Å^-1."""
ENDED = {"completed", "failed", "cancelled"}
QUICK = ("Al-X/FCC", "Si-X/Diamond")


def tables():
    import pandas as pd

    fits = pd.read_parquet(DATA / "acwf_birch_murnaghan.parquet")
    structures = pd.read_parquet(DATA / "acwf_structures.parquet").set_index("system_file")
    return fits, structures


def curve(row) -> BirchMurnaghan:
    """Of a row of the table, for each atom."""
    return BirchMurnaghan(
        energy_ev=0.0,
        volume_a3=row.V0_A3 / row.natoms,
        bulk_modulus_gpa=row.B0_eV_per_A3 * GPA_PER_EV_A3,
        bulk_modulus_derivative=row.B1,
        rmse_ev=0.0,
        r2=1.0,
    )


def curve_of_result(found: dict) -> BirchMurnaghan:
    return BirchMurnaghan(
        energy_ev=0.0,
        volume_a3=found["v0_a3"],
        bulk_modulus_gpa=found["b0_gpa"],
        bulk_modulus_derivative=found["b1"],
        rmse_ev=found["rmse_ev"],
        r2=1.0,
    )


def file_key(system: str, structures) -> str:
    """The structure's key: the table of fits and that of structures write a system alike or not."""
    for key in (system, system.replace("/", "-"), system.replace("X/", "")):
        if key in structures.index:
            return key
    sys.exit(f"There is no structure of {system}.")


def central_structure(system: str, structures) -> Structure:
    """The crystal of the study, whose volume is the middle of the seven."""
    return Structure.from_dict(json.loads(structures.loc[file_key(system, structures)].structure))


def users_command() -> str:
    """How pw.x is started by the user's own settings."""
    from nanoos.config import load_settings
    from nanoos.core.folders import set_data_dir
    from nanoos.engines.espresso.program import find_program, set_command

    settings = load_settings()
    set_data_dir(settings.data_dir)
    set_command(settings.qe_command)
    return shlex.join(find_program().command)


def open_laboratory(work: Path, command: str = ""):
    """The laboratory in ``work``, with the pseudopotentials of the study."""
    from nanoos.bootstrap import open_services
    from nanoos.pseudopotentials import DEFAULT_FAMILY, families, install_family

    pseudo_dir = str(work / "pseudos")
    settings, lab = open_services(data_dir=work, qe_command=command, pseudo_dir=pseudo_dir)
    if command and DEFAULT_FAMILY not in {family.name for family in families()}:
        install_family(PSEUDOS)
    return settings, lab


def plans(systems, protocols):
    return [(system, protocol) for system in systems for protocol in protocols]


def submit(lab, arguments):
    from nanoos.services.access import LOCAL_PRINCIPAL

    _, structures = tables()
    work, ids, known = arguments.work, read_ids(arguments.work), read_results(arguments.results)
    for system, protocol in plans(arguments.systems, arguments.protocol):
        key = f"{system} {protocol}"
        if key in known:
            continue
        if key in ids:
            try_again(lab, uuid.UUID(ids[key]))
            continue
        structure = central_structure(system, structures)
        record, _ = lab.structures.add(structure, LOCAL_PRINCIPAL, source={"kind": "acwf"})
        simulation = lab.simulations.submit(
            record.id,
            LOCAL_PRINCIPAL,
            engine="QE",
            workflow="equation_of_state",
            parameters=parameters_of(system, protocol),
        )
        ids[key] = str(simulation.id)
        (work / "acwf.json").write_text(json.dumps(ids, indent=1) + "\n")
    return ids


def try_again(lab, simulation_id) -> None:
    from nanoos.services.access import LOCAL_PRINCIPAL

    simulation = lab.simulations.get(simulation_id, LOCAL_PRINCIPAL)
    if simulation.state in {"failed", "cancelled"}:
        lab.jobs.retry(simulation.job_id, LOCAL_PRINCIPAL)


def parameters_of(system: str, protocol: str) -> dict:
    chosen = {**COMMON, **PROTOCOLS[protocol]}
    if protocol == "coarse":
        chosen["kdist"] = COARSER.get(system, chosen["kdist"])
    return chosen


def read_ids(work: Path) -> dict[str, str]:
    path = work / "acwf.json"
    return json.loads(path.read_text()) if path.exists() else {}


def read_results(path: Path) -> dict[str, dict]:
    """What has been computed: of "Al-X/FCC coarse" the values for each atom."""
    return json.loads(path.read_text()) if path.exists() else {}


def write_results(path: Path, results: dict[str, dict]) -> None:
    lines = [f"{json.dumps(key)}: {json.dumps(results[key])}" for key in sorted(results)]
    part = path.with_suffix(".part")
    part.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    part.replace(path)


def run(arguments) -> None:
    from nanoos.services.access import LOCAL_PRINCIPAL
    from nanoos.worker import LocalWorker

    arguments.work.mkdir(parents=True, exist_ok=True)
    settings, lab = open_laboratory(arguments.work.resolve(), users_command())
    ids = submit(lab, arguments)
    worker = LocalWorker(lab, settings, queues=["dft"], concurrency=arguments.concurrency)
    worker.start()
    try:
        said = {}
        while True:
            now = {k: lab.simulations.get(uuid.UUID(i), LOCAL_PRINCIPAL) for k, i in ids.items()}
            for key, simulation in now.items():
                line = f"{simulation.state} {100 * simulation.progress:3.0f} %"
                if said.get(key) != line:
                    said[key] = line
                    print(f"{time.strftime('%H:%M:%S')} {key}: {line} {simulation.message or ''}")
                    if simulation.state in ENDED:
                        add_results(arguments.results, {key: simulation})
            if all(s.state in ENDED for s in now.values()):
                break
            time.sleep(arguments.poll)
    finally:
        worker.stop()
        lab.close()
    show(rows_of(read_results(arguments.results)))


def add_results(path: Path, simulations) -> None:
    """Keep those of ``simulations`` that have ended well, and say of the others why they failed."""
    results = read_results(path)
    for key, simulation in simulations.items():
        values = simulation.values  # noqa: PD011 - a record, no table
        if values is None:
            if simulation.error and key not in results:
                print(f"{key}: {simulation.error['message']}")
            continue
        provenance = simulation.record["provenance"]
        parameters = provenance["parameters"]
        results[key] = {
            "v0_a3": round(values["equilibrium_volume_a3_per_atom"], 6),
            "b0_gpa": round(values["bulk_modulus_gpa"], 4),
            "b1": round(values["bulk_modulus_derivative"], 4),
            "rmse_ev": values["fit_rmse_ev_per_atom"],
            "moment": values.get("absolute_magnetization_bohr", 0.0)
            / len(simulation.final_structure.species),
            "cpu_s": round(values["cpu_s"], 1),
            "kdist": parameters["choices"]["kdist"],
            "coulomb_tails": parameters["pseudopotentials"]["coulomb_tails"],
            "quantum_espresso": provenance["software"]["quantum-espresso"],
        }
    write_results(path, results)


def report(arguments) -> None:
    from nanoos.services.access import LOCAL_PRINCIPAL

    if arguments.work:
        _, lab = open_laboratory(arguments.work.resolve())
        ids = read_ids(arguments.work)
        ended = {k: lab.simulations.get(uuid.UUID(i), LOCAL_PRINCIPAL) for k, i in ids.items()}
        add_results(arguments.results, ended)
        lab.close()
    rows = rows_of(read_results(arguments.results))
    show(rows)
    arguments.output.mkdir(parents=True, exist_ok=True)
    draw(rows, arguments.output / "acwf.svg")
    (arguments.output / "acwf.md").write_text(table(rows) + "\n" + variants(rows, list(VARIANTS)))
    print(f"Written to {arguments.output / 'acwf.md'}")


def rows_of(results: dict[str, dict]) -> list[dict]:
    """Each result with its distance from the all-electron average, and those of the other codes."""
    fits, _ = tables()
    rows = []
    for key, found in results.items():
        system, protocol = key.rsplit(" ", 1)
        of_system = fits[fits.system == system]
        reference = curve(of_system[of_system.code == REFERENCE].iloc[0])
        others = {
            row.code: as_row(eos_distance(curve(row), reference))
            for row in of_system.itertuples()
            if row.code != REFERENCE
        }
        distance = as_row(eos_distance(curve_of_result(found), reference))
        rows.append({"system": system, "protocol": protocol, **found, **distance, "others": others})
    return rows


def as_row(distance: EosDistance) -> dict[str, float]:
    return {
        "epsilon": distance.epsilon,
        "nu": distance.nu,
        "v0_percent": distance.v0_percent,
        "b0_percent": distance.b0_percent,
        "b1_percent": distance.b1_percent,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--work", type=Path, required=True, help="folder of the laboratory")
    running.add_argument("--systems", nargs="+", default=list(SYSTEMS))
    running.add_argument(
        "--protocol", nargs="+", choices=list(PROTOCOLS), default=["reference", "default"]
    )
    running.add_argument("--concurrency", type=int, default=1)
    running.add_argument("--poll", type=float, default=5.0, help="seconds")
    running.add_argument(
        "--quick", action="store_const", const=list(QUICK), dest="systems", help="two crystals"
    )
    reporting = commands.add_parser("report")
    reporting.add_argument("--work", type=Path, help="folder of the laboratory")
    reporting.add_argument(
        "--output", type=Path, required=True, help="folder for tables and picture"
    )
    for command in (running, reporting):
        command.add_argument("--results", type=Path, default=RESULTS, help="what has been computed")
    arguments = parser.parse_args()
    if (
        arguments.command == "run"
        and "trial" in arguments.protocol
        and arguments.results == RESULTS
    ):
        parser.error("The numbers of a trial mean nothing: give it --results of its own.")
    {"run": run, "report": report}[arguments.command](arguments)


if __name__ == "__main__":
    main()
