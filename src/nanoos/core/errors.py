"""The one error tree.

Every error that a person or a program can meet is a :class:`NanoosError`: it says what
happened, what to do about it, which HTTP status it answers and which exit code the command
line ends with. Each shell (API, CLI, worker) has exactly one handler for the whole tree.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class NanoosError(Exception):
    """Base of all errors that are shown to a user.

    Args:
        message: What happened, one sentence.
        hint: What to do about it, or None where nothing sensible can be said.
        details: Machine-readable facts (JSON types only).
        code: Overrides the class's code where one class covers several refusals.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})
        self.error_code = code or type(self).code

    def as_dict(self) -> dict[str, Any]:
        """The error as the API and ``--json`` show it: code, message, hint, details."""
        return {
            "code": self.error_code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
        }

    def __str__(self) -> str:
        return self.message


class InvalidInputError(NanoosError):
    """The request or a parameter is malformed or out of range."""

    code = "invalid_input"
    http_status = 422
    exit_code = 2


class ConfigError(InvalidInputError):
    """A setting or a campaign file cannot be used."""

    code = "invalid_config"


class StructureRefusedError(InvalidInputError):
    """A structure or a structure file cannot be used; ``error_code`` says which refusal."""

    code = "structure_refused"
    exit_code = 3


class UnauthorizedError(NanoosError):
    """No credentials, or credentials that do not hold."""

    code = "unauthorized"
    http_status = 401
    exit_code = 4


class ForbiddenError(NanoosError):
    """The credentials hold, but do not allow this."""

    code = "forbidden"
    http_status = 403
    exit_code = 4


class NotFoundError(NanoosError):
    """Not there, or not yours."""

    code = "not_found"
    http_status = 404
    exit_code = 5


class ConflictError(NanoosError):
    """The state of things does not allow this now."""

    code = "conflict"
    http_status = 409
    exit_code = 6


class TooLargeError(NanoosError):
    """More than the stated limit."""

    code = "too_large"
    http_status = 413
    exit_code = 3


class RateLimitedError(NanoosError):
    """Too many requests; ``retry_after_s`` says when to come back."""

    code = "rate_limited"
    http_status = 429
    exit_code = 7

    def __init__(self, message: str, *, retry_after_s: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, details={"retry_after_s": retry_after_s})
        self.retry_after_s = retry_after_s


class UnavailableError(NanoosError):
    """Something this needs (a package, a program, weights, a server) is missing here."""

    code = "unavailable"
    http_status = 503
    exit_code = 8


class EngineError(NanoosError):
    """A simulation ran and did not give a result that may be used. Not worth a retry."""

    code = "engine_failed"
    http_status = 500
    exit_code = 9


class TrainingError(NanoosError):
    """A model was trained and did not become one that may be used. Not worth a retry."""

    code = "training_failed"
    http_status = 500
    exit_code = 9


class TransientError(NanoosError):
    """Something outside the job's own content failed (disk, database, network): retry."""

    code = "transient"
    http_status = 503
    exit_code = 8


class BadCheckpointError(TransientError):
    """What an earlier attempt saved cannot be read: worth an attempt that begins anew."""

    code = "bad_checkpoint"


class CancelledError(NanoosError):
    """The work was cancelled by a user."""

    code = "cancelled"
    http_status = 409
    exit_code = 130
