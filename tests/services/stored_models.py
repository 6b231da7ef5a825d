"""Trained models and simulation results put straight into a laboratory."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nanoos.core.records import LevelOfTheory
from nanoos.db import (
    LOCAL_USER_ID,
    JobTable,
    ModelTable,
    SimulationResultTable,
    SimulationTable,
)
from nanoos.models.checkpoints import read_header
from nanoos.services.container import Services
from nanoos.services.model_registry import ModelRegistryService
from nanoos.testing.checkpoints import tiny_checkpoint

TARGETS = ("bandgap", "formation_energy", "e_above_hull_subset", "bulk_modulus", "shear_modulus")


def add_model(
    lab: Services,
    folder: Path,
    *,
    family: str = "CGCNN",
    targets: Sequence[str] = TARGETS,
    name: str = "mine",
    version: str = "1",
    active: bool = True,
    **options: Any,
) -> dict[str, uuid.UUID]:
    """Register a small checkpoint, a row for each target; target to row."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}.safetensors"
    digest = tiny_checkpoint(path, family=family, targets=targets, version=version, **options)
    weights = lab.runs_dir.parent / "trained" / f"{digest}.safetensors"
    weights.parent.mkdir(exist_ok=True)
    shutil.copy(path, weights)
    header = read_header(path)
    rows = {}
    with lab.database.write() as session:
        for target in targets:
            row = ModelTable(
                name=f"{name}_{target}",
                version=version,
                target=target,
                model_type=family,
                checkpoint_path=f"artifact:{digest}",
                weights_sha256=digest,
                training_config={},
                metrics=dict(header.metrics[target]),
                dataset_info={},
            )
            session.add(row)
            session.flush()
            rows[target] = row.id
            if active:
                ModelRegistryService.activate_in(session, row.id)
    return rows


def add_result(
    lab: Services,
    structure_id: uuid.UUID,
    values: Mapping[str, float],
    level: LevelOfTheory | None,
    *,
    owner_id: uuid.UUID = LOCAL_USER_ID,
) -> uuid.UUID:
    """A completed simulation of an engine that says what its numbers mean; its id."""
    stated = (
        {}
        if level is None
        else {
            "level_of_theory": {
                "functional": level.functional,
                "corrections": level.corrections,
                "reference": level.reference,
            }
        }
    )
    with lab.database.write() as session:
        job = JobTable(kind="simulation", state="completed", owner_id=owner_id, payload={})
        session.add(job)
        session.flush()
        simulation = SimulationTable(
            job_id=job.id,
            structure_id=structure_id,
            engine="DFT",
            workflow="single_point",
            parameters={},
            key=uuid.uuid4().hex,
        )
        session.add(simulation)
        session.flush()
        session.add(
            SimulationResultTable(
                simulation_id=simulation.id,
                energy_ev=0.0,
                values=dict(values),
                record={"provenance": {"producer": "DFT", "version": "1", "parameters": stated}},
                wall_time_s=1.0,
            )
        )
        return simulation.id
