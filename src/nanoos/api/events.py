"""Server-sent events of jobs and of the laboratory: one poller for all streams of a process."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import structlog
from fastapi.concurrency import run_in_threadpool

from nanoos.core.errors import NanoosError, RateLimitedError
from nanoos.db.jobs import TERMINAL_STATES
from nanoos.services.access import Principal
from nanoos.services.jobs import JobEvent, JobService
from nanoos.services.lab_events import LabEvent, LabEvents

log = structlog.get_logger(__name__)

MAX_STREAMS: Final = 256
_POLL_S: Final = 0.25
_BEAT_S: Final = 10.0
_CHECK_S: Final = 1.0
_QUEUED: Final = 1000
_BATCH: Final = 500
_RECONNECT_MS: Final = 1000


Event: TypeAlias = JobEvent | LabEvent


class _Listener:
    """One stream: the job it follows, the last event it got, and what waits to be sent.

    Without a job it follows the laboratory.
    """

    def __init__(self, job_id: uuid.UUID | None, after: int) -> None:
        self.job_id = job_id
        self.last = after
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(maxsize=_QUEUED)
        self.cut = False

    def end(self) -> None:
        """Let the stream end now, whatever waits."""
        self.cut = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class EventHub:
    """Follows jobs and the laboratory for all streams, looking every quarter second.

    Lives in one event loop. A client that reads too slowly is let go and resumes from its
    ``Last-Event-ID``.

    Args:
        jobs: Where the events of jobs are.
        lab_events: Where those of the laboratory are.
    """

    def __init__(self, jobs: JobService, lab_events: LabEvents) -> None:
        self._jobs = jobs
        self._lab_events = lab_events
        self._listeners: set[_Listener] = set()
        self._wanted = asyncio.Event()
        self._open = 0
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Poll while the block lasts."""
        self._task = asyncio.create_task(self._poll(), name="events")
        try:
            yield
        finally:
            self.close()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def close(self) -> None:
        """End all streams; call in the event loop's thread."""
        self._closed = True
        for listener in self._listeners:
            listener.end()

    def admit(self) -> None:
        """Take a place for a stream.

        Raises:
            RateLimitedError: no more streams in this process.
        """
        if self._open >= MAX_STREAMS:
            raise RateLimitedError(
                f"This server has {MAX_STREAMS} event streams already.", retry_after_s=10
            )
        self._open += 1

    async def stream(
        self,
        job_id: uuid.UUID,
        who: Principal,
        *,
        after: int,
        still_allowed: Callable[[], Awaitable[object]],
    ) -> AsyncIterator[str]:
        """Events of a job from number ``after + 1`` on, as text of an event stream.

        Ends after the event that ends the job, when the credentials are revoked, and with the
        server. :meth:`admit` comes first.

        Args:
            job_id: A job that ``who`` may see.
            who: Who reads.
            after: Number of the last event that the client has.
            still_allowed: Raises NanoosError once ``who`` may read no more.
        """
        try:
            yield f"retry: {_RECONNECT_MS}\n\n"
            # the state first: if the job had ended by then, its last event is among those read
            ended = await run_in_threadpool(self._has_ended, job_id, who)
            caught_up = False
            while not caught_up:
                batch = await run_in_threadpool(
                    self._jobs.events, job_id, who, after=after, limit=_BATCH
                )
                for event in batch:
                    yield _text(event)
                    after, ended = event.number, event.kind in TERMINAL_STATES
                caught_up = len(batch) < _BATCH
            if not ended:
                async for text in self._live(_Listener(job_id, after), still_allowed):
                    yield text
        finally:
            self._open -= 1

    async def lab_stream(
        self, *, after: int, still_allowed: Callable[[], Awaitable[object]]
    ) -> AsyncIterator[str]:
        """As :meth:`stream`, the events of the laboratory; ends only with credentials or server."""
        try:
            yield f"retry: {_RECONNECT_MS}\n\n"
            batch = None
            while batch is None or len(batch) == _BATCH:
                batch = await run_in_threadpool(self._lab_events.after, after, limit=_BATCH)
                for event in batch:
                    yield _text(event)
                    after = event.number
            async for text in self._live(_Listener(None, after), still_allowed):
                yield text
        finally:
            self._open -= 1

    def _has_ended(self, job_id: uuid.UUID, who: Principal) -> bool:
        return self._jobs.get(job_id, who).state in TERMINAL_STATES

    async def _live(
        self, listener: _Listener, still_allowed: Callable[[], Awaitable[object]]
    ) -> AsyncIterator[str]:
        self._listeners.add(listener)
        self._wanted.set()
        checked_at = sent_at = time.monotonic()
        try:
            while not self._closed:
                event = await _next(listener.queue)
                now = time.monotonic()
                if now - checked_at >= _CHECK_S:
                    await still_allowed()
                    checked_at = now
                if event is None:
                    if listener.cut:
                        return
                    if now - sent_at >= _BEAT_S:
                        yield ": still here\n\n"
                        sent_at = now
                    continue
                yield _text(event)
                sent_at = now
                if event.kind in TERMINAL_STATES and listener.queue.empty():
                    return
        except NanoosError:
            return  # the credentials were revoked, or the job was deleted
        finally:
            self._listeners.discard(listener)

    async def _poll(self) -> None:
        while True:
            await self._wanted.wait()
            if not self._listeners:
                self._wanted.clear()
                continue
            try:
                events = await run_in_threadpool(self._read, self._cursors())
            except NanoosError as error:
                log.warning("cannot read events", error=str(error))
                events = []
            for event in events:
                self._deliver(event)
            await asyncio.sleep(_POLL_S)

    def _read(self, cursors: Mapping[uuid.UUID | None, int]) -> list[Event]:
        of_jobs = {job_id: number for job_id, number in cursors.items() if job_id is not None}
        events: list[Event] = [*self._jobs.events_since(of_jobs)] if of_jobs else []
        if None in cursors:
            events += self._lab_events.after(cursors[None])
        return events

    def _cursors(self) -> Mapping[uuid.UUID | None, int]:
        cursors: dict[uuid.UUID | None, int] = {}
        for listener in self._listeners:
            known = cursors.get(listener.job_id, listener.last)
            cursors[listener.job_id] = min(known, listener.last)
        return cursors

    def _deliver(self, event: Event) -> None:
        job_id = event.job_id if isinstance(event, JobEvent) else None
        for listener in self._listeners:
            if listener.cut or listener.job_id != job_id or event.number <= listener.last:
                continue
            if listener.queue.full():
                listener.end()  # too slow: the client comes back for what it has not got
                continue
            listener.queue.put_nowait(event)
            listener.last = event.number


async def _next(queue: asyncio.Queue[Event | None]) -> Event | None:
    """The next event; None after a second without one."""
    try:
        return await asyncio.wait_for(queue.get(), _CHECK_S)
    except TimeoutError:
        return None


def _text(event: Event) -> str:
    document = {
        **({"job_id": str(event.job_id)} if isinstance(event, JobEvent) else {}),
        "number": event.number,
        "kind": event.kind,
        "data": event.data,
        "created_at": event.created_at.isoformat(),
    }
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(document)}\n\n"
