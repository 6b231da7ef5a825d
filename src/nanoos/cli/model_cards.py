"""``nanoos models show``: what a model was made from, how good it is, where it may be used."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import options
from nanoos.cli.answering import described_model
from nanoos.cli.documents import print_document
from nanoos.cli.render import print_facts, say

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos.kpoints import KpointModelInfo
    from nanoos.models import ModelInfo, PropertyModel, TestError

_Facts = list[tuple[str, Any]]


def show(
    model: Annotated[
        str, typer.Argument(help="Its name, that of a trained model, or of k-point weights.")
    ],
    *,
    card: Annotated[
        bool, typer.Option("--card", help="The whole card of each of its checkpoints, Markdown.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show a model: what it was trained on, how good it is, where it may be used, what is missing.

    JSON: the model's fields ("name", "version", "available", "supported_properties",
    "test_error", "calibration", "level_of_theory", "notes", ...) and "checkpoints": [{"name",
    "version", "sha256", "predicts", "members", "parameters", "dataset", "split", "training",
    "metrics", "calibrated", "domain_checked", "license", "code_version", "created"}].
    Of k-point weights (kpoints_rf, kpoints_alignn): as of GET /kpoints/models.
    """
    meshes = _kpoint_model(model)
    if meshes is not None:
        _show_kpoint_model(meshes, as_json=as_json)
        return
    found = described_model(model)
    info, files = found.info(), _files(found)
    if as_json:
        checkpoints = [_checkpoint(path) for path in files]
        print_document({**asdict(info), "checkpoints": checkpoints})
    elif card:
        _print_cards(info, files)
    else:
        facts = _identity(info) + _origin(files) + _figures(info)
        print_facts([fact for fact in facts if fact[1] not in (None, "", [])])
        for note in info.notes:
            say(f"Note: {note}")


def _kpoint_model(name: str) -> "KpointModelInfo | None":
    """The k-point model whose weights are called so, whether they can be read or not."""
    if not name.casefold().startswith("kpoints"):
        return None
    from nanoos.config import load_settings
    from nanoos.kpoints import kpoint_models
    from nanoos.potentials.installed_weights import set_weights_folder

    set_weights_folder(load_settings().resolved_models_dir)
    folded = name.casefold()
    return next(
        (
            info
            for info in kpoint_models()
            if folded in {info.weights.casefold(), f"kpoints_{info.name}".casefold()}
        ),
        None,
    )


def _show_kpoint_model(info: "KpointModelInfo", *, as_json: bool) -> None:
    """Its card, which is all there is to say of it; what cannot run has none."""
    from nanoos.kpoints.cards import kpoint_card

    if as_json:
        print_document(info)
    elif info.available:
        typer.echo(kpoint_card(info))
    else:
        say(f"{info.name}: {info.unavailable_reason}")


def _files(model: "PropertyModel") -> "tuple[Path, ...]":
    """Its checkpoints; none for a model whose weights are not ours."""
    from nanoos.models.checkpoint_model import CheckpointModel
    from nanoos.models.ensemble import EnsembleModel

    if isinstance(model, EnsembleModel):
        joined = model.joined()
        return () if joined is None else joined.files
    return model.files if isinstance(model, CheckpointModel) else ()


def _print_cards(info: "ModelInfo", files: "tuple[Path, ...]") -> None:
    from nanoos.core.errors import NotFoundError
    from nanoos.models.cards import checkpoint_card
    from nanoos.models.checkpoint_model import file_sha256, known_header

    if not files:
        raise NotFoundError(
            f"{info.name} has no checkpoint of nanoos, so it has no card.",
            hint=f"nanoos models show {info.name}",
        )
    for path in files:
        size = path.stat().st_size
        text = checkpoint_card(known_header(path), sha256=file_sha256(path), size_bytes=size)
        typer.echo(text)


def _checkpoint(path: "Path") -> dict[str, Any]:
    from nanoos.models.checkpoint_model import file_sha256, known_header

    header = known_header(path)
    return {
        "name": header.name,
        "version": header.version,
        "sha256": file_sha256(path),
        "predicts": [target.name for target in header.targets],
        "members": header.n_members,
        "parameters": header.parameters,
        "dataset": header.dataset,
        "split": header.split,
        "training": header.training,
        "metrics": header.metrics,
        "calibrated": sorted(header.calibration),
        "domain_checked": bool(header.domain),
        "license": header.license,
        "code_version": header.code_version,
        "created": header.created,
    }


def _identity(info: "ModelInfo") -> _Facts:
    return [
        ("model", info.name),
        ("version", info.version),
        ("available", info.available),
        ("missing", info.unavailable_reason),
        ("to get it", info.install_command),
        ("what it is", info.description),
        ("predicts", info.supported_properties),
        ("weights, SHA-256", info.weights_sha256),
        ("license", info.license),
        ("seen in training", info.seen_in_training),
    ]


def _origin(files: "tuple[Path, ...]") -> _Facts:
    """Data, split and domain of each checkpoint."""
    from nanoos.models.checkpoint_model import known_header

    facts: _Facts = []
    for header in map(known_header, files):
        data = header.dataset
        rows = data.get("rows", data.get("n_rows"))
        parts = [data.get("name"), rows and f"{rows:,} rows", data.get("attribution")]
        facts += [
            (f"training data: {header.name}", ", ".join(str(part) for part in parts if part)),
            (f"split: {header.name}", _pairs(header.split)),
            (
                f"domain: {header.name}",
                "checked: elements, bonds, distance of embeddings; outside, numbers are flagged "
                "and intervals widen"
                if header.domain
                else "not checked: nothing is flagged",
            ),
        ]
    return facts


def _pairs(values: Mapping[str, Any]) -> str:
    return "; ".join(f"{key}: {value}" for key, value in values.items() if "sha256" not in key)


def _figures(info: "ModelInfo") -> _Facts:
    facts: _Facts = []
    for name, theory in info.level_of_theory.items():
        parts = (theory.functional, theory.corrections, theory.reference)
        facts.append((f"level of theory: {_words(name)}", "; ".join(parts)))
    for name, errors in info.test_error.items():
        facts += [(f"error: {_words(name)}", _error_text(error)) for error in errors]
    for name, coverage in info.calibration.items():
        text = ", ".join(f"{nominal:g}: {found:.3f}" for nominal, found in coverage.items())
        facts.append((f"coverage: {_words(name)}", text or "not measured"))
    bare = [name for name in info.supported_properties if name not in info.calibration]
    facts.append(("no interval", [_words(name) for name in bare] or None))
    for name, rank in info.sigma_rank_correlation.items():
        facts.append((f"rank correlation of sigma and error: {_words(name)}", f"{rank:.2f}"))
    return facts


def _error_text(error: "TestError") -> str:
    seen = ", seen in training" if error.seen_in_training else ""
    ends = error.mae_interval
    known = "" if ends is None else f", 95 % interval {ends[0]:.4g} to {ends[1]:.4g}"
    unit = "" if error.unit == "1" else f" {error.unit}"
    rows = "" if error.n is None else f", {error.n:,} structures"
    return f"{error.mae:.4g}{unit}{known} ({error.source}{rows}{seen})"


def _words(name: str) -> str:
    return name.replace("_", " ")
