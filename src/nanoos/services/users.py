"""Accounts: who there is, their passwords, sessions and API keys."""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from nanoos.core.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from nanoos.db import LOCAL_USER_ID, Database, RefreshTokenTable, UserTable
from nanoos.db.users import ROLES
from nanoos.services.access import LOCAL_PRINCIPAL, Principal
from nanoos.services.api_keys import ApiKeyService
from nanoos.services.paging import Page, fetch_page
from nanoos.services.passwords import Passwords
from nanoos.services.sessions import SessionService
from nanoos.services.tokens import TokenSigner

BOOTSTRAP_USERNAME: Final = "admin"
_MAX_USERNAME: Final = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRecord:
    """An account, without its secrets."""

    id: uuid.UUID
    username: str
    email: str | None
    role: str
    is_active: bool
    created_at: datetime


class UserService:
    """Administers accounts; ``sessions`` and ``api_keys`` check and issue credentials.

    Thread-safe. Everything here but :meth:`change_password` and :meth:`ensure_admin` needs the
    administrator role. Deactivating an account, changing its role or its password ends all its
    sessions; within 2 s no process lets them in.

    Args:
        database: Where the accounts are.
        secret_key: Signs tokens.
        access_token_minutes: Life of an access token, minutes.
        refresh_token_days: Life of an unused refresh token, days.
    """

    def __init__(
        self,
        database: Database,
        *,
        secret_key: str,
        access_token_minutes: int,
        refresh_token_days: int,
    ) -> None:
        self._db = database
        self._passwords = Passwords()
        self.sessions = SessionService(
            database,
            TokenSigner(secret_key),
            self._passwords,
            access_life=timedelta(minutes=access_token_minutes),
            refresh_life=timedelta(days=refresh_token_days),
        )
        self.api_keys = ApiKeyService(database)

    # -- administration -------------------------------------------------------------------

    def create(
        self,
        username: str,
        password: str,
        who: Principal,
        *,
        role: str = "user",
        email: str | None = None,
    ) -> UserRecord:
        """Make an account.

        Raises:
            ForbiddenError: ``who`` is no administrator.
            InvalidInputError: the name, role or password cannot be used.
            ConflictError: the name is taken.
        """
        who.require("admin")
        row = UserTable(
            username=_checked_username(username),
            email=email,
            role=_checked_role(role),
            password_hash=self._passwords.hash(password, username=username),
        )
        try:
            with self._db.write() as session:
                session.add(row)
                session.flush()
                session.refresh(row)
                return _view(row)
        except IntegrityError as error:
            raise ConflictError(
                f"There is already a user named {username!r}.", hint="Choose another name."
            ) from error

    def get(self, user_id: uuid.UUID, who: Principal) -> UserRecord:
        """One account; anybody may read their own."""
        if user_id != who.user_id:
            who.require("admin")
        with self._db.read() as session:
            return _view(_row(session, user_id))

    def find(self, username: str, who: Principal) -> UserRecord:
        """The account of that name."""
        who.require("admin")
        with self._db.read() as session:
            row = session.scalar(select(UserTable).where(UserTable.username == username))
            if row is None:
                raise NotFoundError(f"There is no user named {username!r}.")
            return _view(row)

    def page(
        self, who: Principal, *, cursor: str | None = None, limit: int = 50
    ) -> Page[UserRecord]:
        """All accounts, newest first."""
        who.require("admin")
        with self._db.read() as session:
            rows, total, following = fetch_page(
                session, select(UserTable), UserTable, cursor=cursor, limit=limit
            )
            return Page(items=[_view(row) for row in rows], total=total, next=following)

    def update(self, user_id: uuid.UUID, who: Principal, **fields: Any) -> UserRecord:
        """Change ``email``, ``role``, ``is_active`` or ``password``.

        Raises:
            ForbiddenError: ``who`` is no administrator, or this is the local user.
            ConflictError: it would leave no administrator who can log in.
        """
        who.require("admin")
        _refuse_local(user_id)
        unknown = fields.keys() - {"email", "role", "is_active", "password"}
        if unknown:
            raise InvalidInputError(f"A user has no field {min(unknown)!r} to change.")
        if "role" in fields:
            _checked_role(fields["role"])
        password = fields.get("password")
        hashed = None
        if password is not None:
            username = self.get(user_id, who).username
            hashed = self._passwords.hash(password, username=username)
        with self._db.write() as session:
            row = _locked_row(session, user_id)
            _refuse_loss_of_last_admin(session, row, fields)
            if "email" in fields:
                row.email = fields["email"]
            if hashed is not None:
                row.password_hash = hashed
            row.role = fields.get("role", row.role)
            row.is_active = fields.get("is_active", row.is_active)
            if fields.keys() - {"email"}:
                _end_sessions(session, row)
            session.flush()
            record = _view(row)
        self._forget()
        return record

    def delete(self, user_id: uuid.UUID, who: Principal) -> None:
        """Remove an account and everything it owns.

        Raises:
            ForbiddenError: ``who`` is no administrator, or this is the local user.
            ConflictError: it is the last administrator who can log in.
        """
        who.require("admin")
        _refuse_local(user_id)
        with self._db.write() as session:
            row = _locked_row(session, user_id)
            _refuse_loss_of_last_admin(session, row, {"is_active": False})
            session.execute(delete(UserTable).where(UserTable.id == user_id))
        self._forget()

    # -- one's own account ----------------------------------------------------------------

    def change_password(self, who: Principal, *, current: str, new: str) -> None:
        """Change one's own password; ends every session of the account, this one too.

        Raises:
            ForbiddenError: the current password is another one.
            InvalidInputError: the new one cannot be used.
        """
        with self._db.read() as session:
            stored = _row(session, who.user_id).password_hash
        if not self._passwords.verify(current, stored):
            raise ForbiddenError("The current password is another one.", code="wrong_password")
        hashed = self._passwords.hash(new, username=who.username)
        with self._db.write() as session:
            row = _locked_row(session, who.user_id)
            row.password_hash = hashed
            _end_sessions(session, row)
        self._forget()

    def has_admin(self) -> bool:
        """Whether there is an administrator who can log in."""
        with self._db.read() as session:
            return bool(session.scalar(_count_admins()))

    def ensure_admin(self) -> tuple[UserRecord, str] | None:
        """On a first start: make ``admin`` with a random password, which is returned once.

        Returns:
            The account and its password; None where an administrator exists already or
            another server has just made one.
        """
        if self.has_admin():
            return None
        password = secrets.token_urlsafe(15)
        try:
            record = self.create(BOOTSTRAP_USERNAME, password, LOCAL_PRINCIPAL, role="admin")
        except ConflictError:
            return None
        return record, password

    def _forget(self) -> None:
        self.sessions.forget()
        self.api_keys.forget()


def _view(row: UserTable) -> UserRecord:
    return UserRecord(
        id=row.id,
        username=row.username,
        email=row.email,
        role=row.role,
        is_active=row.is_active,
        created_at=row.created_at,
    )


def _row(session: Session, user_id: uuid.UUID) -> UserTable:
    row = session.scalar(select(UserTable).where(UserTable.id == user_id))
    if row is None:
        raise NotFoundError(f"There is no user {user_id}.")
    return row


def _locked_row(session: Session, user_id: uuid.UUID) -> UserTable:
    """The account, locked together with every administrator.

    All are locked in one order, so of two administrators who demote each other at once the
    second waits and then sees one; each locking its own row first, the two would deadlock.
    """
    session.scalars(
        select(UserTable.id)
        .where(or_(UserTable.id == user_id, UserTable.role == "admin"))
        .order_by(UserTable.id)
        .with_for_update()
    ).all()
    return _row(session, user_id)


def _count_admins() -> Any:
    return (
        select(func.count())
        .select_from(UserTable)
        .where(
            UserTable.role == "admin", UserTable.is_active.is_(True), UserTable.id != LOCAL_USER_ID
        )
    )


def _refuse_loss_of_last_admin(session: Session, row: UserTable, fields: Mapping[str, Any]) -> None:
    stays = fields.get("role", row.role) == "admin" and fields.get("is_active", row.is_active)
    if stays or row.role != "admin" or not row.is_active:
        return
    others = session.scalars(
        select(UserTable.id).where(
            UserTable.role == "admin",
            UserTable.is_active.is_(True),
            UserTable.id.not_in([LOCAL_USER_ID, row.id]),
        )
    ).all()
    if not others:
        raise ConflictError(
            f"{row.username!r} is the last administrator.",
            hint="Make another user an administrator first.",
            code="last_admin",
        )


def _end_sessions(session: Session, row: UserTable) -> None:
    row.token_generation += 1
    session.execute(delete(RefreshTokenTable).where(RefreshTokenTable.user_id == row.id))


def _refuse_local(user_id: uuid.UUID) -> None:
    if user_id == LOCAL_USER_ID:
        raise ForbiddenError(
            "The local user belongs to the command line and cannot be changed.",
            code="local_user",
        )


def _checked_username(username: str) -> str:
    usable = username == username.strip() and username.isprintable() and ":" not in username
    if not usable or not 1 <= len(username) <= _MAX_USERNAME:
        raise InvalidInputError(
            f"The user name {username!r} cannot be used.",
            hint=f"1 to {_MAX_USERNAME} printable characters, no colon, no space at the ends.",
        )
    return username


def _checked_role(role: str) -> str:
    if role not in ROLES:
        raise InvalidInputError(f"There is no role {role!r}.", hint="Roles: user, admin.")
    return role
