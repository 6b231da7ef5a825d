"""API keys: shown once, stored as a hash, with scopes and an end."""

import secrets
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import delete, or_, select, update

from nanoos.core.errors import ForbiddenError, InvalidInputError, NotFoundError, UnauthorizedError
from nanoos.db import ApiKeyTable, Database, UserTable, db_now
from nanoos.db.users import SCOPES
from nanoos.services.access import Principal
from nanoos.services.fresh_cache import FreshCache
from nanoos.services.sessions import scopes_of
from nanoos.services.tokens import token_sha256

KEY_PREFIX: Final = "nk_"
_SHOWN: Final = 11
_USE_NOTED_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRecord:
    """An API key without the key; ``prefix`` is its beginning, for people to tell keys apart."""

    id: uuid.UUID
    name: str
    prefix: str
    scopes: Sequence[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime


class ApiKeyService:
    """Issues, lists, revokes and checks API keys. Thread-safe.

    Args:
        database: Where the keys' hashes are.
    """

    def __init__(self, database: Database) -> None:
        self._db = database
        self._principals: FreshCache[str, tuple[Principal, datetime | None]] = FreshCache()
        self._noted: FreshCache[str, bool] = FreshCache(fresh_s=_USE_NOTED_EVERY_S)

    def create(
        self,
        name: str,
        who: Principal,
        *,
        scopes: Collection[str] = ("read", "write"),
        expires_at: datetime | None = None,
    ) -> tuple[ApiKeyRecord, str]:
        """Make a key of one's own; the key itself is returned now and never again.

        Raises:
            ForbiddenError: a scope that one's own credentials do not carry.
            InvalidInputError: no or unknown scopes, or an end that has passed.
        """
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise InvalidInputError(
                f"There is no scope {unknown[0]!r}." if unknown else "A key needs a scope.",
                hint="Scopes: read, write, admin.",
            )
        missing = sorted(set(scopes) - who.scopes)
        if missing:
            raise ForbiddenError(
                f"These credentials do not carry the scope {missing[0]!r}, so the key cannot."
            )
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise InvalidInputError("The key would have expired already.")
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        row = ApiKeyTable(
            user_id=who.user_id,
            name=name,
            prefix=key[:_SHOWN],
            key_sha256=token_sha256(key),
            scopes=sorted(set(scopes)),
            expires_at=expires_at,
        )
        with self._db.write() as session:
            session.add(row)
            session.flush()
            session.refresh(row)
            return _view(row), key

    def list(self, who: Principal) -> Sequence[ApiKeyRecord]:
        """One's own keys, newest first."""
        with self._db.read() as session:
            rows = session.scalars(
                select(ApiKeyTable)
                .where(ApiKeyTable.user_id == who.user_id)
                .order_by(ApiKeyTable.created_at.desc(), ApiKeyTable.id)
            )
            return [_view(row) for row in rows]

    def revoke(self, key_id: uuid.UUID, who: Principal) -> None:
        """End a key of one's own (an administrator: any). Raises NotFoundError."""
        query = delete(ApiKeyTable).where(ApiKeyTable.id == key_id)
        if not who.is_admin:
            query = query.where(ApiKeyTable.user_id == who.user_id)
        with self._db.write() as session:
            revoked = session.scalar(query.returning(ApiKeyTable.id))
        if revoked is None:
            raise NotFoundError(f"There is no API key {key_id}.")
        self.forget()

    def principal(self, key: str) -> Principal:
        """Who a key belongs to; from memory where that is fresh.

        Raises:
            UnauthorizedError: no such key, expired, or its user is not active.
        """
        who = self.remembered(key)
        if who is None:
            now = self._principals.now()
            sha256 = token_sha256(key)
            found = self._read(sha256)
            if found is None:
                raise UnauthorizedError(
                    "The API key is not valid.",
                    hint="It may have expired or been revoked; make a new one.",
                    code="invalid_api_key",
                )
            self._principals.put(sha256, found, read_at=now)
            self._note_use(sha256)
            who = found[0]
        return who

    def remembered(self, key: str) -> Principal | None:
        """Like :meth:`principal`, but only from memory; never blocks."""
        known = self._principals.get(token_sha256(key))
        if known is None or (known[1] is not None and known[1] <= datetime.now(UTC)):
            return None
        return known[0]

    def forget(self) -> None:
        """Believe nothing that was read before."""
        self._principals.clear()

    def _read(self, sha256: str) -> tuple[Principal, datetime | None] | None:
        with self._db.read() as session:
            row = session.execute(
                select(
                    UserTable.id,
                    UserTable.username,
                    UserTable.role,
                    ApiKeyTable.scopes,
                    ApiKeyTable.expires_at,
                )
                .join(UserTable, UserTable.id == ApiKeyTable.user_id)
                .where(
                    ApiKeyTable.key_sha256 == sha256,
                    UserTable.is_active.is_(True),
                    or_(ApiKeyTable.expires_at.is_(None), ApiKeyTable.expires_at > db_now()),
                )
            ).one_or_none()
        if row is None:
            return None
        scopes = frozenset(row.scopes) & scopes_of(row.role)
        who = Principal(user_id=row.id, username=row.username, role=row.role, scopes=scopes)
        return who, row.expires_at

    def _note_use(self, sha256: str) -> None:
        if self._noted.get(sha256):
            return
        self._noted.put(sha256, True, read_at=self._noted.now())
        with self._db.write() as session:
            session.execute(
                update(ApiKeyTable)
                .where(ApiKeyTable.key_sha256 == sha256)
                .values(last_used_at=db_now())
            )


def _view(row: ApiKeyTable) -> ApiKeyRecord:
    return ApiKeyRecord(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes),
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        created_at=row.created_at,
    )
