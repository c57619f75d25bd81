"""zenwatch/processing/event/free_text.py: no text of any finding carries a credential or an escape sequence, and keys stay different."""

import string
from itertools import product
from typing import Any

import orjson
import pytest

from tests.support.builders.findings import a_finding
from tests.support.terminal import ODD_CHARACTERS
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource
from zenwatch.model.timestamps import parse_rfc3339
from zenwatch.processing.event.free_text import clean_key
from zenwatch.processing.event.normalise import name_of, normalise
from zenwatch.sdk.redact import MARK

SECRET = "hunter2hunter2"  # noqa: S105
NAMED = f"DB_PASSWORD={SECRET}"


def _normalised(**changes: Any) -> Event:
    seen_at = parse_rfc3339("2026-01-01T00:00:00Z")
    assert seen_at is not None
    return normalise(a_finding(**changes), cluster_id="local", seen_at=seen_at)


FIELDS: dict[str, dict[str, Any]] = {
    "title": {"title": f"run with {NAMED}"},
    "remediation": {"remediation": f"set {NAMED}"},
    "reference with a password": {"references": [f"https://user:{SECRET}@example.test/"]},
    "reference with a token": {"references": [f"https://example.test/?access_token={SECRET}"]},
    "resource name": {"resource": Resource(kind="File", name=f"/app/run.sh {NAMED}")},
    "resource kind": {"resource": Resource(kind=NAMED)},
    "resource namespace": {"resource": Resource(kind="Pod", namespace=NAMED)},
    "text in the details": {"details": {"message": f"env {NAMED}"}},
    "list in the details": {"details": {"messages": [f"env {NAMED}", "other"]}},
    "mapping in the details": {"details": {"objectRef": {"name": NAMED}}},
    "key": {"key": f"default/Pod/nginx/{NAMED}"},
    "hidden by a zero-width space": {"title": f"PASS\u200bWORD={SECRET}", "key": f"k/PASS\u200bWORD={SECRET}"},
}


@pytest.mark.parametrize("changes", FIELDS.values(), ids=FIELDS)
def test_no_free_text_of_a_finding_keeps_a_credential(changes: dict[str, Any]) -> None:
    """Whatever tool reports it: kyverno's messages, trivy's targets, checkov's resources as well as what is posted."""
    stored = orjson.dumps(_normalised(**changes)).decode()

    assert SECRET not in stored
    assert MARK in stored


@pytest.mark.parametrize("changes", FIELDS.values(), ids=FIELDS)
def test_normalising_twice_changes_nothing(changes: dict[str, Any]) -> None:
    """Otherwise a restart would write records again."""
    assert _normalised(**changes) == _normalised(**changes)


@pytest.mark.parametrize("odd", ODD_CHARACTERS, ids=ascii)
def test_no_text_of_an_event_moves_a_cursor_or_hides(odd: str) -> None:
    """docs/records.md, "Clean text": one rule for keys and titles and all others."""
    text = f"a{odd}b"
    event = _normalised(
        title=text,
        key=text,
        remediation=text,
        references=[f"https://example.test/{text}"],
        resource=Resource(text, text, text, text),
        details={text: text, "list": [text], "mapping": {text: text}},
    )

    assert odd not in repr(orjson.loads(orjson.dumps(event)))
    assert event.name == name_of(a_finding(key=text), cluster_id="local")


def test_an_ordinary_key_stays_what_it_is() -> None:
    """The names of existing records depend on it. Spaces stay, also at the end, and so do long names and hashes of objects."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    keys = [
        "default/Pod/nginx/CVE-2026-1",
        "/ClusterRole/system:controller:token-cleaner/KSV041",
        "Terminal shell/web/A shell was spawned  in a container with an ",
        f"ci-{commit}/Deployment/web-{commit}/CVE-2026-1",
        "default/ConfigMap/auth: none/policy/check-key",
        f"CKV_SECRET_6/{commit}",
        "ä\u00a0b/Pod",
    ]

    assert [clean_key(key) for key in keys] == keys


def test_keys_that_look_the_same_when_clean_stay_different() -> None:
    """A digest of the whole key follows. Otherwise one finding could hide behind another."""
    keys = [f"default/Pod/ng{odd}inx/CVE-2026-1" for odd in ("", *ODD_CHARACTERS)]

    cleaned = [clean_key(key) for key in keys]

    assert len(set(cleaned)) == len(keys)
    assert all(key.isprintable() for key in cleaned)


def test_keys_that_differ_in_a_credential_stay_different_and_do_not_give_it_away() -> None:
    """The digest in the key has 8 bits: of all passwords of four digits, some forty have the same one."""
    keys = {clean_key(f"default/Pod/nginx/DB_PASSWORD={''.join(digits)}") for digits in product(string.digits, repeat=4)}

    assert len(keys) == 256
    assert all(key.startswith(f"default/Pod/nginx/DB_PASSWORD={MARK}~") for key in keys)


def test_the_name_of_an_object_is_no_credential() -> None:
    """A namespace named after a commit keeps its name, so that the record lies there."""
    name = "preview-0123456789abcdef0123456789abcdef01234567"
    resource = Resource("v1", "Pod", name, name)

    assert _normalised(resource=resource).resource == resource
