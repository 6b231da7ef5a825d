"""``nanoos models calibrate``: intervals for a trained model."""

from typing import TYPE_CHECKING, Annotated

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.opening import local_user, services
from nanoos.cli.render import Column, print_table, progress, say

if TYPE_CHECKING:
    from nanoos.services.model_registry import TrainedModel


def calibrate(
    name: Annotated[str, typer.Argument(help="Name of a trained model, or its id.")],
    *,
    version: Annotated[str | None, typer.Option(help="Which one; default: the newest.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", "-d", help="Name or file. Default: that of its training."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Calibrate a trained model on the rows that its training held out.

    It becomes a new version with the same weights, with intervals, confidence and a check of
    the domain, and answers where the one before it answered. JSON: [its row for each target].
    """
    from nanoos.services.model_calibration import calibrate_model

    with services() as lab, progress(f"calibrating {name}") as report:
        models = calibrate_model(
            lab, name, local_user(), version=version, dataset=dataset, report=report
        )
    if as_json:
        print_document(models)
        return
    print_table(_COLUMNS, models, empty="Nothing was calibrated.")
    if not any(model.metrics.get("coverage") for model in models):
        say("There were no test rows to measure the coverage on.")


def _coverage(model: "TrainedModel", level: str) -> str | None:
    share = model.metrics.get("coverage", {}).get(level)
    return None if share is None else f"{share:.1%}"


_COLUMNS = (
    Column(title="model", of=lambda model: model.name),
    Column(title="version", of=lambda model: model.version),
    Column(title="mean absolute error", of=lambda model: model.metrics.get("mae"), right=True),
    Column(title="0.8 interval holds", of=lambda model: _coverage(model, "0.8"), right=True),
    Column(title="0.9 interval holds", of=lambda model: _coverage(model, "0.9"), right=True),
    Column(title="active", of=lambda model: model.is_active),
)
