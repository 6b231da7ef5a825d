"""Runs jobs: slots with a child process each, woken by polling or by Celery."""

from nanoos.worker.local import LocalWorker

__all__ = ["LocalWorker"]
