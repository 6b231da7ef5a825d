"""Who asks, and what they may see and change."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, or_, true

from nanoos.core.errors import ForbiddenError
from nanoos.db import LOCAL_USER_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The one who asks.

    Attributes:
        user_id: Owner of what is made.
        username: For people to read.
        role: ``user`` or ``admin``.
        scopes: What the credentials allow: ``read``, ``write``, ``admin``.
    """

    user_id: uuid.UUID
    username: str
    role: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """True for an administrator whose credentials carry the admin scope."""
        return self.role == "admin" and "admin" in self.scopes

    def require(self, scope: str) -> None:
        """Raise ForbiddenError unless the credentials carry ``scope``."""
        if scope == "admin" and not self.is_admin:
            raise ForbiddenError("This needs the administrator role.")
        if scope not in self.scopes:
            raise ForbiddenError(
                f"These credentials do not carry the scope {scope!r}.",
                hint="Log in, or make an API key with that scope.",
            )


LOCAL_PRINCIPAL = Principal(
    user_id=LOCAL_USER_ID,
    username="local",
    role="admin",
    scopes=frozenset({"read", "write", "admin"}),
)
"""The command line and notebooks on this machine: whoever may read the database file."""


def visible(table: Any, who: Principal) -> ColumnElement[bool]:
    """The condition under which ``who`` sees a row: own, shared, or an admin asks."""
    if who.is_admin:
        return true()
    shared: ColumnElement[bool] | None = getattr(table, "shared", None)
    own: ColumnElement[bool] = table.owner_id == who.user_id
    return own if shared is None else or_(own, shared)


def changeable(table: Any, who: Principal) -> ColumnElement[bool]:
    """The condition under which ``who`` may change or delete a row: own, or an admin asks."""
    return true() if who.is_admin else table.owner_id == who.user_id
