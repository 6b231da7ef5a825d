"""Quantile networks for k-points: their training, and their reading from what training leaves."""

import argparse
import math
import time
from pathlib import Path

import numpy as np

from kpoints_data import load_data, shipped
from nanoos.kpoints.crystal_vectors import CrystalNetwork
from nanoos.kpoints.quantile_network import QuantileHead, QuantileNetwork, RankScale
from nanoos.models.checkpoints import load_checkpoint

UNIT_A = 25.0
LEARNT = (0.025, 0.05, 0.075, 0.25, 0.5, 0.75, 0.925, 0.95, 0.975)
MOST_ATOMS = 100  # of a crystal that networks train on


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
