"""How zenwatch logs: a constant snake_case name, then keys of one list. JSON lines, or readable text on a terminal."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

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


def _in_reading_order(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    """When, how grave and what first: that is what a person looks for in a JSON line."""
    first = {key: line.pop(key) for key in ("timestamp", "level", "event") if key in line}
    return {**first, **line}


class LibraryLog(logging.Handler):
    """Hands each record of a library's logger to write, which logs it as a line of ours."""

    def __init__(self, write: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record)


def _log_complaint(record: logging.LogRecord) -> None:
    """One line, without a traceback."""
    message = " ".join(record.getMessage().split())
    structlog.get_logger(component="library").warning("library_complained", name=record.name, error=message[:300])


def configure(*, level: str, style: str) -> None:
    """level: debug, info, warning or error. style: json, text, or auto for text on a terminal only. Lines go to stderr."""
    readable = style == "text" or (style == "auto" and sys.stderr.isatty())
    shared: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    final: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=24,
                sort_keys=False,
                # The pretty one shows local variables: a report, a token.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if readable
        else [structlog.processors.format_exc_info, _in_reading_order, structlog.processors.JSONRenderer()]
    )
    # asyncio complains of broken connections, for one.
    logging.basicConfig(handlers=[LibraryLog(_log_complaint)], level=logging.WARNING, force=True)
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
