"""Several networks over the same graphs at once, for prediction only: fewer and larger steps.

The answers are those of the modules up to rounding. What is saved: atoms that the networks cannot
tell apart are computed once (``features/equivalent.py``); equal messages to an atom once; CGCNN of
one shape share their matrix products, with the batch normalisation inside the weights; and
softplus and sigmoid are written with the functions that a CPU computes fastest.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nanoos.features.equivalent import DistinctAtoms, distinct_atoms
from nanoos.features.packed import PackedGraphs
from nanoos.models.networks.alignn import ALIGNN
from nanoos.models.networks.arithmetic import denormals_as_zero
from nanoos.models.networks.batch import GraphBatch
from nanoos.models.networks.cgcnn import CGCNN, CGCNNConvolution

Network = CGCNN | ALIGNN

_NUMBERS: Final = 2**19
"""In the largest array of a step: 2 MB, about the cache of a core."""

_BATCH_ATOMS: Final = 192
"""Distinct atoms that ALIGNN takes at a time: its angles then stay within the cache."""

_STEP: Final = 4
"""Structures whose places for neighbours differ by fewer run together."""

_STRAIGHT: Final = 20.0
"""Softplus is the identity beyond, to rounding in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one network says of n structures.

    Attributes:
        pooled: (n, hidden_dim), the mean over the atoms.
        hidden: (n_targets, n, head_dim), what the last layer of each read-out takes.
        outputs: (n, n_targets), normalised targets.
    """

    pooled: Tensor
    hidden: Tensor
    outputs: Tensor


class NetworksTogether:
    """Networks in evaluation mode on one device, ready to run over the same graphs.

    Their weights are copied: later changes to the networks are not seen.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks = tuple(networks)
        self.device = next(networks[0].parameters()).device
        kinds: dict[object, list[int]] = defaultdict(list)
        for place, network in enumerate(networks):
            kinds[_kind(network)].append(place)
        with torch.no_grad():
            self._trunks: list[tuple[list[int], _CGCNNTrunks | _ALIGNNTrunks]] = [
                (places, _trunks([networks[i] for i in places])) for places in kinds.values()
            ]
            self._heads = _Heads(networks)

    def run(self, graphs: PackedGraphs) -> list[Answers]:
        """What each network says of ``graphs``."""
        pooled: list[Tensor] = [torch.empty(0)] * len(self.networks)
        with denormals_as_zero(), torch.inference_mode():
            for places, trunks in self._trunks:
                for place, vectors in zip(places, trunks.pooled(graphs, self.device), strict=True):
                    pooled[place] = vectors
            return self._heads.answers(pooled)


def _kind(network: Network) -> object:
    """Networks of one kind run in one trunk."""
    return network.parameters_used if isinstance(network, CGCNN) else ALIGNN


def _trunks(networks: Sequence[Network]) -> "_CGCNNTrunks | _ALIGNNTrunks":
    if isinstance(networks[0], CGCNN):
        return _CGCNNTrunks(cast("Sequence[CGCNN]", networks))
    return _ALIGNNTrunks(cast("Sequence[ALIGNN]", networks))


def _scale_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """What a batch normalisation in evaluation mode multiplies with and adds."""
    scale = norm.weight / torch.sqrt(cast("Tensor", norm.running_var) + norm.eps)
    return scale, norm.bias - cast("Tensor", norm.running_mean) * scale


class _Convolutions:
    """One convolution of each of m CGCNN, with columns ordered (gate or core, network, column).

    sigmoid(x) is (1 + tanh(x / 2)) / 2; the halves are in the weights too.
    """

    def __init__(self, layers: Sequence[CGCNNConvolution]) -> None:
        atom, neighbor, bond, shift, out_scale, out_shift = [], [], [], [], [], []
        for layer in layers:
            scale, offset = _scale_and_shift(layer.message_norm)
            dim = layer.atom.in_features
            half = torch.cat([torch.full((dim,), 0.5), torch.ones(dim)]).to(scale.device)
            scale, offset = scale * half, offset * half
            atom.append((layer.atom.weight * scale[:, None]).T)
            neighbor.append((layer.neighbor.weight * scale[:, None]).T)
            bond.append((layer.bond.weight * scale[:, None]).T.view(-1, 2, dim))
            shift.append((offset + layer.atom.bias * scale).view(2, dim))
            scale, offset = _scale_and_shift(layer.sum_norm)
            out_scale.append(scale / 2)
            out_shift.append(offset)
        self.count, self.dim = len(layers), layers[0].atom.in_features
        self.ends = torch.cat([torch.stack(atom), torch.stack(neighbor)], dim=2).contiguous()
        self.bond = torch.stack(bond, dim=2).flatten(1)
        self.shift = torch.stack(shift, dim=1).flatten()
        self.out_scale, self.out_shift = torch.cat(out_scale), torch.cat(out_shift)

    def __call__(self, atoms: Tensor, edges: "_Edges") -> Tensor:
        """(n_atoms, m * dim) from ``atoms`` (n_atoms, m * dim)."""
        count, dim, half = self.count, self.dim, self.count * self.dim
        parts = torch.bmm(atoms.view(-1, count, dim).transpose(0, 1), self.ends)
        table = parts.view(count, -1, 2, 2, dim).permute(2, 1, 3, 0, 4).reshape(-1, 2 * half)
        table[: len(atoms)] += self.shift
        total = functional.embedding_bag(edges.ends, table, mode="sum")
        total.addmm_(edges.expanded, self.bond)
        gate, core = total[:, :half].tanh_(), _softplus_(total[:, half:])
        messages = torch.addcmul(core, core, gate)
        heard = functional.embedding_bag(
            edges.numbers, messages, edges.starts, mode="sum", per_sample_weights=edges.counts
        )
        return _softplus_(heard.mul_(self.out_scale).add_(self.out_shift).add_(atoms))


def _softplus_(x: Tensor) -> Tensor:
    """log(1 + e^x), in place of ``x`` where that is faster."""
    bent = x.clamp(max=_STRAIGHT).exp_().add_(1.0).log_()
    return torch.maximum(bent, x)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edges:
    """The different messages of a batch.

    Attributes:
        ends: (n_edges, 2), row of the centre and of the neighbour in a table of both.
        expanded: (n_edges, n_gaussians), of the length.
        counts: (n_edges,), shares of the neighbours that send the same, added up.
        starts: (n_atoms,), first edge of each atom.
        numbers: (n_edges,), 0, 1, 2, ...
    """

    ends: Tensor
    expanded: Tensor
    counts: Tensor
    starts: Tensor
    numbers: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _AllEdges:
    """The different messages of all graphs, ascending by centre; all arrays (n_edges,)."""

    centers: "np.typing.NDArray[np.int64]"
    neighbors: "np.typing.NDArray[np.int64]"
    counts: "np.typing.NDArray[np.float32]"
    distances: "np.typing.NDArray[np.float32]"

    @classmethod
    def of(cls, graphs: PackedGraphs, distinct: DistinctAtoms) -> "_AllEdges":
        keys = distinct.labels * len(distinct.atoms) + distinct.neighbors
        order = np.argsort(keys, axis=1)
        shares = np.take_along_axis(graphs.shares[distinct.atoms], order, axis=1)
        ordered = np.take_along_axis(keys, order, axis=1)
        new = np.ones(keys.shape, dtype=np.bool_)
        new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        centers, slots = np.nonzero(new)
        places = centers * keys.shape[1] + slots
        counts = np.add.reduceat(shares.ravel(), places)
        slots = order[centers, slots]
        distances = graphs.distances[distinct.atoms[centers], slots]
        there = np.isfinite(distances)
        return cls(
            centers=centers[there],
            neighbors=distinct.neighbors[centers, slots][there],
            counts=counts[there],
            distances=distances[there],
        )


class _CGCNNTrunks:
    """Convolutions of CGCNN of one shape."""

    def __init__(self, networks: Sequence[CGCNN]) -> None:
        first = networks[0]
        self.count = len(networks)
        self.dim = first.parameters_used.hidden_dim
        numbers = torch.arange(cast("nn.Embedding", first.elements.learned).num_embeddings)
        numbers = numbers.to(next(first.parameters()).device)
        self.elements = torch.cat([network.elements(numbers) for network in networks], dim=1)
        self.expansion = first.expansion
        self.layers = [
            _Convolutions(cast("Sequence[CGCNNConvolution]", layers))
            for layers in zip(*(network.convolutions for network in networks), strict=True)
        ]

    def pooled(self, graphs: PackedGraphs, device: torch.device) -> list[Tensor]:
        """(n_graphs, dim) of each network."""
        distinct = distinct_atoms(graphs, len(self.layers))
        edges = _AllEdges.of(graphs, distinct)
        found = []
        atom_ends = np.cumsum(distinct.sizes)
        edge_ends = np.searchsorted(edges.centers, atom_ends)
        most = max(1, _NUMBERS // (2 * self.count * self.dim))
        first = 0
        while first < len(graphs):
            before = edge_ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(edge_ends, before + most, side="right")))
            start = atom_ends[first - 1] if first else 0
            atoms = slice(start, atom_ends[last - 1])
            batch = self._batch(edges, slice(before, edge_ends[last - 1]), atoms, device)
            numbers = torch.from_numpy(
                graphs.atomic_numbers[distinct.atoms[atoms]].astype(np.int64)
            )
            vectors = functional.embedding(numbers.to(device), self.elements)
            for layer in self.layers:
                vectors = layer(vectors, batch)
            found.append(_mean(vectors, distinct, slice(first, last), atoms))
            first = last
        return list(torch.cat(found).view(len(graphs), self.count, self.dim).unbind(1))

    def _batch(self, edges: _AllEdges, chosen: slice, atoms: slice, device: torch.device) -> _Edges:
        centers = edges.centers[chosen] - atoms.start
        neighbors = edges.neighbors[chosen] - atoms.start + (atoms.stop - atoms.start)
        starts = np.searchsorted(centers, np.arange(atoms.stop - atoms.start))
        distances = torch.from_numpy(edges.distances[chosen]).to(device)
        return _Edges(
            ends=torch.from_numpy(np.stack([centers, neighbors], axis=1)).to(device),
            expanded=self.expansion(distances),
            counts=torch.from_numpy(edges.counts[chosen]).to(device),
            starts=torch.from_numpy(starts).to(device),
            numbers=torch.arange(len(centers), device=device),
        )


class _ALIGNNTrunks:
    """ALIGNN, one after the other, on the distinct atoms alone."""

    def __init__(self, networks: Sequence[ALIGNN]) -> None:
        self.networks = networks
        self.rounds = max(len(network.bond_convolutions) for network in networks)

    def pooled(self, graphs: PackedGraphs, device: torch.device) -> list[Tensor]:
        """(n_graphs, dim) of each network.

        The angles grow with the square of the places for neighbours: structures that need about
        as many run together.
        """
        widths = (graphs.widths - graphs.k + _STEP - 1) // _STEP
        parts, order = [], []
        for width in np.unique(widths):
            chosen = np.flatnonzero(widths == width)
            parts.append(self._of_one_width(graphs.select(chosen), device))
            order.append(chosen)
        back = torch.from_numpy(np.argsort(np.concatenate(order))).to(device)
        return [torch.cat(vectors)[back] for vectors in zip(*parts, strict=True)]

    def _of_one_width(self, graphs: PackedGraphs, device: torch.device) -> list[Tensor]:
        distinct = distinct_atoms(graphs, self.rounds, angles=True)
        ends = np.cumsum(distinct.sizes)
        found: list[list[Tensor]] = [[] for _ in self.networks]
        first = 0
        while first < len(graphs):
            start = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, start + _BATCH_ATOMS, side="right")))
            atoms = slice(start, ends[last - 1])
            chosen = distinct.atoms[atoms]
            graph_index = np.repeat(np.arange(last - first), distinct.sizes[first:last])
            batch = GraphBatch(
                atomic_numbers=torch.from_numpy(graphs.atomic_numbers[chosen].astype(np.int64)),
                neighbors=torch.from_numpy(distinct.neighbors[atoms] - start),
                distances=torch.from_numpy(graphs.distances[chosen]),
                vectors=torch.from_numpy(graphs.vectors[chosen]),
                shares=torch.from_numpy(graphs.shares[chosen]),
                graph_index=torch.from_numpy(graph_index),
                sizes=torch.from_numpy(distinct.sizes[first:last]),
            ).to(device)
            for network, vectors in zip(self.networks, found, strict=True):
                own = network.atom_vectors(batch)
                vectors.append(_mean(own, distinct, slice(first, last), atoms))
            first = last
        return [torch.cat(vectors) for vectors in found]


def _mean(vectors: Tensor, distinct: DistinctAtoms, graphs: slice, atoms: slice) -> Tensor:
    """(n_graphs, n_columns): the mean over all atoms from those of the distinct ones."""
    sizes = distinct.sizes[graphs]
    starts = torch.from_numpy(np.cumsum(sizes) - sizes)
    weights = torch.from_numpy(distinct.weights[atoms])
    numbers = torch.arange(len(vectors), device=vectors.device)
    return functional.embedding_bag(
        numbers,
        vectors,
        starts.to(vectors.device),
        mode="sum",
        per_sample_weights=weights.to(vectors.device),
    )


class _Heads:
    """The read-outs of all networks: those of one shape in one step."""

    def __init__(self, networks: Sequence[Network]) -> None:
        shapes: dict[object, list[tuple[int, int]]] = defaultdict(list)
        for place, network in enumerate(networks):
            used = network.parameters_used
            for target in range(len(network.heads)):
                shapes[type(network), used.hidden_dim, used.head_dim].append((place, target))
        self.targets = [len(network.heads) for network in networks]
        self.groups = [
            (own, _HeadGroup([cast("nn.Sequential", networks[i].heads[t]) for i, t in own]))
            for own in shapes.values()
        ]

    def answers(self, pooled: Sequence[Tensor]) -> list[Answers]:
        """From what each network pooled."""
        hidden: list[list[Tensor]] = [[torch.empty(0)] * count for count in self.targets]
        outputs: list[list[Tensor]] = [[torch.empty(0)] * count for count in self.targets]
        for own, group in self.groups:
            taken = torch.stack([pooled[place] for place, _ in own])
            states, values = group(taken)
            for (place, target), state, value in zip(own, states, values, strict=True):
                hidden[place][target], outputs[place][target] = state, value
        return [
            Answers(pooled=vectors, hidden=torch.stack(states), outputs=torch.stack(values, dim=1))
            for vectors, states, values in zip(pooled, hidden, outputs, strict=True)
        ]


class _HeadGroup:
    """Read-outs of one shape: an optional activation, a layer, an activation, a last layer."""

    def __init__(self, heads: Sequence[nn.Sequential]) -> None:
        layers = [[part for part in head if isinstance(part, nn.Linear)] for head in heads]
        self.before = [part for part in heads[0] if not isinstance(part, nn.Linear | nn.Dropout)]
        self.weight = torch.stack([first.weight.T for first, _ in layers]).contiguous()
        self.bias = torch.stack([first.bias for first, _ in layers])[:, None, :]
        self.last_weight = torch.stack([last.weight.T for _, last in layers])
        self.last_bias = torch.stack([last.bias for _, last in layers])

    def __call__(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states (n_heads, n, head_dim) and outputs (n_heads, n)."""
        *before, after = self.before
        for activation in before:
            pooled = activation(pooled)
        hidden = after(torch.baddbmm(self.bias, pooled, self.weight))
        return hidden, torch.bmm(hidden, self.last_weight)[..., 0] + self.last_bias
