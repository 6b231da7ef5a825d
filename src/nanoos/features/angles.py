"""Angles and dihedrals of a crystal graph: the graph of its bonds."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import TooLargeError
from nanoos.features.graph import CrystalGraph

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_PAIRS: Final = 20_000_000
"""More pairs or triples of bonds than this are refused: they need gigabytes."""

_ON_A_LINE: Final = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LineGraph:
    """All ordered pairs of different bonds that start from the same atom.

    Attributes:
        first: (n_angles,), bond index, ascending.
        second: (n_angles,), bond index.
        cosines: (n_angles,), of the angle between the two bonds, -1 to 1.
    """

    first: IntArray
    second: IntArray
    cosines: FloatArray

    @property
    def angles(self) -> FloatArray:
        """(n_angles,), rad, 0 to pi."""
        return np.asarray(np.arccos(self.cosines))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dihedrals:
    """All chains of three bonds i-j-k-l: a bond from j, the bond j to k, a bond from k.

    Attributes:
        first: (n_dihedrals,), bond index, from j to i.
        middle: (n_dihedrals,), bond index, from j to k.
        last: (n_dihedrals,), bond index, from k to l.
        angles: (n_dihedrals,), rad, above -pi to pi, 0 where i and l are on the same side (IUPAC
            sign); NaN where three neighbouring atoms of the chain are on a line.
    """

    first: IntArray
    middle: IntArray
    last: IntArray
    angles: FloatArray


def line_graph(graph: CrystalGraph) -> LineGraph:
    """Which bonds share the atom they start from, and the angle between them.

    Raises:
        TooLargeError: more than 20 million pairs; take fewer neighbours.
    """
    degrees = graph.coordination
    _refuse_many(int((degrees * (degrees - 1)).sum()), "angles")
    first, second = _joined(graph.sources, graph)
    other = first != second
    first, second = first[other], second[other]
    units = graph.vectors / graph.distances[:, None]
    cosines = np.einsum("ij,ij->i", units[first], units[second])
    return LineGraph(first=first, second=second, cosines=np.clip(cosines, -1.0, 1.0))


def dihedrals(graph: CrystalGraph) -> Dihedrals:
    """The torsion angle of every chain of three bonds; both directions of a chain are listed.

    Raises:
        TooLargeError: more than 20 million chains; take fewer neighbours.
    """
    degrees = graph.coordination
    expected = (degrees[graph.sources] * degrees[graph.targets]).sum()
    _refuse_many(int(expected), "dihedrals")
    middle, first = _joined(graph.sources, graph)
    keep = middle != first
    middle, first = middle[keep], first[keep]
    chain, last = _joined(graph.targets[middle], graph)
    middle, first = middle[chain], first[chain]
    back = (graph.targets[last] == graph.sources[middle]) & (
        graph.images[last] == -graph.images[middle]
    ).all(axis=1)
    middle, first, last = middle[~back], first[~back], last[~back]
    return Dihedrals(
        first=first,
        middle=middle,
        last=last,
        angles=_torsions(-graph.vectors[first], graph.vectors[middle], graph.vectors[last]),
    )


def _joined(atoms: IntArray, graph: CrystalGraph) -> tuple[IntArray, IntArray]:
    """Each index into ``atoms`` with each bond that starts from that atom."""
    degrees = graph.coordination
    starts = np.cumsum(degrees) - degrees
    counts = degrees[atoms]
    left = np.repeat(np.arange(len(atoms)), counts)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    return left, starts[atoms][left] + within


def _torsions(before: FloatArray, middle: FloatArray, after: FloatArray) -> FloatArray:
    """Torsion angles of vectors i to j, j to k and k to l, (n, 3) each; rad."""
    left, right = np.cross(before, middle), np.cross(middle, after)
    lengths = np.linalg.norm(middle, axis=1)
    sines = lengths * np.einsum("ij,ij->i", before, right)
    cosines = np.einsum("ij,ij->i", left, right)
    flat = np.minimum((left**2).sum(axis=1), (right**2).sum(axis=1)) < _ON_A_LINE * lengths**4
    return np.where(flat, np.nan, np.arctan2(sines, cosines))


def _refuse_many(expected: int, what: str) -> None:
    if expected > MAX_PAIRS:
        raise TooLargeError(
            f"The graph has {expected:.1e} {what}.",
            hint="Take a smaller cutoff radius or the nearest 12 neighbours.",
            code="graph_too_large",
        )
