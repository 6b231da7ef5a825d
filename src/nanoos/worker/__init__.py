"""Runs jobs: slots with a child process each, woken by polling or by Celery."""

from nanoos.worker.local import LocalWorker
from nanoos.worker.run import run_worker

__all__ = ["LocalWorker", "run_worker"]
