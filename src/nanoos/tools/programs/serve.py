"""Answer requests over standard input and output: ``python serve.py PROGRAM.py``.

Run by the Python of a tool, whose environment has no nanoos: nothing but the standard library,
and numpy where arrays are sent. ``PROGRAM.py`` has a dictionary ``REQUESTS`` from names to
functions ``(fields, arrays, report) -> (fields, arrays)``.

A message is the four bytes ``NOS1``, the length of the header in four bytes (big-endian), the
header (a JSON object), and the bytes of the arrays that it names under ``arrays`` as
``[name, dtype, shape]``, one after the other in C order. Nothing is ever unpickled.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

PROTOCOL = 1
MAGIC = b"NOS1"
MAX_HEADER_BYTES = 1 << 26
MAX_ARRAY_BYTES = 1 << 32
_START = struct.Struct(">4sI")
_ITEM_BYTES = {"<f8": 8, "<f4": 4, "<i8": 8, "<i4": 4, "|u1": 1, "|b1": 1}
"""The kinds of numbers that may be sent, and the bytes of each."""

Read = Callable[[int], bytes]


class ProtocolError(Exception):
    """What arrived is no message."""


def pack(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> Iterator[bytes]:
    """The pieces of a message, to be written one after the other.

    Raises:
        ValueError: a field has no JSON form, or an array is of a kind that is not sent.
    """
    listed = []
    pieces = []
    for name, given in arrays.items():
        import numpy as np

        array = np.ascontiguousarray(given)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        if array.dtype.str not in _ITEM_BYTES:
            raise ValueError(f"{name}: arrays of {array.dtype} are not sent")
        listed.append([name, array.dtype.str, list(np.shape(given))])
        pieces.append(array.tobytes())
    text = json.dumps({**header, "arrays": listed}, allow_nan=False).encode()
    yield _START.pack(MAGIC, len(text)) + text
    yield from pieces


def unpack(read: Read) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of the next message.

    Args:
        read: Gives exactly so many bytes.

    Raises:
        EOFError: the other side closed the pipe between two messages; raised by ``read``.
        ProtocolError: something else than a message arrived.
    """
    magic, length = _START.unpack(read(_START.size))
    if magic != MAGIC or length > MAX_HEADER_BYTES:
        raise ProtocolError(f"{magic!r} does not begin a message")
    try:
        header = json.loads(read(length))
        listed = [(str(n), str(d), tuple(map(int, s))) for n, d, s in header.pop("arrays")]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ProtocolError(f"the header cannot be read: {error}") from error
    arrays = {}
    for name, dtype, shape in listed:
        size = _ITEM_BYTES.get(dtype, -1) * prod(shape)
        if not 0 <= size <= MAX_ARRAY_BYTES or any(n < 0 for n in shape):
            raise ProtocolError(f"array {name!r} of {dtype}, {shape} is not accepted")
        import numpy as np

        arrays[name] = np.frombuffer(bytearray(read(size)), dtype=dtype).reshape(shape)
    return header, arrays


def serve(requests: Mapping[str, Any], read: Read, write: Callable[[bytes], object]) -> None:
    """Answer until the pipe closes."""

    def send(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        for piece in pack(header, arrays):
            write(piece)

    def report(fraction: float, message: str) -> None:
        send({"reply": "progress", "fraction": float(fraction), "message": str(message)}, {})

    send({"reply": "ready", "protocol": PROTOCOL, "python": sys.version.split()[0]}, {})
    while True:
        try:
            header, arrays = unpack(read)
        except EOFError:
            return
        try:
            name = header["request"]
            if name not in requests:
                raise ValueError(f"there is no request {name!r}")  # noqa: TRY301
            fields, answer = requests[name](header["fields"], arrays, report)
            pieces = list(pack({"reply": "result", "fields": fields}, answer))
        except Exception as error:  # noqa: BLE001  (whatever a program raises is its answer)
            trace = traceback.format_exc()
            sys.stderr.write(trace)
            sys.stderr.flush()
            kind = type(error).__name__
            send({"reply": "error", "kind": kind, "message": str(error), "trace": trace}, {})
            continue
        for piece in pieces:
            write(piece)


def _load(path: str) -> Mapping[str, Any]:
    spec = importlib.util.spec_from_file_location("nanoos_tool_program", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    requests: Mapping[str, Any] = module.REQUESTS
    return requests


def _reader(descriptor: int) -> Read:
    stream = os.fdopen(descriptor, "rb")

    def read(size: int) -> bytes:
        data = stream.read(size)
        if len(data) < size:
            raise EOFError
        return data

    return read


def _writer(descriptor: int) -> Callable[[bytes], object]:
    stream = os.fdopen(descriptor, "wb", buffering=0)

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[stream.write(view) :]

    return write


def main(arguments: list[str]) -> int:
    """Serve the program in the file ``arguments[0]``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    read, write = _reader(os.dup(0)), _writer(os.dup(1))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a library prints goes to the log
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    serve(_load(arguments[0]), read, write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
