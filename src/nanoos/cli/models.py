"""``nanoos models``: what predicts, how good it is, and the potentials behind it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import model_calibration, model_cards, model_monitoring, model_weights, options
from nanoos.cli.answering import known_models
from nanoos.cli.documents import print_document
from nanoos.cli.output import writable
from nanoos.cli.render import Column, print_table, progress, say

if TYPE_CHECKING:
    from nanoos.models import ModelInfo

app = typer.Typer(
    name="models", help="Which models and potentials there are, and how good.", no_args_is_help=True
)
references = typer.Typer(
    name="references", help="Elemental references of a potential.", no_args_is_help=True
)
app.add_typer(references)
app.command()(model_cards.show)
app.command()(model_weights.pull)
app.command()(model_weights.add)
app.command()(model_weights.remove)
app.command()(model_calibration.calibrate)
app.command()(model_monitoring.monitor)

_MODEL_COLUMNS = (
    Column(title="model", of=lambda info: info.name),
    Column(title="version", of=lambda info: info.version),
    Column(title="available", of=lambda info: info.available),
    Column(title="predicts", of=lambda info: info.supported_properties),
    Column(title="mean absolute error", of=lambda info: _errors_text(info)),  # noqa: PLW0108
    Column(title="what it is", of=lambda info: info.description, shrinks=True),
)
_TRAINED_COLUMNS = (
    Column(title="trained here", of=lambda row: row.name),
    Column(title="version", of=lambda row: row.version),
    Column(title="type", of=lambda row: row.model_type),
    Column(title="predicts", of=lambda row: row.target),
    Column(title="mean absolute error", of=lambda row: row.metrics.get("mae"), right=True),
    Column(title="unit", of=lambda row: row.metrics.get("unit")),
    Column(title="answers", of=lambda row: row.is_active),
)
_KPOINT_COLUMNS = (
    Column(title="k-point model", of=lambda info: info.name),
    Column(title="weights", of=lambda info: info.weights),
    Column(title="version", of=lambda info: info.version),
    Column(title="available", of=lambda info: info.available),
    Column(title="error of the length, Å", of=lambda info: info.test_error.get("mae_length_a")),
    Column(
        title="what it is",
        of=lambda info: info.unavailable_reason or info.description,
        shrinks=True,
    ),
)
_POTENTIAL_COLUMNS = (
    Column(title="potential", of=lambda row: row["name"]),
    Column(title="available", of=lambda row: row["available"]),
    Column(title="what is missing", of=lambda row: row["missing"], shrinks=True),
)


def _errors_text(info: "ModelInfo") -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {error.mae:.3g} {error.unit}".removesuffix(" 1")
        for name, errors in info.test_error.items()
        for error in errors
        if not error.seen_in_training
    )


@app.command("list")
def list_models(*, as_json: options.Json = False) -> None:
    """List models and potentials, and what those that cannot run here lack.

    JSON: {"models": [model], "default": {property: model}, "potentials": [{"name",
    "available", "missing", "install_command"}], "trained": [row of the registry], "kpoint_models":
    [{"name", "version", "available", "weights", "test_error", "coverage", "untried", ...}],
    "weights": [{"name", "installed", "gives", "untried", "license", "source", "sha256",
    "added_at", "command"}]}.
    """
    from nanoos.kpoints import kpoint_models

    catalog, trained = known_models()
    infos, potentials, chosen = catalog.infos(), _potentials(), catalog.defaults()
    weights, meshes = model_weights.weights_rows(), kpoint_models()
    if as_json:
        print_document(
            {
                "models": infos,
                "default": chosen,
                "potentials": potentials,
                "trained": trained,
                "kpoint_models": meshes,
                "weights": weights,
            }
        )
        return
    print_table(_MODEL_COLUMNS, infos, empty="No models.")
    if trained:
        print_table(_TRAINED_COLUMNS, trained, empty="")
    print_table(_KPOINT_COLUMNS, meshes, empty="")
    print_table(_POTENTIAL_COLUMNS, potentials, empty="No potentials.")
    model_weights.print_weights(weights)
    for model in dict.fromkeys(chosen.values()):
        names = ", ".join(n.replace("_", " ") for n, one in chosen.items() if one == model)
        say(f"{model} answers unless another is named: {names}.")
    commands = [info.install_command for info in infos if not info.not_for_decisions]
    commands += [row["install_command"] for row in potentials]
    for command in dict.fromkeys(command for command in commands if command):
        say(f"To get what is missing: {command}")


def _potentials() -> list[dict[str, Any]]:
    from nanoos.core.errors import UnavailableError
    from nanoos.potentials import POTENTIALS, check_potential

    rows = []
    for name in POTENTIALS.names():
        missing = command = None
        try:
            check_potential(name)
        except UnavailableError as error:
            missing, command = error.message, error.hint
        rows.append(
            {
                "name": name,
                "available": missing is None,
                "missing": missing,
                "install_command": command,
            }
        )
    return rows


@app.command()
def activate(
    name: Annotated[str, typer.Argument(help="Name of a trained or shipped model, or its id.")],
    *,
    version: Annotated[str | None, typer.Option(help="Which one; default: the newest.")] = None,
    as_json: options.Json = False,
) -> None:
    """Let a trained model answer for its property when its type is named. JSON: its row."""
    from nanoos.cli.opening import local_user, services

    with services() as lab:
        model = lab.models.activate(name, local_user(), version=version)
    if as_json:
        print_document(model)
    else:
        text = model.target.replace("_", " ")
        say(f"{model.model_type} predicts {text} with {model.name}, version {model.version}.")


@references.callback()
def _references() -> None:
    """Elemental references."""


@references.command()
def build(
    potential: Annotated[str, typer.Argument(help="Its name.")],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: references_NAME.json here.")
    ] = None,
    element: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be repeated. Default: all.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Relax the crystals of the elements with a potential: what its formation energies refer to.

    JSON: the table ("potential", "weights_sha256", "references": [...], ...).
    """
    from nanoos.potentials import build_references, get_potential, write_references

    chosen = get_potential(potential)
    with progress(f"elements with {chosen.name}") as report:
        table = build_references(chosen, elements=element, progress=report)
    path = output or Path(f"references_{chosen.name.casefold()}.json")
    with writable(path):
        write_references(table, path)
    if as_json:
        print_document(table)
    else:
        say(f"{len(table.references)} elements written to {path}.")
