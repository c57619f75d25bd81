"""zenwatch/log.py LineWriter: a log that cannot be written ends nothing, blocks nothing, and is counted."""

import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from tests.support.faults.volumes import small_volume
from zenwatch.log import LineWriter


def lost() -> float:
    return REGISTRY.get_sample_value("zenwatch_log_lines_lost_total") or 0.0


def lost_by(write: Callable[[], object]) -> float:
    before = lost()
    write()
    return lost() - before


def test_a_reader_that_is_gone_costs_the_lines_only() -> None:
    """Every line is counted; nothing is raised."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)

        assert lost_by(lambda: [writer.info("a line") for _ in range(3)]) == 3


def test_a_reader_that_stands_still_blocks_nothing() -> None:
    """The pipe is full: lines are dropped and counted. When it is read again, lines are whole again, each on a line of its own."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb") as reader:
        writer = LineWriter(stream)
        dropped = lost_by(lambda: [writer.info(f"{number:03}" + "x" * 3000) for number in range(100)])
        os.set_blocking(reader.fileno(), False)
        read = reader.read()
        writer.info("after")
        read += reader.read()

    lines = read.decode().splitlines()
    whole = [line for line in lines if len(line) == 3003]
    assert dropped > 50
    assert len(whole) + dropped == 100
    assert lines[-1] == "after"


def test_a_line_longer_than_the_pipe_takes_at_once_is_written_in_pieces() -> None:
    """A traceback of a hundred thousand bytes, and somebody who reads it."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin
        LineWriter(reader.stdin).error("x" * (select.PIPE_BUF * 10))
        written, _ = reader.communicate()

    assert written == "x" * (select.PIPE_BUF * 10) + "\n"


def test_a_full_disk_costs_lines_and_the_next_line_begins_anew(tmp_path: Path) -> None:
    """A real limit on how large the file may become."""
    path = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with path.open("w") as stream:
        writer = LineWriter(stream)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            dropped = lost_by(lambda: [writer.info("x" * 300) for _ in range(5)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        writer.info("after")

    assert dropped == 2
    assert path.read_text().splitlines()[-1] == "after"


def test_a_full_volume_costs_lines(tmp_path: Path) -> None:
    """The same on a real small volume."""
    with small_volume(tmp_path / "volume", size_bytes=65536) as volume, (volume / "log").open("w") as stream:
        writer = LineWriter(stream)

        assert lost_by(lambda: [writer.info("x" * 1000) for _ in range(100)]) > 30


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_a_stream_every_line_is_counted(stream: str | None, tmp_path: Path) -> None:
    """A daemon may be started with its streams closed."""
    file = (tmp_path / "log").open("w")
    file.close()
    writer = LineWriter(file if stream else None)

    assert lost_by(lambda: writer.error("a line")) == 1


def test_what_the_encoding_lacks_is_escaped() -> None:
    """PYTHONIOENCODING=latin-1: a dash of another alphabet must not cost the line."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="latin-1") as stream:
        LineWriter(stream).info("ä → b")

    with os.fdopen(reading, "rb") as reader:
        assert reader.read() == "ä \\u2192 b\n".encode("latin-1")


PROGRAM = """
import sys, structlog
from zenwatch import log
log.configure(level="info", style="json")
for number in range(1000):
    structlog.get_logger().info("stopping")
print("done")
"""


def test_a_process_whose_log_is_not_read_ends_with_its_own_exit_code() -> None:
    """Python itself writes what it kept in its buffers at the end, and would fail with 120."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert process.stdout
        process.stderr.close()
        printed = process.stdout.read()

    assert (printed, process.returncode) == ("done\n", 0)
