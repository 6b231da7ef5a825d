"""Crystal graph convolutional network (Xie & Grossman 2018).

DOI 10.1103/PhysRevLett.120.145301. The convolution is the published one. Its linear map of the
concatenated (atom, neighbour, bond) vectors is computed as three maps, so that the two atom
parts are multiplied once for each atom instead of once for each bond.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nanoos.models.networks.batch import GraphBatch
from nanoos.models.networks.layers import ElementEmbedding, GaussianExpansion, gated_sum


@dataclass(frozen=True, slots=True, kw_only=True)
class CGCNNParameters:
    """Hyper-parameters.

    Attributes:
        hidden_dim: Length of an atom's vector.
        num_layers: Convolutions.
        head_dim: Hidden units of each read-out.
        dropout: Probability, in the read-outs.
        max_neighbors: What the shares of an atom's neighbours add up to.
        cutoff: Å, of the neighbours and the largest Gaussian centre.
        n_gaussians: Of the bond length; their width is the distance of two centres.
    """

    hidden_dim: int = 64
    num_layers: int = 3
    head_dim: int = 128
    dropout: float = 0.1
    max_neighbors: int = 12
    cutoff: float = 8.0
    n_gaussians: int = 41


class CGCNNConvolution(nn.Module):
    """One convolution: gated messages from the neighbours, batch-normalised, added."""

    def __init__(self, dim: int, bond_dim: int) -> None:
        """For atom vectors of ``dim`` and bond vectors of ``bond_dim`` numbers."""
        super().__init__()
        self.atom = nn.Linear(dim, 2 * dim)
        self.neighbor = nn.Linear(dim, 2 * dim, bias=False)
        self.bond = nn.Linear(bond_dim, 2 * dim, bias=False)
        self.message_norm = nn.BatchNorm1d(2 * dim)
        self.sum_norm = nn.BatchNorm1d(dim)

    def forward(self, atoms: Tensor, bonds: "Bonds") -> Tensor:
        """(n_atoms, dim) from ``atoms`` (n_atoms, dim)."""
        total = self.bond(bonds.expanded)
        total += functional.embedding(bonds.centers, self.atom(atoms))
        total += functional.embedding(bonds.neighbors, self.neighbor(atoms))
        heard = gated_sum(self.message_norm(total), bonds.shares, bonds.centers, len(atoms))
        return functional.softplus(atoms + self.sum_norm(heard))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bonds:
    """The bonds of a batch, one after the other: those that are there, and no places for more.

    Attributes:
        centers: (n_bonds,), index of the atom.
        neighbors: (n_bonds,), index of its neighbour.
        shares: (n_bonds,), by how much the neighbour counts.
        expanded: (n_bonds, n_gaussians), the length.
    """

    centers: Tensor
    neighbors: Tensor
    shares: Tensor
    expanded: Tensor

    @classmethod
    def of(cls, batch: GraphBatch, expansion: GaussianExpansion) -> "Bonds":
        """Those of ``batch``."""
        centers, places = torch.nonzero(batch.shares, as_tuple=True)
        return cls(
            centers=centers,
            neighbors=batch.neighbors[centers, places],
            shares=batch.shares[centers, places],
            expanded=expansion(batch.distances[centers, places]),
        )


class CGCNN(nn.Module):
    """The network: one trunk, one read-out for each target.

    Args:
        parameters: Hyper-parameters.
        targets: Names of the targets, in the order of the output's columns.
    """

    def __init__(self, parameters: CGCNNParameters, targets: Sequence[str]) -> None:
        super().__init__()
        self.parameters_used = parameters
        self.targets = tuple(targets)
        dim, count = parameters.hidden_dim, parameters.n_gaussians
        self.elements: nn.Module = ElementEmbedding(dim)
        self.expansion = GaussianExpansion(
            0.0, parameters.cutoff, count, parameters.cutoff / (count - 1)
        )
        self.convolutions = nn.ModuleList(
            CGCNNConvolution(dim, count) for _ in range(parameters.num_layers)
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Softplus(),
                nn.Linear(dim, parameters.head_dim),
                nn.Softplus(),
                nn.Dropout(parameters.dropout),
                nn.Linear(parameters.head_dim, 1),
            )
            for _ in self.targets
        )

    def atom_vectors(self, batch: GraphBatch) -> Tensor:
        """(n_atoms, hidden_dim), after the last convolution."""
        atoms: Tensor = self.elements(batch.atomic_numbers)
        bonds = Bonds.of(batch, self.expansion)
        for convolution in self.convolutions:
            atoms = convolution(atoms, bonds)
        return atoms

    def read_out(self, pooled: Tensor) -> Tensor:
        """(n_graphs, n_targets), normalised targets, from ``pooled`` (n_graphs, hidden_dim)."""
        return torch.cat([head(pooled) for head in self.heads], dim=1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """(n_graphs, n_targets), normalised targets."""
        return self.read_out(batch.mean_over_atoms(self.atom_vectors(batch)))
