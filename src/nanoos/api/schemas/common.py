"""What all API types share."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")


class Body(BaseModel):
    """A request: closed, an unknown key is refused."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """An answer, filled from a record of a service."""

    model_config = ConfigDict(from_attributes=True)


class PageAnswer(Answer, Generic[T]):
    """Part of a list, newest first."""

    items: list[T]
    total: int
    """How many there are in all."""
    next: str | None
    """Cursor of the next page; null on the last."""


class PageQuery(Body):
    """Which part of a list."""

    cursor: Annotated[str, Field(max_length=500)] | None = None
    """``next`` of the page before."""
    limit: int = Field(default=50, ge=1, le=200)
    """At most so many."""


class ErrorRecord(Answer):
    """Why something failed, as stored with it."""

    code: str
    message: str
    hint: str | None = None
    details: dict[str, Any] = Field(default={})


Text = Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]
"""Text that every database can hold."""

ShortText = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
