"""zenwatch/log.py: one object per line, or text for people."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from zenwatch import log


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def _say_something() -> None:
    logger = structlog.get_logger(component="tests")
    logger.info("records_stored", source="trivy", count=3, error='two\nlines and a "quote" ä')
    try:
        raise ValueError("a bug")
    except ValueError:
        logger.exception("task_failed", task="x")


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A collector splits at line ends: text of several lines, tracebacks too, stays inside its object."""
    log.configure(level="info", style="json")

    _say_something()

    out, err = capsys.readouterr()
    stored, failed = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    assert (stored["event"], stored["level"], stored["component"], stored["count"]) == ("records_stored", "info", "tests", 3)
    assert stored["error"] == 'two\nlines and a "quote" ä'
    assert stored["timestamp"].endswith("Z")
    assert "ValueError: a bug" in failed["exception"]


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """No colours where nobody looks at a terminal."""
    log.configure(level="info", style="text")

    _say_something()

    _, err = capsys.readouterr()
    assert "records_stored" in err
    assert "source=trivy" in err
    assert "\x1b" not in err


def test_a_line_of_text_holds_no_escape_sequence_and_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys of records and answers of programs may hold anything. JSON escapes it."""
    log.configure(level="info", style="text")

    structlog.get_logger(component="tests").warning("dead_letter", key="a\x1b[2J\x9b\u202eb", reason="one\ntwo")

    [line] = capsys.readouterr().err.splitlines()
    assert line.isprintable()


def test_auto_is_json_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A pod has none."""
    log.configure(level="info", style="auto")

    structlog.get_logger().info("stopping")

    assert json.loads(capsys.readouterr().err)["event"] == "stopping"


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_written(level: str, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each level includes the worse ones."""
    log.configure(level=level, style="json")
    logger = structlog.get_logger()

    logger.debug("a")
    logger.info("b")
    logger.warning("c")
    logger.error("d")

    assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_traceback_shows_no_local_variables(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They hold reports and tokens."""
    log.configure(level="info", style=style)
    hidden = "swordfish"
    try:
        raise ValueError(f"{len(hidden)} letters")
    except ValueError:
        structlog.get_logger().exception("failed")

    captured = capsys.readouterr()
    assert "9 letters" in captured.err
    assert "swordfish" not in captured.err
    assert captured.out == ""


def test_what_libraries_say_is_a_line_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    """asyncio complains of a broken TLS connection in its own words: in between JSON lines they would break whoever reads them."""
    log.configure(level="info", style="json")

    logging.getLogger("asyncio").error("Fatal error on SSL protocol\nwith %s", "two lines")
    logging.getLogger("asyncio").info("Using selector")

    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["level"], line["name"]) == ("library_complained", "warning", "asyncio")
    assert line["error"] == "Fatal error on SSL protocol with two lines"


def test_a_message_is_logged_once_until_what_failed_works_again() -> None:
    """Each message counts for itself; after a success the same one is news."""
    logged = log.OncePerMessage()

    assert [logged.is_new(message) for message in ("a", "b", "a", "b")] == [True, True, False, False]
    logged.clear()
    assert logged.is_new("a")


def test_the_messages_that_were_logged_are_bounded() -> None:
    """They may hold names of objects: memory must not grow with the cluster."""
    logged = log.OncePerMessage()

    assert all(logged.is_new(str(number)) for number in range(3 * log.MOST_MESSAGES))
    assert len(logged._logged) <= log.MOST_MESSAGES
