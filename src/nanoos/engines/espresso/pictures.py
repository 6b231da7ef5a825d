"""Bands and densities of states as pictures, energies from the valence band's top or the Fermi level."""

from typing import Final

import numpy as np

from nanoos.engines.analysis import plots
from nanoos.engines.espresso.dos import DensityOfStates
from nanoos.engines.espresso.gap import BandGap
from nanoos.engines.espresso.paths import BandPath, labelled
from nanoos.engines.espresso.xml_output import Bands

_SHOWN_EV: Final = (-15.0, 10.0)


def bands_picture(
    path: BandPath, bands: Bands, gap: BandGap | None, fermi_ev: float | None
) -> bytes:
    """SVG of the bands along a path, 15 eV below to 10 eV above the zero of energy.

    Args:
        path: With as many k-points as the bands.
        bands: Eigenvalues along it, eV.
        gap: Where it has a valence band's top, that is the zero.
        fermi_ev: Otherwise this, eV; None: the zero of the eigenvalues.
    """
    zero, name = _zero(gap, fermi_ev)
    energies = [channel - zero for channel in bands.energies_ev]
    ticks = [
        (label, float(x)) for x, label in zip(path.distances, labelled(path), strict=True) if label
    ]
    picture = plots.bands(path.distances, energies, ticks, y=name, window=_SHOWN_EV)
    return picture.encode()


def dos_picture(dos: DensityOfStates, gap: BandGap | None, fermi_ev: float | None) -> bytes:
    """SVG of the density of states over the same energies as :func:`bands_picture`.

    Args:
        dos: States per eV and cell.
        gap: As there.
        fermi_ev: As there, eV.
    """
    zero, name = _zero(gap, fermi_ev)
    away = dos.energies_ev - zero
    shown = (away > _SHOWN_EV[0]) & (away < _SHOWN_EV[1])
    if not np.any(shown):
        shown[:] = True
    names = ("states",) if len(dos.states) == 1 else ("spin up", "spin down")
    named = {name: row[shown] for name, row in zip(names, dos.states, strict=True)}
    picture = plots.curves(away[shown], named, x=name, y="states per eV and cell", upright=0.0)
    return picture.encode()


def _zero(gap: BandGap | None, fermi_ev: float | None) -> tuple[float, str]:
    if gap is not None and gap.valence_top_ev is not None:
        return gap.valence_top_ev, "energy above the valence band, eV"
    if fermi_ev is not None:
        return fermi_ev, "energy above the Fermi level, eV"
    return 0.0, "energy, eV"
