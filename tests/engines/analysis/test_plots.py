"""Plots as SVG: what is written on them."""

import re

import numpy as np

from nanoos.engines.analysis.plots import bands, curves, fit


def test_bands_join_the_labels_where_the_path_jumps():
    x = np.array([0.0, 1.0, 1.0, 2.0])
    ticks = [("G", 0.0), ("K", 1.0), ("U", 1.0), ("X", 2.0)]
    text = bands(x, [np.array([[0.0], [2.0], [1.0], [3.0]])], ticks, y="THz")
    labels = re.findall(r'text-anchor="middle">([^<]+)<', text)
    assert labels == ["Γ", "K|U", "X"]


def drawn(text: str) -> list[np.ndarray]:
    """Pixels (n, 2) of every line, in order."""
    return [
        np.array([pair.split(",") for pair in points.split()], dtype=float)
        for points in re.findall(r'points="([^"]+)"', text)
    ]


def test_bands_outside_the_window_are_left_out_and_the_rest_stays_inside():
    x = np.linspace(0.0, 1.0, 5)
    deep, through, high = -40.0 + 0 * x, 20 * x - 5.0, 30.0 + x
    ticks = [("G", 0.0), ("X", 1.0)]
    text = bands(x, [np.stack([deep, through, high], axis=1)], ticks, y="eV", window=(-15.0, 10.0))
    *_, band = lines = drawn(text)
    assert len(lines) == 4, "two special points, the zero, and the one band that is to be seen"
    assert 'height="500"' not in text
    zero = lines[2][0, 1]
    np.testing.assert_allclose(band[0, 1] - zero, 500 * 5 / 25, atol=0.2)
    assert band[-1, 1] == band[3, 1], "cut at the end of the window"


def test_each_spin_has_its_colour():
    x = np.linspace(0.0, 1.0, 3)
    text = bands(x, [x[:, None], x[:, None] + 1.0], [("G", 0.0)], y="eV", window=(-15.0, 10.0))
    assert len(set(re.findall(r'stroke="(#\w{6})"', text))) == 2


def test_points_lie_on_the_curve_that_fits_them():
    x = np.linspace(1.0, 2.0, 5)
    text = fit((x, x**2), (x, x**2), x="volume", y="energy")
    dots = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', text)
    np.testing.assert_allclose(np.array(dots, dtype=float), drawn(text)[0], atol=0.11)


def test_an_upright_line_stands_where_it_is_asked_for():
    x = np.linspace(-1.0, 3.0, 5)
    (line, _) = drawn(curves(x, {"states": x**2}, x="eV", y="1/eV", upright=0.0))
    left, right = drawn(curves(x, {"states": x**2}, x="eV", y="1/eV"))[0][[0, -1], 0]
    assert line[0, 0] == line[1, 0]
    np.testing.assert_allclose(line[0, 0], left + 0.25 * (right - left), atol=0.11)
    assert len(drawn(curves(x, {"states": x**2}, x="eV", y="1/eV", upright=9.0))) == 1
