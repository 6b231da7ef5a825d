"""``nanoos models``: what predicts, how good it is, and the potentials behind it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import model_monitoring, model_weights, options
from nanoos.cli.documents import print_document
from nanoos.cli.output import writable
from nanoos.cli.render import Column, print_facts, print_table, progress, say

if TYPE_CHECKING:
    from nanoos.models import ModelInfo

app = typer.Typer(
    name="models", help="Which models and potentials there are, and how good.", no_args_is_help=True
)
references = typer.Typer(
    name="references", help="Elemental references of a potential.", no_args_is_help=True
)
app.add_typer(references)
app.command()(model_weights.pull)
app.command()(model_weights.add)
app.command()(model_weights.remove)
app.command()(model_monitoring.monitor)

_MODEL_COLUMNS = (
    Column(title="model", of=lambda info: info.name),
    Column(title="version", of=lambda info: info.version),
    Column(title="available", of=lambda info: info.available),
    Column(title="predicts", of=lambda info: info.supported_properties),
    Column(title="mean absolute error", of=lambda info: _errors_text(info)),  # noqa: PLW0108
    Column(title="what it is", of=lambda info: info.description, shrinks=True),
)
_POTENTIAL_COLUMNS = (
    Column(title="potential", of=lambda row: row["name"]),
    Column(title="available", of=lambda row: row["available"]),
    Column(title="what is missing", of=lambda row: row["missing"], shrinks=True),
)


def _errors_text(info: "ModelInfo") -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {error.mae:g} {error.unit}"
        for name, errors in info.test_error.items()
        for error in errors
    )


@app.command("list")
def list_models(*, as_json: options.Json = False) -> None:
    """List models and potentials, and what those that cannot run here lack.

    JSON: {"models": [model], "default": {property: model}, "potentials": [{"name",
    "available", "missing", "install_command"}], "weights": [{"name", "installed", "gives",
    "license", "source", "sha256", "added_at", "command"}]}.
    """
    from nanoos.models import default_models
    from nanoos.models import list_models as known

    infos, potentials, chosen = known(), _potentials(), default_models()
    weights = model_weights.weights_rows()
    if as_json:
        print_document(
            {"models": infos, "default": chosen, "potentials": potentials, "weights": weights}
        )
        return
    print_table(_MODEL_COLUMNS, infos, empty="No models.")
    print_table(_POTENTIAL_COLUMNS, potentials, empty="No potentials.")
    model_weights.print_weights(weights)
    for name, model in chosen.items():
        say(f"{name.replace('_', ' ')} is predicted with {model} unless another is named.")
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
def show(
    model: Annotated[str, typer.Argument(help="Its name.")], *, as_json: options.Json = False
) -> None:
    """Show a model: what its numbers mean, how good they are, what is missing.

    JSON: the model's fields ("name", "version", "available", "supported_properties",
    "test_error", "calibration", "level_of_theory", "notes", ...).
    """
    from nanoos.models import get_model

    info = get_model(model).info()
    if as_json:
        print_document(info)
        return
    facts: list[tuple[str, Any]] = [
        ("model", info.name),
        ("version", info.version),
        ("available", info.available),
        ("missing", info.unavailable_reason),
        ("what it is", info.description),
        ("predicts", info.supported_properties),
        ("weights, SHA-256", info.weights_sha256),
        ("license", info.license),
        ("has seen", info.seen_in_training),
    ]
    for name, theory in info.level_of_theory.items():
        parts = (theory.functional, theory.corrections, theory.reference)
        facts.append((f"level of theory: {name}", "; ".join(parts)))
    for name, errors in info.test_error.items():
        for error in errors:
            seen = ", seen in training" if error.seen_in_training else ""
            ends = error.mae_interval
            known = "" if ends is None else f", 95 % interval {ends[0]:.4g} to {ends[1]:.4g}"
            text = f"{error.mae:.4g} {error.unit}{known} ({error.source}{seen})"
            facts.append((f"error: {name}", text))
    for name, coverage in info.calibration.items():
        text = ", ".join(f"{nominal:g}: {found:.3f}" for nominal, found in coverage.items())
        facts.append((f"coverage: {name}", text))
    for name, rank in info.sigma_rank_correlation.items():
        facts.append((f"rank correlation of sigma and error: {name}", f"{rank:.2f}"))
    print_facts([fact for fact in facts if fact[1] not in {None, ""}])
    for note in info.notes:
        say(f"Note: {note}")


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
