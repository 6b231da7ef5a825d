"""The job that trains a model and gives it its rows in the registry."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from nanoos.services.container import Services
from nanoos.services.job_kinds import JobClaim, JobContext, JobKind, JobOutcome
from nanoos.services.model_registry import ModelRegistryService, TrainedModel
from nanoos.services.training import KIND, model_names
from nanoos.training.config import TrainingConfig

if TYPE_CHECKING:
    from nanoos.datasets import Dataset
    from nanoos.training.result import TrainingResult


def run_training(services: Services, claim: JobClaim, context: JobContext) -> JobOutcome:
    """Train in the job's folder, from the last epoch of an earlier attempt."""
    from nanoos.training.run import train_model

    payload = claim.payload
    config = TrainingConfig.model_validate(payload["config"])
    context.progress(0.0, "reading the data set")
    dataset = services.training.dataset(payload)
    init_from = None
    if config.init_from is not None:
        init_from = services.training.checkpoint_named(
            config.init_from, allow_local_files=payload["allow_local_files"]
        )
    result = train_model(
        config,
        dataset,
        run_dir=context.run_dir,
        graphs_dir=services.training.graphs_dir,
        init_from=init_from,
        held_out=services.training.held_out_of(payload),
        report=context.progress,
    )
    replaced = [services.models.get(uuid.UUID(old)) for old in payload["replaces"]]
    better = _better(services, result, dataset, replaced)
    files = (result.checkpoint, result.held_out, context.run_dir / "history.json")

    def finalize(session: Session) -> None:
        for values in registry_rows(result, claim.job_id, files):
            model_id = ModelRegistryService.add_in(session, values)
            if values["target"] in better:
                ModelRegistryService.activate_in(session, model_id)

    return JobOutcome(
        result={
            "models": list(model_names(config)),
            "version": config.version,
            "metrics": {name: dict(found) for name, found in result.metrics.items()},
            "best_epochs": list(result.best_epochs),
            "weights_sha256": result.weights_sha256,
            "activated": sorted(better),
        },
        finalize=finalize,
        files=files,
    )


def registry_rows(
    result: "TrainingResult", job_id: uuid.UUID | None, files: Sequence[Path]
) -> list[dict[str, Any]]:
    """The rows of a trained model, one for each target.

    Args:
        result: Of the run.
        job_id: The job that made it.
        files: What is sealed, the checkpoint first.
    """
    config = result.config
    entries = [
        {
            "name": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size_bytes": path.stat().st_size,
        }
        for path in files
    ]
    return [
        {
            "name": name,
            "version": config.version,
            "target": target,
            "model_type": config.model,
            "checkpoint_path": f"artifact:{result.weights_sha256}",
            "files": entries,
            "weights_sha256": result.weights_sha256,
            "training_config": config.document(),
            "metrics": dict(result.metrics[target]),
            "dataset_info": dict(result.dataset_info),
            "description": f"{config.model} for {target}, trained here on "
            f"{result.dataset_info['n_train']} rows of {result.dataset_info['name']}.",
            "job_id": job_id,
        }
        for name, target in zip(model_names(config), config.target_weights, strict=True)
    ]


def _better(
    services: Services,
    result: "TrainingResult",
    dataset: "Dataset",
    replaced: Sequence[TrainedModel],
) -> set[str]:
    """Targets for which the new model has a smaller error than the one it replaces."""
    if not replaced:
        return set()
    from nanoos.training.comparing import measure_checkpoint
    from nanoos.training.preparing import divide

    held_out = services.training.held_out_of({"replaces": [str(replaced[0].id)]})
    rows = divide(result.config, dataset, held_out=held_out)
    before: Mapping[str, Mapping[str, Any]] = measure_checkpoint(
        services.models.checkpoint_file(replaced[0]),
        rows,
        graphs_dir=services.training.graphs_dir,
        device=result.config.device or "cpu",
    )
    return {
        name
        for name, found in result.metrics.items()
        if name not in before or found["mae"] < before[name]["mae"]
    }


TRAINING = JobKind(name=KIND, handler=run_training, queue="ml")
