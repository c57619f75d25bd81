"""An alert of Falco: its fields, and the priority and the time that may stand at the beginning of its output."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zenwatch.sdk import BadInput
from zenwatch.sdk.fields import mapping_or_none, text_of

# From the worst to the least, as in syslog.
PRIORITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")
EXPECTED = "expected one Falco alert as a JSON object (json_output: true in falco.yaml)"
TIME = r"(?P<time>\d{2}:\d{2}:\d{2}\.\d{1,9}|(?P<moment>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})))"

_OTHER_WORDS = {"info": "informational"}
_WORDS = "|".join(priority.capitalize() for priority in PRIORITIES)
# Falco puts this before the output of a rule.
_PREFIX = re.compile(rf"(?:{TIME}: )?(?:(?P<priority>{_WORDS}) )?")
_NOT_AVAILABLE = "<NA>"
# The length of a text before redaction. Records hold 512 characters.
_OUTPUT_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as Falco posted it."""

    rule: str
    priority: str
    # The time and the priority before the text. Often empty.
    prefix: str
    text: str
    # The time in the prefix, if it has a date.
    moment: str
    event: Mapping[str, Any]
    fields: Mapping[str, Any]

    @property
    def word(self) -> str:
        """The priority as in PRIORITIES, or an unknown word in lower case."""
        return priority_word(self.priority)

    def field(self, name: str) -> str:
        """The text of an output field; empty if the field is absent, no text, or <NA>."""
        value = text_of(self.fields, name)
        return "" if value == _NOT_AVAILABLE else value


def alert_of(event: Any) -> Alert:
    """Raises BadInput if the event has neither a rule nor an output."""
    if not isinstance(event, Mapping):
        raise BadInput(f"an alert is {type_name(event)}; {EXPECTED}")
    rule, priority, output = (bounded(text_of(event, field), _OUTPUT_CHARS) for field in ("rule", "priority", "output"))
    # The message is the output without time and priority. Newer versions of Falco can post only the message.
    text = output or bounded(text_of(event, "message"), _OUTPUT_CHARS)
    if not rule and not text:
        raise BadInput(f"an alert has neither rule nor output; {EXPECTED}")
    prefix, moment, in_prefix = _prefix_of(output, priority)
    fields = mapping_or_none(event, "output_fields")
    return Alert(rule, priority or in_prefix, prefix=prefix, text=text[len(prefix) :], moment=moment, event=event, fields=fields)


def _prefix_of(output: str, priority: str) -> tuple[str, str, str]:
    """The prefix of the output, its date and time, and its priority. Each may be empty."""
    prefix = _PREFIX.match(output)
    # Without a time, the first word may belong to the text.
    if not prefix or not (prefix["time"] or priority_word(priority) in {"", priority_word(prefix["priority"] or "")}):
        return "", "", ""
    return prefix[0], prefix["moment"] or "", prefix["priority"] or ""


def priority_word(priority: str) -> str:
    word = priority.lower()
    return _OTHER_WORDS.get(word, word)


def bounded(text: str, limit_chars: int) -> str:
    """The beginning of the text. It ends between words if possible: half a credential does not look like one."""
    return text if len(text) <= limit_chars else text[:limit_chars].rpartition(" ")[0] or text[:limit_chars]


def type_name(value: Any) -> str:
    """How an error names the type of a JSON value that is no object."""
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
