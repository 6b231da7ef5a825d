"""Features of stored structures: computed once for each structure, version and parameters."""

import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from nanoos.core.errors import InvalidInputError, NanoosError, NotFoundError
from nanoos.db import (
    ArtifactStore,
    Database,
    StructureFeatureTable,
    StructureTable,
    db_now,
    insert_if_absent,
    name_artifacts,
)
from nanoos.features import (
    FEATURE_VERSION,
    CrystalGraph,
    FeatureParameters,
    decode_graph,
    encode_graph,
    extract_structure_features,
)
from nanoos.services.access import Principal, visible
from nanoos.services.feature_records import (
    FeatureBatch,
    FeatureError,
    FeatureRecord,
    feature_record,
    feature_values,
    in_chunks,
)
from nanoos.services.jobs import Job, JobService
from nanoos.services.structure_records import row_structure
from nanoos.services.structures import StructureService
from nanoos.structures import Structure

KIND: Final = "features"
MAX_BATCH: Final = 100
MAX_JOB_STRUCTURES: Final = 10_000
_STANDARD: Final = FeatureParameters()

_Outcome = FeatureRecord | NanoosError


class FeatureService:
    """Everything that happens to features.

    Thread-safe: holds no state but database and store. Features are computed outside of
    transactions; of several who want the same missing features each computes them, and the row
    of the first is everybody's.

    Args:
        database: Where the rows are.
        artifacts: Where the graphs are.
        structures: Says who may see which structure.
        jobs: Queues the work on many structures.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        structures: StructureService,
        jobs: JobService,
    ) -> None:
        self._db = database
        self._artifacts = artifacts
        self._structures = structures
        self._jobs = jobs

    # -- computing ------------------------------------------------------------------------

    def compute(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        parameters: FeatureParameters = _STANDARD,
        force_recompute: bool = False,
    ) -> FeatureRecord:
        """The features of a stored structure; computed now where they are not stored.

        Args:
            structure_id: Must be visible to ``who``.
            who: Who asks.
            parameters: What they are made with.
            force_recompute: Compute again and replace what is stored.

        Raises:
            NotFoundError: no such structure.
            TooLargeError: its graph would have more than 20 million bonds.
        """
        self._structures.require_visible(structure_id, who)
        outcome = self.compute_chunk([structure_id], parameters, again=force_recompute)[0]
        if isinstance(outcome, NanoosError):
            raise outcome
        return outcome

    def batch(
        self,
        structure_ids: Sequence[uuid.UUID],
        who: Principal,
        *,
        parameters: FeatureParameters = _STANDARD,
        force_recompute: bool = False,
    ) -> FeatureBatch:
        """Features of up to 100 structures; one that fails never fails the rest.

        Raises:
            InvalidInputError: none or more than 100 structures.
        """
        if not 1 <= len(structure_ids) <= MAX_BATCH:
            raise InvalidInputError(
                f"A batch of {len(structure_ids)} structures.", hint=f"Give 1 to {MAX_BATCH}."
            )
        sizes = self.sizes(structure_ids, visible(StructureTable, who))
        found = dict(self.compute_many(sizes.items(), parameters, again=force_recompute))
        outcomes = [(one, found.get(one) or _no_structure(one)) for one in structure_ids]
        features = [outcome for _, outcome in outcomes if isinstance(outcome, FeatureRecord)]
        n_cached = sum(record.cached for record in features)
        return FeatureBatch(
            features=features,
            total=len(structure_ids),
            cached=n_cached,
            new=len(features) - n_cached,
            errors=[
                FeatureError(structure_id=one, code=error.error_code, message=error.message)
                for one, error in outcomes
                if isinstance(error, NanoosError)
            ],
        )

    def submit(
        self,
        who: Principal,
        *,
        structure_ids: Sequence[uuid.UUID] | None = None,
        parameters: FeatureParameters = _STANDARD,
        force_recompute: bool = False,
        priority: int = 0,
    ) -> Job:
        """Queue a job that computes the features of many structures.

        Args:
            who: Whose job it is.
            structure_ids: 1 to 10,000; None: all that ``who`` sees when the job runs.
            parameters: What the features are made with.
            force_recompute: Compute again what is stored.
            priority: Higher ones run first.

        Raises:
            InvalidInputError: none or too many structures.
            NotFoundError: one of them is not there or not visible.
        """
        if structure_ids is not None:
            if not 1 <= len(structure_ids) <= MAX_JOB_STRUCTURES:
                raise InvalidInputError(
                    f"A job for {len(structure_ids)} structures.",
                    hint=f"Give 1 to {MAX_JOB_STRUCTURES:,}, or none for all.",
                )
            known = self.sizes(structure_ids, visible(StructureTable, who))
            for structure_id in structure_ids:
                if structure_id not in known:
                    raise _no_structure(structure_id)
        payload = {
            "parameters": parameters.as_dict(),
            "structure_ids": None if structure_ids is None else [str(i) for i in structure_ids],
            "force_recompute": force_recompute,
            "of_everybody": who.is_admin,
        }
        with self._db.write() as session:
            job_id = self._jobs.enqueue(
                session, KIND, payload, owner_id=who.user_id, priority=priority
            )
        return self._jobs.get(job_id, who)

    def compute_many(
        self, sizes: Iterable[tuple[uuid.UUID, int]], parameters: FeatureParameters, *, again: bool
    ) -> Iterator[tuple[uuid.UUID, _Outcome]]:
        """Features, or why there are none, of any number of structures; memory stays flat.

        Each chunk is stored in one transaction and its graphs in one file before its outcomes
        are given out.

        Args:
            sizes: Id and number of sites of each structure; consumed as it goes.
            parameters: What the features are made with.
            again: Compute also what is stored.
        """
        for chunk in in_chunks(sizes):
            yield from zip(chunk, self.compute_chunk(chunk, parameters, again=again), strict=True)

    def compute_chunk(
        self, ids: Sequence[uuid.UUID], parameters: FeatureParameters, *, again: bool
    ) -> list[FeatureRecord | NanoosError]:
        """The same for so few that they fit into memory, whoever may see them."""
        found: dict[uuid.UUID, _Outcome] = {}
        with self._db.read() as session:
            if not again:
                found |= _stored(session, ids, parameters)
            missing = [one for one in ids if one not in found]
            rows = session.scalars(select(StructureTable).where(StructureTable.id.in_(missing)))
            structures = {row.id: row_structure(row) for row in rows}
        with tempfile.TemporaryDirectory(prefix="nanoos-features-") as folder:
            path = Path(folder) / "graphs"
            extracted, refused = _extract(structures, parameters, path)
            found |= refused
            if extracted:
                found |= self._store(path, extracted, parameters, again=again)
        return [found.get(one) or _no_structure(one) for one in ids]

    # -- reading --------------------------------------------------------------------------

    def of_structure(self, structure_id: uuid.UUID, who: Principal) -> list[FeatureRecord]:
        """All stored features of a structure, newest first.

        Raises:
            NotFoundError: no such structure.
        """
        self._structures.require_visible(structure_id, who)
        table = StructureFeatureTable
        query = select(table).where(table.structure_id == structure_id)
        with self._db.read() as session:
            rows = session.scalars(query.order_by(table.created_at.desc(), table.id)).all()
            return [feature_record(row, cached=True) for row in rows]

    def with_features(self, structure_ids: Collection[uuid.UUID]) -> frozenset[uuid.UUID]:
        """Those of the structures that any features are stored of; at most a page of them."""
        table = StructureFeatureTable
        query = select(table.structure_id).where(table.structure_id.in_(structure_ids)).distinct()
        with self._db.read() as session:
            return frozenset(session.scalars(query))

    def graph(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        parameters: FeatureParameters = _STANDARD,
    ) -> CrystalGraph:
        """The stored graph of a structure.

        Raises:
            NotFoundError: no such structure, or these features were not computed.
        """
        self._structures.require_visible(structure_id, who)
        with self._db.read() as session:
            record = _stored(session, [structure_id], parameters).get(structure_id)
        if record is None:
            raise NotFoundError(
                f"These features of structure {structure_id} were not computed.",
                hint="Ask for them: POST /api/v1/ml/features/structure/{id}.",
            )
        with self._artifacts.open(record.graph_sha256) as file:
            file.seek(record.graph_offset)
            return decode_graph(file.read(record.graph_bytes))

    def sizes(
        self, structure_ids: Sequence[uuid.UUID], condition: ColumnElement[bool]
    ) -> dict[uuid.UUID, int]:
        """Number of sites of those that are there and meet ``condition``, in order of id."""
        found: dict[uuid.UUID, int] = {}
        unique = sorted(set(structure_ids))
        with self._db.read() as session:
            for start in range(0, len(unique), 1000):
                rows = session.execute(
                    select(StructureTable.id, StructureTable.n_sites)
                    .where(StructureTable.id.in_(unique[start : start + 1000]), condition)
                    .order_by(StructureTable.id)
                )
                found |= {row.id: row.n_sites for row in rows}
        return found

    # -- storing --------------------------------------------------------------------------

    def _store(
        self,
        path: Path,
        rows: Sequence[Mapping[str, Any]],
        parameters: FeatureParameters,
        *,
        again: bool,
    ) -> dict[uuid.UUID, FeatureRecord]:
        """Seal the file and write the rows; structures that were deleted meanwhile are left out."""
        sha256, size = self._artifacts.put_file(path)
        ids = [row["structure_id"] for row in rows]
        new: set[uuid.UUID] = set()
        with self._db.write() as session:
            name_artifacts(session, [{"sha256": sha256, "size_bytes": size}])
            held = set(
                session.scalars(
                    select(StructureTable.id)
                    .where(StructureTable.id.in_(ids))
                    .order_by(StructureTable.id)
                    .with_for_update(read=True, key_share=True)  # stays until its row is stored
                )
            )
            for row in rows:
                if row["structure_id"] in held:
                    values = {**row, "graph_repr": sha256}
                    if _insert(session, values, again=again):
                        new.add(row["structure_id"])
            session.expire_all()
            return {
                key: feature_record(row, cached=key not in new)
                for key, row in _stored_rows(session, ids, parameters).items()
            }


def _extract(
    structures: Mapping[uuid.UUID, Structure], parameters: FeatureParameters, path: Path
) -> tuple[list[dict[str, Any]], dict[uuid.UUID, NanoosError]]:
    """Write the graphs to ``path``; column values of the rows, and the structures refused."""
    rows: list[dict[str, Any]] = []
    refused: dict[uuid.UUID, NanoosError] = {}
    with path.open("wb") as file:
        for structure_id in sorted(structures):  # one order for all: no deadlock when stored
            try:
                graph, scalars = extract_structure_features(
                    structures[structure_id],
                    parameters.cutoff_radius,
                    max_neighbors=parameters.max_neighbors,
                )
            except NanoosError as error:
                refused[structure_id] = error
                continue
            data = encode_graph(graph)
            place = {"graph_offset": file.tell(), "graph_bytes": len(data)}
            file.write(data)
            rows.append({**feature_values(structure_id, graph, scalars, parameters), **place})
    return rows, refused


def _insert(session: Session, values: Mapping[str, Any], *, again: bool) -> bool:
    """Store a row, or with ``again`` replace the one that is there; whether it was written."""
    if insert_if_absent(session, StructureFeatureTable, {"id": uuid.uuid4(), **values}):
        return True
    if again:
        table = StructureFeatureTable
        session.execute(
            update(table)
            .where(
                table.structure_id == values["structure_id"],
                table.feature_version == values["feature_version"],
                table.params_hash == values["params_hash"],
            )
            .values(**values, created_at=db_now())
            .execution_options(synchronize_session=False)
        )
    return again


def _stored_rows(
    session: Session, ids: Sequence[uuid.UUID], parameters: FeatureParameters
) -> dict[uuid.UUID, StructureFeatureTable]:
    table = StructureFeatureTable
    rows = session.scalars(
        select(table).where(
            table.structure_id.in_(ids),
            table.feature_version == FEATURE_VERSION,
            table.params_hash == parameters.hash,
        )
    )
    return {row.structure_id: row for row in rows}


def _stored(
    session: Session, ids: Sequence[uuid.UUID], parameters: FeatureParameters
) -> dict[uuid.UUID, FeatureRecord]:
    rows = _stored_rows(session, ids, parameters)
    return {key: feature_record(row, cached=True) for key, row in rows.items()}


def _no_structure(structure_id: uuid.UUID) -> NotFoundError:
    return NotFoundError(
        f"There is no structure {structure_id}.",
        hint="'nanoos structures list' shows those that are there.",
    )
