"""Read AUDIT_RULES_FILE: a YAML file with rules that come before the built-in rules, or replace them."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from watchers.audit.request import QUESTIONS
from watchers.audit.rules import Rule
from zenwatch.sdk import BadInput, ConfigError, Severity, first_line, input_files

VARIABLE = "AUDIT_RULES_FILE"
MODES = ("extend", "replace")
_MOST_BYTES = 1024 * 1024
# Each rule makes a series of a metric.
_MOST_RULES = 500
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_CHARS = 63
_CODE = re.compile(r"[1-5]([0-9]{2}|xx)")
_LISTS = ("verbs", "resources", "subresources", "users", "groups", "namespaces", "paths", "codes", "stages", "when")
_FIELDS = ("name", "sentence", "take", "eventType", "severity", *_LISTS)


def rules_in(path: str, *, built_in: Collection[str], reserved: Collection[str], event_types: Collection[str]) -> tuple[bool, list[Rule]]:
    """Whether the file's rules replace the built-in rules; and the file's rules.

    built_in: the names of the rules that the file may replace. reserved: the names of the rules that it cannot replace.
    Raises ConfigError, which names the rule and the field, and states what is accepted.
    """
    try:
        document = _document_in(Path(path))
        _require_known(document, ("mode", "rules"))
        mode = document.get("mode", MODES[0])
        if mode not in MODES:
            raise BadInput(f"mode is {_quoted(mode)}; expected one of {', '.join(MODES)}")
        entries = document.get("rules")
        if not isinstance(entries, list) or not entries or len(entries) > _MOST_RULES:
            raise BadInput(f"rules is no list of 1 to {_MOST_RULES} rules")
        rules = [_rule_of(entry, number, event_types) for number, entry in enumerate(entries, start=1)]
        _require_different(rules, reserved if mode == "replace" else {*reserved, *built_in})
    except BadInput as exc:
        raise ConfigError(f"{VARIABLE} is {path!r}: {exc}.") from exc
    return mode == "replace", rules


def _document_in(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as exc:
        raise BadInput(f"it cannot be read: {getattr(exc, 'strerror', None) or first_line(exc)}") from exc
    if len(raw) > _MOST_BYTES:
        raise BadInput(f"it has more than {_MOST_BYTES} bytes")
    documents, failure = input_files.read(input_files.text_of(raw))
    if failure is not None:
        raise failure
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise BadInput("expected one YAML document with mode and rules")
    return documents[0]


def _rule_of(entry: Any, number: int, event_types: Collection[str]) -> Rule:
    if not isinstance(entry, dict):
        raise BadInput(f"rule {number} is no mapping; expected the fields {', '.join(_FIELDS)}")
    name = entry.get("name")
    label = f"rule {number} ({name})" if isinstance(name, str) and name else f"rule {number}"
    try:
        return _checked(entry, event_types)
    except BadInput as exc:
        raise BadInput(f"{label}: {exc}") from exc


def _checked(entry: Mapping[str, Any], event_types: Collection[str]) -> Rule:
    _require_known(entry, _FIELDS)
    name, sentence, take = entry.get("name"), entry.get("sentence"), entry.get("take")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _NAME_CHARS:
        raise BadInput(f"name is {_quoted(name)}; expected at most {_NAME_CHARS} lower-case letters, digits and single '-'")
    if not isinstance(sentence, str) or not sentence.strip():
        raise BadInput(f"sentence is {_quoted(sentence)}; expected what the rule takes or leaves, and why")
    if not isinstance(take, bool):
        raise BadInput(f"take is {_quoted(take)}; expected true or false")
    event_type, severity = entry.get("eventType"), entry.get("severity")
    if (take or event_type is not None) and event_type not in list(event_types):
        raise BadInput(f"eventType is {_quoted(event_type)}; expected one of {', '.join(event_types)}")
    word = severity.upper() if isinstance(severity, str) else severity
    if (take or severity is not None) and word not in list(Severity):
        raise BadInput(f"severity is {_quoted(severity)}; expected one of {', '.join(Severity)}")
    lists = {field: _texts_in(entry, field) for field in _LISTS}
    if unknown := [question for question in lists["when"] if question not in QUESTIONS]:
        raise BadInput(f"when has {_quoted(unknown[0])}; expected some of {', '.join(QUESTIONS)}")
    if wrong := [code for code in lists["codes"] if not _CODE.fullmatch(code)]:
        raise BadInput(f"codes has {_quoted(wrong[0])}; expected codes such as 403 or 4xx")
    return Rule(name, sentence.strip(), take, event_type or "", Severity(word or Severity.INFO), **lists)


def _texts_in(entry: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = entry.get(field)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadInput(f"{field} is {_quoted(value)}; expected a list of texts")
    # YAML reads 403 as a number.
    texts = [str(part) if field == "codes" and isinstance(part, int) else part for part in value]
    if wrong := [part for part in texts if not isinstance(part, str)]:
        raise BadInput(f"{field} has {_quoted(wrong[0])}; expected texts, in quotation marks where YAML reads a number")
    return tuple(texts)


def _require_known(entry: Mapping[str, Any], fields: Iterable[str]) -> None:
    if unknown := [field for field in entry if field not in fields]:
        raise BadInput(f"there is no field {_quoted(unknown[0])}; expected some of {', '.join(fields)}")


def _require_different(rules: Iterable[Rule], reserved: Collection[str]) -> None:
    """Metrics and records name the rule that decided, so no two rules may have the same name."""
    seen: set[str] = set()
    for number, rule in enumerate(rules, start=1):
        if rule.name in seen:
            raise BadInput(f"rule {number} ({rule.name}): another rule has that name; expected a different one")
        if rule.name in reserved:
            raise BadInput(f"rule {number} ({rule.name}): a built-in rule has that name; expected a different one")
        seen.add(rule.name)


def _quoted(value: Any) -> str:
    return "missing" if value is None else repr(value)[:80]
