"""Analyses of a trajectory written down: numbers, tables and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from nanoos.core.errors import InvalidInputError
from nanoos.engines.analysis import plots
from nanoos.engines.analysis.diffusion import (
    MIN_FRAMES,
    diffusion_coefficient,
    mean_squared_displacement,
)
from nanoos.engines.analysis.rdf import (
    R_MAX_A,
    TOTAL,
    RadialDistribution,
    first_shell,
    radial_distribution,
)
from nanoos.engines.analysis.trajectory import FloatArray, Trajectory
from nanoos.engines.analysis.vibrations import vibrational_density

_FAST_SHARE: Final = 0.2
"""Of the cell, root mean square, from frame to frame: one step in eighty is longer than half."""
_SEEN_THZ: Final = 50.0
"""Highest frequency that a spectrum should show without a warning."""

Columns = Mapping[str, Sequence[float] | FloatArray]


@dataclass(slots=True, kw_only=True)
class AnalysisReport:
    """What analyses found.

    Attributes:
        values: Name with unit to number.
        warnings: What could not be done, or must not be trusted.
        files: Names of the files written.
    """

    values: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def draw(self, folder: Path, name: str, picture: str) -> None:
        """Write a plot."""
        (folder / name).write_text(picture, encoding="utf-8")
        self.files.append(name)


def write_columns(path: Path, columns: Columns) -> None:
    """A CSV file with one header line."""
    table = np.column_stack([np.asarray(values, dtype=np.float64) for values in columns.values()])
    line = ",".join(["%.8g"] * table.shape[1]) + "\n"
    rows = line * len(table) % tuple(table.ravel().tolist())
    path.write_text(f"{','.join(columns)}\n{rows}", encoding="utf-8")


def analyze(
    trajectory: Trajectory,
    folder: Path,
    *,
    which: Sequence[str] = ("rdf", "msd"),
    velocities: Trajectory | None = None,
    distribution: RadialDistribution | None = None,
    r_max_a: float = R_MAX_A,
) -> AnalysisReport:
    """Run the analyses, write ``NAME.csv`` and ``NAME.svg`` for each into ``folder``.

    One that this trajectory does not allow is a warning and does not stop the others.

    Args:
        trajectory: Equilibrated frames only.
        folder: Where the files go; made if missing.
        which: Of :data:`ANALYSES`.
        velocities: Frames for the vibrations where they are other ones.
        distribution: Where it was counted already.
        r_max_a: Largest distance of the radial distribution, Å.

    Raises:
        InvalidInputError: an unknown analysis.
    """
    unknown = sorted(set(which) - set(ANALYSES))
    if unknown:
        raise InvalidInputError(
            f"There is no analysis {unknown[0]!r}.", hint=f"There are: {', '.join(ANALYSES)}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    report = AnalysisReport()
    for name in which:
        try:
            if name == "vdos":
                _vdos(velocities or trajectory, folder, report)
            elif name == "msd":
                _msd(trajectory, folder, report)
            else:
                counted = distribution or radial_distribution(trajectory, r_max_a=r_max_a)
                _rdf(counted, folder, report)
        except InvalidInputError as error:
            report.warnings.append(f"No {ANALYSES[name]}: {error.message}")
    return report


ANALYSES: Final[Mapping[str, str]] = {
    "rdf": "radial distribution",
    "msd": "mean squared displacement",
    "vdos": "vibrational density of states",
}
"""Names of the analyses and what they are; coordination comes with the radial distribution."""


def _rdf(found: RadialDistribution, folder: Path, report: AnalysisReport) -> None:
    columns = {"r_a": found.r_a} | {f"g_{name}": g for name, g in found.g.items()}
    columns |= {f"n_{name}": n for name, n in found.coordination.items()}
    write_columns(folder / "rdf.csv", columns)
    report.files.append("rdf.csv")
    for name in found.coordination:
        center, neighbor = name.split("-")
        shell = first_shell(found, center, neighbor)
        if shell is None:
            continue
        key = f"{center}_{neighbor}".lower()
        report.values[f"coordination_{key}"] = shell.coordination
        if center <= neighbor:
            report.values[f"first_peak_{key}_a"] = shell.peak_a
            report.values[f"first_shell_cutoff_{key}_a"] = shell.cutoff_a
    named = {n: g for n, g in found.g.items() if n != TOTAL or len(found.g) > 2}  # noqa: PLR2004
    picture = plots.curves(found.r_a, named, x="r, Å", y="g(r)", level=1.0)
    report.draw(folder, "rdf.svg", picture)


def _msd(trajectory: Trajectory, folder: Path, report: AnalysisReport) -> None:
    found = mean_squared_displacement(trajectory)
    if trajectory.crossings_guessed and (step := trajectory.largest_step()) > _FAST_SHARE:
        report.warnings.append(
            f"An atom moves by {step:.2f} of the cell from frame to frame (root mean square): steps "
            "beyond half of it are taken for shorter ones, and the mean squared displacement is "
            "not to be trusted. Write frames more often, or unwrapped positions and unwrapped=T."
        )
    picoseconds = found.lags_fs / 1000
    write_columns(
        folder / "msd.csv",
        {"lag_ps": picoseconds} | {f"msd_{n}_a2": m for n, m in found.msd_a2.items()},
    )
    report.files.append("msd.csv")
    several = len(trajectory.elements) > 1
    shown = {n: m for n, m in found.msd_a2.items() if several or n != TOTAL}
    report.draw(folder, "msd.svg", plots.curves(picoseconds, shown, x="lag, ps", y="MSD, Å²"))
    if trajectory.n_frames < MIN_FRAMES:
        report.warnings.append(
            f"No diffusion coefficient: {trajectory.n_frames} frames, {MIN_FRAMES} are needed."
        )
        return
    for element in trajectory.elements:
        diffusion = diffusion_coefficient(trajectory, element)
        key = element.lower()
        report.values[f"diffusion_{key}_cm2_s"] = diffusion.coefficient_cm2_s
        report.values[f"diffusion_{key}_error_cm2_s"] = diffusion.error_cm2_s
        report.values[f"msd_exponent_{key}"] = diffusion.exponent
        if not diffusion.diffusive:
            report.warnings.append(
                f"{element} does not diffuse within this run (MSD grows as t^"
                f"{diffusion.exponent:.2f}): its diffusion coefficient is not to be trusted."
            )


def _vdos(trajectory: Trajectory, folder: Path, report: AnalysisReport) -> None:
    found = vibrational_density(trajectory)
    columns = {"frequency_thz": found.frequency_thz}
    columns |= {f"vdos_{n}_per_thz": d for n, d in found.density.items()}
    write_columns(folder / "vdos.csv", columns)
    write_columns(
        folder / "vacf.csv",
        {"lag_ps": found.lags_fs / 1000, "autocorrelation": found.autocorrelation},
    )
    report.files += ["vdos.csv", "vacf.csv"]
    highest = float(found.frequency_thz[-1])
    if highest < _SEEN_THZ:
        report.warnings.append(
            f"The frames show vibrations up to {highest:.3g} THz; faster ones appear there, too, "
            "folded to lower frequencies: write velocities every 5 fs."
        )
    total = found.density["total"]
    cumulated = np.cumsum(total) / total.sum()
    last = min(int(np.searchsorted(cumulated, 0.995)), len(total) - 1)
    top = float(found.frequency_thz[last])
    report.values["vdos_mean_frequency_thz"] = float(
        (found.frequency_thz * total).sum() / total.sum()
    )
    report.values["vdos_top_frequency_thz"] = top
    report.values["vdos_resolution_thz"] = found.resolution_thz
    shown = found.frequency_thz <= 1.3 * top
    several = len(trajectory.elements) > 1
    densities = {n: d[shown] for n, d in found.density.items() if several or n == TOTAL}
    picture = plots.curves(
        found.frequency_thz[shown],
        densities,
        x="frequency, THz",
        y="density of states, 1/THz",
    )
    report.draw(folder, "vdos.svg", picture)
