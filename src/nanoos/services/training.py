"""Training as work of this laboratory: checked, queued, and repeated when there is more data."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConfigError, ConflictError, InvalidInputError, NotFoundError
from nanoos.core.folders import existing_path
from nanoos.db import ArtifactStore, Database, DatasetTable, JobTable
from nanoos.db.jobs import RUNNING, TERMINAL_STATES
from nanoos.services.access import Principal, visible
from nanoos.services.jobs import JobService
from nanoos.services.model_registry import ModelRegistryService, TrainedModel
from nanoos.training.config import TrainingConfig

if TYPE_CHECKING:
    from nanoos.datasets import Dataset

KIND = "training"
MAX_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedTraining:
    """A training that waits or runs.

    Attributes:
        job_id: Its job.
        names: Of the models that come out, one for each target.
        version: Of all of them.
    """

    job_id: uuid.UUID
    names: tuple[str, ...]
    version: str


class TrainingService:
    """Submits trainings as jobs. Thread-safe: holds no state but database and store.

    Args:
        database: Where data sets, models and jobs are.
        artifacts: Where sealed data sets are.
        jobs: Queues the work.
        registry: Knows which names are taken.
        data_dir: Its folder ``graphs`` keeps built graphs from run to run.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        jobs: JobService,
        registry: ModelRegistryService,
        *,
        data_dir: Path,
    ) -> None:
        self._db = database
        self._artifacts = artifacts
        self._jobs = jobs
        self._registry = registry
        self.graphs_dir = data_dir / "graphs"

    def submit(
        self,
        config: TrainingConfig,
        who: Principal,
        *,
        priority: int = 0,
        allow_local_files: bool = False,
    ) -> SubmittedTraining:
        """Queue a training; the same one asked for again while it waits or runs is that one.

        Args:
            config: What to train.
            who: Whose job it is.
            priority: Higher ones run first.
            allow_local_files: Whether ``dataset`` and ``init_from`` may be paths on this
                machine. Never for a request from elsewhere.

        Raises:
            NotFoundError: no such data set, target or model to start from.
            ConfigError: hyper-parameters that do not fit; names the key.
            InvalidInputError: fewer labelled rows than the run needs (``too_few_rows``).
            ConflictError: the name is taken (``model_exists``), or another run of that name
                waits or runs.
            UnavailableError: the device is not there.
        """
        return self._submit(config, who, priority, allow_local_files, replaces=())

    def _submit(
        self,
        config: TrainingConfig,
        who: Principal,
        priority: int,
        allow_local_files: bool,  # noqa: FBT001
        *,
        replaces: Sequence[TrainedModel],
    ) -> SubmittedTraining:
        config.check()
        names = model_names(config)
        self._registry.check_free(names, config.version)
        dataset_id = self._check_dataset(config, who, allow_local_files=allow_local_files)
        self._check_network(config)
        if config.init_from is not None:
            self.checkpoint_named(config.init_from, allow_local_files=allow_local_files)
        payload = {
            "config": config.document(),
            "dataset_id": None if dataset_id is None else str(dataset_id),
            "allow_local_files": allow_local_files,
            "replaces": [str(model.id) for model in replaces],
        }
        with self._db.write() as session:
            job_id = self._enqueue(session, config, payload, who, priority)
        return SubmittedTraining(job_id=job_id, names=names, version=config.version)

    def _enqueue(
        self,
        session: Session,
        config: TrainingConfig,
        payload: Mapping[str, Any],
        who: Principal,
        priority: int,
    ) -> uuid.UUID:
        key = f"{KIND}:{config.name}:{config.version}"
        earlier = session.scalars(
            select(JobTable).where(JobTable.kind == KIND, JobTable.key.startswith(f"{key}:"))
        ).all()
        for job in earlier:
            if job.state not in TERMINAL_STATES:
                if job.payload == payload and job.owner_id == who.user_id:
                    return job.id
                word = "runs" if job.state == RUNNING else "waits"
                raise ConflictError(
                    f"Another training of {config.name!r} {word}.",
                    hint="Wait for it, cancel it, or choose another name.",
                    code="training_in_progress",
                    details={"job_id": str(job.id)},
                )
        return self._jobs.enqueue(
            session,
            KIND,
            payload,
            owner_id=who.user_id,
            priority=priority,
            key=f"{key}:{len(earlier)}",
        )

    # -- checks before anything is spent ---------------------------------------------------

    def _check_dataset(
        self, config: TrainingConfig, who: Principal, *, allow_local_files: bool
    ) -> uuid.UUID | None:
        """The id of the data set; None for one on the disk."""
        with self._db.read() as session:
            row = session.scalar(
                select(DatasetTable).where(
                    DatasetTable.name == config.dataset, visible(DatasetTable, who)
                )
            )
        if row is not None:
            counts = {name: known.get("count", 0) for name, known in row.statistics.items()}
            check_labels(config, row.name, {name: counts.get(name, 0) for name in row.targets})
            return row.id
        if allow_local_files and existing_path(config.dataset):
            return None
        raise NotFoundError(
            f"There is no data set {config.dataset!r}.",
            hint="'nanoos datasets list' has them; on the command line a file will do, too.",
        )

    @staticmethod
    def _check_network(config: TrainingConfig) -> None:
        from nanoos.training.run import check_device

        check_device(config)
        if config.model == "RandomForest":
            from nanoos.training.forest import forest_parameters

            forest_parameters(config)
        else:
            from nanoos.training.network import network_parameters

            network_parameters(config)

    def dataset_named(self, config: TrainingConfig, who: Principal) -> "Dataset":
        """The data set of a run on this machine, by name or path, before there is a job.

        Raises:
            NanoosError: as :meth:`submit`.
        """
        found = self._check_dataset(config, who, allow_local_files=True)
        return self.dataset(
            {
                "config": config.document(),
                "dataset_id": None if found is None else str(found),
            }
        )

    # -- what the job needs ------------------------------------------------------------------

    def dataset(self, payload: Mapping[str, Any]) -> "Dataset":
        """The data set of a queued run.

        Raises:
            NotFoundError: it was deleted meanwhile.
        """
        from nanoos.datasets.reading import load_dataset
        from nanoos.datasets.sealed import read_sealed

        config = TrainingConfig.model_validate(payload["config"])
        if payload["dataset_id"] is None:
            return load_dataset(Path(config.dataset).expanduser())
        with self._db.read() as session:
            row = session.get(DatasetTable, uuid.UUID(payload["dataset_id"]))
            if row is None:
                raise NotFoundError(f"The data set {config.dataset!r} was deleted.")
            name, digest = row.name, row.files[0]["sha256"]
        with self._artifacts.open(digest) as file:
            return read_sealed(file, name=name)

    def checkpoint_named(self, name: str, *, allow_local_files: bool) -> Path:
        """The checkpoint file that ``init_from`` names.

        Raises:
            NotFoundError: neither a model nor (where allowed) a file.
        """
        path = existing_path(name) if allow_local_files else None
        if path is not None and path.is_file():
            return path
        return self._registry.checkpoint_file(self._registry.find(name))

    # -- more data -----------------------------------------------------------------------------

    def check_and_retrain(
        self, name: str, who: Principal, *, dataset: str, min_new: int = 100
    ) -> SubmittedTraining | None:
        """Train a model anew if there are enough new labelled structures.

        The new one holds out the rows that the old one held out, and becomes active only if it
        is better on them.

        Args:
            name: Of a trained model; its siblings from the same run are trained with it.
            who: An administrator: the outcome may change what everybody's predictions are
                made with.
            dataset: Name of the data set with the new structures among the old.
            min_new: How many more labelled rows there must be.

        Returns:
            The run, or None where there are too few new rows.

        Raises:
            NotFoundError: no such model or data set.
            InvalidInputError: a shipped model, or one of which it is not known what it held out.
        """
        who.require("admin")
        if min_new < 1:
            raise InvalidInputError("min_new counts structures: at least 1.")
        old = self._registry.find(name)
        if self._registry.held_out(old) is None:
            raise InvalidInputError(
                f"It is not known which rows {old.name} held out, so a new one could not be "
                "compared with it.",
                hint="Train a model of your own, then retrain that.",
            )
        with self._db.read() as session:
            row = session.scalar(
                select(DatasetTable).where(DatasetTable.name == dataset, visible(DatasetTable, who))
            )
        if row is None:
            raise NotFoundError(f"There is no data set {dataset!r}.")
        labelled = int(row.statistics.get(old.target, {}).get("count", 0))
        if labelled - int(old.dataset_info.get("n_labelled", {}).get(old.target, 0)) < min_new:
            return None
        before = TrainingConfig.model_validate(old.training_config)
        siblings = [
            model
            for model in self._registry.all()
            if model.version == old.version and model.name in model_names(before)
        ]
        changes = {
            "dataset": dataset,
            "version": self._registry.next_version(model_names(before)),
            "init_from": None,
            "freeze_trunk": False,
        }
        config = before.model_copy(update=changes)
        return self._submit(config, who, 0, False, replaces=siblings)

    def held_out_of(self, payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the run of ``payload`` must hold out: what the models it replaces held out."""
        for model_id in payload["replaces"]:
            found = self._registry.held_out(self._registry.get(uuid.UUID(model_id)))
            if found is not None:
                document: Mapping[str, Any] = json.loads(found)
                return document
        return None


def model_names(config: TrainingConfig) -> tuple[str, ...]:
    """Names of the rows that come out, one for each target, in order.

    Raises:
        ConfigError: one is longer than the registry takes.
    """
    targets = list(config.target_weights)
    names = [config.name] if len(targets) == 1 else [f"{config.name}_{t}" for t in targets]
    longest = max(names, key=len)
    if len(longest) > MAX_NAME:
        raise ConfigError(
            f"name: {longest!r} has more than {MAX_NAME} characters.", hint="Shorten it."
        )
    return tuple(names)


def check_labels(config: TrainingConfig, dataset: str, counts: Mapping[str, int]) -> None:
    """Refuse targets that a data set does not have, or has too few labels of.

    Raises:
        NotFoundError: no such target.
        InvalidInputError: fewer than ``min_rows``; code ``too_few_rows``.
    """
    for name in config.target_weights:
        if name not in counts:
            raise NotFoundError(
                f"The data set {dataset!r} has no target {name!r}.",
                hint=f"Targets: {', '.join(sorted(counts)) or 'none'}.",
            )
        if counts[name] < config.min_rows:
            raise InvalidInputError(
                f"{counts[name]} rows of {dataset!r} have {name}, at least {config.min_rows} "
                "are needed.",
                hint="Bring more rows, or lower min_rows.",
                code="too_few_rows",
            )
