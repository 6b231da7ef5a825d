"""Numbers for Prometheus."""

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nanoos.db.jobs import STATES
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.jobs import JobService

_BUCKETS_S: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Metrics:
    """Counters of one server process; jobs are counted in the database when asked.

    Args:
        jobs: Where jobs are counted.
    """

    def __init__(self, jobs: JobService) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "nanoos_http_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "nanoos_http_request_seconds",
            "Time to answer, s",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        predictions = Counter(
            "nanoos_predictions",
            "Predictions served, by where they came from",
            ("source",),
            registry=self._registry,
        )
        self._predictions = {
            True: predictions.labels("stored"),
            False: predictions.labels("computed"),
        }
        self._registry.register(_JobCounts(jobs))
        self._children: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. ``route`` is the pattern, so the number of series stays small."""
        key = (method, route, status)
        children = self._children.get(key)
        if children is None:
            children = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(method, route),
            )
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def count_prediction(self, *, cached: bool) -> None:
        """Count a prediction that was served."""
        self._predictions[cached].inc()

    def text(self) -> bytes:
        """All numbers in the text format of Prometheus."""
        return generate_latest(self._registry)


class _JobCounts(Collector):
    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily("nanoos_jobs", "Jobs by state", labels=("state",))
        for state in STATES:
            total = self._jobs.page(LOCAL_PRINCIPAL, state=state, limit=1).total
            family.add_metric((state,), total)
        yield family
