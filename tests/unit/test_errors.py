"""zenwatch/errors.py: one tree, by which components decide what to do."""

import inspect

import pytest

from zenwatch import errors
from zenwatch.errors import Expired, Permanent, Transient, ZenwatchError, first_line


def test_every_error_of_the_house_has_one_root() -> None:
    """contained() and the supervisor tell ours from bugs by it."""
    ours = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, Exception)]

    assert all(issubclass(error, ZenwatchError) for error in ours)


def test_what_may_work_later_and_what_never_will_are_apart() -> None:
    """An error that was both would be retried and given up."""
    assert issubclass(Expired, Transient)
    assert not any(issubclass(error, Permanent) for error in Transient.__subclasses__())


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\n  b\tc"), "a b c"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 400), "x" * 300),
    ],
)
def test_an_error_is_one_bounded_line_in_the_log(error: Exception, line: str) -> None:
    """Bodies and tracebacks stay out of it; an error without words says its name."""
    assert first_line(error) == line
