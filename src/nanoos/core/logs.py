"""The log of a process: one line for each event, JSON unless a person looks at it."""

import logging
import sys
from typing import Final

import structlog

from nanoos.core.errors import ConfigError

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logging(level: str) -> None:
    """Send structlog and the standard log to standard error.

    A trace never holds the values of variables: passwords and tokens are among them.

    Raises:
        ConfigError: no such level.
    """
    if level not in _LEVELS:
        raise ConfigError(
            f"There is no log level {level!r}.",
            hint=f"Set NANO_OS_LOG_LEVEL to one of: {', '.join(_LEVELS)}.",
        )
    person = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if person
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if person else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_standard_error_logger,
    )
    logging.basicConfig(
        level=max(_LEVELS[level], logging.WARNING), stream=sys.stderr, format="%(message)s"
    )


def _standard_error_logger(*_names: object) -> structlog.WriteLogger:
    """Writes to what standard error is now: it may be replaced while a process runs."""
    return structlog.WriteLogger(sys.stderr)
