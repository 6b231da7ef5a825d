"""Best so far against the random baseline, as a picture and as an interactive page."""

import io
from collections.abc import Sequence

from nanoos.services.campaign_records import Campaign, Trajectory

CAMPAIGN_COLOR = "#0b6e99"
BASELINE_COLOR = "#b5651d"


def progress_figure_png(campaign: Campaign, trajectory: Trajectory) -> bytes:
    """PNG, 1600 x 900 pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 5.625), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    label = f"{campaign.config.target.label} ({trajectory.unit})"
    for name, series, every, color in _series(campaign, trajectory):
        axes.plot(*_points(every), "o", color=color, markersize=4, alpha=0.35)
        steps, values = _points(series)
        axes.step(steps, values, where="post", color=color, linewidth=2, label=name)
        axes.plot(steps[-1:], values[-1:], "o", color=color)
        if values:
            axes.annotate(
                f"{values[-1]:.3g}",
                (steps[-1], values[-1]),
                (6, 4),
                color=color,
                textcoords="offset points",
            )
    if trajectory.target_range is not None:
        axes.axhspan(*trajectory.target_range, color="#2a9d8f", alpha=0.15, label="wanted range")
    axes.set_xlabel("simulations")
    axes.set_xlim(left=0)
    axes.set_ylabel(f"{label}: each simulation, and the best so far")
    axes.set_title(campaign.name)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def progress_figure_html(
    campaign: Campaign, trajectory: Trajectory, *, full_page: bool = True
) -> str:
    """The same as an interactive page that needs no network, or as a part of a page."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, series, every, color in _series(campaign, trajectory):
        numbers, single = _points(every)
        figure.add_scatter(
            x=numbers,
            y=single,
            mode="markers",
            marker={"color": color, "size": 6, "opacity": 0.4},
            showlegend=False,
            hovertemplate="simulation %{x}: %{y:.4g} " + trajectory.unit + "<extra></extra>",
        )
        steps, values = _points(series)
        figure.add_scatter(
            x=steps,
            y=values,
            name=name,
            line={"color": color, "shape": "hv", "width": 3},
            hovertemplate="%{x} simulations: %{y:.4g} " + trajectory.unit,
        )
    if trajectory.target_range is not None:
        low, high = trajectory.target_range
        figure.add_hrect(y0=low, y1=high, fillcolor="#2a9d8f", opacity=0.15, line_width=0)
    figure.update_layout(
        title=campaign.name,
        xaxis_title="simulations",
        yaxis_title=f"{campaign.config.target.label} ({trajectory.unit})",
        template="plotly_white",
        legend={"x": 0.98, "y": 0.02, "xanchor": "right", "yanchor": "bottom"},
        height=520,
    )
    page: str = figure.to_html(full_html=full_page, include_plotlyjs=True)
    return page


def _series(
    campaign: Campaign, trajectory: Trajectory
) -> list[tuple[str, Sequence[float | None], Sequence[float | None], str]]:
    """Name, best so far, each simulation's value and colour of what there is to draw."""
    name = campaign.strategy.replace("_", " ").replace("bayesian", "Bayesian")
    series = [(name, trajectory.best, trajectory.values, CAMPAIGN_COLOR)]
    if trajectory.baseline:
        seed = campaign.config.baseline.seed
        baseline = f"random baseline (seed {seed})"
        series.append((baseline, trajectory.baseline, trajectory.baseline_values, BASELINE_COLOR))
    return [entry for entry in series if any(value is not None for value in entry[1])]


def _points(series: Sequence[float | None]) -> tuple[list[int], list[float]]:
    pairs = [(n, value) for n, value in enumerate(series, start=1) if value is not None]
    return [n for n, _ in pairs], [value for _, value in pairs]
