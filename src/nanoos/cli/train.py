"""``nanoos train``: train a property model, watch it, search its hyper-parameters."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos.cli import options
from nanoos.cli.documents import print_document
from nanoos.cli.opening import local_user, settings_and_services
from nanoos.cli.render import Column, print_facts, print_table, progress, say, short_id
from nanoos.core.errors import CancelledError, TrainingError

if TYPE_CHECKING:
    from nanoos.config import Settings
    from nanoos.services.container import Services
    from nanoos.services.jobs import Job
    from nanoos.services.training import SubmittedTraining

app = typer.Typer(name="train")

POLL_S = 0.3
_ENDED = ("completed", "failed", "cancelled")

_METRICS = (
    Column(title="property", of=lambda row: row[0]),
    Column(title="mean absolute error", of=lambda row: f"{row[1]['mae']:.4g}", right=True),
    Column(title="unit", of=lambda row: row[1]["unit"]),
    Column(title="R²", of=lambda row: _number(row[1]["r2"]), right=True),
    Column(title="test rows", of=lambda row: row[1]["n"], right=True),
    Column(
        title="coverage at 0.9",
        of=lambda row: _number(row[1].get("coverage", {}).get("0.9")),
        right=True,
    ),
)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


@app.command()
def train(
    file: Annotated[Path, typer.Argument(help="The configuration (YAML).")],
    *,
    submit: Annotated[
        bool, typer.Option("--submit", help="Only queue it for a worker, and return.")
    ] = False,
    search: Annotated[
        int | None,
        typer.Option("--search", min=1, help="Search hyper-parameters with so many trials first."),
    ] = None,
    priority: Annotated[int, typer.Option(help="Higher ones run first.")] = 0,
    as_json: options.Json = False,
) -> None:
    """Train a property model. The same command goes on with a run that was interrupted.

    JSON: {"job_id", "names", "version", "state", "result": {"metrics", ...}}.
    """
    from nanoos.training.config import load_training_config

    config = load_training_config(file)
    with settings_and_services() as (settings, lab):
        if search is not None:
            from nanoos.training.search import Search

            dataset = lab.training.dataset_named(config, local_user())
            config = _searched(Search(config, dataset, settings.data_dir / "searches"), search)
        submitted = lab.training.submit(
            config, local_user(), priority=priority, allow_local_files=True
        )
        job = lab.jobs.get(submitted.job_id, local_user())
        if not submit:
            job = _followed(settings, lab, submitted, job)
    if as_json:
        print_document({**_document(submitted), "state": job.state, "result": job.result})
    else:
        _print(submitted, job)
    if job.state in {"failed", "cancelled"}:
        raise _reason(job)


def _document(submitted: "SubmittedTraining") -> dict[str, Any]:
    return {
        "job_id": submitted.job_id,
        "names": submitted.names,
        "version": submitted.version,
    }


def _searched(search: Any, trials: int) -> Any:
    with progress(f"search, {trials} trials") as report:
        best = search.run(trials, report=report)
    changed = ", ".join(f"{key} {value:.4g}" for key, value in search.best_values().items())
    say(f"The best of {search.finished()} trials: {changed}.")
    return best


def _followed(
    settings: "Settings", lab: "Services", submitted: "SubmittedTraining", job: "Job"
) -> "Job":
    """The job when it has ended; a worker in this process takes it unless another has it."""
    from nanoos.worker import LocalWorker

    worker = LocalWorker(lab, settings, queues=[job.queue], concurrency=1)
    worker.start()
    try:
        with progress(f"training {submitted.names[0]}") as report:
            while job.state not in _ENDED:
                time.sleep(POLL_S)
                job = lab.jobs.get(submitted.job_id, local_user())
                report(job.progress, job.message or job.state)
    except KeyboardInterrupt:
        say("It goes on from its last epoch when the same command runs again.")
        raise
    finally:
        worker.stop()
    return job


def _print(submitted: "SubmittedTraining", job: "Job") -> None:
    print_facts(
        [
            ("models", submitted.names),
            ("version", submitted.version),
            ("job", submitted.job_id),
            ("state", job.state),
        ]
    )
    if job.result is not None:
        print_table(_METRICS, list(job.result["metrics"].items()), empty="Nothing was measured.")
        say(f"Let it answer: nanoos models activate {submitted.names[0]}")
    elif job.state == "queued":
        say(f"It waits for a worker. Follow it: nanoos jobs events {short_id(job.id)} -f")


def _reason(job: "Job") -> Exception:
    error = job.error or {}
    kind = CancelledError if job.state == "cancelled" else TrainingError
    return kind(
        f"The training {'was cancelled' if job.state == 'cancelled' else 'failed'}: "
        f"{error.get('message', 'no reason was given')}",
        hint=error.get("hint") or f"nanoos jobs log {short_id(job.id)}",
        code=error.get("code"),
    )
