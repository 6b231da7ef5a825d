"""The command line: ``nanoos``."""

from nanoos.cli.app import main

__all__ = ["main"]
