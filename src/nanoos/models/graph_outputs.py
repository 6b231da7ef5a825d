"""Running the networks of a checkpoint over graphs, and what their outputs say of themselves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nanoos.core.errors import InvalidInputError
from nanoos.features.packed import PackedGraphs
from nanoos.models.checkpoints import Checkpoint, Target
from nanoos.models.networks.alignn import ALIGNN
from nanoos.models.networks.arithmetic import denormals_as_zero
from nanoos.models.networks.batch import GraphBatch
from nanoos.models.networks.cgcnn import CGCNN
from nanoos.models.target_uncertainty import ZERO_CHANCE

FloatArray = npt.NDArray[np.float64]

ELEMENT_COUNTS: Final = "domain.element_counts"
"""Name of the checkpoint's array: training structures that hold each element."""

BATCH_ATOMS: Final = 1024
"""Atoms in a batch: the arrays of a convolution then stay within the cache of a core."""

DROPOUT_SAMPLES: Final = 20
_SEED: Final = 20180406


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GraphOutputs:
    """What the members of a checkpoint say of n structures.

    Attributes:
        members: Target to (n_members, n), in the target's unit; the probability of a
            classification.
        dropout: Target to (n_samples, n), of the first member with dropout on in its read-outs.
        pooled: (n, hidden_dim), the first member's vector of each structure.
    """

    members: Mapping[str, FloatArray]
    dropout: Mapping[str, FloatArray]
    pooled: npt.NDArray[np.float32]

    def value(self, target: Target) -> FloatArray:
        """(n,), the mean over the members, within the target's bounds."""
        mean = np.asarray(self.members[target.name].mean(axis=0))
        return mean if target.lower is None else np.maximum(mean, target.lower)

    def columns(
        self, target: Target, graphs: PackedGraphs, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> dict[str, FloatArray]:
        """Name to (n,): what the sigma model of ``target`` may look at.

        Args:
            target: One of the checkpoint's.
            graphs: The structures.
            arrays: Those of the checkpoint.
        """
        found = {
            "value": self.value(target),
            "ensemble_spread": self.members[target.name].std(axis=0),
            "dropout_spread": self.dropout[target.name].std(axis=0),
            **_composition_columns(graphs, arrays.get(ELEMENT_COUNTS)),
        }
        if "is_metal" in self.members:
            found[ZERO_CHANCE] = self.members["is_metal"].mean(axis=0)
        if "bandgap" in self.members and target.name != "bandgap":
            found["bandgap"] = np.maximum(self.members["bandgap"].mean(axis=0), 0.0)
        return found


class GraphRunner:
    """The networks of one checkpoint, ready to run; keeps no state between calls.

    Args:
        checkpoint: With its weights.
        device: Where to run.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu") -> None:
        self.checkpoint = checkpoint
        self.header = checkpoint.header
        self.device = device
        self.networks: list[CGCNN | ALIGNN] = [
            checkpoint.network(member).to(device) for member in range(self.header.n_members)
        ]

    @property
    def k(self) -> int:
        """Neighbours of each atom."""
        return int(self.header.parameters["max_neighbors"])

    @property
    def cutoff(self) -> float:
        """Of the neighbours, Å."""
        return float(self.header.parameters["cutoff"])

    def run(self, graphs: PackedGraphs, *, dropout_samples: int = DROPOUT_SAMPLES) -> GraphOutputs:
        """Outputs for ``graphs``, in order.

        Args:
            graphs: With ``k`` neighbours within ``cutoff``.
            dropout_samples: Passes of the first member's read-outs with dropout on.

        Raises:
            InvalidInputError: graphs of another number of neighbours.
        """
        if graphs.k != self.k:
            raise InvalidInputError(
                f"{self.header.name} was trained on graphs of {self.k} neighbours, these have "
                f"{graphs.k}."
            )
        members, dropout, pooled = [], [], []
        with denormals_as_zero(), torch.inference_mode():
            for part in batches(graphs):
                batch = GraphBatch.from_graphs(part).to(self.device)
                vectors = [batch.mean_over_atoms(net.atom_vectors(batch)) for net in self.networks]
                outputs = [
                    net.read_out(vector) for net, vector in zip(self.networks, vectors, strict=True)
                ]
                members.append(torch.stack(outputs))
                pooled.append(vectors[0])
                dropout.append(self._dropped(vectors[0], dropout_samples))
        return GraphOutputs(
            members=self._by_target(torch.cat(members, dim=1)),
            dropout=self._by_target(torch.cat(dropout, dim=1)),
            pooled=torch.cat(pooled).cpu().numpy(),
        )

    def _dropped(self, pooled: Tensor, samples: int) -> Tensor:
        """(samples, n, n_targets) with dropout on.

        One mask for each sample, the same for all structures and always the same: what is said
        of a structure does not depend on what else is in the batch.
        """
        generator = torch.Generator().manual_seed(_SEED)
        columns = []
        for head in self.networks[0].heads:
            hidden = pooled.expand(samples, *pooled.shape)
            for layer in cast("nn.Sequential", head):
                if isinstance(layer, nn.Dropout):
                    drawn = torch.rand(samples, 1, hidden.shape[-1], generator=generator)
                    hidden = hidden * ((drawn >= layer.p) / (1.0 - layer.p)).to(hidden.device)
                else:
                    hidden = layer(hidden)
            columns.append(hidden[..., 0])
        return torch.stack(columns, dim=-1)

    def _by_target(self, raw: Tensor) -> dict[str, FloatArray]:
        numbers = raw.cpu().numpy().astype(np.float64)
        return {
            target.name: in_unit(target, numbers[..., column])
            for column, target in enumerate(self.header.targets)
        }


def in_unit(target: Target, raw: FloatArray) -> FloatArray:
    """Network outputs as numbers in the target's unit; a logit as a probability."""
    if target.kind == "classification":
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(raw, -50.0, 50.0))))
    values = raw * target.std + target.mean
    return np.power(10.0, values) if target.log10 else values


def batches(graphs: PackedGraphs, n_atoms: int = BATCH_ATOMS) -> Iterator[PackedGraphs]:
    """Consecutive graphs with at most ``n_atoms`` atoms together, a larger graph alone."""
    ends = np.cumsum(graphs.sizes)
    first = 0
    while first < len(graphs):
        start = ends[first] - graphs.sizes[first]
        last = max(first + 1, int(np.searchsorted(ends, start + n_atoms, side="right")))
        yield graphs.select(np.arange(first, last))
        first = last


def _composition_columns(
    graphs: PackedGraphs, element_counts: npt.NDArray[Any] | None
) -> dict[str, FloatArray]:
    starts = np.cumsum(graphs.sizes) - graphs.sizes
    kinds = [
        np.unique(graphs.atomic_numbers[start : start + size])
        for start, size in zip(starts, graphs.sizes, strict=True)
    ]
    found = {
        "log_sites": np.log(graphs.sizes.astype(np.float64)),
        "n_elements": np.array([len(kind) for kind in kinds], dtype=np.float64),
        "nearest_a": np.minimum.reduceat(graphs.distances[:, 0].astype(np.float64), starts).clip(
            max=100.0
        ),
    }
    if element_counts is not None:
        found["log_rarest_count"] = np.array(
            [np.log1p(float(element_counts[kind].min())) for kind in kinds]
        )
    return found
