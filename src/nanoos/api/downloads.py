"""Answers that are files."""

from collections.abc import Iterator
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import StreamingResponse


def download(data: bytes, media_type: str, filename: str) -> Response:
    """A file that is in memory."""
    return Response(data, media_type=media_type, headers=_attachment(filename))


def streamed(chunks: Iterator[bytes], filename: str) -> StreamingResponse:
    """A file of any size; it is never shown in the browser, whatever it holds."""
    return StreamingResponse(
        chunks, media_type="application/octet-stream", headers=_attachment(filename)
    )


def _attachment(filename: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}"}
