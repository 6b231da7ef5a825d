"""Make the k-point models of the package.

    python benchmarks/kpoints_models.py network cgcnn --seed 0 --output work     (an hour or so)
    python benchmarks/kpoints_models.py network alignn --seed 0 --output work
    python benchmarks/kpoints_models.py forest --cache work --network work/cgcnn_0.pt ... --weights FOLDER
    python benchmarks/kpoints_models.py alignn --cache work --network work/alignn_0.pt --weights FOLDER
    python benchmarks/kpoints_models.py forest --cache work --studies studies.jsonl --test --weights FOLDER

``network`` trains a quantile network that starts from a shipped checkpoint, saves after every
pass and goes on where it stopped. ``forest`` and ``alignn`` calibrate, measure and write a file of
weights to a folder: src/nanoos/kpoints/weights for what the package ships, the folder of weights
for one's own. Without --network a forest keeps the networks of the shipped one. Rows of the split
``val`` are halved by formula: one half chooses, the other calibrates. Rows of ``test`` are looked
at with --test only, once, when all is chosen. ``forest --studies FILE`` also learns from
convergence studies of your own (nanoos converge --export), which stand on the card.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from kpoints_calibration import STEP_A, answerer_of, report, with_metrics
from kpoints_data import Data, load_data, shipped, with_studies
from kpoints_networks import head_of, network_state, quantile_network, train_network, trunk_state
from nanoos.kpoints.alignn_model import AlignnKpointModel
from nanoos.kpoints.calibration import RawQuantiles
from nanoos.kpoints.crystal_vectors import CrystalNetwork
from nanoos.kpoints.forest_model import (
    FILE,
    SHARES,
    ForestKpointModel,
    ForestParts,
    raw_quantiles,
    trunk_answers,
)
from nanoos.kpoints.quantile_forest import QuantileForest
from nanoos.kpoints.quantile_network import RankScale
from nanoos.models.checkpoints import load_checkpoint

N_TREES = 60
MIN_LEAF = 4
MAX_FEATURES = 0.5
SHIPPED = Path("src/nanoos/kpoints/weights")


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
    codes: dict[str, int] = {}
    if given.studies is not None:
        data, codes = with_studies(data, given.studies)
        added = np.arange(len(answers), len(data.lengths))
        if len(added):
            answers = np.vstack([answers, trunk_answers(trunks, data.graphs.select(added))])
    forest = grown(np.hstack([data.descriptors, answers]).astype(np.float32), data)
    parts = ForestParts(elements=data.elements, forest=forest, trunks=trunks)
    networks = tuple(quantile_network(path, scale) for path in given.network)
    networks = networks or ForestKpointModel.load(SHIPPED / FILE).parts.networks
    parts = replace(parts, networks=networks, weight=best_weight(parts, networks, data, chosen))
    raw = {name: raw_of(parts, data, rows) for name, rows in (("c", calibrating), ("s", chosen))}
    print(f"MAE {mae(raw['s'], data, chosen):.3f} Å on the half of val that chooses")
    answerer = answerer_of("RF", "kpoints_rf", raw["c"], data, chosen, calibrating, training={
        "forest": f"{N_TREES} extremely randomised trees, {MIN_LEAF} rows in a leaf, "
        f"{MAX_FEATURES:g} of the columns looked at; quantiles after Meinshausen 2006",
        "frozen networks": f"{len(trunks)} members of cgcnn_mp: their answers are columns",
        "quantile networks": f"{len(networks)}, with a weight of {parts.weight:g}",
    }, studies=codes)  # fmt: skip
    model = ForestKpointModel(parts, answerer)
    if given.test:
        rows = data.rows("test")
        model.answerer = with_metrics(answerer, raw_of(parts, data, rows), data, rows)
    else:
        report("val, calibrated on its own half", answerer, raw["s"], data, chosen)
    print(model.save(given.weights / FILE), (given.weights / FILE).stat().st_size)


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
        some = {"required": True} if name == "alignn" else {"default": []}
        one.add_argument("--network", type=Path, nargs="+", **some)
        one.add_argument("--cache", type=Path, required=True)
        one.add_argument("--weights", type=Path, required=True)
        one.add_argument("--test", action="store_true")
        if name == "forest":
            one.add_argument("--studies", type=Path, help="from nanoos converge --export")
    given = parser.parse_args()
    {"network": train_network, "forest": make_forest, "alignn": make_alignn}[given.command](given)


if __name__ == "__main__":
    main()
