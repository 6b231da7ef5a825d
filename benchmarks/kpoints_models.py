"""Make the k-point models of the package.

    python benchmarks/kpoints_models.py network cgcnn --seed 0 --output work     (an hour or so)
    python benchmarks/kpoints_models.py network alignn --seed 0 --output work
    python benchmarks/kpoints_models.py forest [--network work/cgcnn_0.pt ...] [--test]
    python benchmarks/kpoints_models.py alignn --network work/alignn_0.pt [--test]

``network`` trains a quantile network that starts from a shipped checkpoint, saves after every
pass and goes on where it stopped. ``forest`` and ``alignn`` calibrate, measure and write the file
that the package ships. Rows of the split ``val`` are halved by formula: one half chooses, the
other calibrates. Rows of ``test`` are looked at with --test only, once, when all is chosen.
``forest --studies FILE`` also learns from convergence studies of your own.
"""

import argparse
import hashlib
import json
import math
import time
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

import nanoos
from nanoos.features.packed import PackedGraphs
from nanoos.kpoints.alignn_model import AlignnKpointModel
from nanoos.kpoints.answers import Answerer, Card
from nanoos.kpoints.calibration import LEVELS, RawQuantiles, SteppedCalibrator
from nanoos.kpoints.crystal_vectors import CrystalNetwork
from nanoos.kpoints.descriptors import ELEMENT_COLUMNS, kpoint_descriptors
from nanoos.kpoints.forest_model import (
    SHARES,
    ForestKpointModel,
    ForestParts,
    raw_quantiles,
    trunk_answers,
)
from nanoos.kpoints.mesh import kdist_from_length, mesh_of
from nanoos.kpoints.quantile_forest import QuantileForest
from nanoos.kpoints.quantile_network import QuantileHead, QuantileNetwork, RankScale
from nanoos.kpoints.studies import StudyFile
from nanoos.models.checkpoints import load_checkpoint, shipped_checkpoints
from nanoos.models.domain import DomainModel, fragments, shaken
from nanoos.models.reliability import beta_binomial_interval, bootstrap_mean_interval
from nanoos.structures import Structure
from nanoos.structures.elements import SYMBOLS
from nanoos.structures.structure import reduced_formula
from nanoos.training.data import load_graphs, save_graphs

STEP_A = 5.0
UNIT_A = 25.0
N_TREES = 60
MIN_LEAF = 4
MAX_FEATURES = 0.5
LEARNT = (0.025, 0.05, 0.075, 0.25, 0.5, 0.75, 0.925, 0.95, 0.975)
MOST_ATOMS = 100  # of a crystal that networks train on
CRITERION = (
    "total energy within 0.001 eV per cell between successive lengths in steps of 5 Å "
    "(JARVIS-DFT's automatic convergence)"
)
LABEL_CODE = "JARVIS-DFT: VASP, OptB88vdW, automatic length-based meshes"
ATTRIBUTION = "JARVIS-DFT (NIST), DOI 10.1016/j.commatsci.2019.02.006 and 10.1038/s41524-020-00440-1; structures: Materials Project (CC BY 4.0)"
NOTES = (
    (
        "Labels are of compositions: one length for each formula, so polymorphs share it and some "
        "structures carry the label of another polymorph."
    ),
    (
        "A promise of the interval is marginal: it holds over crystals like those calibrated on, not "
        "for each kind of crystal."
    ),
    (
        "Labels are VASP meshes of a length. Other codes, smearings and criteria converge elsewhere: "
        "nanoos converge checks."
    ),
)


@dataclass(frozen=True, kw_only=True)
class Data:
    """All rows."""

    table: pd.DataFrame
    path: Path
    structures: list[Structure]
    graphs: PackedGraphs
    elements: np.ndarray
    descriptors: np.ndarray
    lengths: np.ndarray

    def rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.table["split"] == split)

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of ``val`` that choose, and that calibrate."""
        val = self.rows("val")
        half = np.array([half_of(f) for f in self.table["reduced_formula"].iloc[val]])
        return val[half == 0], val[half == 1]


def half_of(formula: str) -> int:
    return int(hashlib.sha256(formula.encode()).hexdigest(), 16) % 2


def structure_of(text: str) -> Structure:
    raw = json.loads(text)
    return Structure(
        lattice=np.array(raw["lattice"]),
        species=tuple(SYMBOLS[z] for z in raw["atomic_numbers"]),
        frac_coords=np.array(raw["frac_coords"]),
    )


def element_rows() -> np.ndarray:
    """(104, len(ELEMENT_COLUMNS)), gaps filled with medians."""
    from pymatgen.core.periodic_table import Element

    from nanoos.features.composition import element_table

    more = (
        "mendeleev_no",
        "electron_affinity",
        "ionization_energy",
        "molar_volume",
        "bulk_modulus",
        "boiling_point",
        "thermal_conductivity",
        "electrical_resistivity",
    )
    rows = np.full((104, len(ELEMENT_COLUMNS)), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for symbol, row in element_table().items():
            element = Element(symbol)
            found = [getattr(element, name, None) for name in more]
            rows[element.Z] = [*row, *(np.nan if v is None else float(v) for v in found)]
    rows[0] = 0
    filled = np.where(np.isnan(rows), np.nanmedian(rows[1:], axis=0), rows)
    return filled.astype(np.float32)


def load_data(folder: Path, cache: Path) -> Data:
    path = folder / "kpoints" / "jarvis_kpoints.parquet"
    table = pd.read_parquet(path)
    structures = [structure_of(text) for text in table["structure"]]
    elements = element_rows()
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / "descriptors.npy"
    if not file.exists():
        np.save(file, kpoint_descriptors(structures, elements))
    packed = cache / "shared_graphs"
    if not packed.exists():
        save_graphs(PackedGraphs.from_structures(structures, k=12, cutoff=8.0), packed)
    return Data(
        table=table,
        path=path,
        structures=structures,
        graphs=load_graphs(packed),
        elements=elements,
        descriptors=np.load(file),
        lengths=table["kpoint_length_A"].to_numpy(float),
    )


def shipped(name: str) -> Path:
    return next(path for path in shipped_checkpoints() if path.stem == name)


def with_studies(data: Data, path: Path) -> Data:
    """The rows and, after them, the studies of ``path`` to learn from (``nanoos converge --export``).

    Those whose composition chooses, calibrates or tests are left out.
    """
    held = {
        reduced_formula(one.composition)
        for one, split in zip(data.structures, data.table["split"], strict=True)
        if split != "train"
    }
    labelled = StudyFile(path).labelled()
    new = [(s, x) for s, x in labelled if reduced_formula(s.composition) not in held]
    print(f"{len(new)} of {len(labelled)} studies added to the rows to learn from")
    if not new:
        return data
    structures = [structure for structure, _ in new]
    rows = {
        "reduced_formula": [reduced_formula(one.composition) for one in structures],
        "split": ["train"] * len(new),
        "kpoint_length_A": [length for _, length in new],
    }
    graphs = PackedGraphs.from_structures(structures, k=12, cutoff=8.0)
    return replace(
        data,
        table=pd.concat([data.table, pd.DataFrame(rows)], ignore_index=True),
        structures=[*data.structures, *structures],
        graphs=PackedGraphs.concatenate([data.graphs, graphs]),
        descriptors=np.vstack([data.descriptors, kpoint_descriptors(structures, data.elements)]),
        lengths=np.append(data.lengths, rows["kpoint_length_A"]),
    )


# -- networks ------------------------------------------------------------------------------


def build_network(kind: str, seed: int, n_columns: int):
    """A trunk that starts from a shipped checkpoint, and a new head."""
    from torch import nn

    checkpoint = load_checkpoint(shipped({"cgcnn": "cgcnn_mp", "alignn": "alignn_mp"}[kind]))
    trunk = checkpoint.network(seed % checkpoint.header.n_members)
    trunk.heads = nn.ModuleList()
    dim = int(checkpoint.header.parameters["hidden_dim"])

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.norm, self.drop = trunk, nn.LayerNorm(dim), nn.Dropout(0.1)
            self.head = nn.Sequential(
                nn.Linear(dim + n_columns, 192),
                nn.SiLU(),
                nn.Dropout(0.25),
                nn.Linear(192, 128),
                nn.SiLU(),
                nn.Dropout(0.25),
                nn.Linear(128, len(LEARNT)),
            )

        def forward(self, batch, columns):
            import torch

            pooled = self.norm(batch.mean_over_atoms(self.trunk.atom_vectors(batch)))
            return self.head(torch.cat([pooled, self.drop(columns)], dim=1))

    return Net()


def train_network(given: argparse.Namespace) -> None:
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from nanoos.models.networks.batch import GraphBatch

    torch.set_flush_denormal(True)
    data = load_data(given.data, given.output)
    train = data.rows("train")
    scale = RankScale.fit(data.descriptors[train])
    columns = torch.from_numpy(scale(data.descriptors))
    wanted = torch.from_numpy(data.lengths / UNIT_A).float()
    train = train[data.graphs.sizes[train] <= MOST_ATOMS]
    chosen, _ = data.halves()
    torch.manual_seed(given.seed)
    net = build_network(given.kind, given.seed, columns.shape[1])
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)
    fresh = [p for name, p in net.named_parameters() if not name.startswith("trunk")]
    rates = [given.rate * 0.4, given.rate]
    optimizer = torch.optim.AdamW(
        [{"params": net.trunk.parameters()}, {"params": fresh}], weight_decay=2e-2
    )
    n_batches = len(train) // given.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=given.epochs * n_batches, pct_start=0.15
    )
    shares, middle = torch.tensor(LEARNT), LEARNT.index(0.5)
    file = given.output / f"{given.kind}_{given.seed}.pt"
    first = 0
    parts = {"net": net, "ema": averaged, "optimizer": optimizer, "schedule": schedule}
    if file.exists():
        state = torch.load(file, weights_only=False)
        first = state["epoch"] + 1
        for name, part in parts.items():
            part.load_state_dict(state[name])
    began = time.time()
    for epoch in range(first, given.epochs):
        net.train()
        order = np.random.default_rng((given.seed, epoch)).permutation(train)
        for start in range(0, n_batches * given.batch, given.batch):
            rows = order[start : start + given.batch]
            out = net(GraphBatch.from_graphs(data.graphs.select(rows)), columns[rows])
            error = wanted[rows][:, None] - out
            losses = torch.maximum(shares * error, (shares - 1) * error)
            loss = (losses.sum(1) + losses[:, middle]).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            averaged.update_parameters(net)
        averaged.eval()
        with torch.inference_mode():
            said = [
                averaged(GraphBatch.from_graphs(data.graphs.select(part)), columns[part])[:, middle]
                for part in np.array_split(chosen, math.ceil(len(chosen) / 64))
            ]
        error = np.abs(torch.cat(said).numpy() * UNIT_A - data.lengths[chosen]).mean()
        print(
            f"pass {epoch + 1}: MAE {error:.3f} Å on the half of val that chooses, {time.time() - began:.0f} s",
            flush=True,
        )
        state = {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)


def network_state(path: Path) -> dict[str, np.ndarray]:
    import torch

    state = torch.load(path, weights_only=False)["ema"]
    return {
        name.removeprefix("module."): tensor.numpy()
        for name, tensor in state.items()
        if name != "n_averaged"
    }


def head_of(state: dict[str, np.ndarray], scale: RankScale) -> QuantileHead:
    weights = {f"norm.{part}": state[f"norm.{part}"] for part in ("weight", "bias")}
    for number, layer in enumerate((0, 3, 6)):
        weights[f"{number}.weight"] = np.ascontiguousarray(state[f"head.{layer}.weight"].T)
        weights[f"{number}.bias"] = state[f"head.{layer}.bias"]
    return QuantileHead(scale=scale, weights=weights, shares=LEARNT, unit=UNIT_A)


def trunk_state(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n.removeprefix("trunk."): a for n, a in state.items() if n.startswith("trunk.")}


def quantile_network(path: Path, scale: RankScale) -> QuantileNetwork:
    state = network_state(path)
    trunk = CrystalNetwork.from_state(
        trunk_state(state), outputs=(), cutoff=8.0, k=12, n_gaussians=41
    )
    return QuantileNetwork(trunk=trunk, head=head_of(state, scale))


# -- the forest ----------------------------------------------------------------------------


def frozen_trunks() -> tuple[CrystalNetwork, ...]:
    checkpoint = load_checkpoint(shipped("cgcnn_mp"))
    parameters = checkpoint.header.parameters
    return tuple(
        CrystalNetwork.from_state(
            {name: tensor.numpy() for name, tensor in member.items()},
            outputs=tuple(target.name for target in checkpoint.header.targets),
            cutoff=parameters["cutoff"],
            k=parameters["max_neighbors"],
            n_gaussians=parameters["n_gaussians"],
        )
        for member in checkpoint.members
    )


def grown(table: np.ndarray, data: Data) -> QuantileForest:
    from sklearn.ensemble import ExtraTreesRegressor

    train = data.rows("train")
    forest = ExtraTreesRegressor(
        N_TREES, min_samples_leaf=MIN_LEAF, max_features=MAX_FEATURES, random_state=0
    ).fit(table[train], data.lengths[train])
    return QuantileForest.from_sklearn(
        forest.estimators_, table[train], data.lengths[train], lowest=10.0, step=STEP_A
    )


def make_forest(given: argparse.Namespace) -> None:
    data = load_data(given.data, given.cache)
    chosen, calibrating = data.halves()
    scale = RankScale.fit(data.descriptors[data.rows("train")])
    trunks = frozen_trunks()
    file = given.cache / "answers.npy"
    if not file.exists():
        np.save(file, trunk_answers(trunks, data.graphs))
    answers = np.load(file)
    if given.studies is not None:
        data = with_studies(data, given.studies)
        added = np.arange(len(answers), len(data.lengths))
        if len(added):
            answers = np.vstack([answers, trunk_answers(trunks, data.graphs.select(added))])
    forest = grown(np.hstack([data.descriptors, answers]).astype(np.float32), data)
    parts = ForestParts(elements=data.elements, forest=forest, trunks=trunks)
    networks = tuple(quantile_network(path, scale) for path in given.network)
    if networks:
        parts = replace(parts, networks=networks, weight=best_weight(parts, networks, data, chosen))
    raw = {name: raw_of(parts, data, rows) for name, rows in (("c", calibrating), ("s", chosen))}
    print(f"MAE {mae(raw['s'], data, chosen):.3f} Å on the half of val that chooses")
    answerer = answerer_of("RF", "kpoints_rf", raw["c"], data, chosen, calibrating, training={
        "forest": f"{N_TREES} extremely randomised trees, {MIN_LEAF} rows in a leaf, "
        f"{MAX_FEATURES:g} of the columns looked at; quantiles after Meinshausen 2006",
        "frozen networks": f"{len(trunks)} members of cgcnn_mp: their answers are columns",
        "quantile networks": f"{len(networks)}, with a weight of {parts.weight:g}",
    })  # fmt: skip
    model = ForestKpointModel(parts, answerer)
    if given.test:
        rows = data.rows("test")
        model.answerer = with_metrics(answerer, raw_of(parts, data, rows), data, rows)
    else:
        report("val, calibrated on its own half", answerer, raw["s"], data, chosen)
    digest = model.save(given.weights / "kpoints_rf.safetensors")
    print(digest, (given.weights / "kpoints_rf.safetensors").stat().st_size)


def raw_of(parts: ForestParts, data: Data, rows: np.ndarray) -> RawQuantiles:
    return parts.raw([data.structures[i] for i in rows], data.graphs.select(rows))


def mae(raw: RawQuantiles, data: Data, rows: np.ndarray) -> float:
    return float(np.abs(raw.median - data.lengths[rows]).mean())


def best_weight(parts: ForestParts, networks, data: Data, rows: np.ndarray) -> float:
    own = raw_of(parts, data, rows).median
    graphs = data.graphs.select(rows)
    learnt = np.mean(
        [n.quantiles(graphs, data.descriptors[rows], [0.5])[:, 0] for n in networks], axis=0
    )
    errors = {
        weight: np.abs((1 - weight) * own + weight * learnt - data.lengths[rows]).mean()
        for weight in np.round(np.arange(0, 1.01, 0.1), 1)
    }
    print({float(w): round(float(e), 3) for w, e in errors.items()})
    return float(min(errors, key=errors.__getitem__))


# -- ALIGNN --------------------------------------------------------------------------------


def make_alignn(given: argparse.Namespace) -> None:
    import torch

    from nanoos.models.networks.alignn import ALIGNN, ALIGNNParameters

    data = load_data(given.data, given.cache)
    chosen, calibrating = data.halves()
    state = network_state(given.network[0])
    header = load_checkpoint(shipped("alignn_mp")).header
    network = ALIGNN(ALIGNNParameters(**header.parameters), ())
    network.load_state_dict({n: torch.from_numpy(a) for n, a in trunk_state(state).items()})
    head = head_of(state, RankScale.fit(data.descriptors[data.rows("train")]))
    model = AlignnKpointModel(network, head, data.elements, None)

    def raw(rows: np.ndarray) -> RawQuantiles:
        vectors = model.vectors(data.graphs.select(rows))
        return raw_quantiles(head.quantiles(vectors, data.descriptors[rows], SHARES))

    own = raw(chosen)
    print(f"MAE {mae(own, data, chosen):.3f} Å on the half of val that chooses")
    model.answerer = answerer_of("ALIGNN", "kpoints_alignn", raw(calibrating), data, chosen, calibrating, training={
        "network": "ALIGNN, from the shipped alignn_mp, pinball loss of nine quantiles",
    })  # fmt: skip
    if given.test:
        rows = data.rows("test")
        model.answerer = with_metrics(model.answerer, raw(rows), data, rows)
    else:
        report("val, calibrated on its own half", model.answerer, own, data, chosen)
    print(model.save(given.weights / "kpoints_alignn.safetensors"))


# -- what both share -----------------------------------------------------------------------


def domain_of(data: Data, ordinary: np.ndarray) -> DomainModel:
    train = data.rows("train")
    order = np.random.default_rng(0).permutation(train)
    small = [data.structures[i] for i in order if data.graphs.sizes[i] <= 40][:2500]
    distorted = [*shaken(small, seed=0), *fragments(small[:300], seed=0)]
    return DomainModel.fit(
        data.graphs.select(train),
        PackedGraphs.from_structures(distorted, k=12, cutoff=8.0),
        data.graphs.select(ordinary),
        n_distorted=2500,
    )


def answerer_of(  # noqa: PLR0917
    family: str,
    name: str,
    raw: RawQuantiles,
    data: Data,
    chosen: np.ndarray,
    calibrating: np.ndarray,
    *,
    training: dict[str, str],
) -> Answerer:
    train = data.rows("train")
    seen = data.lengths[train]
    calibrator = SteppedCalibrator.fit(
        raw,
        data.lengths[calibrating],
        step=STEP_A,
        lowest=float(seen.min()),
        highest=float(seen.max()),
    )
    descriptions = {
        "RF": "Quantile forest on elements, cell, symmetry and answers of frozen networks.",
        "ALIGNN": "Line graph network with quantile outputs (after Choudhary & DeCost 2021).",
    }
    card = Card(
        name=name,
        version="1",
        description=descriptions[family],
        criterion=CRITERION,
        label_code=LABEL_CODE,
        dataset={
            "name": data.path.stem,
            "sha256": hashlib.sha256(data.path.read_bytes()).hexdigest(),
            "rows": len(train),
            "attribution": ATTRIBUTION,
        },
        split={
            "method": "composition, as the source gives it",
            "val": f"halved by the SHA-256 of the formula: {len(chosen)} rows choose, "
            f"{len(calibrating)} calibrate",
            "test": "measured once",
        },
        training=training,
        metrics={},
        notes=NOTES,
        code_version=nanoos.__version__,
        created=datetime.now(UTC).date().isoformat(),
    )
    return Answerer(
        family=family, card=card, sha256="", calibrator=calibrator, domain=domain_of(data, chosen)
    )


def measured(answerer: Answerer, raw: RawQuantiles, data: Data, rows: np.ndarray) -> dict:
    """Error, and for each level what the interval is worth."""
    truth = data.lengths[rows]
    error = np.abs(raw.median - truth)
    exact = (data.table["match"].iloc[rows] == "exact").to_numpy()
    formulas = data.table["reduced_formula"].iloc[rows].tolist()
    calibrator = answerer.calibrator
    coverage = []
    for level in LEVELS:
        lower, upper = calibrator.interval(raw, level)
        points = [
            (mesh_of(s, kdist_from_length(u)).n_points, mesh_of(s, kdist_from_length(t)).n_points)
            for s, u, t in zip((data.structures[i] for i in rows), upper, truth, strict=True)
        ]
        coverage.append(
            {
                "level": level,
                "observed": float(np.mean((lower <= truth) & (truth <= upper))),
                "expected": beta_binomial_interval(level, calibrator.n_rows, len(rows)),
                "too_coarse": float(np.mean(truth > upper)),
                "extra_points": float(np.exp(np.mean(np.log([a / b for a, b in points])))),
                "n": len(rows),
            }
        )
    return {
        "n": len(rows),
        "mae_length_a": float(error.mean()),
        "mae_interval": bootstrap_mean_interval(error, formulas),
        "median_baseline_mae_a": float(
            np.abs(truth - np.median(data.lengths[data.rows("train")])).mean()
        ),
        "exact": {
            "n": int(exact.sum()),
            "mae_length_a": float(error[exact].mean()),
            "coverage": {
                f"{level:g}": float(
                    np.mean(
                        [
                            (lo <= t <= up)
                            for lo, up, t in zip(
                                *calibrator.interval(raw, level), truth, strict=True
                            )
                        ],
                        where=exact,
                    )
                )
                for level in LEVELS
            },
        },
        "out_of_domain_share": float(
            np.mean([j.out_of_domain for j in answerer.domain.judge(data.graphs.select(rows))])
        ),
        "coverage": coverage,
    }


def report(title: str, answerer: Answerer, raw: RawQuantiles, data: Data, rows: np.ndarray) -> None:
    print(title, json.dumps(measured(answerer, raw, data, rows), indent=1))


def with_metrics(answerer: Answerer, raw: RawQuantiles, data: Data, rows: np.ndarray) -> Answerer:
    metrics = measured(answerer, raw, data, rows)
    print("test", json.dumps(metrics, indent=1))
    return replace(answerer, card=replace(answerer.card, metrics=metrics))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    commands = parser.add_subparsers(dest="command", required=True)
    network = commands.add_parser("network")
    network.add_argument("kind", choices=["cgcnn", "alignn"])
    network.add_argument("--seed", type=int, default=0)
    network.add_argument("--epochs", type=int, default=12)
    network.add_argument("--batch", type=int, default=48)
    network.add_argument("--rate", type=float, default=1.5e-3)
    network.add_argument("--output", type=Path, required=True)
    for name in ("forest", "alignn"):
        one = commands.add_parser(name)
        one.add_argument("--network", type=Path, nargs="*", default=[])
        one.add_argument("--cache", type=Path, required=True)
        one.add_argument("--weights", type=Path, default=Path("src/nanoos/kpoints/weights"))
        one.add_argument("--test", action="store_true")
        if name == "forest":
            one.add_argument("--studies", type=Path, help="from nanoos converge --export")
    given = parser.parse_args()
    {"network": train_network, "forest": make_forest, "alignn": make_alignn}[given.command](given)


if __name__ == "__main__":
    main()
