"""The registry of trained models: which there are, where their weights are, which one answers."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, NotFoundError
from nanoos.db import ArtifactStore, Database, ModelTable, insert_if_absent
from nanoos.services.access import Principal

HELD_OUT_FILE: Final = "held_out.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A row of the registry as it stood when it was read.

    Attributes:
        target: The property that it predicts.
        model_type: ``CGCNN``, ``ALIGNN``, ``RandomForest``.
        checkpoint_path: ``artifact:SHA256``, or the file name of a shipped checkpoint.
        files: Sealed files: name, sha256, size in bytes.
        metrics: ``mae``, ``mse``, ``r2``, ``coverage``, ``n``, ``unit``.
        is_active: Whether the name of its type resolves to it for its target.
        is_system_provided: Whether it comes with the package.
    """

    id: uuid.UUID
    name: str
    version: str
    target: str
    model_type: str
    checkpoint_path: str | None
    files: tuple[Mapping[str, Any], ...]
    weights_sha256: str | None
    training_config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    dataset_info: Mapping[str, Any]
    description: str | None
    is_active: bool
    is_system_provided: bool
    job_id: uuid.UUID | None
    created_at: datetime


class ModelRegistryService:
    """Reads and changes the registry. Thread-safe: holds no state but database and store.

    Args:
        database: Where the rows are.
        artifacts: Where the weights are.
        weights_dir: Where weights from the store are kept as files.
    """

    def __init__(self, database: Database, artifacts: ArtifactStore, weights_dir: Path) -> None:
        self._db = database
        self._artifacts = artifacts
        self._weights_dir = weights_dir

    def all(self) -> list[TrainedModel]:
        """Every row, newest first."""
        query = select(ModelTable).order_by(ModelTable.created_at.desc(), ModelTable.id)
        with self._db.read() as session:
            return [_view(row) for row in session.scalars(query)]

    def get(self, model_id: uuid.UUID) -> TrainedModel:
        """One row. Raises NotFoundError where it is not there."""
        with self._db.read() as session:
            row = session.get(ModelTable, model_id)
            if row is None:
                raise _unknown(str(model_id))
            return _view(row)

    def find(self, name: str, version: str | None = None) -> TrainedModel:
        """The row called ``name``, of the newest version unless one is named.

        Args:
            name: Its name, or its id.
            version: Which one.

        Raises:
            NotFoundError: there is none.
        """
        wanted: list[ColumnElement[bool]] = [or_(ModelTable.name == name, *_as_id(name))]
        if version is not None:
            wanted.append(ModelTable.version == version)
        query = select(ModelTable).where(*wanted).order_by(ModelTable.created_at.desc())
        with self._db.read() as session:
            row = session.scalars(query.limit(1)).first()
            if row is None:
                raise _unknown(name if version is None else f"{name} {version}")
            return _view(row)

    def active(self, model_type: str, target: str) -> TrainedModel | None:
        """The row that answers for a property when the type is named."""
        query = select(ModelTable).where(
            ModelTable.model_type == model_type, ModelTable.target == target, ModelTable.is_active
        )
        with self._db.read() as session:
            row = session.scalar(query)
            return None if row is None else _view(row)

    def check_free(self, names: Sequence[str], version: str) -> None:
        """Refuse names that are taken, before anything is spent.

        Raises:
            ConflictError: names the one that is taken; code ``model_exists``.
        """
        with self._db.read() as session:
            taken = session.scalar(
                select(ModelTable.name)
                .where(ModelTable.name.in_(names), ModelTable.version == version)
                .limit(1)
            )
        if taken is not None:
            raise _exists(taken, version)

    def next_version(self, names: Sequence[str]) -> str:
        """The smallest counting number above every version of ``names``."""
        with self._db.read() as session:
            versions = session.scalars(
                select(ModelTable.version).where(ModelTable.name.in_(names))
            ).all()
        return str(max([int(v) for v in versions if v.isdecimal()] or [0]) + 1)

    @staticmethod
    def add_in(session: Session, values: Mapping[str, Any]) -> uuid.UUID:
        """Insert a row in the caller's transaction; its files are sealed already.

        Raises:
            ConflictError: the name is taken; code ``model_exists``.
        """
        model_id = uuid.uuid4()
        if not insert_if_absent(session, ModelTable, {"id": model_id, **values}):
            raise _exists(values["name"], values["version"])
        return model_id

    def activate(self, name: str, who: Principal, *, version: str | None = None) -> TrainedModel:
        """Let the name of its type resolve to this row for its target.

        Predictions that were stored stay: they name the weights that they are from.

        Args:
            name: Name or id.
            who: An administrator: it changes what everybody's predictions are made with.
            version: The newest by default.

        Raises:
            NotFoundError: no such model.
            ForbiddenError: not an administrator.
        """
        who.require("admin")
        model = self.find(name, version)
        with self._db.write() as session:
            self.activate_in(session, model.id)
        return self.get(model.id)

    @staticmethod
    def activate_in(session: Session, model_id: uuid.UUID) -> None:
        """As :meth:`activate`, in the caller's transaction."""
        row = session.get_one(ModelTable, model_id)
        siblings = (ModelTable.model_type == row.model_type, ModelTable.target == row.target)
        session.execute(  # one order for all: two that activate at once wait for each other
            select(ModelTable.id).where(*siblings).order_by(ModelTable.id).with_for_update()
        )
        session.execute(
            update(ModelTable)
            .where(*siblings, ModelTable.id != model_id)
            .values(is_active=False)
            .execution_options(synchronize_session=False)
        )
        session.execute(
            update(ModelTable)
            .where(ModelTable.id == model_id)
            .values(is_active=True)
            .execution_options(synchronize_session=False)
        )

    def checkpoint_file(self, model: TrainedModel) -> Path:
        """The weights of a row as a file that nobody changes.

        Raises:
            NotFoundError: they are no longer there.
        """
        if model.is_system_provided:
            from nanoos.models.checkpoints import shipped_checkpoints

            for path in shipped_checkpoints():
                if path.name == model.checkpoint_path:
                    return path
            raise NotFoundError(f"{model.checkpoint_path} no longer comes with this version.")
        digest = (model.checkpoint_path or "").removeprefix("artifact:")
        path = self._weights_dir / f"{digest}.safetensors"
        if not path.exists():
            self._weights_dir.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{digest}.{uuid.uuid4().hex}.part")
            with self._artifacts.open(digest) as source, partial.open("wb") as sink:
                shutil.copyfileobj(source, sink)
            partial.replace(path)
        return path

    def held_out(self, model: TrainedModel) -> bytes | None:
        """Which rows were held out when it was trained; None where that is not known."""
        for entry in model.files:
            if entry["name"] == HELD_OUT_FILE:
                with self._artifacts.open(entry["sha256"]) as file:
                    return file.read()
        return None


def _as_id(text: str) -> list[ColumnElement[bool]]:
    try:
        return [ModelTable.id == uuid.UUID(text)]
    except ValueError:
        return []


def _exists(name: str, version: str) -> ConflictError:
    return ConflictError(
        f"There is a model {name!r} of version {version} already.",
        hint="Choose another name, or another version.",
        code="model_exists",
    )


def _unknown(what: str) -> NotFoundError:
    return NotFoundError(
        f"There is no trained model {what}.", hint="GET /api/v1/ml/models lists what is there."
    )


def _view(row: ModelTable) -> TrainedModel:
    return TrainedModel(
        id=row.id,
        name=row.name,
        version=row.version,
        target=row.target,
        model_type=row.model_type,
        checkpoint_path=row.checkpoint_path,
        files=tuple(row.files or ()),
        weights_sha256=row.weights_sha256,
        training_config=row.training_config,
        metrics=row.metrics,
        dataset_info=row.dataset_info,
        description=row.description,
        is_active=row.is_active,
        is_system_provided=row.is_system_provided,
        job_id=row.job_id,
        created_at=row.created_at,
    )
