"""Pieces that the networks share."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nanoos.features.composition import ELEMENT_PROPERTIES, element_table
from nanoos.structures.elements import ATOMIC_NUMBERS

N_ELEMENTS = 104
"""Rows of an element table: atomic number 0 is unused, the last is Lr."""


class GaussianExpansion(nn.Module):
    """Distances as overlaps with Gaussians on a grid.

    The exponent is cut at -30: below it float32 arithmetic meets denormal numbers, which are
    tens of times slower on a CPU and carry nothing.
    """

    def __init__(self, lower: float, upper: float, count: int, width: float) -> None:
        """Grid of ``count`` centres from ``lower`` to ``upper``; all in the input's unit."""
        super().__init__()
        self.register_buffer("centers", torch.linspace(lower, upper, count), persistent=False)
        self.inverse_width = 1.0 / width

    def forward(self, values: Tensor) -> Tensor:
        """(..., count) from ``values`` (...); 0 for an infinite value."""
        centers: Tensor = self.get_buffer("centers")
        exponent = -(((values[..., None] - centers) * self.inverse_width) ** 2)
        return torch.where(exponent > -30.0, exponent, -torch.inf).exp()  # noqa: PLR2004


class ElementEmbedding(nn.Module):
    """A learned vector for each element plus a linear map of its tabulated properties.

    The map lets a rare element borrow from its neighbours in the periodic table. The table
    (electronegativity, radius, valence electrons, ...; standardised) is a buffer, so a
    checkpoint carries it.
    """

    def __init__(self, dim: int) -> None:
        """Vectors of ``dim`` numbers."""
        super().__init__()
        self.learned = nn.Embedding(N_ELEMENTS, dim)
        nn.init.normal_(self.learned.weight, std=0.1)
        properties = _standardised_elements()
        self.register_buffer("properties", properties)
        self.map = nn.Linear(properties.shape[1], dim)

    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """(n_atoms, dim) from ``atomic_numbers`` (n_atoms,)."""
        table = self.learned.weight + self.map(self.get_buffer("properties"))
        return functional.embedding(atomic_numbers, table)


_WEIGHTS_FOLLOW: ContextVar[bool] = ContextVar("weights_follow", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Networks made here get their weights from a checkpoint, which carries the table too.

    The table of elements is then not made, which would load a large package.
    """
    token = _WEIGHTS_FOLLOW.set(True)
    try:
        yield
    finally:
        _WEIGHTS_FOLLOW.reset(token)


def _standardised_elements() -> Tensor:
    rows = torch.zeros(N_ELEMENTS, len(ELEMENT_PROPERTIES))
    if _WEIGHTS_FOLLOW.get():
        return rows
    for symbol, row in element_table().items():
        rows[ATOMIC_NUMBERS[symbol]] = torch.from_numpy(row).float()
    known = rows[1:]
    rows[1:] = (known - known.mean(0)) / known.std(0)
    return rows


class _GatedSum(torch.autograd.Function):
    """Sum over the neighbours of each atom of share * sigmoid(gate) * softplus(core)."""

    @staticmethod
    def forward(
        ctx: Any, gate_and_core: Tensor, shares: Tensor, centers: Tensor, n_atoms: int
    ) -> Tensor:
        gate, core = gate_and_core.chunk(2, dim=-1)
        opened, message = torch.sigmoid(gate), functional.softplus(core)
        shares = shares[:, None].to(gate.dtype)
        ctx.save_for_backward(gate_and_core, opened, message, shares, centers)
        total = gate.new_zeros(n_atoms, gate.shape[1])
        return total.index_add_(0, centers, (opened * message).mul_(shares))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        gate_and_core, opened, message, shares, centers = ctx.saved_tensors
        core = gate_and_core.chunk(2, dim=-1)[1]
        weighted = upstream.index_select(0, centers).mul_(shares).mul_(opened)
        by_gate = (1.0 - opened).mul_(message).mul_(weighted)
        by_core = torch.sigmoid(core).mul_(weighted)
        return torch.cat([by_gate, by_core], dim=-1), None, None, None


def gated_sum(gate_and_core: Tensor, shares: Tensor, centers: Tensor, n_atoms: int) -> Tensor:
    """(n_atoms, n_columns) from ``gate_and_core`` (n_bonds, 2 * n_columns).

    The message of CGCNN, eq. 5 of DOI 10.1103/PhysRevLett.120.145301, summed over the neighbours
    of each atom, each by its share; ``centers`` (n_bonds,) says whose neighbour it is.
    """
    found = _GatedSum.apply(gate_and_core, shares, centers, n_atoms)  # type: ignore[no-untyped-call]
    return torch.as_tensor(found)
