"""Small payloads of each kind that the schema drift detector observes, and a detector that observes all of them."""

import json
from typing import Any

from tests.support.fakes.clock import FakeClock
from zenwatch.sources.monitor.schema_drift import SchemaDriftDetector

Json = dict[str, Any]


class UnhurriedDetector(SchemaDriftDetector):
    """clock: observe() moves it on before each payload, because a payload that comes too soon after others is skipped."""

    def __init__(self, clock: FakeClock, *, payloads_per_sec: float = 20.0) -> None:
        super().__init__(clock, payloads_per_sec=payloads_per_sec)
        self.clock = clock


def observe(drift: UnhurriedDetector, payload: Any, *, times: int = 1) -> tuple[str, ...]:
    """Let a payload come once a second. Return the fields that are missing after the last one."""
    for _ in range(times):
        drift.clock.advance(secs=1)
        drift.observe(payload)
    return tuple(drift.missing)


def without(entry: Json, *names: str) -> Json:
    return {name: value for name, value in entry.items() if name not in names}


def a_report(*vulnerabilities: Json, kind: str = "VulnerabilityReport", **body: Any) -> Json:
    metadata = {"name": "a-report", "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "report": {"vulnerabilities": list(vulnerabilities), **body}}


def a_policy_report(*results: Json) -> Json:
    return {"kind": "PolicyReport", "metadata": {"name": "a-report"}, "results": list(results)}


def a_config_map(document: Any, key: str = "results.json") -> Json:
    return {"kind": "ConfigMap", "metadata": {"name": "a-scan"}, "data": {key: json.dumps(document)}}


AN_ALERT: Json = {"rule": "Shell", "time": "2026-01-01T00:00:00Z", "source": "syscall", "output_fields": {"evt.time": 1, "proc.name": "sh"}}
A_VULNERABILITY: Json = {"vulnerabilityID": "CVE-1", "severity": "HIGH", "title": "", "score": None}
A_RESULT: Json = {"source": "kyverno", "policy": "p", "severity": "high", "properties": {"process": "scan"}}
