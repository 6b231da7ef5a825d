"""Atomistic line graph neural network, after Choudhary & DeCost 2021.

DOI 10.1038/s41524-021-00650-1. Edge-gated graph convolutions alternate between the line graph,
whose nodes are the bonds and whose edges are the angles, and the bond graph. Differences from
the published network, chosen so that it trains on a CPU: each atom has the same number of
places for bonds, and two bonds are joined in the line graph where they share their centre, so both
graphs are dense arrays; where the published one takes whole shells, a bond counts by its share; a gate of the line graph opens a group of columns instead of one column; angle
vectors are as wide as there are such groups; layer normalisation stands for batch normalisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nanoos.models.networks.batch import GraphBatch
from nanoos.models.networks.layers import ElementEmbedding, GaussianExpansion

_SMALL = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ALIGNNParameters:
    """Hyper-parameters.

    Attributes:
        hidden_dim: Length of an atom's and of a bond's vector; a multiple of ``angle_dim``.
        angle_dim: Length of an angle's vector and number of gates of the line graph.
        alignn_layers: Layers that update angles, bonds and atoms.
        gcn_layers: Layers after them that update bonds and atoms.
        head_dim: Hidden units of each read-out.
        dropout: Probability, in the read-outs.
        max_neighbors: What the shares of an atom's neighbours add up to.
        cutoff: Å, of the neighbours and the largest Gaussian centre.
        n_gaussians: Of the bond length.
        angle_degree: Largest degree of the Legendre polynomials of the cosine of the angle.
    """

    hidden_dim: int = 64
    angle_dim: int = 8
    alignn_layers: int = 2
    gcn_layers: int = 2
    head_dim: int = 128
    dropout: float = 0.1
    max_neighbors: int = 12
    cutoff: float = 8.0
    n_gaussians: int = 40
    angle_degree: int = 7


class BondGraphConvolution(nn.Module):
    """Edge-gated convolution on the bond graph: updates bonds, then atoms."""

    def __init__(self, dim: int) -> None:
        """For atom and bond vectors of ``dim`` numbers."""
        super().__init__()
        self.center = nn.Linear(dim, dim)
        self.neighbor = nn.Linear(dim, dim, bias=False)
        self.bond = nn.Linear(dim, dim, bias=False)
        self.own = nn.Linear(dim, dim)
        self.message = nn.Linear(dim, dim, bias=False)
        self.bond_norm = nn.LayerNorm(dim)
        self.atom_norm = nn.LayerNorm(dim)

    def forward(
        self, atoms: Tensor, bonds: Tensor, neighbors: Tensor, shares: Tensor
    ) -> tuple[Tensor, Tensor]:
        """New ``atoms`` (n_atoms, dim) and ``bonds`` (n_atoms, width, dim)."""
        logits = self.bond(bonds) + self.center(atoms)[:, None, :]
        logits = logits + functional.embedding(neighbors, self.neighbor(atoms))
        gates = torch.sigmoid(logits) * shares[..., None]
        messages = functional.embedding(neighbors, self.message(atoms))
        total = (gates * messages).sum(1) / (gates.sum(1) + _SMALL)
        atoms = atoms + functional.silu(self.atom_norm(self.own(atoms) + total))
        bonds = bonds + functional.silu(self.bond_norm(logits))
        return atoms, bonds


class LineGraphConvolution(nn.Module):
    """Edge-gated convolution on the line graph: updates angles, then bonds."""

    def __init__(self, dim: int, angle_dim: int) -> None:
        """For bond vectors of ``dim`` and angle vectors of ``angle_dim`` numbers."""
        super().__init__()
        self.groups = angle_dim
        self.first = nn.Linear(dim, angle_dim)
        self.second = nn.Linear(dim, angle_dim, bias=False)
        self.angle = nn.Linear(angle_dim, angle_dim, bias=False)
        self.own = nn.Linear(dim, dim)
        self.message = nn.Linear(dim, dim, bias=False)
        self.bond_norm = nn.LayerNorm(dim)

    def forward(self, bonds: Tensor, angles: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """New ``bonds`` (n_atoms, width, dim) and ``angles`` (n_atoms, width, width, angle_dim).

        ``shares`` (n_atoms, width, width) says by how much the second bond counts for the first.
        """
        n_atoms, width, dim = bonds.shape
        logits = self.angle(angles) + self.first(bonds)[:, :, None, :]
        logits = logits + self.second(bonds)[:, None, :, :]
        gates = torch.sigmoid(logits) * shares[..., None]
        gates = gates / (gates.sum(2, keepdim=True) + _SMALL)
        messages = self.message(bonds).view(n_atoms, width, self.groups, dim // self.groups)
        total = torch.matmul(gates.permute(0, 3, 1, 2), messages.permute(0, 2, 1, 3))
        total = total.permute(0, 2, 1, 3).reshape(n_atoms, width, dim)
        bonds = bonds + functional.silu(self.bond_norm(self.own(bonds) + total))
        return bonds, angles + functional.silu(logits)


def _legendre(cosines: Tensor, degree: int) -> Tensor:
    """(..., degree): P_1 to P_degree of ``cosines`` (...), by Bonnet's recursion."""
    values = [torch.ones_like(cosines), cosines]
    for n in range(1, degree):
        values.append(((2 * n + 1) * cosines * values[n] - n * values[n - 1]) / (n + 1))
    return torch.stack(values[1:], dim=-1)


class ALIGNN(nn.Module):
    """The network: one trunk, one read-out for each target.

    Args:
        parameters: Hyper-parameters.
        targets: Names of the targets, in the order of the output's columns.
    """

    def __init__(self, parameters: ALIGNNParameters, targets: Sequence[str]) -> None:
        super().__init__()
        self.parameters_used = parameters
        self.targets = tuple(targets)
        dim = parameters.hidden_dim
        self.elements: nn.Module = ElementEmbedding(dim)
        spacing = parameters.cutoff / (parameters.n_gaussians - 1)
        self.expansion = GaussianExpansion(0.0, parameters.cutoff, parameters.n_gaussians, spacing)
        self.bond_embedding = nn.Sequential(
            nn.Linear(parameters.n_gaussians, dim),
            nn.LayerNorm(dim),
            nn.SiLU(),
            nn.Linear(dim, dim),
        )
        self.angle_embedding = nn.Linear(parameters.angle_degree, parameters.angle_dim)
        self.line_convolutions = nn.ModuleList(
            LineGraphConvolution(dim, parameters.angle_dim) for _ in range(parameters.alignn_layers)
        )
        self.bond_convolutions = nn.ModuleList(
            BondGraphConvolution(dim)
            for _ in range(parameters.alignn_layers + parameters.gcn_layers)
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(dim, parameters.head_dim),
                nn.SiLU(),
                nn.Dropout(parameters.dropout),
                nn.Linear(parameters.head_dim, 1),
            )
            for _ in self.targets
        )

    def atom_vectors(self, batch: GraphBatch) -> Tensor:
        """(n_atoms, hidden_dim), after the last convolution."""
        atoms: Tensor = self.elements(batch.atomic_numbers)
        bonds = self.bond_embedding(self.expansion(batch.distances))
        directions = batch.vectors / batch.vectors.norm(dim=-1, keepdim=True).clamp_min(_SMALL)
        cosines = directions @ directions.transpose(1, 2)
        angles = self.angle_embedding(_legendre(cosines, self.parameters_used.angle_degree))
        own = torch.eye(batch.shares.shape[1], device=atoms.device)
        pairs = batch.shares[:, None, :] * (1.0 - own)
        for index, convolution in enumerate(self.bond_convolutions):
            if index < len(self.line_convolutions):
                bonds, angles = self.line_convolutions[index](bonds, angles, pairs)
            atoms, bonds = convolution(atoms, bonds, batch.neighbors, batch.shares)
        return atoms

    def read_out(self, pooled: Tensor) -> Tensor:
        """(n_graphs, n_targets), normalised targets, from ``pooled`` (n_graphs, hidden_dim)."""
        return torch.cat([head(pooled) for head in self.heads], dim=1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """(n_graphs, n_targets), normalised targets."""
        return self.read_out(batch.mean_over_atoms(self.atom_vectors(batch)))
