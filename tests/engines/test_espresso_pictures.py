"""Pictures of bands and densities of states: where their zero of energy is."""

import numpy as np
import pytest

from nanoos.engines.analysis import plots
from nanoos.engines.espresso.dos import DensityOfStates
from nanoos.engines.espresso.gap import BandGap
from nanoos.engines.espresso.paths import path_points
from nanoos.engines.espresso.pictures import bands_picture, dos_picture
from nanoos.engines.espresso.xml_output import Bands
from nanoos.testing.crystals import rocksalt

GAP = BandGap(
    gap_ev=2.0,
    direct_gap_ev=2.0,
    direct=True,
    valence_top_ev=5.0,
    conduction_bottom_ev=7.0,
    valence_k=(0.0, 0.0, 0.0),
    conduction_k=(0.0, 0.0, 0.0),
)


@pytest.fixture
def asked(monkeypatch):
    """What the plots are asked to draw."""
    found = {}

    def bands(distances, energies, ticks, **options):
        found.update(distances=distances, energies=energies, ticks=ticks, **options)
        return "<svg/>"

    def curves(energies, named, **options):
        found.update(energies=energies, named=named, **options)
        return "<svg/>"

    monkeypatch.setattr(plots, "bands", bands)
    monkeypatch.setattr(plots, "curves", curves)
    return found


@pytest.mark.parametrize(
    ("gap", "fermi_ev", "zero", "words"),
    [(GAP, 6.0, 5.0, "valence band"), (None, 6.0, 6.0, "Fermi level"), (None, None, 0.0, "energy")],
)
def test_bands_begin_at_the_valence_band_or_the_fermi_level(asked, gap, fermi_ev, zero, words):
    path = path_points(rocksalt(4.2), "GXW", 12)
    n = len(path.kpoints)
    levels = np.arange(2 * n * 3, dtype=float).reshape(2, n, 3)
    bands = Bands(
        kpoints=np.array(path.kpoints),
        weights=np.full(n, 1 / n),
        energies_ev=levels,
        occupations=np.ones_like(levels),
    )
    assert bands_picture(path, bands, gap, fermi_ev) == b"<svg/>"
    np.testing.assert_allclose(asked["energies"], levels - zero)
    assert words in asked["y"]
    assert [label for label, _ in asked["ticks"]] == ["G", "X", "W"]
    assert [place for _, place in asked["ticks"]] == sorted(place for _, place in asked["ticks"])


@pytest.mark.parametrize("n_spin", [1, 2])
def test_states_are_shown_about_the_zero(asked, n_spin):
    energies = np.linspace(-30.0, 30.0, 61)
    states = np.abs(np.sin(energies)) * np.ones((n_spin, 1))
    dos_picture(DensityOfStates(energies_ev=energies, states=states), GAP, 6.0)
    assert asked["energies"].min() == -14.0
    assert asked["energies"].max() == 9.0
    assert asked["upright"] == 0.0
    for row in asked["named"].values():
        np.testing.assert_allclose(row, np.abs(np.sin(asked["energies"] + 5.0)))
    assert len(asked["named"]) == n_spin
