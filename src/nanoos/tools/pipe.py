"""Messages to and from a process, with a deadline on each."""

import os
import select
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any, Final

from nanoos.tools.programs.serve import unpack

_CHUNK_BYTES: Final = 1 << 20


class PipeClosedError(Exception):
    """The other side is gone."""


class PipeTimeoutError(Exception):
    """The deadline passed."""


class Pipe:
    """The two ends that this process holds.

    Args:
        incoming: What the other side writes.
        outgoing: What it reads.
    """

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        os.set_blocking(incoming.fileno(), False)
        os.set_blocking(outgoing.fileno(), False)

    def send(self, pieces: Sequence[bytes], deadline: float) -> None:
        """Write ``pieces``; ``deadline`` as :func:`time.monotonic` counts.

        Raises:
            PipeClosedError: nobody reads.
            PipeTimeoutError: not all was taken in time.
        """
        descriptor = self._outgoing.fileno()
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    self._wait(descriptor, select.POLLOUT, deadline)
                    view = view[os.write(descriptor, view[:_CHUNK_BYTES]) :]
        except BrokenPipeError as error:
            raise PipeClosedError from error

    def receive(self, deadline: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and arrays of the next message.

        Raises:
            PipeClosedError: the other side is gone.
            PipeTimeoutError: it did not come in time.
            ProtocolError: it is no message.
        """
        descriptor = self._incoming.fileno()

        def read(size: int) -> bytes:
            data = bytearray()
            while len(data) < size:
                self._wait(descriptor, select.POLLIN, deadline)
                piece = os.read(descriptor, min(_CHUNK_BYTES, size - len(data)))
                if not piece:
                    raise PipeClosedError
                data += piece
            return bytes(data)

        return unpack(read)

    def close(self) -> None:
        """Close both ends."""
        for end in (self._incoming, self._outgoing):
            with suppress(OSError):
                end.close()

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise PipeTimeoutError
