"""How zenwatch logs: a constant snake_case name, then keys of one list. JSON lines, or readable text on a terminal."""

import logging
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog

# A new key is added here first; tests/structure holds every log call to it.
KEYS = frozenset(
    {
        *("cluster", "cluster_id", "source", "component", "namespace", "resource", "task", "name", "key", "setting", "address"),
        *("count", "reason", "error", "attempt", "duration_secs", "wait_secs", "signal", "state", "version"),
        *("reports", "received", "stored", "repeated", "filtered", "rejected", "dead_lettered", "lost", "in_flight"),
        *("resolved", "reopened"),
    }
)


# Messages may name objects, of which there are any number.
MOST_MESSAGES = 1000


class OncePerMessage:
    """Which messages were logged since clear(): a missing permission meets every write, and one line is as useful as a thousand."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def is_new(self, message: str) -> bool:
        """Whether the message has to be logged. Asking counts as logging it."""
        if message in self._logged:
            return False
        if len(self._logged) >= MOST_MESSAGES:
            self._logged.clear()
        self._logged.add(message)
        return True

    def clear(self) -> None:
        """What failed works again: the next failure is news."""
        self._logged.clear()


def _in_reading_order(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    """Put the time, the level and the event first, because a person reads them first in a JSON line."""
    first = {key: line.pop(key) for key in ("timestamp", "level", "event") if key in line}
    return {**first, **line}


class LibraryLog(logging.Handler):
    """Hands each record of a library's logger to `write`, which logs it as a line of ours."""

    def __init__(self, write: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record)


def _log_complaint(record: logging.LogRecord) -> None:
    """One line, without a traceback."""
    message = " ".join(record.getMessage().split())
    structlog.get_logger(component="library").warning("library_complained", name=record.name, error=message[:300])


def is_coloured(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether colours may be written to it: https://no-color.org, and terminals that know none."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def configure(*, level: str, style: str) -> None:
    """level: debug, info, warning or error. style: json, text, or auto for text on a terminal only. Lines go to stderr."""
    readable = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    final: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=is_coloured(sys.stderr, os.environ),
                pad_event_to=24,
                sort_keys=False,
                # The default one prints local variables, which may hold a report or a token.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if readable
        else [structlog.processors.format_exc_info, _in_reading_order, structlog.processors.JSONRenderer()]
    )
    # Warnings of libraries, such as those of asyncio about broken connections.
    logging.basicConfig(handlers=[LibraryLog(_log_complaint)], level=logging.WARNING, force=True)
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
