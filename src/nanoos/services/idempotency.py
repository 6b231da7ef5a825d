"""Answers to repeated requests: the same key gives the same answer, in every process."""

import uuid
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from nanoos.core.errors import ConflictError
from nanoos.db import Database, IdempotencyTable, db_now

KEPT_S: Final = 24 * 3600.0
"""How long an answer is remembered, s."""

SILENT_S: Final = 30.0
"""A claim that was not renewed for so long belongs to a process that is gone, s."""

RENEW_S: Final = 8.0
"""How often the one who works on a request renews its claim, s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What was answered the first time."""

    status: int
    body: str


class RequestInProgressError(ConflictError):
    """The same request is being worked on now."""

    code = "request_in_progress"
    retry_after_s = 1


class IdempotencyService:
    """Remembers answers for 24 h. Thread-safe and safe across processes.

    Args:
        database: Where the answers are.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def begin(self, user_id: uuid.UUID, key: str, request_sha256: str) -> StoredAnswer | uuid.UUID:
        """Claim a key.

        Returns:
            The stored answer where the request was answered before, otherwise a claim: do the
            work, :meth:`renew` meanwhile, then :meth:`finish` or :meth:`release` it.

        Raises:
            ConflictError: the key came with another request before.
            RequestInProgressError: the same request is being worked on.
        """
        claim = uuid.uuid4()
        mine = (IdempotencyTable.user_id == user_id, IdempotencyTable.key == key)
        unfinished = IdempotencyTable.status.is_(None)
        try:
            with self._db.write() as session:
                session.execute(
                    delete(IdempotencyTable).where(IdempotencyTable.created_at < db_now(-KEPT_S))
                )
                session.execute(
                    delete(IdempotencyTable).where(
                        *mine, unfinished, IdempotencyTable.created_at < db_now(-SILENT_S)
                    )
                )
                row = session.execute(_columns().where(*mine)).one_or_none()
                if row is None:
                    session.add(
                        IdempotencyTable(
                            id=claim, user_id=user_id, key=key, request_sha256=request_sha256
                        )
                    )
                    session.flush()
                    return claim
        except IntegrityError as error:
            raise _in_progress() from error
        if row.request_sha256 != request_sha256:
            raise ConflictError(
                "This Idempotency-Key came with another request before.",
                hint="Use a new key for a new request.",
                code="idempotency_key_reused",
            )
        if row.status is None:
            raise _in_progress()
        return StoredAnswer(status=row.status, body=row.body or "")

    def renew(self, claim: uuid.UUID) -> None:
        """Say that the work goes on."""
        self._change(claim, created_at=cast("Any", db_now()))

    def finish(self, claim: uuid.UUID, answer: StoredAnswer) -> None:
        """Remember the answer; nothing happens if the claim was given up for dead."""
        self._change(claim, status=answer.status, body=answer.body)

    def release(self, claim: uuid.UUID) -> None:
        """Forget the claim: the request changed nothing and may be tried again."""
        with self._db.write() as session:
            session.execute(delete(IdempotencyTable).where(IdempotencyTable.id == claim))

    def _change(self, claim: uuid.UUID, **values: Any) -> None:
        with self._db.write() as session:
            session.execute(
                update(IdempotencyTable).where(IdempotencyTable.id == claim).values(**values)
            )


def _columns() -> Any:
    return select(IdempotencyTable.request_sha256, IdempotencyTable.status, IdempotencyTable.body)


def _in_progress() -> RequestInProgressError:
    return RequestInProgressError(
        "The same request is being worked on.",
        hint="Ask again with the same key in a second.",
        details={"retry_after_s": RequestInProgressError.retry_after_s},
    )
