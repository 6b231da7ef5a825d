"""A picture of a convergence study: how the energy settles, and what was predicted."""

import io
from typing import Final

from nanoos.core.errors import UnavailableError
from nanoos.kpoints.mesh import length_from_kdist
from nanoos.kpoints.studies import ConvergenceStudy, Verdict

_CURVE: Final = "#0b6e99"
_PREDICTED: Final = "#b5651d"
_CONVERGED: Final = "#2a9d8f"
_FLOOR_MEV: Final = 1e-3


def study_figure_png(study: ConvergenceStudy, verdict: Verdict | None = None) -> bytes:
    """PNG: distance of the energy from that of the finest mesh against the length, log scale.

    Args:
        study: With two meshes or more.
        verdict: Of a prediction, which is drawn with its interval.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "Pictures need matplotlib, which is not installed.", hint="pip install 'nanoos[ml]'"
        ) from error
    figure = Figure(figsize=(9.0, 5.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    finest = study.energies[-1].energy_ev
    lengths = [one.length for one in study.energies]
    apart = [max(_FLOOR_MEV, 1e3 * abs(one.energy_ev - finest)) for one in study.energies]
    axes.semilogy(lengths[:-1], apart[:-1], "o-", color=_CURVE, label="|E - E of the finest mesh|")
    axes.axhline(1e3 * study.tolerance_ev, color="#999999", linewidth=1, label="tolerance")
    if study.converged_length is not None:
        axes.axvline(study.converged_length, color=_CONVERGED, linewidth=2, label="converged")
    if verdict is not None:
        said = verdict.prediction
        axes.axvspan(
            length_from_kdist(said.kdist_upper),
            length_from_kdist(said.kdist_lower),
            color=_PREDICTED,
            alpha=0.15,
            label=f"predicted by {said.model} at {said.level:g}",
        )
        axes.axvline(length_from_kdist(said.kdist), color=_PREDICTED, linestyle="--")
    axes.set_xlabel("length of the mesh, Å (2π / spacing)")
    axes.set_ylabel("energy of the cell, meV")
    axes.set_title(f"{study.structure.formula}: {study.code}", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
