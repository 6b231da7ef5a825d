"""The band gap: from counted electrons, not from where a smeared Fermi level happens to lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import spglib

from nanoos.engines.espresso.xml_output import Bands
from nanoos.structures import Structure
from nanoos.structures.symmetry import quiet_spglib

FloatArray = npt.NDArray[np.float64]

_WHOLE: Final = 0.05
"""Electrons of one spin count as a whole number within this."""
_SAME_K: Final = 1e-4
_SAME_SITE_A: Final = 0.01
FOLDED: Final = "The cell is not primitive, so that its bands are folded: whether the gap is direct cannot be told."
GAP_RESOLUTION_EV: Final = 1e-3
"""Smaller gaps are those of a metal: levels that touch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandGap:
    """The gap between filled and empty bands on the k-points that were looked at.

    Attributes:
        gap_ev: 0 for a metal.
        direct_gap_ev: Smallest vertical gap; 0 for a metal.
        direct: Whether the two are at one k-point.
        valence_top_ev: None for a metal.
        conduction_bottom_ev: None for a metal.
        valence_k: Fractional k-point of the valence band's top.
        conduction_k: Fractional k-point of the conduction band's bottom.
    """

    gap_ev: float
    direct_gap_ev: float
    direct: bool
    valence_top_ev: float | None
    conduction_bottom_ev: float | None
    valence_k: tuple[float, float, float] | None
    conduction_k: tuple[float, float, float] | None

    @property
    def metal(self) -> bool:
        """Whether there is no gap."""
        return self.gap_ev == 0.0


_METAL: Final = BandGap(
    gap_ev=0.0,
    direct_gap_ev=0.0,
    direct=False,
    valence_top_ev=None,
    conduction_bottom_ev=None,
    valence_k=None,
    conduction_k=None,
)


def band_gap(bands: Bands, n_electrons: float, magnetization: float | None) -> BandGap | None:
    """The gap of the lowest ``n_electrons`` states.

    Args:
        bands: Eigenvalues.
        n_electrons: Of the cell.
        magnetization: Bohr magnetons for the cell; None where spins are not treated apart.

    Returns:
        None where no empty band was computed.
    """
    filled = _filled(n_electrons, magnetization)
    if filled is None:
        return _METAL
    if max(filled) >= bands.energies_ev.shape[2]:
        return None
    tops = np.array(
        [e[:, n - 1] if n else np.full(len(e), -np.inf) for e, n in _channels(bands, filled)]
    )
    bottoms = np.array([e[:, n] for e, n in _channels(bands, filled)])
    gap = float(bottoms.min() - tops.max())
    if gap < GAP_RESOLUTION_EV:
        return _METAL
    top, bottom = int(tops.max(axis=0).argmax()), int(bottoms.min(axis=0).argmin())
    apart = bands.kpoints[top] - bands.kpoints[bottom]
    vertical = bottoms.min(axis=0) - tops.max(axis=0)
    return BandGap(
        gap_ev=gap,
        direct_gap_ev=float(vertical.min()),
        direct=bool(np.all(np.abs(apart - np.round(apart)) < _SAME_K))
        or float(vertical.min()) - gap < GAP_RESOLUTION_EV,
        valence_top_ev=float(tops.max()),
        conduction_bottom_ev=float(bottoms.min()),
        valence_k=_triple(bands.kpoints[top]),
        conduction_k=_triple(bands.kpoints[bottom]),
    )


def is_folded(structure: Structure, kinds: Sequence[int]) -> bool:
    """Whether a cell holds several primitive ones, whose bands then lie upon each other.

    A gap from X to Gamma of the primitive cell can look direct there.

    Args:
        structure: The cell.
        kinds: Number of the kind of atom at each site; spins make kinds.
    """
    cell: Any = (structure.lattice, structure.frac_coords, np.asarray(kinds) + 1)
    with quiet_spglib():
        try:
            primitive = spglib.find_primitive(cell, symprec=_SAME_SITE_A)
        except (TypeError, ValueError):  # none was found
            return False
    return primitive is not None and len(primitive[2]) < structure.n_sites


def _filled(n_electrons: float, magnetization: float | None) -> tuple[int, ...] | None:
    """Filled bands of each spin; None where they are not whole numbers."""
    if magnetization is None:
        counts = [n_electrons / 2]
    else:
        counts = [(n_electrons + magnetization) / 2, (n_electrons - magnetization) / 2]
    if any(abs(count - round(count)) > _WHOLE for count in counts):
        return None
    return tuple(round(count) for count in counts)


def _channels(bands: Bands, filled: tuple[int, ...]) -> list[tuple[FloatArray, int]]:
    return list(zip(bands.energies_ev, filled, strict=True))


def _triple(row: FloatArray) -> tuple[float, float, float]:
    a, b, c = (round(float(x), 6) + 0.0 for x in row)
    return a, b, c
