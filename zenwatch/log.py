"""How zenwatch logs: a constant snake_case name, then keys of one list. JSON lines, or readable text on a terminal."""

import logging
import os
import select
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import IO, Any, TextIO

import structlog

from zenwatch.metrics import LOG_LINES_LOST
from zenwatch.model.text import clean

# A new key is added here first; tests/structure holds every log call to it.
KEYS = frozenset(
    {
        *("cluster", "cluster_id", "source", "component", "namespace", "resource", "task", "name", "key", "setting", "address"),
        *("count", "reason", "error", "attempt", "duration_secs", "wait_secs", "signal", "state", "version"),
        *("reports", "received", "stored", "repeated", "filtered", "rejected", "dead_lettered", "lost", "in_flight"),
        *("resolved", "reopened"),
        # An exception that is handled elsewhere than where it is logged; structlog makes a traceback of it.
        "exc_info",
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


def _for_a_terminal(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """JSON escapes what moves a cursor; a line of text must not hold it. A traceback has lines of its own."""
    for key, value in line.items():
        if isinstance(value, str) and key != "exception":
            line[key] = clean(value)
    return line


class LibraryLog(logging.Handler):
    """Hands each record of a library's logger to `write`, which logs it as a line of ours."""

    def __init__(self, write: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record)


# How long a line waits for a reader that is slow. The next lines do not wait at all, until one can be written again.
READER_WAIT_SECS = 0.1


class LineWriter:
    """The end of every log call. It never raises and never blocks for long: a line that cannot be written is counted, and the work goes on.

    The reader may be gone or stopped, the disk of a log file full, or there may be no stream at all (`2>&-`).
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            self._descriptor = stream.fileno() if stream is not None else None
        except (OSError, ValueError):
            self._descriptor = None
        self._is_stuck = False
        self._is_cut = False

    def write(self, line: str) -> None:
        try:
            if self._descriptor is not None:
                # Not through the stream: it would keep what failed, and fail again with it when the process ends.
                self._write_bytes(self._descriptor, f"{line}\n".encode(self._encoding, "backslashreplace"))
            elif self._stream is not None:
                # A stream that is no file, as in tests.
                print(line, file=self._stream, flush=True)
            else:
                LOG_LINES_LOST.inc()
        except (OSError, ValueError):
            LOG_LINES_LOST.inc()

    # structlog calls the method that is named like the level.
    debug = info = warning = error = critical = write

    def _write_bytes(self, descriptor: int, line: bytes) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        rest = memoryview(b"\n" + line if self._is_cut else line)
        while rest:
            self._is_stuck = not poll.poll(0 if self._is_stuck else READER_WAIT_SECS * 1000)
            if self._is_stuck:
                raise BlockingIOError("nobody reads the log")
            # A pipe that can be written to takes so many bytes without blocking.
            rest = rest[os.write(descriptor, rest[: select.PIPE_BUF]) :]
            self._is_cut = bool(rest)


def _log_complaint(record: logging.LogRecord) -> None:
    """One line, without a traceback."""
    message = " ".join(record.getMessage().split())
    structlog.get_logger(component="library").warning("library_complained", name=record.name, error=message[:300])


def is_coloured(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether colours may be written to it: https://no-color.org, and terminals that know none."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def configure(*, level: str, style: str) -> None:
    """level: debug, info, warning or error. style: json, text, or auto for text on a terminal only. Lines go to stderr."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    readable = style == "text" or (style == "auto" and is_terminal)
    writer = LineWriter(sys.stderr)
    shared: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    final: list[Any] = (
        [
            _for_a_terminal,
            structlog.dev.ConsoleRenderer(
                colors=is_terminal and is_coloured(sys.stderr, os.environ),
                pad_event_to=24,
                sort_keys=False,
                # The default one prints local variables, which may hold a report or a token.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
        if readable
        else [structlog.processors.format_exc_info, _in_reading_order, structlog.processors.JSONRenderer()]
    )
    # Warnings of libraries, such as those of asyncio about broken connections.
    logging.basicConfig(handlers=[LibraryLog(_log_complaint)], level=logging.WARNING, force=True)
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
