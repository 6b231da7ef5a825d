"""Plots as SVG: what is written on them."""

import re

import numpy as np

from nanoos.engines.analysis.plots import bands


def test_bands_join_the_labels_where_the_path_jumps(tmp_path):
    x = np.array([0.0, 1.0, 1.0, 2.0])
    ticks = [("G", 0.0), ("K", 1.0), ("U", 1.0), ("X", 2.0)]
    bands(tmp_path / "bands.svg", x, np.array([[0.0], [2.0], [1.0], [3.0]]), ticks, y="THz")
    text = (tmp_path / "bands.svg").read_text(encoding="utf-8")
    labels = re.findall(r'text-anchor="middle">([^<]+)<', text)
    assert labels == ["Γ", "K|U", "X"]
