"""Running the networks of a checkpoint over graphs, and what their outputs say of themselves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nanoos.core.errors import InvalidInputError
from nanoos.features.packed import PackedGraphs
from nanoos.models.checkpoints import Checkpoint, Target
from nanoos.models.difficulty import DIFFICULTY, difficulty
from nanoos.models.networks.alignn import ALIGNN
from nanoos.models.networks.cgcnn import CGCNN
from nanoos.models.networks.together import Answers, NetworksTogether
from nanoos.models.target_uncertainty import ZERO_CHANCE

FloatArray = npt.NDArray[np.float64]

_N_ELEMENTS: Final = 119
_HULL: Final = "e_above_hull_subset"
_SAME_SHELL: Final = 2e-3  # relative difference of two distances of one shell

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
        self,
        target: Target,
        graphs: PackedGraphs,
        arrays: Mapping[str, npt.NDArray[Any]],
        *,
        composition: Mapping[str, FloatArray] | None = None,
    ) -> dict[str, FloatArray]:
        """Name to (n,): what the sigma model of ``target`` may look at.

        Args:
            target: One of the checkpoint's.
            graphs: The structures.
            arrays: Those of the checkpoint.
            composition: The :func:`composition_columns`, where they are known already.
        """
        if composition is None:
            composition = composition_columns(graphs, arrays.get(ELEMENT_COUNTS))
        found = {
            "value": self.value(target),
            "ensemble_spread": self.members[target.name].std(axis=0),
            "dropout_spread": self.dropout[target.name].std(axis=0),
            **composition,
        }
        if "is_metal" in self.members:
            found[ZERO_CHANCE] = self.members["is_metal"].mean(axis=0)
        if "bandgap" in self.members and target.name != "bandgap":
            found["bandgap"] = np.maximum(self.members["bandgap"].mean(axis=0), 0.0)
        if _HULL in self.members and target.name != _HULL:
            found["e_above_hull"] = np.maximum(self.members[_HULL].mean(axis=0), 0.0)
        hard = difficulty(target.name, graphs, found, arrays)
        return found if hard is None else found | {DIFFICULTY: hard}


class GraphRunner:
    """The networks of one checkpoint, ready to run.

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
            graphs: Whose shares add up to ``k``, within ``cutoff``.
            dropout_samples: Passes of the first member's read-outs with dropout on.

        Raises:
            InvalidInputError: graphs of another number of neighbours.
        """
        if graphs.k != self.k:
            raise InvalidInputError(
                f"{self.header.name} was trained on graphs of {self.k} neighbours, these have "
                f"{graphs.k}."
            )
        return self.outputs(self._together.run(graphs), dropout_samples=dropout_samples)

    @cached_property
    def _together(self) -> NetworksTogether:
        return NetworksTogether(self.networks)

    def outputs(
        self, answers: Sequence[Answers], *, dropout_samples: int = DROPOUT_SAMPLES
    ) -> GraphOutputs:
        """What the ``answers`` of its networks, in order, mean."""
        first = answers[0]
        with torch.inference_mode():
            members = torch.stack([answer.outputs for answer in answers])
            return GraphOutputs(
                members=self._by_target(members),
                dropout=self._by_target(self._dropped(first.hidden, dropout_samples)),
                pooled=first.pooled.cpu().numpy(),
            )

    def _dropped(self, hidden: Tensor, samples: int) -> Tensor:
        """(samples, n, n_targets) with dropout on, from (n_targets, n, head_dim) before it.

        One mask for each sample, the same for all structures and always the same: what is said
        of a structure does not depend on what else is in the batch.
        """
        usual = samples == DROPOUT_SAMPLES
        weights, biases = self._usual_masks if usual else self._masked(samples)
        return torch.baddbmm(biases, hidden, weights).permute(2, 1, 0)

    @cached_property
    def _usual_masks(self) -> tuple[Tensor, Tensor]:
        return self._masked(DROPOUT_SAMPLES)

    def _masked(self, samples: int) -> tuple[Tensor, Tensor]:
        """Last layer of each read-out under each mask: (n_targets, head_dim, samples), bias."""
        generator = torch.Generator().manual_seed(_SEED)
        weights, biases = [], []
        for head in self.networks[0].heads:
            *_, dropout, last = cast("nn.Sequential", head)
            share, linear = cast("nn.Dropout", dropout).p, cast("nn.Linear", last)
            drawn = torch.rand(samples, 1, linear.in_features, generator=generator)[:, 0].T
            kept = ((drawn >= share) / (1.0 - share)).to(linear.weight.device)
            weights.append(kept * linear.weight.T)
            biases.append(linear.bias[:, None])
        return torch.stack(weights), torch.stack(biases)

    def _by_target(self, raw: Tensor) -> dict[str, FloatArray]:
        numbers = raw.cpu().numpy().astype(np.float64)
        return {
            target.name: in_unit(target, numbers[..., column])
            for column, target in enumerate(self.header.targets)
        }


def run_together(runners: Sequence[GraphRunner], graphs: PackedGraphs) -> list[GraphOutputs]:
    """The outputs of several checkpoints that take the same graphs, faster than one by one."""
    answers = iter(_all_together(tuple(runners)).run(graphs))
    return [runner.outputs([next(answers) for _ in runner.networks]) for runner in runners]


@lru_cache(maxsize=8)
def _all_together(runners: tuple[GraphRunner, ...]) -> NetworksTogether:
    return NetworksTogether([network for runner in runners for network in runner.networks])


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


def composition_columns(
    graphs: PackedGraphs, element_counts: npt.NDArray[Any] | None
) -> dict[str, FloatArray]:
    """Name to (n,): what the columns of all targets of a checkpoint share.

    Args:
        graphs: The structures.
        element_counts: (119,), training structures that hold each element.
    """
    starts = np.cumsum(graphs.sizes) - graphs.sizes
    atoms = graphs.atomic_numbers.astype(np.int64)
    index = np.repeat(np.arange(len(graphs)), graphs.sizes)
    kinds = np.unique(index * _N_ELEMENTS + atoms) // _N_ELEMENTS
    found = {
        "log_sites": np.log(graphs.sizes.astype(np.float64)),
        "n_elements": np.bincount(kinds, minlength=len(graphs)).astype(np.float64),
        "nearest_a": np.minimum.reduceat(graphs.distances[:, 0].astype(np.float64), starts).clip(
            max=100.0
        ),
        **_symmetry_columns(graphs, starts),
    }
    if element_counts is not None:
        rarest = np.minimum.reduceat(element_counts[atoms], starts)
        found["log_rarest_count"] = np.log1p(rarest.astype(np.float64))
    return found


def _symmetry_columns(graphs: PackedGraphs, starts: npt.NDArray[np.int64]) -> dict[str, FloatArray]:
    """What tells a cubic crystal from a triclinic one without looking for its symmetry.

    The second moment of all directions to neighbours is round in a cubic crystal, has an axis in
    a hexagonal, trigonal or tetragonal one, and none in the others.
    """
    distances = np.where(np.isfinite(graphs.distances), graphs.distances, 1e3).astype(np.float64)
    nearest = distances[:, : graphs.k]
    same = np.diff(nearest, axis=1) < _SAME_SHELL * nearest[:, 1:]
    weights = np.maximum(1 - distances / nearest[:, -1:], 0) / np.maximum(distances, 1e-6) ** 2
    scaled = graphs.vectors * weights[..., None]
    atoms = np.matmul(scaled.transpose(0, 2, 1), graphs.vectors)
    moments = np.linalg.eigvalsh(np.add.reduceat(atoms.astype(np.float64), starts))
    total = np.maximum(moments.sum(axis=1), 1e-12)
    steps = np.diff(moments, axis=1) / total[:, None]
    return {
        "equal_distances": np.add.reduceat(same.mean(axis=1), starts) / graphs.sizes,
        "anisotropy": steps.max(axis=1),
        "biaxiality": steps.min(axis=1),
    }
