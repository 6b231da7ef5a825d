"""Fetching over HTTP: with time limits, complete or not at all, in words where it fails."""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from nanoos import __version__
from nanoos.core.errors import (
    InvalidInputError,
    NanoosError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)

TIMEOUT_S: Final = 60.0
"""Between two bytes, not of the whole."""

_ATTEMPTS: Final = 3
_CHUNK: Final = 1 << 20
_WORTH_A_RETRY: Final = (429, 500, 502, 503, 504)
_NOT_UNDERSTOOD: Final = (400, 422, 501)
_SHOWN_CHARACTERS: Final = 300

Report = Callable[[float | None, str], None]


def download(
    url: str,
    target: Path,
    *,
    service: str,
    instead: str,
    report: Report | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Path:
    """Fetch a file; ``target`` appears when it is complete.

    Args:
        url: ``http`` or ``https``.
        target: Where it goes; its folder exists.
        service: Whose it is, for messages.
        instead: What to do where there is no network.
        report: Told how far it is.
        timeout_s: How long the server may be silent, s.

    Raises:
        UnavailableError: no network, no answer, or an error of the server (``no_network``).
        NotFoundError: the server has no such file.
    """
    part = target.with_name(f"{target.name}.part")

    def fetch() -> None:
        with _open(url, {}, timeout_s) as answer, part.open("wb") as file:
            length = int(answer.headers.get("Content-Length") or 0)
            taken = 0
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                taken += len(chunk)
                if report is not None:
                    report(taken / length if length else None, f"{taken / 1e6:.0f} MB")
            if length and taken != length:
                raise HTTPException(f"the answer ended after {taken} of {length} bytes")
            file.flush()
            os.fsync(file.fileno())

    try:
        _insist(fetch, url, service=service, instead=instead)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def get_json(
    url: str,
    parameters: Mapping[str, Any],
    *,
    service: str,
    instead: str,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
    attempts: int = _ATTEMPTS,
) -> Any:
    """The JSON document that a GET answers.

    Raises:
        UnavailableError: as :func:`download`, or the answer is no JSON.
        UnauthorizedError: the server does not accept the credentials.
        NotFoundError: the server knows no such thing.
        InvalidInputError: the server does not understand the parameters; says its reason.
    """
    full = f"{url}?{urllib.parse.urlencode(parameters)}" if parameters else url
    found: list[Any] = []

    def fetch() -> None:
        with _open(full, headers or {}, timeout_s) as answer:
            found.append(json.loads(answer.read()))

    _insist(fetch, url, service=service, instead=instead, attempts=attempts)
    return found[-1]


def _open(url: str, headers: Mapping[str, str], timeout_s: float) -> Any:
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise UnavailableError(f"{url} is no web address.", hint="Give one that begins with https.")
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at above
        url, headers={"User-Agent": f"nanoos/{__version__}", **headers}
    )
    return urllib.request.urlopen(request, timeout=timeout_s)  # noqa: S310


def _insist(
    fetch: Callable[[], None], url: str, *, service: str, instead: str, attempts: int = _ATTEMPTS
) -> None:
    """Try a few times where another attempt may help."""
    for attempt in range(1, attempts + 1):
        try:
            fetch()
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in _WORTH_A_RETRY or attempt == attempts:
                    raise _refusal(error, url, service, instead) from None
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, ValueError) or attempt == attempts:
                raise _away(service, _reason(error), instead) from error
        else:
            return
        time.sleep(0.2 * attempt)


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return getattr(cause, "strerror", None) or str(cause) or type(error).__name__


def _refusal(error: urllib.error.HTTPError, url: str, service: str, instead: str) -> NanoosError:
    status = error.code
    if status in _NOT_UNDERSTOOD:
        return InvalidInputError(
            f"{service} does not understand the question: {_said(error)}.",
            hint="Ask in a simpler way.",
            code="not_understood",
        )
    if status in {401, 403}:
        return UnauthorizedError(
            f"{service} does not accept the credentials (HTTP {status}).",
            hint="Check the key; for the Materials Project it is NANO_OS_MP_API_KEY.",
            code="credentials_refused",
        )
    if status in {404, 410}:
        return NotFoundError(f"{service} has nothing at {url}.", hint=instead)
    return _away(service, f"HTTP {status}", instead)


def _said(error: urllib.error.HTTPError) -> str:
    """What the body of an answer says is wrong, in the shapes of JSON:API and of FastAPI."""
    try:
        body = json.loads(error.read(1 << 16))
        problems = body.get("errors") or [body]
        said = problems[0].get("detail") or problems[0].get("title")
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        said = None
    words = said if isinstance(said, str) else f"HTTP {error.code}"
    return " ".join(words.split())[:_SHOWN_CHARACTERS].rstrip(".")


def _away(service: str, why: str, instead: str) -> UnavailableError:
    return UnavailableError(f"{service} cannot be reached: {why}.", hint=instead, code="no_network")
