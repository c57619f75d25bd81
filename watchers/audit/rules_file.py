"""Read AUDIT_RULES_FILE: a YAML file with rules that are asked before the built-in ones, or instead of them.

In: a path.  Out: rules, and whether they replace.
Owns: nothing; the file is read once.
Stops: nothing to stop.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from watchers.audit.request import TESTS
from watchers.audit.rules import Rule
from zenwatch.sdk import BadInput, ConfigError, Severity, first_line, input_files

VARIABLE = "AUDIT_RULES_FILE"
MODES = ("extend", "replace")
_MOST_BYTES = 1024 * 1024
# Each rule is a series of a metric.
_MOST_RULES = 500
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_NAME_CHARS = 63
_CODE = re.compile(r"[1-5]([0-9]{2}|xx)")
_LISTS = ("verbs", "resources", "subresources", "users", "groups", "namespaces", "paths", "codes", "stages", "when")
_FIELDS = ("name", "sentence", "take", "eventType", "severity", *_LISTS)


def rules_in(path: str, *, built_in: Collection[str], reserved: Collection[str], event_types: Collection[str]) -> tuple[bool, list[Rule]]:
    """Whether the file's rules replace the built-in ones; and the rules.

    built_in: names of the rules that may be replaced. reserved: names of those that are always asked.

    ConfigError names the rule and the field, and says what is accepted.
    """
    try:
        document = _document_in(Path(path))
        _require_known(document, ("mode", "rules"))
        mode = document.get("mode", MODES[0])
        if mode not in MODES:
            raise BadInput(f"mode is {_quoted(mode)}; expected one of {', '.join(MODES)}")
        said = document.get("rules")
        if not isinstance(said, list) or not said or len(said) > _MOST_RULES:
            raise BadInput(f"rules is no list of 1 to {_MOST_RULES} rules")
        rules = [_rule_of(entry, place, event_types) for place, entry in enumerate(said, start=1)]
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


def _rule_of(said: Any, place: int, event_types: Collection[str]) -> Rule:
    if not isinstance(said, dict):
        raise BadInput(f"rule {place} is no mapping; expected the fields {', '.join(_FIELDS)}")
    name = said.get("name")
    label = f"rule {place} ({name})" if isinstance(name, str) and name else f"rule {place}"
    try:
        return _checked(said, event_types)
    except BadInput as exc:
        raise BadInput(f"{label}: {exc}") from exc


def _checked(said: Mapping[str, Any], event_types: Collection[str]) -> Rule:
    _require_known(said, _FIELDS)
    name, sentence, take = said.get("name"), said.get("sentence"), said.get("take")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _NAME_CHARS:
        raise BadInput(f"name is {_quoted(name)}; expected at most {_NAME_CHARS} lower-case letters, digits and single '-'")
    if not isinstance(sentence, str) or not sentence.strip():
        raise BadInput(f"sentence is {_quoted(sentence)}; expected what the rule takes or leaves, and why")
    if not isinstance(take, bool):
        raise BadInput(f"take is {_quoted(take)}; expected true or false")
    event_type, severity = said.get("eventType"), said.get("severity")
    if (take or event_type is not None) and event_type not in list(event_types):
        raise BadInput(f"eventType is {_quoted(event_type)}; expected one of {', '.join(event_types)}")
    word = severity.upper() if isinstance(severity, str) else severity
    if (take or severity is not None) and word not in list(Severity):
        raise BadInput(f"severity is {_quoted(severity)}; expected one of {', '.join(Severity)}")
    lists = {field: _texts_in(said, field) for field in _LISTS}
    if unknown := [test for test in lists["when"] if test not in TESTS]:
        raise BadInput(f"when has {_quoted(unknown[0])}; expected some of {', '.join(TESTS)}")
    if wrong := [code for code in lists["codes"] if not _CODE.fullmatch(code)]:
        raise BadInput(f"codes has {_quoted(wrong[0])}; expected codes such as 403 or 4xx")
    return Rule(name, sentence.strip(), take, event_type or "", Severity(word or Severity.INFO), **lists)


def _texts_in(said: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = said.get(field)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadInput(f"{field} is {_quoted(value)}; expected a list of texts")
    # YAML takes 403 for a number.
    texts = [str(part) if field == "codes" and isinstance(part, int) else part for part in value]
    if wrong := [part for part in texts if not isinstance(part, str)]:
        raise BadInput(f"{field} has {_quoted(wrong[0])}; expected texts, in quotation marks where YAML reads a number")
    return tuple(texts)


def _require_known(said: Mapping[str, Any], fields: Iterable[str]) -> None:
    if unknown := [field for field in said if field not in fields]:
        raise BadInput(f"there is no field {_quoted(unknown[0])}; expected some of {', '.join(fields)}")


def _require_different(rules: Iterable[Rule], reserved: Collection[str]) -> None:
    """With a name twice, nobody could tell from a metric or a record which rule decided."""
    seen: set[str] = set()
    for place, rule in enumerate(rules, start=1):
        if rule.name in seen:
            raise BadInput(f"rule {place} ({rule.name}): another rule has that name; expected a different one")
        if rule.name in reserved:
            raise BadInput(f"rule {place} ({rule.name}): a built-in rule has that name; expected a different one")
        seen.add(rule.name)


def _quoted(said: Any) -> str:
    return "missing" if said is None else repr(said)[:80]
