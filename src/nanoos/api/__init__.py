"""The REST API."""

from nanoos.api.app import create_app
from nanoos.api.server import serve

__all__ = ["create_app", "serve"]
