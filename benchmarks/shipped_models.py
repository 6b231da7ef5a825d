"""Make a shipped checkpoint of trained ones: join members, calibrate, measure once, write a card.

    python benchmarks/shipped_models.py --set crystals --name cgcnn_mp --output src/nanoos/models/weights \
        MEMBER.safetensors [MEMBER.safetensors ...]

The members are checkpoints with the same targets, as `nanoos train` leaves them; those of several
architectures become an ENSEMBLE. What those of the package were trained with stands in their cards. Rows of the split ``val`` are
halved by formula: one half shapes sigma and the limits of the domain (and served to choose
models), the other calibrates the intervals. Rows of ``test`` are measured on, once. Needs the
data sets beside the checkout (--data).
"""

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

import nanoos
from nanoos.core.records import LevelOfTheory
from nanoos.features.packed import PackedGraphs
from nanoos.models.baseline import baseline_errors, structure_descriptors
from nanoos.models.calibrating import LabelledGraphs, calibrate, measure, with_domain
from nanoos.models.checkpoint_predictor import CheckpointPredictor, below
from nanoos.models.checkpoints import (
    Checkpoint,
    join_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from nanoos.models.domain import DomainModel, fragments, shaken
from nanoos.models.explain import BASELINE, baseline_vectors
from nanoos.models.graph_outputs import GraphRunner
from nanoos.structures import Structure
from nanoos.structures.elements import SYMBOLS
from nanoos.structures.symmetry import analyze_symmetry

_HARD_ROWS = 20_000
PBE = LevelOfTheory(functional="PBE/PBE+U", corrections="none", reference="none")
MP = LevelOfTheory(
    functional="PBE/PBE+U",
    corrections="Materials Project (legacy)",
    reference="Materials Project elements",
)
HULL = LevelOfTheory(
    functional="PBE/PBE+U",
    corrections="Materials Project (legacy)",
    reference="convex hull of the training crystals",
)
PBESOL = LevelOfTheory(functional="PBEsol", corrections="none", reference="none")


@dataclass(frozen=True, kw_only=True)
class Set:
    """A data set: its file, the column of each target, the meaning of each."""

    path: str
    columns: dict[str, str]
    levels: dict[str, LevelOfTheory]
    attribution: str


SETS = {
    "crystals": Set(
        path="mp_crystals/mp_crystals.parquet",
        columns={
            "formation_energy": "formation_energy_eV_per_atom",
            "bandgap": "band_gap_eV",
            "fermi_energy": "fermi_energy_eV",
        },
        levels={
            "formation_energy": MP,
            "bandgap": PBE,
            "fermi_energy": PBE,
            "is_metal": PBE,
            "e_above_hull_subset": HULL,
        },
        attribution="Materials Project crystals (CC BY 4.0), DOI 10.1063/1.4812323",
    ),
    "elasticity": Set(
        path="mp_elasticity/mp_elasticity.parquet",
        columns={
            "bulk_modulus": "bulk_modulus_GPa",
            "shear_modulus": "shear_modulus_GPa",
            "poisson_ratio": "poisson_ratio",
        },
        levels=dict.fromkeys(("bulk_modulus", "shear_modulus", "poisson_ratio"), PBE),
        attribution="Materials Project elasticity (CC BY 4.0), DOI 10.1038/sdata.2015.9",
    ),
    "dielectric": Set(
        path="mp_dielectric/mp_dielectric.parquet",
        columns={"refractive_index": "refractive_index_n"},
        levels={"refractive_index": PBE},
        attribution="Materials Project dielectric tensors (CC BY 4.0), DOI 10.1038/sdata.2016.134",
    ),
    "phonons": Set(
        path="phonons/phonons.parquet",
        columns={"last_phonon_peak": "last_phdos_peak_cm-1"},
        levels={"last_phonon_peak": PBESOL},
        attribution="Petretto et al. 2018, DOI 10.1038/sdata.2018.65",
    ),
}


def structures_of(table: pd.DataFrame) -> Iterator[Structure]:
    """The crystals of a table, one by one."""
    for text in table["structure"]:
        raw = json.loads(text)
        yield Structure(
            lattice=np.array(raw["lattice"]),
            species=tuple(SYMBOLS[z] for z in raw["atomic_numbers"]),
            frac_coords=np.array(raw["frac_coords"]),
        )


def half_of(formula: str) -> int:
    """0 for the half that chooses, 1 for the half that calibrates; the same everywhere."""
    return int(hashlib.sha256(formula.encode()).hexdigest(), 16) % 2


def hull_distances(table: pd.DataFrame) -> np.ndarray:
    """(n_rows,), eV/atom above the convex hull of the training rows; not below 0.

    The hull of a chemical system holds the elements (at 0) and the lowest training crystal of
    each formula: a lower bound of the distance to the true hull.
    """
    from itertools import combinations

    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
    from pymatgen.core import Composition

    compositions = [Composition(formula) for formula in table["reduced_formula"]]
    energies = table["formation_energy_eV_per_atom"].to_numpy()
    systems = [frozenset(str(e) for e in composition) for composition in compositions]
    lowest: dict[str, int] = {}
    for row in np.flatnonzero(table["split"] == "train"):
        formula = table["reduced_formula"].iloc[row]
        if formula not in lowest or energies[row] < energies[lowest[formula]]:
            lowest[formula] = row
    members: dict[frozenset[str], list[int]] = {}
    for row in lowest.values():
        if energies[row] <= 0:
            members.setdefault(systems[row], []).append(row)
    asked: dict[frozenset[str], list[int]] = {}
    for row, system in enumerate(systems):
        asked.setdefault(system, []).append(row)
    found = np.empty(len(table))
    for system, rows in asked.items():
        entries = [PDEntry(Composition({element: 1}), 0.0) for element in system]
        for size in range(1, len(system) + 1):
            for part in combinations(sorted(system), size):
                entries += [
                    PDEntry(compositions[i], energies[i] * compositions[i].num_atoms)
                    for i in members.get(frozenset(part), ())
                ]
        diagram = PhaseDiagram(entries)
        for row in rows:
            hull = diagram.get_hull_energy_per_atom(compositions[row])
            found[row] = max(0.0, energies[row] - hull)
    return found


def labels_of(table: pd.DataFrame, described: Set) -> dict[str, np.ndarray]:
    """Target to (n_rows,)."""
    labels = {name: table[column].to_numpy(float) for name, column in described.columns.items()}
    if "bandgap" in labels:
        labels["is_metal"] = (labels["bandgap"] <= 0).astype(float)
        labels["e_above_hull_subset"] = hull_distances(table)
    return labels


def labelled(
    table: pd.DataFrame, labels: dict[str, np.ndarray], rows: np.ndarray, k: int, cutoff: float
) -> LabelledGraphs:
    """The rows at ``rows`` as graphs with labels."""
    part = table.iloc[rows]
    crystals = list(structures_of(part))
    return LabelledGraphs(
        graphs=PackedGraphs.from_structures(crystals, k=k, cutoff=cutoff),
        targets={name: values[rows] for name, values in labels.items()},
        formulas=part["reduced_formula"].tolist(),
        groups={"crystal_system": [analyze_symmetry(c).crystal_system for c in crystals]},
    )


def training_sample(
    table: pd.DataFrame, labels: dict[str, np.ndarray], k: int, cutoff: float
) -> LabelledGraphs:
    """Training rows that show what is hard for the networks."""
    rows = np.flatnonzero(table["split"] == "train")
    chosen = np.sort(np.random.default_rng(1).permutation(rows)[:_HARD_ROWS])
    part = table.iloc[chosen]
    return LabelledGraphs(
        graphs=PackedGraphs.from_structures(list(structures_of(part)), k=k, cutoff=cutoff),
        targets={name: values[chosen] for name, values in labels.items()},
        formulas=part["reduced_formula"].tolist(),
        groups={},
    )


def joined(paths: list[Path], name: str, described: Set) -> Checkpoint:
    """One checkpoint with the members of all."""
    checkpoint = join_checkpoints([load_checkpoint(path) for path in paths], name=name)
    targets = tuple(
        replace(target, level_of_theory=described.levels.get(target.name, target.level_of_theory))
        for target in checkpoint.header.targets
    )
    return checkpoint.with_header(targets=targets)


def domain_of(checkpoint: Checkpoint, table: pd.DataFrame, ordinary: LabelledGraphs) -> DomainModel:
    """The domain check, from training rows and the selection half."""
    runner = GraphRunner(checkpoint)
    train = table[table["split"] == "train"]
    crystals = list(structures_of(train))
    graphs = PackedGraphs.from_structures(crystals, k=runner.k, cutoff=runner.cutoff)
    chosen = np.random.default_rng(0).permutation(len(crystals))
    small = [crystals[i] for i in chosen if crystals[i].n_sites <= 40][:3000]
    distorted = [*shaken(small, seed=0), *fragments(small[:300], seed=0)]
    embedded = runner.run(graphs.select(np.sort(chosen[:8000])), dropout_samples=1).pooled
    return DomainModel.fit(
        graphs,
        PackedGraphs.from_structures(distorted, k=runner.k, cutoff=runner.cutoff),
        ordinary.graphs,
        embeddings=embedded,
        ordinary_embeddings=runner.run(ordinary.graphs, dropout_samples=1).pooled,
        n_distorted=3000,
    )


def domain_after(
    start: Path, checkpoint: Checkpoint, training: LabelledGraphs, ordinary: LabelledGraphs
) -> DomainModel:
    """The domain check of a fine-tuned checkpoint, after that of the one it ``start``ed from."""
    before = load_checkpoint(start)
    runner = GraphRunner(checkpoint)
    domain = DomainModel.from_arrays(below(before.arrays, "domain."), before.header.domain)
    return domain.with_embedding(
        runner.run(training.graphs, dropout_samples=1).pooled,
        runner.run(ordinary.graphs, dropout_samples=1).pooled,
    )


def with_explanations(checkpoint: Checkpoint, table: pd.DataFrame) -> Checkpoint:
    """The checkpoint with the mean vector of training crystals, which explanations start from."""
    train = table[(table["split"] == "train") & (table["nsites"] <= 40)]
    crystals = list(structures_of(train.sample(min(4000, len(train)), random_state=0)))
    predictor = CheckpointPredictor(checkpoint)
    graphs = PackedGraphs.from_structures(
        crystals, k=predictor.runner.k, cutoff=predictor.runner.cutoff
    )
    arrays = {**checkpoint.arrays, BASELINE: baseline_vectors(predictor, graphs)}
    return replace(checkpoint, arrays=arrays, sha256="")


def with_baseline(
    checkpoint: Checkpoint, table: pd.DataFrame, labels: dict[str, np.ndarray]
) -> Checkpoint:
    """The checkpoint with the test error of a random forest on the same rows, for its card."""
    parts = {name: np.flatnonzero(table["split"] == name) for name in ("train", "test")}
    described = {
        name: structure_descriptors(list(structures_of(table.iloc[rows])))
        for name, rows in parts.items()
    }
    targets = [t.name for t in checkpoint.header.targets if t.kind == "regression"]
    errors = baseline_errors(
        described["train"],
        {name: labels[name][parts["train"]] for name in targets},
        described["test"],
        {name: labels[name][parts["test"]] for name in targets},
        formulas=table["reduced_formula"].iloc[parts["test"]].tolist(),
    )
    metrics = {name: dict(found) for name, found in checkpoint.header.metrics.items()}
    for name, error in errors.items():
        metrics[name]["baseline"] = {"model": "random forest", "mae": error.mae}
    return checkpoint.with_header(metrics=metrics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("members", nargs="+", type=Path)
    parser.add_argument("--set", required=True, choices=sorted(SETS), dest="dataset")
    parser.add_argument("--name", required=True)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--started-from", type=Path, help="the checkpoint that was fine-tuned")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    described = SETS[given.dataset]
    path = given.data / described.path
    table = pd.read_parquet(path)
    labels = labels_of(table, described)
    checkpoint = joined(given.members, given.name, described)
    runner = GraphRunner(checkpoint)
    val = np.flatnonzero(table["split"] == "val")
    half = np.array([half_of(formula) for formula in table["reduced_formula"].iloc[val]])
    selection = labelled(table, labels, val[half == 0], runner.k, runner.cutoff)
    calibration = labelled(table, labels, val[half == 1], runner.k, runner.cutoff)
    print(f"{len(selection.formulas)} selection and {len(calibration.formulas)} calibration rows")
    training = training_sample(table, labels, runner.k, runner.cutoff)
    checkpoint = with_domain(
        checkpoint,
        domain_of(checkpoint, table, selection)
        if given.started_from is None
        else domain_after(given.started_from, checkpoint, training, selection),
    )
    checkpoint = calibrate(checkpoint, selection, calibration, training=training)
    checkpoint = with_explanations(checkpoint, table)
    test_rows = np.flatnonzero(table["split"] == "test")
    test = labelled(table, labels, test_rows, runner.k, runner.cutoff)
    metrics = measure(checkpoint, test, source=f"{path.stem}, split test")
    if "in_bench40" in table:
        benchmark = test_rows[table["in_bench40"].to_numpy()[test_rows]]
        part = labelled(table, labels, benchmark, runner.k, runner.cutoff)
        small = measure(checkpoint, part, source="in_bench40, split test")
        for name, found in small.items():
            metrics[name]["in_bench40"] = {
                key: found[key] for key in ("n", "mae", "mae_interval") if key in found
            }
    train = table["split"] == "train"
    checkpoint = checkpoint.with_header(
        metrics=metrics,
        dataset={
            "name": path.stem,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": int(train.sum()),
            "attribution": described.attribution,
        },
        split={
            "method": "composition, as the source gives it",
            "val": "halved by the SHA-256 of the reduced formula: selection, calibration",
            "test": "measured once",
        },
        code_version=nanoos.__version__,
        created=datetime.now(UTC).date().isoformat(),
    )
    checkpoint = with_baseline(checkpoint, table, labels)
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output / f"{given.name}.safetensors"
    digest = save_checkpoint(file, checkpoint)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB, {digest}")
    for name, found in metrics.items():
        shown = {k: v for k, v in found.items() if k not in {"uncertainty", "source"}}
        print(name, json.dumps(shown))


if __name__ == "__main__":
    main()
