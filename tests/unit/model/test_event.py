"""zenwatch/model/event.py: names and JSON."""

import orjson

from tests.support.fakes.findings import an_event
from zenwatch.model.event import Event, record_name


def test_a_record_is_named_by_what_it_says() -> None:
    """printf 'local\\ntrivy\\ndefault/Pod/nginx/CVE-2024-1234' | sha256sum, first 20 digits: to the letter, for ever."""
    name = record_name("trivy-vuln-", cluster_id="local", source="trivy", key="default/Pod/nginx/CVE-2024-1234")

    assert name == "trivy-vuln-7aca94e70369705c0a22"


def test_cluster_source_and_key_each_make_another_name() -> None:
    """The same finding in two clusters, or of two tools, is two records."""
    names = {
        record_name("x-", cluster_id=cluster_id, source=source, key=key)
        for cluster_id in ("local", "east")
        for source in ("trivy", "kyverno")
        for key in ("a", "b", "ä")
    }

    assert len(names) == 12


def test_an_event_survives_json() -> None:
    """Reports are held as compressed JSON."""
    event = an_event(references=("https://example.test/1",), details={"cvss": 7.5, "fixed": True, "packages": ["ä", "b"], "vulnID": "x"})

    assert Event.from_json(orjson.loads(orjson.dumps(event))) == event
