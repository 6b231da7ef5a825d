"""Fetching a published archive: complete or not at all, in words where it fails."""

import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Final

from nanoos import __version__
from nanoos.core.errors import TooLargeError, UnavailableError
from nanoos.pseudopotentials.archive import LARGEST_TOTAL

Progress = Callable[[float, str], None]

TIMEOUT_S: Final = 60.0
"""Between two answers of the server, not of the whole."""

_CHUNK: Final = 1 << 18


def _check_whole(taken: int, length: int) -> None:
    if length and taken != length:
        raise HTTPException(f"the answer ended after {taken} of {length} bytes")


def fetch(url: str, target: Path, *, family: str, progress: Progress) -> None:
    """Write what ``url`` holds to ``target``.

    Raises:
        UnavailableError: code ``no_network``; no network, no answer, or an error of the server.
        TooLargeError: it is larger than any family.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"nanoos/{__version__}"})  # noqa: S310
    try:
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer,  # noqa: S310
            target.open("wb") as file,
        ):
            length = int(answer.headers.get("Content-Length") or 0)
            taken = 0
            while chunk := answer.read(_CHUNK):
                taken += len(chunk)
                if taken > LARGEST_TOTAL:
                    raise TooLargeError(f"{url} gives more than {LARGEST_TOTAL >> 20} MB.")
                file.write(chunk)
                share = taken / length if length else 0.5
                progress(0.8 * share, f"{taken / 1e6:.1f} MB")
        _check_whole(taken, length)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise UnavailableError(
            f"{family} cannot be fetched from {url}: {reason}.",
            hint="Without a network, fetch that file elsewhere and install it from the disk: "
            "nanoos pseudos install FILE",
            details={"url": url},
            code="no_network",
        ) from error
