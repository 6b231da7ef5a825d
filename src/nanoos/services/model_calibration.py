"""Giving a trained model intervals: a new version with the same weights, calibrated."""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nanoos.core.errors import InvalidInputError
from nanoos.services.access import Principal
from nanoos.services.container import Services
from nanoos.services.model_registry import HELD_OUT_FILE, ModelRegistryService, TrainedModel
from nanoos.training.config import TrainingConfig

Report = Callable[[float, str], None]


def calibrate_model(
    lab: Services,
    name: str,
    who: Principal,
    *,
    version: str | None = None,
    dataset: str | None = None,
    report: Report,
) -> list[TrainedModel]:
    """Calibrate a trained graph network on the rows that its training held out.

    The rows of all targets of its checkpoint get a new version; each answers where the one
    before it answered.

    Args:
        lab: The services.
        name: Of a trained model, or its id.
        who: An administrator: it changes what everybody's predictions are made with.
        version: Of the model; the newest by default.
        dataset: Name or file; by default that of its training.
        report: Told the fraction (0 to 1) and a sentence.

    Raises:
        NotFoundError: no such model or data set.
        InvalidInputError: a shipped model, one of which it is not known what it held out, one
            that is no graph network, or too few held-out rows.
    """
    from nanoos.models.checkpoints import save_checkpoint
    from nanoos.training.calibration import calibrated_checkpoint

    who.require("admin")
    old = lab.models.find(name, version)
    held_out = lab.models.held_out(old)
    if held_out is None:
        raise InvalidInputError(
            f"It is not known which rows {old.name} held out, so nothing is left to calibrate on.",
            hint="Models that come with nanoos are calibrated already; 'nanoos train' makes others.",
        )
    config = TrainingConfig.model_validate(old.training_config)
    if dataset is not None:
        config = config.model_copy(update={"dataset": dataset})
    rows = lab.training.dataset_named(config, who)
    found = calibrated_checkpoint(
        lab.models.checkpoint_file(old), rows, json.loads(held_out), report=report
    )
    siblings = [one for one in lab.models.all() if one.weights_sha256 == old.weights_sha256]
    newest = lab.models.next_version([one.name for one in siblings])
    found = found.with_header(version=newest)
    with tempfile.TemporaryDirectory(prefix="nanoos-calibrate-") as folder:
        path = Path(folder) / f"{config.name}.safetensors"
        digest = save_checkpoint(path, found)
        _, size = lab.artifacts.put_file(path)
    entry = {"name": path.name, "sha256": digest, "size_bytes": size}
    return _registered(lab, siblings, newest, entry, found.header.metrics)


def _registered(
    lab: Services,
    siblings: Sequence[TrainedModel],
    version: str,
    entry: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
) -> list[TrainedModel]:
    """A row of the new version for each of the old ones, active where that was."""
    ids = []
    with lab.database.write() as session:
        for old in siblings:
            kept = [file for file in old.files if file["name"] == HELD_OUT_FILE]
            model_id = ModelRegistryService.add_in(
                session,
                {
                    "name": old.name,
                    "version": version,
                    "target": old.target,
                    "model_type": old.model_type,
                    "checkpoint_path": f"artifact:{entry['sha256']}",
                    "files": [dict(entry), *kept],
                    "weights_sha256": entry["sha256"],
                    "training_config": dict(old.training_config),
                    "metrics": {**old.metrics, **metrics.get(old.target, {})},
                    "dataset_info": dict(old.dataset_info),
                    "description": f"Version {old.version}, calibrated on its held-out rows.",
                    "job_id": old.job_id,
                },
            )
            if old.is_active:
                ModelRegistryService.activate_in(session, model_id)
            ids.append(model_id)
    lab.predictions.forget()
    return [lab.models.get(model_id) for model_id in ids]
