"""Accounts: users, API keys, refresh tokens, remembered answers to repeated requests."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from nanoos.db.base import CreatedAt, JsonDocument, Table, UuidKey

LOCAL_USER_ID = uuid.UUID("00000000-0000-4000-8000-000000000001")
"""The owner of everything made on the command line; cannot log in."""

ROLES = ("user", "admin")
SCOPES = ("read", "write", "admin")


class UserTable(Table):
    """A person or the local command line."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role IN ('user', 'admin')", name="role"),)

    id: Mapped[UuidKey]
    username: Mapped[str] = mapped_column(String(150), unique=True)
    email: Mapped[str | None] = mapped_column(String(320))
    password_hash: Mapped[str | None] = mapped_column(String(300))
    role: Mapped[str] = mapped_column(String(20), default="user")
    is_active: Mapped[bool] = mapped_column(default=True)
    token_generation: Mapped[int] = mapped_column(default=0)
    """Counted up to end every token that was issued before."""
    created_at: Mapped[CreatedAt]


class ApiKeyTable(Table):
    """An API key: only its hash is stored, the key itself is shown once."""

    __tablename__ = "api_keys"

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(String(150))
    prefix: Mapped[str] = mapped_column(String(16))
    key_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]] = mapped_column(JsonDocument)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class RefreshTokenTable(Table):
    """A refresh token, used once: each use replaces it, logging out deletes it."""

    __tablename__ = "refresh_tokens"

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime]
    created_at: Mapped[CreatedAt]


class IdempotencyTable(Table):
    """The answer to a POST that carried an ``Idempotency-Key``; ``status`` null while it runs."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        UniqueConstraint("user_id", "key"),
        Index(None, "created_at"),
    )

    id: Mapped[UuidKey]
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(255))
    request_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[int | None]
    body: Mapped[str | None]
    created_at: Mapped[CreatedAt]
