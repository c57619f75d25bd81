"""Compare what is stored, and what the ledger counts, with what was sent."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.controlplane.cluster import ControlPlane
from tests.support.live.client import get
from tests.support.live.load.sender import Sent
from tests.support.live.objects import records_of_source
from tests.support.live.process import Zenwatch, eventually
from tests.support.tasks import PATIENCE_SECS

# zenwatch keeps the last five.
SAMPLES = 5
Json = dict[str, Any]

# ---------------------------------------------------------------- what is stored


def wait_until_drained(zenwatch: Zenwatch, *, within_secs: float = PATIENCE_SECS) -> float:
    """Wait until nothing is in flight and the spool is empty. Return how long that took, in seconds, as a figure for the reader."""
    began = time.monotonic()
    eventually(lambda: _waiting(zenwatch) == {}, within_secs=within_secs)
    return time.monotonic() - began


def _waiting(zenwatch: Zenwatch) -> dict[str, float]:
    series = ("zenwatch_findings_in_flight", "zenwatch_buffer_events", "zenwatch_spool_bytes")
    read = metrics(zenwatch)
    return {name: value for name, value in read.items() if value and name.partition("{")[0] in series}


def metrics(zenwatch: Zenwatch) -> Mapping[str, float]:
    _, text = get(f"{zenwatch.url}/metrics")
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}


def differences(cluster: ControlPlane, namespace: str, sent: Sent) -> list[str]:
    """Return a sentence for each record that is missing, that was never sent, or that is wrong."""
    of_alerts = _of_alerts(records_of_source(cluster, namespace, "falco"), sent)
    return [*of_alerts, *_of_audit(records_of_source(cluster, namespace, "audit"), sent)]


def _of_alerts(records: Sequence[Json], sent: Sent) -> Iterator[str]:
    stored: dict[str, Json] = {}
    for record in records:
        rule = record["spec"]["details"]["rule"]
        if rule in stored:
            yield f"{rule}: two records"
        stored[rule] = record
    yield from (f"{rule}: stored and never sent" for rule in stored.keys() - sent.alerts.keys())
    for rule, alerts in sent.alerts.items():
        most = alerts.acknowledged + alerts.unknown
        record = stored.get(rule, {})
        count = record.get("status", {}).get("count", 0) if record else 0
        if not alerts.acknowledged <= count <= most:
            yield f"{rule}: count {count}, sent {alerts.acknowledged} to {most}"
        if record:
            samples = record["spec"]["details"]["samples"]
            if len(samples) != min(SAMPLES, count) or not set(samples) <= alerts.samples:
                yield f"{rule}: count {count}, samples {samples}"


def _of_audit(records: Sequence[Json], sent: Sent) -> Iterator[str]:
    stored = Counter(record["spec"]["details"]["auditID"] for record in records)
    yield from (f"{audit_id}: not stored" for audit_id in sent.audit_ids - stored.keys())
    yield from (f"{audit_id}: {count} records" for audit_id, count in stored.items() if count != 1)
    yield from (f"{audit_id}: stored and never sent" for audit_id in stored.keys() - sent.audit_ids - sent.unknown_audit_ids)
    yield from (f"{r['spec']['key']}: count {r['status']['count']}" for r in records if r["status"]["count"] != 1)


# ---------------------------------------------------------------- the ledger


def ledger_of(zenwatch: Zenwatch, source: str) -> Mapping[str, int]:
    """Return the page of one source after the process ended. It balances, and has nothing that nobody sent."""
    page: Mapping[str, int] = next(line for line in zenwatch.log("ledger") if line["source"] == source)
    outcomes = ("stored", "repeated", "filtered", "rejected", "dead_lettered", "lost", "in_flight")
    assert page["received"] == sum(page[outcome] for outcome in outcomes), page
    assert min(page[outcome] for outcome in outcomes) >= 0, page
    assert (page["filtered"], page["rejected"], page["dead_lettered"]) == (0, 0, 0), page
    return page


def wrong_in_ledger(zenwatch: Zenwatch, sent: Sent) -> list[str]:
    """Return a sentence for each count that is not what was sent.

    For one process that started with an empty spool, answered every request, and has ended.
    """
    assert sent.unknown == 0, sent
    falco = ledger_of(zenwatch, "falco")
    expected = {"stored": len(sent.alerts), "repeated": sent.acknowledged - len(sent.alerts), "lost": sent.lost, "in_flight": 0}
    wrong = [f"falco: {line} is {falco[line]}, not {value}" for line, value in expected.items() if falco[line] != value]
    if sent.audit_ids:
        audit = ledger_of(zenwatch, "audit")
        expected = {"stored": len(sent.audit_ids), "lost": 0, "in_flight": 0}
        wrong += [f"audit: {line} is {audit[line]}, not {value}" for line, value in expected.items() if audit[line] != value]
    return wrong
