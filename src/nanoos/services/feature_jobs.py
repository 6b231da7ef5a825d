"""The job that computes the features of many structures, in order of id, and resumes."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_, select, true

from nanoos.core.errors import BadCheckpointError, NanoosError
from nanoos.db import Database, StructureTable
from nanoos.features import FeatureParameters
from nanoos.services.container import Services
from nanoos.services.feature_records import FeatureRecord, in_chunks
from nanoos.services.features import KIND
from nanoos.services.job_kinds import JobClaim, JobContext, JobKind, JobOutcome

ERRORS_NAME: Final = "errors.jsonl"
_STATE_NAME: Final = "state.json"
_IDS_PER_QUERY: Final = 1000


@dataclass(kw_only=True)
class _State:
    """How far the work is; written after each chunk, so that a killed attempt's work counts."""

    after: str | None = None
    cached: int = 0
    new: int = 0
    failed: int = 0
    error_bytes: int = 0

    @property
    def done(self) -> int:
        return self.cached + self.new + self.failed

    def count(self, outcome: FeatureRecord | NanoosError) -> None:
        if isinstance(outcome, NanoosError):
            self.failed += 1
        elif outcome.cached:
            self.cached += 1
        else:
            self.new += 1


def compute_features(services: Services, claim: JobClaim, context: JobContext) -> JobOutcome:
    """Compute and store chunk by chunk; those that fail are lines of ``errors.jsonl``."""
    parameters = FeatureParameters(**claim.payload["parameters"])
    condition = _wanted(claim)
    state = _read_state(context.run_dir)
    total = max(1, _count(services.database, condition))
    errors = context.run_dir / ERRORS_NAME
    errors.touch()
    with errors.open("r+", encoding="utf-8") as file:
        file.truncate(state.error_bytes)
        file.seek(0, 2)
        for chunk in in_chunks(_sizes(services.database, condition, after=state.after)):
            outcomes = services.features.compute_chunk(
                chunk, parameters, again=claim.payload["force_recompute"]
            )
            for structure_id, outcome in zip(chunk, outcomes, strict=True):
                state.count(outcome)
                if isinstance(outcome, NanoosError):
                    file.write(json.dumps({"structure_id": str(structure_id), **_why(outcome)}))
                    file.write("\n")
            file.flush()
            state.after, state.error_bytes = str(chunk[-1]), file.tell()
            _write_state(context.run_dir, state)
            message = f"{state.done} of {total} structures, {state.failed} without features"
            context.progress(min(1.0, state.done / total), message)
    return JobOutcome(
        result={
            "total": state.done,
            "cached": state.cached,
            "new": state.new,
            "failed": state.failed,
        },
        files=(errors,) if state.failed else (),
    )


def _why(error: NanoosError) -> dict[str, Any]:
    return {"code": error.error_code, "message": error.message}


def _wanted(claim: JobClaim) -> ColumnElement[bool]:
    """What the owner may see; of these the listed ones where there is a list."""
    table = StructureTable
    seen: ColumnElement[bool] = or_(table.owner_id == claim.owner_id, table.shared)
    if claim.payload["of_everybody"]:
        seen = true()
    listed = claim.payload["structure_ids"]
    if listed is None:
        return seen
    ids = sorted({uuid.UUID(text) for text in listed})
    parts = [ids[i : i + _IDS_PER_QUERY] for i in range(0, len(ids), _IDS_PER_QUERY)]
    return and_(seen, or_(*(table.id.in_(part) for part in parts)))


def _count(database: Database, condition: ColumnElement[bool]) -> int:
    with database.read() as session:
        query = select(func.count()).select_from(StructureTable).where(condition)
        return session.scalar(query) or 0


def _sizes(
    database: Database, condition: ColumnElement[bool], *, after: str | None
) -> Iterator[tuple[uuid.UUID, int]]:
    """Id and number of sites in order of id, page by page, no transaction in between."""
    last = None if after is None else uuid.UUID(after)
    while True:
        query = select(StructureTable.id, StructureTable.n_sites).where(condition)
        if last is not None:
            query = query.where(StructureTable.id > last)
        with database.read() as session:
            rows = session.execute(query.order_by(StructureTable.id).limit(_IDS_PER_QUERY)).all()
        if not rows:
            return
        for row in rows:
            yield row.id, row.n_sites
        last = rows[-1].id


def _read_state(run_dir: Path) -> _State:
    path = run_dir / _STATE_NAME
    try:
        return _State(**json.loads(path.read_text())) if path.exists() else _State()
    except (ValueError, TypeError) as error:
        raise BadCheckpointError(f"{_STATE_NAME} cannot be read: {error}.") from error


def _write_state(run_dir: Path, state: _State) -> None:
    temporary = run_dir / f"{_STATE_NAME}.part"
    temporary.write_text(json.dumps(asdict(state)))
    temporary.replace(run_dir / _STATE_NAME)


FEATURES = JobKind(name=KIND, handler=compute_features, queue="ml")
