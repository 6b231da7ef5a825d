"""``nanoos models monitor``: how trained models do against simulation results."""

from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.opening import services
from nanoos.cli.render import Column, print_table, say

if TYPE_CHECKING:
    from nanoos.services.monitoring import MonitoringReport


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"


_COLUMNS = (
    Column(title="model", of=lambda report: report.name),
    Column(title="version", of=lambda report: report.version),
    Column(title="results", of=lambda report: report.figures.n, right=True),
    Column(title="mean absolute error", of=lambda report: report.figures.mae, right=True),
    Column(title="on its card", of=lambda report: report.figures.card_mae, right=True),
    Column(title="unit", of=lambda report: report.figures.unit),
    Column(title="0.9 interval held", of=lambda report: _share(report.figures.coverage)),
    Column(title="on its card", of=lambda report: _share(report.figures.card_coverage)),
    Column(title="out of domain", of=lambda report: _share(report.figures.out_of_domain)),
    Column(
        title="state",
        of=lambda report: "warning" if report.problems else "ok",
        states=True,
    ),
)


def monitor(
    name: Annotated[
        str | None, typer.Argument(help="Name or id of a trained model; default: all active ones.")
    ] = None,
    *,
    version: Annotated[str | None, typer.Option(help="Which one; default: the newest.")] = None,
    as_json: options.Json = False,
) -> None:
    """Compare models with the simulation results that came since, beside their cards.

    Only results of the same functional, corrections and reference count. Opens an alert where a
    model does worse than its card by more than chance explains, and closes those that are over.

    JSON: {"models": [{"model_id", "name", "version", "target", "figures", "problems",
    "alerts"}]}.
    """
    with services() as lab:
        reports: list[MonitoringReport]
        if name is None:
            reports = lab.monitoring.check_active()
        else:
            reports = [lab.monitoring.check(lab.models.find(name, version).id)]
    if as_json:
        print_document({"models": reports})
        return
    print_table(_COLUMNS, reports, empty="No trained model is active.")
    for report in reports:
        for problem in report.problems:
            say(f"{report.name}: {problem.message}")
