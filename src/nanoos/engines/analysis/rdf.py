"""Radial distribution functions and coordination.

Pairs come from a periodic neighbour list, so every image counts: g(r) is right beyond half the
cell, where a minimum-image count runs out of atoms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations_with_replacement, product
from typing import Final

import numpy as np
import numpy.typing as npt

from nanoos.core.errors import InvalidInputError
from nanoos.engines.analysis.trajectory import Trajectory
from nanoos.features.neighbors import neighbor_list
from nanoos.structures import Structure

FloatArray = npt.NDArray[np.float64]

TOTAL: Final = "total"
R_MAX_A: Final = 8.0
LARGEST_R_MAX_A: Final = 30.0
N_BINS: Final = 200
MAX_FRAMES: Final = 50
MOST_PAIRS: Final = 1e8
"""Of a frame; so many take some GB while they are counted."""
_PEAK: Final = 1.1
"""A first shell stands out by so much; the noise of a gas does not."""
_SMOOTHING_A: Final = 0.15
"""Noise narrower than this, Å, is not taken for a minimum of g(r)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RadialDistribution:
    """g(r) of all pairs and of each pair of elements.

    Attributes:
        r_a: (n_bins,), middles of the bins, Å.
        g: ``"total"`` and ``"Cu-Cu"``, ``"O-Si"`` (both orders are one) to g(r), (n_bins,).
        coordination: ``"Si-O"`` (neighbours O around Si) to the running number n(r), (n_bins,).
        n_frames: Averaged over so many.
    """

    r_a: FloatArray
    g: Mapping[str, FloatArray]
    coordination: Mapping[str, FloatArray]
    n_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """The first shell of neighbours.

    Attributes:
        peak_a: First maximum of g(r), Å.
        cutoff_a: First minimum behind it, Å.
        coordination: Neighbours within the cutoff, on average.
    """

    peak_a: float
    cutoff_a: float
    coordination: float


def check_distance(r_max_a: float) -> None:
    """Refuse a largest distance that is none, or too large to count pairs up to, Å.

    Raises:
        InvalidInputError: code ``invalid_parameter``.
    """
    if not 0 < r_max_a <= LARGEST_R_MAX_A:
        raise InvalidInputError(
            f"Pairs cannot be counted up to {r_max_a:g} Å.",
            hint=f"Give a distance above 0 and at most {LARGEST_R_MAX_A:g} Å.",
            code="invalid_parameter",
        )


def check_pairs(cell: Structure, r_max_a: float) -> None:
    """Refuse frames with more pairs than memory holds.

    Args:
        cell: Of the simulation.
        r_max_a: Largest distance that is counted, Å.

    Raises:
        InvalidInputError: code ``too_many_pairs``.
    """
    pairs = cell.n_sites**2 / cell.volume * 4.0 / 3.0 * np.pi * r_max_a**3
    if pairs > MOST_PAIRS:
        raise InvalidInputError(
            f"Each frame has {pairs:.1e} pairs of atoms within {r_max_a:g} Å; {MOST_PAIRS:.0e} are "
            "counted at most.",
            hint="Lower rdf_cutoff, take a smaller cell, or leave rdf out of analysis.",
            code="too_many_pairs",
        )


class PairCounts:
    """Counts pairs by distance, frame by frame: a run can be counted while it goes on.

    Args:
        species: Element of each atom.
        r_max_a: Å; may exceed half the cell.
        n_bins: Bins between 0 and ``r_max_a``.
    """

    def __init__(
        self, species: tuple[str, ...], *, r_max_a: float = R_MAX_A, n_bins: int = N_BINS
    ) -> None:
        self._species = species
        self._r_max = r_max_a
        self._n_bins = n_bins
        self._elements = sorted(set(species))
        index = {element: i for i, element in enumerate(self._elements)}
        self._kinds = np.array([index[element] for element in species])
        self._pairs = np.zeros((len(index), len(index), n_bins))
        self._density = 0.0
        self.n_frames = 0

    def add(self, cell: FloatArray, positions: FloatArray) -> None:
        """Count one frame: (3, 3) and (n_atoms, 3), Å."""
        structure = _structure(self._species, cell, positions)
        found = neighbor_list(structure, self._r_max, may_be_isolated=None)
        n_kinds, n_bins = len(self._elements), self._n_bins
        bins = np.minimum((found.distances / self._r_max * n_bins).astype(int), n_bins - 1)
        if n_kinds > 1:
            bins += n_bins * (self._kinds[found.centers] * n_kinds + self._kinds[found.neighbors])
        counted = np.bincount(bins, minlength=self._pairs.size)
        self._pairs += counted.reshape(self._pairs.shape)
        self._density += 1.0 / structure.volume
        self.n_frames += 1

    def distribution(self) -> RadialDistribution:
        """The average over the frames so far.

        Raises:
            InvalidInputError: code ``too_few_frames``; there is none.
        """
        if self.n_frames == 0:
            raise InvalidInputError(
                "There is no frame to count pairs in.",
                hint="Write frames more often (dump_interval), or begin earlier.",
                code="too_few_frames",
            )
        edges = np.linspace(0.0, self._r_max, self._n_bins + 1)
        shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
        pairs = self._pairs / self.n_frames
        per_volume = self._density / self.n_frames  # mean of 1/V
        elements = self._elements
        counts = np.bincount(self._kinds, minlength=len(elements))
        g = {TOTAL: pairs.sum(axis=(0, 1)) / (counts.sum() ** 2 * per_volume * shells)}
        for a, b in combinations_with_replacement(range(len(elements)), 2):
            ideal = counts[a] * counts[b] * per_volume * shells
            g[f"{elements[a]}-{elements[b]}"] = pairs[a, b] / ideal
        coordination = {
            f"{elements[a]}-{elements[b]}": np.cumsum(pairs[a, b]) / counts[a]
            for a, b in product(range(len(elements)), repeat=2)
        }
        return RadialDistribution(
            r_a=0.5 * (edges[1:] + edges[:-1]),
            g=g,
            coordination=coordination,
            n_frames=self.n_frames,
        )


def _structure(species: tuple[str, ...], cell: FloatArray, positions: FloatArray) -> Structure:
    return Structure(lattice=cell, species=species, frac_coords=positions @ np.linalg.inv(cell))


def radial_distribution(
    trajectory: Trajectory,
    *,
    r_max_a: float = R_MAX_A,
    n_bins: int = N_BINS,
    max_frames: int = MAX_FRAMES,
) -> RadialDistribution:
    """Average g(r) over at most ``max_frames`` evenly chosen frames.

    Args:
        trajectory: Any number of frames, at least one.
        r_max_a: Å; may exceed half the cell.
        n_bins: Bins between 0 and ``r_max_a``.
        max_frames: More frames are thinned evenly.

    Raises:
        InvalidInputError: codes ``too_few_frames``, there is none; ``too_many_pairs``.
    """
    counts = PairCounts(trajectory.species, r_max_a=r_max_a, n_bins=n_bins)
    if trajectory.n_frames:
        densest = int(np.argmin(np.abs(np.linalg.det(trajectory.cells))))
        cell, positions = trajectory.cells[densest], trajectory.positions[densest]
        check_pairs(_structure(trajectory.species, cell, positions), r_max_a)
    chosen = np.linspace(0, trajectory.n_frames - 1, min(max_frames, trajectory.n_frames))
    for frame in np.unique(chosen.astype(int)):
        counts.add(trajectory.cells[frame], trajectory.positions[frame])
    return counts.distribution()


def first_shell(found: RadialDistribution, center: str, neighbor: str) -> Shell | None:
    """The first peak of a pair and the neighbours within the minimum behind it.

    None where g(r) has no clear first peak, as in a dilute gas.
    """
    a, b = sorted((center, neighbor))
    g, width = found.g[f"{a}-{b}"], found.r_a[1] - found.r_a[0]
    window = max(1, round(_SMOOTHING_A / width))
    smooth = np.convolve(g, np.ones(window) / window, mode="same")
    # the first bin that no later bin within half an ångström exceeds, and that stands out
    reach = max(1, round(0.5 / width))
    for i in range(1, len(smooth) - reach):
        if smooth[i] > _PEAK and smooth[i] >= smooth[max(0, i - reach) : i + reach + 1].max():
            peak = i
            break
    else:
        return None
    behind = smooth[peak:]
    lower = np.flatnonzero(
        [
            value < 1.0 and value <= behind[max(0, j - reach) : j + reach + 1].min()
            for j, value in enumerate(behind)
        ]
    )
    if len(lower) == 0:
        return None
    low = behind[lower[0]]
    flat = lower[0]  # a crystal has an empty gap: its middle is the least arbitrary cutoff
    while flat + 1 < len(behind) and behind[flat + 1] <= low + 1e-12:
        flat += 1
    cutoff = peak + (lower[0] + flat) // 2
    return Shell(
        peak_a=float(
            found.r_a[
                max(0, peak - window) + int(np.argmax(g[max(0, peak - window) : peak + window + 1]))
            ]
        ),
        cutoff_a=float(found.r_a[cutoff] + width / 2),
        coordination=float(found.coordination[f"{center}-{neighbor}"][cutoff]),
    )
