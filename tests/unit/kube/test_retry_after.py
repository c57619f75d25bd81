"""zenwatch/kube/http/retry_after.py: whatever a server asks for, the wait is a number from 0 to its cap."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zenwatch.kube.http.request import Discovery
from zenwatch.kube.http.retry_after import retry_after_secs
from zenwatch.kube.http.status_errors import error_of

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def asked(header: str | None, of_status: Any = None) -> float | None:
    return retry_after_secs(header, of_status, most_secs=60, now=NOW)


@pytest.mark.parametrize(
    ("header", "secs"),
    [
        *((None, None), ("", None), ("soon", None), ("7", 7.0), ("0", 0.0), (" 7 ", 7.0), ("1.5", 1.5), ("86400", 60.0)),
        ("9" * 5000, 60.0),
        *(("-7", None), ("-inf", None), ("nan", None), ("inf", 60.0), ("1e999", 60.0), ("²", None), ("٣", 3.0), ("7, 8", None)),
        # RFC 9110: the form to send, and the two obsolete ones that must be understood.
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tuesday, 24-Nov-26 12:00:30 GMT", 30.0),
        ("Tue Nov 24 12:00:30 2026", 30.0),
        ("Tue, 24 Nov 2026 11:59:59 GMT", 0.0),
        ("Wed, 25 Nov 2026 12:00:00 GMT", 60.0),
        ("Tue, 24 Nov 99999 12:00:30 GMT", None),
        ("Tue, 24 Nov 2026 25:61:61 GMT", None),
    ],
)
def test_the_header_is_a_number_or_a_date(header: str | None, secs: float | None) -> None:
    """A moment that has passed means now; a negative number means nothing."""
    assert asked(header) == secs


@pytest.mark.parametrize(
    ("of_status", "secs"), [(3, 3.0), (0, 0.0), (10**400, 60.0), (-1, None), (True, None), ("3", 3.0), (["3"], None), ({}, None)]
)
def test_the_status_counts_where_the_header_says_nothing(of_status: Any, secs: float | None) -> None:
    """A header that can be understood comes first."""
    assert asked("soon", of_status) == asked(None, of_status) == secs
    assert asked("7", of_status) == 7.0


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(header=st.none() | st.text() | st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")), of_status=ANY_JSON)
def test_whatever_is_asked_for_the_wait_is_bounded(header: str | None, of_status: Any) -> None:
    """No text and no JSON makes it fail."""
    secs = asked(header, of_status)

    assert secs is None or 0 <= secs <= 60


@given(body=st.binary(), code=st.integers(300, 599))
def test_any_body_is_an_error_of_ours(body: bytes, code: int) -> None:
    """A proxy answers with what it likes."""
    assert str(error_of(code, body, None, Discovery("", "v1"), most_wait_secs=60))


@given(status=ANY_JSON, details=ANY_JSON, causes=ANY_JSON, code=st.sampled_from([403, 404, 409, 429, 500, 503]))
def test_any_json_is_an_error_of_ours(status: Any, details: Any, causes: Any, code: int) -> None:
    """Also where it looks like a Status at first sight."""
    for body in (status, {"message": status, "details": details, "reason": causes}, {"details": {"causes": causes, "kind": status}}):
        try:
            encoded = orjson.dumps(body)
        except (TypeError, ValueError):
            continue
        assert str(error_of(code, encoded, None, Discovery("", "v1"), most_wait_secs=60))
