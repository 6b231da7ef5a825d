"""Users, sessions and API keys."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from nanoos.api.schemas.common import Answer, Body

Role = Literal["user", "admin"]
Scope = Literal["read", "write", "admin"]
Username = Annotated[str, Field(min_length=1, max_length=150, pattern=r"^[^\s:\x00-\x1f\x7f]+$")]
Email = Annotated[str, Field(min_length=3, max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]
Password = Annotated[str, Field(min_length=10, max_length=512)]
GivenPassword = Annotated[str, Field(min_length=1, max_length=512)]
Token = Annotated[str, Field(min_length=1, max_length=2000)]


class LoginForm(Body):
    """The form of a login, as OAuth2 clients send it."""

    username: Annotated[str, Field(min_length=1, max_length=150)]
    password: GivenPassword
    grant_type: Literal["password"] = "password"
    scope: Annotated[str, Field(max_length=200)] = ""
    """Ignored: a login carries all scopes of the role."""


class TokenAnswer(Answer):
    """Tokens of a session."""

    access_token: str
    """For ``Authorization: Bearer``."""
    refresh_token: str
    """For one ``POST /auth/refresh``."""
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme, no secret
    expires_in: int = Field(validation_alias="expires_in_s", serialization_alias="expires_in")
    """Life of the access token, s."""


class RefreshBody(Body):
    """A refresh token, used once."""

    refresh_token: Token


class PasswordBody(Body):
    """A change of one's own password."""

    current_password: GivenPassword
    new_password: Password


class UserAnswer(Answer):
    """An account."""

    id: uuid.UUID
    username: str
    email: str | None
    role: Role
    is_active: bool
    created_at: AwareDatetime


class MeAnswer(UserAnswer):
    """One's own account and what the credentials allow."""

    scopes: list[Scope]


class UserBody(Body):
    """A new account."""

    username: Username
    password: Password
    role: Role = "user"
    email: Email | None = None


class UserChange(Body):
    """What changes; what is absent or, but for ``email``, null stays."""

    password: Password | None = None
    role: Role | None = None
    email: Email | None = None
    is_active: bool | None = None

    def changes(self) -> dict[str, Any]:
        """The fields to change."""
        given = self.model_dump(exclude_unset=True)
        return {name: v for name, v in given.items() if v is not None or name == "email"}


class ApiKeyBody(Body):
    """A new API key."""

    name: Annotated[str, Field(min_length=1, max_length=150, pattern=r"^[^\x00]*$")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)] = Field(
        default=["read", "write"]
    )
    expires_at: AwareDatetime | None = None
    """When it ends; null: never."""


class ApiKeyAnswer(Answer):
    """An API key without the key."""

    id: uuid.UUID
    name: str
    prefix: str
    """The beginning of the key, to tell keys apart."""
    scopes: list[Scope]
    expires_at: AwareDatetime | None
    last_used_at: AwareDatetime | None
    """To the minute."""
    created_at: AwareDatetime


class NewApiKeyAnswer(ApiKeyAnswer):
    """A new API key, shown this once."""

    key: str


class ApiKeyList(Answer):
    """One's own API keys, newest first."""

    items: list[ApiKeyAnswer]
