"""Rows of the registry for the checkpoints that come with the package."""

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from nanoos.db import Database, ModelTable, insert_if_absent
from nanoos.services.model_registry import ModelRegistryService


def shipped_name(family: str, target: str, version: str) -> str:
    """The registry's name of a shipped model: ``cgcnn_bandgap_v1``."""
    return f"{family.lower()}_{target}_v{version}"


def sync_shipped_models(database: Database) -> int:
    """Give every target of every checkpoint of the package its row; returns how many are new.

    Doing it again changes nothing. A new row becomes active unless somebody chose a model of
    their own for its type and target.
    """
    from nanoos.models.checkpoints import read_header, shipped_checkpoints

    added = 0
    for path in shipped_checkpoints():
        header = read_header(path)
        names = {shipped_name(header.family, t.name, header.version): t for t in header.targets}
        missing = names.keys() - _known(database, header.version)
        if not missing:
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        for name in sorted(missing):
            target = names[name].name
            added += _add(
                database,
                {
                    "name": name,
                    "version": header.version,
                    "target": target,
                    "model_type": header.family,
                    "checkpoint_path": path.name,
                    "weights_sha256": digest,
                    "training_config": dict(header.training),
                    "metrics": dict(header.metrics.get(target, {})),
                    "dataset_info": {**header.dataset, "split": dict(header.split)},
                    "description": f"{header.family} for {target}, comes with nanoos.",
                    "is_system_provided": True,
                },
            )
    return added


def _known(database: Database, version: str) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(ModelTable.name).where(ModelTable.version == version)))


def _add(database: Database, values: Mapping[str, Any]) -> bool:
    model_id = uuid.uuid4()
    with database.write() as session:
        if not insert_if_absent(session, ModelTable, {"id": model_id, **values}):
            return False  # another process was first
        chosen = session.scalar(
            select(ModelTable.id).where(
                ModelTable.model_type == values["model_type"],
                ModelTable.target == values["target"],
                ModelTable.is_active,
                ModelTable.is_system_provided.is_(False),
            )
        )
        if chosen is None:
            ModelRegistryService.activate_in(session, model_id)
    return True
