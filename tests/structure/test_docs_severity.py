"""docs/severity.md agrees with the watchers and the score, in both directions."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.structure.pages import SEVERITY, name, names, section, self_findings, table, tables, values_in, watcher_modules
from tests.support.parsed import whole
from zenwatch.model.finding import Severity
from zenwatch.processing.event import score as scoring
from zenwatch.sdk.watcher import SelfIdentity
from zenwatch.wiring.plugins import installed_watchers, settings_of

ABSENT, OTHER = "absent", "any other word"

Json = dict[str, Any]


def _watcher(tool: str) -> Any:
    [watcher] = [watcher for watcher in installed_watchers() if watcher.name == tool]
    return watcher


def _parsed(tool: str, report: Json) -> str:
    [finding] = whole(_watcher(tool).parse(report))
    return str(finding.severity)


def _of_trivy(fields: Json) -> str:
    labels = {"trivy-operator.resource.kind": "Pod", "trivy-operator.resource.name": "nginx"}
    body = {"vulnerabilities": [{"vulnerabilityID": "CVE-2026-1"} | fields]}
    return _parsed("trivy", {"kind": "VulnerabilityReport", "metadata": {"namespace": "default", "labels": labels}, "report": body})


def _of_kyverno(fields: Json) -> str:
    result = {"source": "kyverno", "result": "fail", "policy": "require-labels"} | fields
    scope = {"kind": "Pod", "name": "nginx"}
    return _parsed("kyverno", {"kind": "PolicyReport", "metadata": {"name": "a"}, "scope": scope, "results": [result]})


def _of_kube_bench(fields: Json) -> str:
    control = {"tests": [{"results": [{"status": "FAIL", "test_number": "1.1.1"} | fields]}]}
    return _of_config_map("kube-bench", {"Controls": [control]})


def _of_checkov(fields: Json) -> str:
    return _of_config_map("checkov", {"check_type": "kubernetes", "results": {"failed_checks": [{"check_id": "CKV_1"} | fields]}})


def _of_config_map(tool: str, document: Json) -> str:
    return _parsed(tool, {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"results.json": json.dumps(document)}})


def _of_falco(fields: Json) -> str:
    falco = _watcher("falco")
    verdict = falco.prepare(settings_of(falco, {}), SelfIdentity())({"rule": "A shell"} | fields)
    return str(verdict.finding.severity)


# By the heading of its section: how to ask the watcher, and the tool's field that the first column describes.
TOOLS: dict[str, tuple[Callable[[Json], str], str]] = {
    "Trivy": (_of_trivy, "severity"),
    "Kyverno": (_of_kyverno, "severity"),
    "kube-bench": (_of_kube_bench, "scored"),
    "Checkov": (_of_checkov, "severity"),
    "Falco": (_of_falco, "priority"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_watcher_gives_each_word_the_severity_of_its_row(tool: str) -> None:
    """The page also says what an absent word becomes, and a word that nobody knows."""
    severity_of, field = TOOLS[tool]
    cells = [list(row.values()) for row in table(SEVERITY, tool)]

    for first, severity, *_ in cells:
        word: Any = {ABSENT: None, OTHER: "no such word", "`true`": True, "`false`": False}.get(first, name(first))
        assert severity_of({} if word is None else {field: word}) == name(severity), first
    assert ABSENT in [first for first, *_ in cells]


def test_the_checks_of_checkov_have_the_severity_of_their_row() -> None:
    """Checkov's own word, where there is any, is stronger."""
    _, rows = tables(SEVERITY, "Checkov")

    for row in rows:
        assert _of_checkov({"check_id": name(row["check"])}) == name(row["severity"])
        assert _of_checkov({"check_id": name(row["check"]), "severity": "LOW"}) == "LOW"


@pytest.mark.parametrize("tool", TOOLS)
def test_no_watcher_translates_a_word_without_a_row(tool: str) -> None:
    """The test reads every mapping from texts to severities in the module of the watcher."""
    documented = {name(next(iter(row.values()))).lower() for rows in tables(SEVERITY, tool) for row in rows}
    [module] = [module for module in watcher_modules() if module.__name__ == f"watchers.{tool.lower().replace('-', '_')}"]
    mappings = [value for value in vars(module).values() if isinstance(value, Mapping) and value]
    translations = [mapping for mapping in mappings if all(isinstance(value, Severity) for value in mapping.values())]

    assert {word.lower() for mapping in translations for word in mapping} <= documented


def test_every_audit_rule_has_its_row() -> None:
    """The rows have the order of the rules: the first rule that matches decides."""
    rules = [value for module in watcher_modules() for value in values_in(module) if getattr(value, "take", None) is True]
    rows = [(name(row["rule"]), name(row["severity"]), name(row["eventType"])) for row in table(SEVERITY, "Audit")]

    assert rows == list(dict.fromkeys((rule.name, rule.severity.value, rule.event_type) for rule in rules))


def test_findings_about_zenwatch_have_the_severities_of_their_rows() -> None:
    """The row lists every severity that such a finding may have."""
    documented = {name(row["eventType"]): set(names(row["severity"])) for row in table(SEVERITY, "Records of zenwatch itself")}

    assert documented == {topic: severities for topic, (severities, _) in self_findings().items()}


def test_the_scale_is_that_of_the_code() -> None:
    """The worst severity is first."""
    assert [name(row["severity"]) for row in table(SEVERITY, "The scale")] == [severity.value for severity in Severity]


def test_the_thresholds_are_those_of_the_watchers() -> None:
    """<TOOL>_MIN_SEVERITY replaces them."""
    documented = {name(row["tool"]): name(row["lowest severity"]) for row in table(SEVERITY, "What is stored by default")}

    assert documented == {watcher.name: watcher.min_severity.value for watcher in installed_watchers()}


def test_the_scores_are_those_of_the_formula() -> None:
    """The table has the ends of each band and the scores at its corners; the example is one of them by hand."""
    corners = [(0.0, False), (None, False), (None, True), (10.0, False), (10.0, True)]

    assert [list(row.values()) for row in table(SEVERITY, "The score")] == [
        [
            f"`{severity}`",
            "{} to {}".format(*scoring.BANDS[severity]),
            *(str(scoring.score(severity, tool_score=tool_score, has_fix=has_fix)) for tool_score, has_fix in corners),
        ]
        for severity in Severity
    ]
    text = section(SEVERITY, "The score")
    assert f"{1 - scoring.FIX_SHARE} × tool score / 10 + ({scoring.FIX_SHARE} if a fix" in text
    assert f"it is {scoring.UNSCORED}:" in text
    assert text.rstrip().endswith(f"= {scoring.score(Severity.HIGH, tool_score=7.5, has_fix=True)}.")
