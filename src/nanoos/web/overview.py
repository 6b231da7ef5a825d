"""What the start page shows: running, finished, failed and why, workers, campaigns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from nanoos.services.access import LOCAL_PRINCIPAL, Principal
from nanoos.services.campaign_records import Campaign
from nanoos.services.container import Services
from nanoos.services.jobs import Job

_SHOWN: Final = 10
_SCANNED: Final = 200
_UNCLAIMED: Final = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobGroup:
    """Jobs in one state: the newest, and how many there are."""

    jobs: Sequence[Job]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A machine on which jobs run now. A job counts as running only while its lease is renewed."""

    host: str
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything on the start page.

    Attributes:
        waiting_long: Jobs wait and nobody takes them: probably no worker runs.
    """

    running: JobGroup
    queued: JobGroup
    failed: JobGroup
    completed: JobGroup
    campaigns: Sequence[Campaign]
    workers: Sequence[WorkerInfo]
    waiting_long: bool
    read_at: datetime


def overview(services: Services, who: Principal) -> Overview:
    """What ``who`` may see of what goes on; workers are counted over all users' jobs."""
    now = datetime.now(UTC)
    queued = _group(services, who, "queued")
    workers = _workers(services)
    oldest = min((job.created_at for job in queued.jobs), default=now)
    return Overview(
        running=_group(services, who, "running"),
        queued=queued,
        failed=_group(services, who, "failed"),
        completed=_group(services, who, "completed"),
        campaigns=services.campaigns.page(who, limit=_SHOWN).items,
        workers=workers,
        waiting_long=not workers and now - oldest > _UNCLAIMED,
        read_at=now,
    )


def _group(services: Services, who: Principal, state: str) -> JobGroup:
    page = services.jobs.page(who, state=state, limit=_SHOWN)
    return JobGroup(jobs=page.items, total=page.total)


def _workers(services: Services) -> list[WorkerInfo]:
    counts: dict[str, int] = {}
    for job in services.jobs.page(LOCAL_PRINCIPAL, state="running", limit=_SCANNED).items:
        host = (job.worker_host or "unknown").partition("/")[0]
        counts[host] = counts.get(host, 0) + 1
    return [WorkerInfo(host=host, jobs=n) for host, n in sorted(counts.items())]
