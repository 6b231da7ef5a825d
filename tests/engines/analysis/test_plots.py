"""Plots as SVG: what is written on them."""

import re

import numpy as np

from nanoos.engines.analysis.plots import bands


def test_bands_join_the_labels_where_the_path_jumps():
    x = np.array([0.0, 1.0, 1.0, 2.0])
    ticks = [("G", 0.0), ("K", 1.0), ("U", 1.0), ("X", 2.0)]
    text = bands(x, [np.array([[0.0], [2.0], [1.0], [3.0]])], ticks, y="THz")
    labels = re.findall(r'text-anchor="middle">([^<]+)<', text)
    assert labels == ["Γ", "K|U", "X"]
