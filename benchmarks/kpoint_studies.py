"""How the k-point models do against real convergence studies with QE, on small crystals.

    python benchmarks/kpoint_studies.py run --work FOLDER [--crystals Si MgO ...] [--studies FILE]
    python benchmarks/kpoint_studies.py report --output FOLDER [--studies FILE]

Each study is a job in a laboratory in FOLDER; `run` goes on where it was, and in the end writes every
study of the laboratory to FILE, which is benchmarks/kpoint_studies.jsonl unless another is named.
Hours on one core: metals need fine meshes. pw.x is the one of your own settings; pseudopotentials are
taken from shared/pseudos, beside the checkout. `report` needs no pw.x: it judges both models at 0.95
against the studies of FILE, draws kpoint_studies.svg and writes the table of the documentation to
kpoint_studies.md. `benchmarks/kpoints_models.py forest --studies FILE` learns from them.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from acwf import open_laboratory, users_command
from nanoos.kpoints import kpoint_model, length_from_kdist
from nanoos.kpoints.studies import StudyFile, judge
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.structures import Structure

FCC = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
BCC = [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]]
CUBE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
ONE = [[0, 0, 0]]
ROCKSALT = [[0, 0, 0], [0.5, 0.5, 0.5]]
DIAMOND = [[0, 0, 0], [0.25, 0.25, 0.25]]
PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
CRYSTALS = {
    "Si": ("Si Si", FCC, 5.43, DIAMOND),
    "C": ("C C", FCC, 3.567, DIAMOND),
    "SiC": ("Si C", FCC, 4.36, DIAMOND),
    "BN": ("B N", FCC, 3.615, DIAMOND),
    "AlP": ("Al P", FCC, 5.46, DIAMOND),
    "GaAs": ("Ga As", FCC, 5.65, DIAMOND),
    "MgO": ("Mg O", FCC, 4.21, ROCKSALT),
    "LiF": ("Li F", FCC, 4.03, ROCKSALT),
    "NaCl": ("Na Cl", FCC, 5.64, ROCKSALT),
    "TiC": ("Ti C", FCC, 4.33, ROCKSALT),
    "Al": ("Al", FCC, 4.05, ONE),
    "Cu": ("Cu", FCC, 3.615, ONE),
    "Li": ("Li", BCC, 3.51, ONE),
    "W": ("W", BCC, 3.165, ONE),
    "NiAl": ("Ni Al", CUBE, 2.887, ROCKSALT),
    "SrTiO3": ("Sr Ti O O O", CUBE, 3.905, PEROVSKITE),
}
"""Elements, lattice, edge of the cube (Å, measured), fractional coordinates."""
STUDIES = Path(__file__).with_name("kpoint_studies.jsonl")
ENDED = ("completed", "failed", "cancelled")


def crystal(name: str) -> Structure:
    symbols, lattice, a, sites = CRYSTALS[name]
    return Structure(
        lattice=a * np.array(lattice, dtype=float),
        species=tuple(symbols.split()),
        frac_coords=np.array(sites, dtype=float),
    )


def run(arguments: argparse.Namespace) -> None:

    from nanoos.worker import LocalWorker

    arguments.work.mkdir(parents=True, exist_ok=True)
    settings, lab = open_laboratory(arguments.work.resolve(), users_command())
    ids = {}
    for name in arguments.crystals:
        record, _ = lab.structures.add(crystal(name), LOCAL_PRINCIPAL, source={"kind": "benchmark"})
        ids[name] = lab.kpoint_studies.submit(record.id, LOCAL_PRINCIPAL).id
    worker = LocalWorker(lab, settings, queues=["dft"], concurrency=arguments.concurrency)
    worker.start()
    said: dict[str, str] = {}
    try:
        while True:
            now = {name: lab.simulations.get(one, LOCAL_PRINCIPAL) for name, one in ids.items()}
            for name, study in now.items():
                line = f"{study.state} {study.message or ''}"
                if said.get(name) != line:
                    said[name] = line
                    print(f"{time.strftime('%H:%M:%S')} {name}: {line}")
            if all(study.state in ENDED for study in now.values()):
                break
            time.sleep(arguments.poll)
        export(lab, arguments.studies)
    finally:
        worker.stop()
        lab.close()


def export(lab, path: Path) -> None:
    """Write the studies of a laboratory over those in ``path``."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    print(f"{lab.kpoint_studies.export(part, LOCAL_PRINCIPAL)} studies written to {path}")
    part.replace(path)


def judged(path: Path) -> list[dict]:
    """What both models say of each study, and how they did."""
    rows = []
    for study in StudyFile(path):
        row = {"formula": study.structure.formula, "length_a": study.converged_length}
        for model in ("RF", "ALIGNN"):
            (said,) = kpoint_model(model).predict([study.structure], confidence=0.95)
            verdict = judge(study, said)
            if verdict is not None:
                row[model] = {
                    "length_a": length_from_kdist(said.kdist),
                    "shortest_a": length_from_kdist(said.kdist_upper),
                    "longest_a": length_from_kdist(said.kdist_lower),
                    "length_error_a": verdict.length_error_a,
                    "within": verdict.within,
                    "fine_enough": verdict.fine_enough,
                    "extra_points": verdict.extra_points,
                    "likely_mesh": said.mesh_median.divisions,
                    "error_mev": error_on(study, said.mesh_median.divisions),
                }
        rows.append(row)
    return rows


def report(arguments: argparse.Namespace) -> None:
    rows = judged(arguments.studies)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "kpoint_studies.md").write_text(table(rows))
    print(table(rows))
    draw(rows, arguments.output / "kpoint_studies.svg")
    for model in ("RF", "ALIGNN"):
        done = [row[model] for row in rows if model in row]
        known = [one["error_mev"] for one in done if one["error_mev"] is not None]
        if done:
            print(
                f"{model}: {len(done)} studies, mean error {np.mean([abs(v['length_error_a']) for v in done]):.1f} Å, "
                f"{sum(v['within'] for v in done)} in the interval, "
                f"{sum(v['fine_enough'] for v in done)} fine enough; on the likely mesh at most "
                f"{max(known, default=0):.2f} meV in {len(known)}"
            )


def table(rows: list[dict]) -> str:
    """In Markdown, as docs/kpoints.md has it."""
    lines = [
        (
            "| crystal | study | RF | ALIGNN | careful mesh of RF: points, of those needed "
            "| error on the likely mesh of RF, meV |"
        ),
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        if row["length_a"] is None:
            lines.append(f"| {row['formula']} | not converged | | | | |")
            continue
        said = [
            f"{one['length_a']:.0f} ({one['shortest_a']:.0f} to {one['longest_a']:.0f})"
            for one in (row["RF"], row["ALIGNN"])
        ]
        error = row["RF"]["error_mev"]
        shown = "finer than computed" if error is None else f"{error:.2f}"
        cells = [row["formula"], f"{row['length_a']:.0f}", *said]
        cells += [f"{row['RF']['extra_points']:.1f}", "< 0.01" if shown == "0.00" else shown]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def error_on(study, divisions) -> float | None:
    """|Energy of the cell on a mesh - on the finest|, meV; of the next coarser one that was computed.

    None where the mesh is finer than all that were computed.
    """
    if divisions[0] > study.energies[-1].divisions[0]:
        return None
    there = [one for one in study.energies if one.divisions[0] <= divisions[0]]
    return 1e3 * abs(there[-1].energy_ev - study.energies[-1].energy_ev)


def draw(rows: list[dict], path: Path) -> None:
    """The intervals at 0.95 beside what the studies say."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    rows = [row for row in rows if row["length_a"] is not None]
    for shift, (model, colour) in zip(
        (-0.13, 0.13), {"RF": "#b5651d", "ALIGNN": "#0b6e99"}.items(), strict=True
    ):
        said = [(i + shift, row[model]) for i, row in enumerate(rows) if model in row]
        places = [place for place, _ in said]
        axes.vlines(
            places,
            [one["shortest_a"] for _, one in said],
            [one["longest_a"] for _, one in said],
            color=colour,
            alpha=0.35,
            linewidth=6,
        )
        axes.plot(
            places, [one["length_a"] for _, one in said], "_", color=colour, ms=9, label=model
        )
    axes.plot(
        range(len(rows)), [row["length_a"] for row in rows], "kD", ms=5, label="study with QE"
    )
    axes.set_xticks(range(len(rows)), [row["formula"] for row in rows])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("length of the mesh, Å (2π / spacing)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(frameon=False, ncols=3)
    figure.savefig(path, metadata={"Date": None})
    print(f"Written to {path}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "report"):
        command = commands.add_parser(name)
        command.add_argument("--studies", type=Path, default=STUDIES)
    running, reporting = (commands.choices[name] for name in ("run", "report"))
    running.add_argument("--work", type=Path, required=True, help="folder of the laboratory")
    running.add_argument("--crystals", nargs="+", choices=list(CRYSTALS), default=list(CRYSTALS))
    running.add_argument("--concurrency", type=int, default=1)
    running.add_argument("--poll", type=float, default=5.0, help="seconds")
    reporting.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    {"run": run, "report": report}[arguments.command](arguments)


if __name__ == "__main__":
    main()
