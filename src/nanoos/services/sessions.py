"""Login sessions: one row for each, whose refresh token is replaced at every use."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import structlog
from sqlalchemy import delete, select, update

from nanoos.core.errors import UnauthorizedError
from nanoos.db import LOCAL_USER_ID, Database, RefreshTokenTable, UserTable, db_now
from nanoos.services.access import Principal
from nanoos.services.fresh_cache import FreshCache
from nanoos.services.passwords import Passwords
from nanoos.services.tokens import TokenClaims, TokenSigner, TokenUse, token_sha256

log = structlog.get_logger(__name__)

_SIGNED_FOR_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """What a login or a refresh gives.

    Attributes:
        access_token: Opens the API.
        refresh_token: Buys the next pair, once.
        expires_in_s: Life of the access token, s.
    """

    access_token: str
    refresh_token: str
    expires_in_s: int


class SessionService:
    """Logs in and out and says who a token belongs to. Thread-safe.

    A session is a row of ``refresh_tokens``: its id stands in every token of the session, its
    hash is that of the one refresh token that may be used next. A refresh token of ours with
    another hash was used before, so somebody has a copy: the session ends at once. Without its
    row, or with another token generation of the user, no token of the session opens anything;
    what a process remembers of both is at most 1.5 s old.

    Args:
        database: Where sessions are.
        signer: Signs and reads tokens.
        passwords: Checks passwords.
        access_life: Life of an access token.
        refresh_life: Life of an unused refresh token.
    """

    def __init__(
        self,
        database: Database,
        signer: TokenSigner,
        passwords: Passwords,
        *,
        access_life: timedelta,
        refresh_life: timedelta,
    ) -> None:
        self._db = database
        self._signer = signer
        self._passwords = passwords
        self._access_life = access_life
        self._refresh_life = refresh_life
        self._claims: FreshCache[tuple[str, str], TokenClaims] = FreshCache(fresh_s=_SIGNED_FOR_S)
        self._principals: FreshCache[uuid.UUID, tuple[int, Principal]] = FreshCache()

    def login(self, username: str, password: str) -> TokenPair:
        """Begin a session.

        Raises:
            UnauthorizedError: no such user, another password, or not active: not said which.
        """
        user_id, generation = self._checked_user(username, password)
        session_id = uuid.uuid4()
        pair = self._pair(user_id, session_id, generation)
        self._begin(user_id, session_id, pair.refresh_token)
        return pair

    def login_web(self, username: str, password: str) -> tuple[str, timedelta]:
        """Begin a session of the web page: a token for a cookie, and its life."""
        user_id, generation = self._checked_user(username, password)
        session_id = uuid.uuid4()
        token = self._signer.sign(
            "web",
            user_id=user_id,
            session_id=session_id,
            generation=generation,
            life=self._refresh_life,
        )
        self._begin(user_id, session_id, token)
        return token, self._refresh_life

    def refresh(self, refresh_token: str) -> TokenPair:
        """Trade a refresh token for a new pair.

        Raises:
            UnauthorizedError: not ours, expired, or used before; the session ends if it was.
        """
        claims = self._signer.read(refresh_token, "refresh")
        pair = self._pair(claims.user_id, claims.session_id, claims.generation)
        with self._db.write() as session:
            replaced = session.scalar(
                update(RefreshTokenTable)
                .where(
                    RefreshTokenTable.id == claims.session_id,
                    RefreshTokenTable.token_sha256 == token_sha256(refresh_token),
                    RefreshTokenTable.expires_at > db_now(),
                )
                .values(
                    token_sha256=token_sha256(pair.refresh_token),
                    expires_at=db_now(self._refresh_life.total_seconds()),
                )
                .returning(RefreshTokenTable.id)
                .execution_options(synchronize_session=False)
            )
            ended = replaced is None and session.scalar(
                delete(RefreshTokenTable)
                .where(RefreshTokenTable.id == claims.session_id)
                .returning(RefreshTokenTable.id)
            )
        if ended:
            self.forget()
            log.warning("refresh token used twice: session ended", user_id=str(claims.user_id))
        if replaced is None or self._principal(claims) is None:
            raise UnauthorizedError(
                "The refresh token is no longer valid.", hint="Log in again.", code="invalid_token"
            )
        return pair

    def logout(self, token: str) -> None:
        """End the session that an access, refresh or web token belongs to.

        Raises:
            UnauthorizedError: no token of ours.
        """
        claims = self._read_any(token)
        with self._db.write() as session:
            session.execute(
                delete(RefreshTokenTable).where(RefreshTokenTable.id == claims.session_id)
            )
        self.forget()

    def principal(self, token: str, *, use: TokenUse = "access") -> Principal:
        """Who an access (or web) token belongs to; from memory where that is fresh.

        Raises:
            UnauthorizedError: not ours, expired, or its session has ended.
        """
        claims = self._claims.get((use, token))
        if claims is None:
            now = self._claims.now()
            claims = self._signer.read(token, use)
            self._claims.put((use, token), claims, read_at=now)
        if claims.expires_at <= datetime.now(UTC):
            raise UnauthorizedError(
                "The token has expired.", hint="Refresh it or log in again.", code="token_expired"
            )
        who = self._principal(claims)
        if who is None:
            raise UnauthorizedError(
                "The session has ended.", hint="Log in again.", code="session_ended"
            )
        return who

    def remembered(self, token: str) -> Principal | None:
        """Like :meth:`principal` for an access token, but only from memory; never blocks."""
        claims = self._claims.get(("access", token))
        if claims is None or claims.expires_at <= datetime.now(UTC):
            return None
        known = self._principals.get(claims.session_id)
        return known[1] if known is not None and known[0] == claims.generation else None

    def forget(self) -> None:
        """Believe nothing that was read before."""
        self._principals.clear()

    def _principal(self, claims: TokenClaims) -> Principal | None:
        known = self._principals.get(claims.session_id)
        if known is None:
            now = self._principals.now()
            with self._db.read() as session:
                row = session.execute(
                    select(UserTable.username, UserTable.role, UserTable.token_generation)
                    .join(RefreshTokenTable, RefreshTokenTable.user_id == UserTable.id)
                    .where(
                        RefreshTokenTable.id == claims.session_id,
                        RefreshTokenTable.expires_at > db_now(),
                        UserTable.id == claims.user_id,
                        UserTable.is_active.is_(True),
                    )
                ).one_or_none()
            if row is None:
                return None
            who = Principal(
                user_id=claims.user_id,
                username=row.username,
                role=row.role,
                scopes=scopes_of(row.role),
            )
            known = (row.token_generation, who)
            self._principals.put(claims.session_id, known, read_at=now)
        return known[1] if known[0] == claims.generation else None

    def _checked_user(self, username: str, password: str) -> tuple[uuid.UUID, int]:
        with self._db.read() as session:
            row = session.execute(
                select(
                    UserTable.id,
                    UserTable.password_hash,
                    UserTable.is_active,
                    UserTable.token_generation,
                ).where(UserTable.username == username, UserTable.id != LOCAL_USER_ID)
            ).one_or_none()
        matches = self._passwords.verify(password, None if row is None else row.password_hash)
        if row is None or not matches or not row.is_active:
            raise UnauthorizedError(
                "The user name or the password is wrong.", code="wrong_credentials"
            )
        return row.id, row.token_generation

    def _pair(self, user_id: uuid.UUID, session_id: uuid.UUID, generation: int) -> TokenPair:
        lives: tuple[tuple[TokenUse, timedelta], ...] = (
            ("access", self._access_life),
            ("refresh", self._refresh_life),
        )
        access, refresh = (
            self._signer.sign(
                use, user_id=user_id, session_id=session_id, generation=generation, life=life
            )
            for use, life in lives
        )
        return TokenPair(
            access_token=access,
            refresh_token=refresh,
            expires_in_s=int(self._access_life.total_seconds()),
        )

    def _begin(self, user_id: uuid.UUID, session_id: uuid.UUID, token: str) -> None:
        with self._db.write() as session:
            session.execute(
                delete(RefreshTokenTable).where(
                    RefreshTokenTable.user_id == user_id, RefreshTokenTable.expires_at < db_now()
                )
            )
            session.add(
                RefreshTokenTable(
                    id=session_id,
                    user_id=user_id,
                    token_sha256=token_sha256(token),
                    expires_at=cast("datetime", db_now(self._refresh_life.total_seconds())),
                )
            )

    def _read_any(self, token: str) -> TokenClaims:
        uses: tuple[TokenUse, ...] = ("access", "refresh")
        for use in uses:
            try:
                return self._signer.read(token, use)
            except UnauthorizedError:
                continue
        return self._signer.read(token, "web")


def scopes_of(role: str) -> frozenset[str]:
    """What a login of that role may do."""
    return frozenset({"read", "write", "admin"} if role == "admin" else {"read", "write"})
