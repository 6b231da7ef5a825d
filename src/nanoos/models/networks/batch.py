"""Graphs as tensors: what a network takes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nanoos.features.packed import PackedGraphs


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphBatch:
    """Several structures as one graph.

    Attributes:
        atomic_numbers: (n_atoms,), int64.
        neighbors: (n_atoms, width), int64, index into the atoms of the batch.
        distances: (n_atoms, width), float32, Å; inf where an atom has fewer neighbours.
        vectors: (n_atoms, width, 3), float32, Å.
        shares: (n_atoms, width), float32, by how much a neighbour counts; 0 where there is none.
        graph_index: (n_atoms,), int64, which structure an atom belongs to.
        sizes: (n_graphs,), int64, atoms of each structure.
    """

    atomic_numbers: Tensor
    neighbors: Tensor
    distances: Tensor
    vectors: Tensor
    shares: Tensor
    graph_index: Tensor
    sizes: Tensor

    @property
    def n_graphs(self) -> int:
        """Number of structures."""
        return len(self.sizes)

    @classmethod
    def from_graphs(cls, graphs: PackedGraphs) -> "GraphBatch":
        """All of ``graphs`` in one batch, on the CPU."""
        starts = np.cumsum(graphs.sizes) - graphs.sizes
        neighbors = graphs.neighbors.astype(np.int64) + np.repeat(starts, graphs.sizes)[:, None]
        return cls(
            atomic_numbers=torch.from_numpy(graphs.atomic_numbers.astype(np.int64)),
            neighbors=torch.from_numpy(neighbors),
            distances=torch.from_numpy(graphs.distances),
            vectors=torch.from_numpy(graphs.vectors),
            shares=torch.from_numpy(graphs.shares),
            graph_index=torch.from_numpy(np.repeat(np.arange(len(graphs)), graphs.sizes)),
            sizes=torch.from_numpy(graphs.sizes),
        )

    def to(self, device: torch.device | str) -> "GraphBatch":
        """The same batch on ``device``."""
        return GraphBatch(
            atomic_numbers=self.atomic_numbers.to(device),
            neighbors=self.neighbors.to(device),
            distances=self.distances.to(device),
            vectors=self.vectors.to(device),
            shares=self.shares.to(device),
            graph_index=self.graph_index.to(device),
            sizes=self.sizes.to(device),
        )

    def mean_over_atoms(self, atoms: Tensor) -> Tensor:
        """(n_graphs, n_columns): the mean of ``atoms`` (n_atoms, n_columns) in each structure."""
        total = atoms.new_zeros(self.n_graphs, atoms.shape[1])
        return total.index_add(0, self.graph_index, atoms) / self.sizes[:, None]
