"""Data sets: imported from files, databases and simulation results, sealed, listed, deleted."""

import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError
from nanoos.datasets.readers.databases import DatabaseAccess, database_rows
from nanoos.datasets.reading import open_rows
from nanoos.datasets.rows import RowStream
from nanoos.datasets.sealing import seal_rows
from nanoos.db import (
    ArtifactStore,
    Database,
    DatasetTable,
    insert_if_absent,
    name_artifacts,
)
from nanoos.services.access import Principal, changeable
from nanoos.services.dataset_records import (
    DatasetRecord,
    ImportOptions,
    SimulationRows,
    checked_name,
)
from nanoos.services.dataset_simulations import simulation_rows
from nanoos.services.jobs import JobService
from nanoos.services.stored_datasets import StoredDatasets, absent

IMPORT_JOB: Final = "dataset_import"
SMALL_BYTES: Final = 4 << 20
"""An upload up to this size is imported while the client waits, a larger one by a job."""

SEALED_NAME: Final = "rows.parquet"

Report = Callable[[float | None, str], None]
Finalize = Callable[[Session], None]


class DatasetService(StoredDatasets):
    """Imports, reads and deletes data sets. Thread-safe.

    A data set never changes: its rows are one sealed file, its description one row.

    Args:
        database: Where the rows of the table are.
        artifacts: Where the files are.
        jobs: For imports that take a while.
        downloads: Folder that keeps what was downloaded from open databases.
        access: How those are reached.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        jobs: JobService,
        *,
        downloads: Path,
        access: DatabaseAccess,
    ) -> None:
        super().__init__(database, artifacts)
        self._jobs = jobs
        self._downloads = downloads
        self._access = access

    # -- importing -------------------------------------------------------------------------

    def import_file(
        self,
        path: Path,
        who: Principal,
        *,
        name: str,
        options: ImportOptions | None = None,
        shared: bool = False,
        file_name: str | None = None,
        trusted: bool = False,
        report: Report | None = None,
    ) -> DatasetRecord:
        """Import a file or folder now.

        Args:
            path: Where it is.
            who: Who will own it.
            name: Of the data set.
            options: What its columns are, where their names do not say it.
            shared: Whether every user sees it.
            file_name: What the user calls the file, ``path``'s own name by default.
            trusted: Whether cells of the table may name files beside it: only for files that
                the user has on this machine.
            report: Told how far it is.

        Raises:
            ConflictError: the name is taken (``name_taken``); said before anything is read.
            NanoosError: as :func:`nanoos.datasets.reading.open_rows`.
        """
        self.check_name(name)
        given = options or ImportOptions()
        stream = open_rows(path, given.read_options(), name=file_name, trusted=trusted)
        return self._store(
            stream, who, "file", name=name, shared=shared, options=given, report=report
        )

    def import_database(
        self,
        database: str,
        who: Principal,
        *,
        name: str,
        options: ImportOptions | None = None,
        shared: bool = False,
        report: Report | None = None,
    ) -> DatasetRecord:
        """Import from an open database now (``matbench:phonons``, ``jarvis:dft_3d``, ``mp:...``).

        Raises:
            ConflictError: the name is taken.
            NanoosError: as :func:`nanoos.datasets.readers.databases.database_rows`;
                ``UnavailableError`` where there is no network.
        """
        self.check_name(name)
        given = options or ImportOptions()
        stream = self.database_stream(database, given, report)
        return self._store(
            stream, who, "database", name=name, shared=shared, options=given, report=report
        )

    def import_simulations(
        self,
        rows: SimulationRows,
        who: Principal,
        *,
        name: str,
        options: ImportOptions | None = None,
        shared: bool = False,
        report: Report | None = None,
    ) -> DatasetRecord:
        """Make a data set of the simulation results that ``who`` may see.

        Raises:
            ConflictError: the name is taken.
            InvalidInputError: none, or results that must not be pooled (``unlike_levels``).
        """
        self.check_name(name)
        given = options or ImportOptions()
        stream = simulation_rows(self._db, who, rows, targets=given.targets)
        return self._store(
            stream, who, "simulations", name=name, shared=shared, options=given, report=report
        )

    def submit_upload(
        self,
        path: Path,
        who: Principal,
        *,
        file_name: str,
        name: str,
        options: ImportOptions | None = None,
        shared: bool = False,
    ) -> uuid.UUID:
        """Keep an uploaded file and queue its import; the job's id.

        Raises:
            ConflictError: the name is taken.
            TransientError: the artifact store cannot be written.
        """
        self.check_name(name)
        sha256, size = self._artifacts.put_file(path)
        upload = {"name": file_name, "sha256": sha256, "size_bytes": size}
        return self._submit(who, {"upload": upload}, name=name, options=options, shared=shared)

    def submit_database(
        self,
        database: str,
        who: Principal,
        *,
        name: str,
        options: ImportOptions | None = None,
        shared: bool = False,
    ) -> uuid.UUID:
        """Queue an import from an open database; the job's id. Raises as the import."""
        self.check_name(name)
        return self._submit(who, {"database": database}, name=name, options=options, shared=shared)

    def _submit(
        self,
        who: Principal,
        source: Mapping[str, Any],
        *,
        name: str,
        options: ImportOptions | None,
        shared: bool,
    ) -> uuid.UUID:
        given = options or ImportOptions()
        payload = {
            "name": name,
            "shared": shared,
            "options": given.model_dump(mode="json", exclude_unset=True),
            **source,
        }
        with self._db.write() as session:
            if "upload" in source:
                name_artifacts(session, [source["upload"]])
            return self._jobs.enqueue(session, IMPORT_JOB, payload, owner_id=who.user_id)

    def check_name(self, name: str) -> None:
        """Raise InvalidInputError for a name that cannot be, ConflictError for one taken."""
        checked_name(name)
        with self._db.read() as session:
            taken = session.scalar(select(DatasetTable.id).where(DatasetTable.name == name))
        if taken is not None:
            raise _taken(name)

    def database_stream(
        self, database: str, options: ImportOptions, report: Report | None
    ) -> RowStream:
        """The rows of an open database; see :meth:`import_database`."""
        return database_rows(
            database,
            options.read_options(),
            self._access,
            folder=self._downloads,
            report=report,
        )

    def _store(
        self,
        stream: RowStream,
        who: Principal,
        kind: str,
        *,
        name: str,
        shared: bool,
        options: ImportOptions,
        report: Report | None,
    ) -> DatasetRecord:
        with tempfile.TemporaryDirectory(prefix="nanoos-dataset-") as folder:
            dataset_id, finalize = self.seal(
                stream,
                Path(folder) / SEALED_NAME,
                owner_id=who.user_id,
                name=name,
                shared=shared,
                origin={"kind": kind},
                options=options,
                report=report,
            )
        with self._db.write() as session:
            finalize(session)
        return self.get(dataset_id, who)

    def seal(
        self,
        stream: RowStream,
        path: Path,
        *,
        owner_id: uuid.UUID,
        name: str,
        shared: bool,
        origin: Mapping[str, Any],
        options: ImportOptions,
        report: Report | None = None,
    ) -> tuple[uuid.UUID, Finalize]:
        """Write the rows to ``path``, put that into the store; the row is written by ``finalize``.

        Returns:
            The id that the data set will have, and a function that adds its row in a writing
            transaction (raises ConflictError if the name was taken meanwhile).
        """
        summary = seal_rows(stream, path, name=name, report=report)
        sha256, size = self._artifacts.put_file(path)
        entry = {"name": f"{name}.parquet", "sha256": sha256, "size_bytes": size}
        document = summary.as_dict()
        description = {"columns", "n_refused", "refusals", "refused", "n_duplicates", "duplicates"}
        description |= {"elements", "splits"}
        values = {
            "id": uuid.uuid4(),
            "owner_id": owner_id,
            "shared": shared,
            "name": name,
            "sha256": summary.sha256,
            "n_rows": summary.n_rows,
            "targets": sorted(summary.units),
            "units": document["units"],
            "level_of_theory": document["level_of_theory"],
            "statistics": document["statistics"],
            "source": {
                **origin,
                "name": stream.name,
                "options": options.model_dump(mode="json", exclude_unset=True),
                **{key: document[key] for key in sorted(description)},
            },
            "files": [entry],
        }

        def finalize(session: Session) -> None:
            if not insert_if_absent(session, DatasetTable, values):
                raise _taken(name)
            name_artifacts(session, [entry])

        return values["id"], finalize

    # -- deleting --------------------------------------------------------------------------

    def delete(self, dataset_id: uuid.UUID, who: Principal) -> None:
        """Delete a data set; its file goes with the next collection of garbage.

        Raises:
            NotFoundError: it is not there, or not one's own.
        """
        with self._db.write() as session:
            gone = session.execute(
                delete(DatasetTable).where(
                    DatasetTable.id == dataset_id, changeable(DatasetTable, who)
                )
            )
            if not gone.rowcount:  # type: ignore[attr-defined]
                raise absent(dataset_id)


def _taken(name: str) -> ConflictError:
    return ConflictError(
        f"There is a data set {name!r} already.",
        hint="Choose another name, or delete that one: data sets never change.",
        code="name_taken",
    )
