"""Reading the data sets of a laboratory: one by one, listed, with their rows, as files."""

import uuid
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from nanoos.core.errors import InvalidInputError, NotFoundError
from nanoos.datasets.sealed import read_sealed
from nanoos.db import ArtifactStore, Database, DatasetTable
from nanoos.services.access import Principal, visible
from nanoos.services.dataset_records import DatasetRecord, dataset_record
from nanoos.services.lookup import resolve_id
from nanoos.services.paging import Page, fetch_page

if TYPE_CHECKING:
    from nanoos.datasets import Dataset


class StoredDatasets:
    """Reads data sets. Thread-safe.

    Args:
        database: Where the rows of the table are.
        artifacts: Where the files are.
    """

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        self._db = database
        self._artifacts = artifacts

    def page(
        self, who: Principal, *, cursor: str | None = None, limit: int = 50
    ) -> Page[DatasetRecord]:
        """Own and shared data sets, newest first."""
        query = select(DatasetTable).where(visible(DatasetTable, who))
        with self._db.read() as session:
            rows, total, following = fetch_page(
                session, query, DatasetTable, cursor=cursor, limit=limit
            )
            return Page(items=[dataset_record(row) for row in rows], total=total, next=following)

    def get(self, dataset_id: uuid.UUID, who: Principal) -> DatasetRecord:
        """One data set. Raises NotFoundError where it is not there or not visible."""
        with self._db.read() as session:
            return dataset_record(self._row(session, dataset_id, who))

    def find(self, text: str, who: Principal) -> DatasetRecord:
        """The data set that a name, an id or the beginning of an id names.

        Raises:
            NotFoundError: there is none.
        """
        with self._db.read() as session:
            row = session.scalar(
                select(DatasetTable).where(DatasetTable.name == text, visible(DatasetTable, who))
            )
            if row is not None:
                return dataset_record(row)
        try:
            found = resolve_id(self._db, "dataset", text, who)
        except InvalidInputError:
            raise NotFoundError(
                f"There is no data set {text!r}.", hint="'nanoos datasets list' has them."
            ) from None
        return self.get(found, who)

    def open(self, dataset_id: uuid.UUID, who: Principal) -> IO[bytes]:
        """The sealed file, open for reading. Raises NotFoundError as :meth:`get`."""
        with self._db.read() as session:
            sha256 = self._row(session, dataset_id, who).files[0]["sha256"]
        return self._artifacts.open(sha256)

    def load(self, dataset_id: uuid.UUID, who: Principal) -> "Dataset":
        """The data set with its rows. Raises NotFoundError as :meth:`get`."""
        record = self.get(dataset_id, who)
        with self.open(dataset_id, who) as file:
            return read_sealed(file, name=record.name)

    def export(
        self, dataset_id: uuid.UUID, who: Principal, kind: str
    ) -> tuple[Iterator[bytes], str]:
        """A file (``parquet``, ``csv``, ``extxyz``) in pieces, and its name.

        Raises:
            NotFoundError: as :meth:`get`.
            InvalidInputError: another format.
        """
        from nanoos.datasets.export import export_chunks

        dataset = self.load(dataset_id, who)
        return export_chunks(dataset, kind), f"{dataset.name}.{kind}"

    def plot(self, dataset_id: uuid.UUID, who: Principal) -> bytes:
        """A PNG: histograms of the targets, elements on a periodic table. Raises as :meth:`get`."""
        from nanoos.datasets.plot import dataset_figure_png

        return dataset_figure_png(self.load(dataset_id, who))

    @staticmethod
    def _row(session: Session, dataset_id: uuid.UUID, who: Principal) -> DatasetTable:
        row = session.scalar(
            select(DatasetTable).where(DatasetTable.id == dataset_id, visible(DatasetTable, who))
        )
        if row is None:
            raise absent(dataset_id)
        return row


def absent(dataset_id: uuid.UUID) -> NotFoundError:
    """What is said where a data set is not there, or not visible."""
    return NotFoundError(f"There is no data set {dataset_id}.")
