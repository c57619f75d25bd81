"""watchers/audit/rules_file.py: AUDIT_RULES_FILE."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.audit_events import KUBELET, a_reference, an_event, judged, verdicts
from tests.support.paths import EXAMPLES
from watchers.audit.default_rules import FIRST_RULES, LAST_RULE, RULES
from watchers.audit.request import QUESTIONS
from watchers.audit.rules import Rule
from watchers.audit.rules_file import _FIELDS
from watchers.audit.watcher import AuditSettings, rules_for
from zenwatch.errors import ConfigError

PUSHED = EXAMPLES / "pushed"
LEAVES = {"name": "ours", "sentence": "Ours to decide.", "take": False}
TAKES = LEAVES | {"take": True, "eventType": "secret-access", "severity": "HIGH"}
LIST_FIELDS = ("verbs", "resources", "subresources", "users", "groups", "namespaces", "paths", "codes", "stages", "when")


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes rules, or any document, to a file and returns its path."""

    def write(*rules: Any, **document: Any) -> str:
        file = tmp_path / "rules.yaml"
        file.write_text(yaml.safe_dump({"rules": list(rules)} | document))
        return str(file)

    return write


def names_for(path: str) -> list[str]:
    return [rule.name for rule in rules_for(AuditSettings.read({"AUDIT_RULES_FILE": path}, prefix="AUDIT_"))]


def built_in(*parts: Any) -> list[str]:
    return [rule.name for part in parts for rule in part]


def test_rules_of_a_file_come_before_the_built_in_rules(write: Any) -> None:
    """The mode extend is the default. The first three rules stay first."""
    assert names_for(write(LEAVES)) == [*built_in(FIRST_RULES), "ours", *built_in(RULES, [LAST_RULE])]
    assert names_for(write(LEAVES, mode="extend")) == names_for(write(LEAVES))


def test_rules_of_a_file_can_replace_the_built_in_rules(write: Any) -> None:
    """They may then have the names of the replaced rules."""
    secrets = TAKES | {"name": "secret-read"}

    assert names_for(write(secrets, mode="replace")) == [*built_in(FIRST_RULES), "secret-read", *built_in([LAST_RULE])]


def test_the_first_rule_that_matches_decides(write: Any) -> None:
    """So a file can leave out what zenwatch stores, and store what zenwatch leaves out."""
    path = write(LEAVES | {"verbs": ["delete"]}, TAKES | {"name": "reads", "verbs": ["get"], "when": ["system-component"]})

    assert judged(an_event("secrets", verb="delete"), rules_file=path).rule == "ours"
    verdict = judged(an_event("secrets", user=KUBELET), rules_file=path)
    assert verdict.finding is not None
    assert (verdict.rule, verdict.why, verdict.finding.severity) == ("reads", "Ours to decide.", "HIGH")
    assert judged(an_event("secrets"), rules_file=path).rule == "secret-read"


@pytest.mark.parametrize(
    ("condition", "values", "yes", "no"),
    [
        ("verbs", ["get", "li*"], {"verb": "list"}, {"verb": "watch"}),
        ("resources", ["secrets"], {"about": "secrets"}, {"about": "secrets.example.com"}),
        ("resources", ["*.apps"], {"about": "deployments.apps"}, {"about": "apps"}),
        ("resources", ["*"], {"about": "pods"}, {"about": None}),
        ("subresources", [""], {"about": "pods"}, {"about": a_reference("pods", subresource="log")}),
        ("subresources", ["?*"], {"about": a_reference("pods", subresource="log")}, {"about": "pods"}),
        ("users", ["bob", "ops-*"], {"user": {"username": "ops-1"}}, {"user": {"username": "alice"}}),
        ("users", ["bob"], {"impersonatedUser": {"username": "bob"}}, {"user": {"username": "bob"}, "impersonatedUser": {"username": "x"}}),
        ("groups", ["dev*"], {"user": {"username": "bob", "groups": ["x", "developers"]}}, {"user": {"username": "developers"}}),
        (
            "namespaces",
            ["shop", "pay*"],
            {"about": a_reference("pods", namespace="payments")},
            {"about": a_reference("pods", namespace="x")},
        ),
        ("paths", ["/logs/*"], {"requestURI": "/logs/x?y"}, {"requestURI": "/log"}),
        ("codes", [403, "5xx"], {"code": 503}, {"code": 404}),
        ("codes", ["2xx"], {"code": None}, {"code": 301}),
        ("stages", ["Panic"], {"stage": "Panic"}, {}),
        ("when", ["impersonated"], {"impersonatedUser": {"username": "bob"}}, {}),
        ("when", ["not-impersonated", "not-stream"], {}, {"about": a_reference("pods", subresource="exec")}),
    ],
)
def test_a_condition_holds_or_does_not(write: Any, condition: str, values: Any, yes: Any, no: Any) -> None:
    """Exact words, or patterns of a shell."""
    path = write(LEAVES | {condition: values}, mode="replace")

    assert judged(an_event(**yes), rules_file=path).rule == "ours"
    assert judged(an_event(**no), rules_file=path).rule == "unimportant"


def test_a_file_can_have_every_condition_of_a_rule() -> None:
    """By the same name, spelled as in Kubernetes."""
    words = {"event_type": "eventType"}

    assert [words.get(field.name, field.name) for field in fields(Rule)] == list(_FIELDS)


def test_all_conditions_must_hold(write: Any) -> None:
    """An empty list always holds."""
    path = write(LEAVES | {"verbs": ["get"], "namespaces": ["shop"], "users": [], "groups": None}, mode="replace")

    assert judged(an_event("pods"), rules_file=path).rule == "ours"
    assert judged(an_event("pods", verb="list"), rules_file=path).rule == "unimportant"


@pytest.mark.parametrize("event", [an_event("pods", stage="RequestReceived"), an_event("pods", verb="patch", requestURI="/x?dryRun=All")])
def test_no_file_changes_the_first_rules(write: Any, event: Any) -> None:
    """Each request has a single record, and a dry run has none."""
    assert judged(event, rules_file=write(TAKES, mode="replace")).rule in built_in(FIRST_RULES)


# ---------------------------------------------------------------- wrong files


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (7, r"rule 1 is no mapping; expected the fields name, sentence"),
        (LEAVES | {"verb": ["get"]}, r"rule 1 \(ours\): there is no field 'verb'; expected some of name, .*verbs"),
        (LEAVES | {"name": "Ours!"}, r"rule 1 \(Ours!\): name is 'Ours!'; expected at most 63 lower-case letters"),
        (LEAVES | {"name": "x" * 64}, r"name is 'xxx"),
        ({"sentence": "x", "take": False}, r"rule 1: name is missing"),
        (LEAVES | {"sentence": " "}, r"rule 1 \(ours\): sentence is ' '; expected what the rule takes"),
        (LEAVES | {"take": "yes"}, r"take is 'yes'; expected true or false"),
        ({"name": "ours", "sentence": "x"}, r"take is missing; expected true or false"),
        (LEAVES | {"take": True, "severity": "LOW"}, r"eventType is missing; expected one of resource-deletion, secret-access"),
        (TAKES | {"eventType": "exec"}, r"eventType is 'exec'; expected one of .*pod-exec"),
        (TAKES | {"eventType": []}, r"eventType is \[\]"),
        (LEAVES | {"eventType": "exec"}, r"eventType is 'exec'"),
        (TAKES | {"severity": "WORST"}, r"severity is 'WORST'; expected one of CRITICAL, HIGH, MEDIUM, LOW, INFO"),
        (TAKES | {"severity": 1}, r"severity is 1; expected"),
        (LEAVES | {"take": True, "eventType": "pod-exec"}, r"severity is missing"),
        (LEAVES | {"when": ["dry"]}, r"rule 1 \(ours\): when has 'dry'; expected some of final-stage, .*not-final-stage"),
        (LEAVES | {"codes": ["all"]}, r"codes has 'all'; expected codes such as 403 or 4xx"),
        (LEAVES | {"codes": [True]}, r"codes has 'True'"),
        (LEAVES | {"verbs": "get"}, r"verbs is 'get'; expected a list of texts"),
        (LEAVES | {"namespaces": [1]}, r"namespaces has 1; expected texts, in quotation marks"),
        (LEAVES | {"name": "secret-read"}, r"rule 1 \(secret-read\): a built-in rule has that name"),
        (LEAVES | {"name": "dry-run"}, r"rule 1 \(dry-run\): a built-in rule has that name"),
    ],
)
def test_an_error_names_the_wrong_rule_and_what_is_accepted(write: Any, rule: Any, reason: str) -> None:
    """At the start, not at the first event."""
    path = write(rule)

    with pytest.raises(ConfigError, match=reason) as refused:
        names_for(path)

    assert str(refused.value).startswith(f"AUDIT_RULES_FILE is {path!r}: rule 1")


@pytest.mark.parametrize("field", LIST_FIELDS)
def test_every_list_is_checked(write: Any, field: str) -> None:
    """A text instead of a list would count as a list of letters."""
    with pytest.raises(ConfigError, match=f"{field} is 'x'; expected a list of texts"):
        names_for(write(LEAVES | {field: "x"}))


def test_two_rules_cannot_have_the_same_name(write: Any) -> None:
    """Records and metrics name the rule."""
    with pytest.raises(ConfigError, match=r"rule 2 \(ours\): another rule has that name"):
        names_for(write(LEAVES, dict(LEAVES)))


def test_a_file_cannot_use_the_name_of_a_first_or_last_rule(write: Any) -> None:
    """These rules always stay, so two rules would have the name."""
    for name in ("not-final-stage", "unimportant"):
        with pytest.raises(ConfigError, match=rf"rule 1 \({name}\): a built-in rule"):
            names_for(write(LEAVES | {"name": name}, mode="replace"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither JSON"),
        ("rules: [", "neither JSON"),
        ("- a", "expected one YAML document with mode and rules"),
        ("mode: extend\n---\nmode: extend", "expected one YAML document"),
        ("mode: extend", "rules is no list of 1 to 500 rules"),
        ("rules: []", "rules is no list of 1 to 500 rules"),
        ("rules: [1]\nmode: add", "mode is 'add'; expected one of extend, replace"),
        ("rule: []", "there is no field 'rule'; expected some of mode, rules"),
        ("#" * 1_100_000, "it has more than 1048576 bytes"),
    ],
)
def test_an_error_names_the_wrong_file(tmp_path: Path, text: str, reason: str) -> None:
    """Together with the environment variable."""
    file = tmp_path / "rules.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=f"AUDIT_RULES_FILE is .*rules.yaml.*: {reason}"):
        names_for(str(file))


@pytest.mark.parametrize("path", ["missing.yaml", ".", "\x00"])
def test_an_error_names_the_unreadable_file(tmp_path: Path, path: str) -> None:
    """zenwatch must not start without the user's rules."""
    with pytest.raises(ConfigError, match=r"AUDIT_RULES_FILE is .*: it cannot be read"):
        names_for(f"{tmp_path}/{path}")


# ---------------------------------------------------------------- the examples


def test_the_example_is_a_valid_file() -> None:
    """Its rules do what their sentences state."""
    path = str(PUSHED / "audit-rules.yaml")

    assert len(names_for(path)) == len(built_in(FIRST_RULES, RULES, [LAST_RULE])) + 4
    proxied = judged(an_event(a_reference("nodes", "worker-1", "", "proxy"), code=101), rules_file=path)
    assert proxied.rule == "node-proxy"
    assert {"system-component", "all-namespaces"} <= QUESTIONS.keys()


def test_the_example_events_show_every_severity() -> None:
    """Ten events, three of which are left out."""
    judged_examples = verdicts((PUSHED / "audit-events.json").read_bytes())

    assert [verdict.finding.severity.value if verdict.finding else verdict.rule for verdict in judged_examples] == [
        *("LOW", "lease", "CRITICAL", "HIGH", "MEDIUM", "HIGH", "MEDIUM", "discovery", "dry-run", "INFO")
    ]
    assert "this-value-is-stored-nowhere" not in repr(judged_examples)
