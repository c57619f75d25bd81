"""Falco: what programs do at run time that they should not (https://falco.org/docs/outputs/channels/#http-output).

In: alerts that Falco posts, as JSON or as text.  Out: findings, without credentials; Falco's own telemetry is left out.
Owns: nothing.
Stops: nothing to stop.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator

from zenwatch.sdk import (
    BadInput,
    Category,
    Finding,
    FindingType,
    PushSettings,
    PushWatcher,
    Resource,
    SelfIdentity,
    Severity,
    Verdict,
    fields,
    redacted,
    setting,
)
from zenwatch.sdk.fields import mapping_or_none, text_of, texts_of

ALERT = FindingType("falco", "falco-", "runtime-security", Category.SECURITY)

# The worst first, as syslog has them.
_SEVERITIES = {
    "emergency": Severity.CRITICAL,
    "alert": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
    "error": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "notice": Severity.LOW,
    "informational": Severity.INFO,
    "debug": Severity.INFO,
}
_RANKS = {priority: rank for rank, priority in enumerate(_SEVERITIES)}
_OTHER_WORDS = {"info": "informational"}

_TELEMETRY = "falco internal:"
_CONTACTS_API = "contact k8s api server from container"
_NOT_AVAILABLE = "<NA>"
_HOST = "host"
# The specification's key holds so many characters of the output.
KEY_OUTPUT_CHARS = 50
_TITLE_CHARS = 256
_SAMPLE_CHARS = 512
# No more of a text is looked at: a record takes 512 characters of each, after redaction.
_OUTPUT_CHARS = 4096
_TEXT_CHARS = 1024
_TAGS = 32

_TIME = r"(?P<time>\d{2}:\d{2}:\d{2}\.\d{1,9}|(?P<moment>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})))"
_WORDS = "Emergency|Alert|Critical|Error|Warning|Notice|Informational|Debug"
# What Falco puts before a rule's output.
_PREFIX = re.compile(rf"(?:{_TIME}: )?(?:(?P<priority>{_WORDS}) )?")
_LINE_BEGINS = re.compile(rf"^{_TIME}: ", re.MULTILINE)
# Where the output's sentence ends and its fields begin: "(user=root ..." or "| evt_type=execve ...".
_FIELDS_BEGIN = re.compile(r"[(|]\s{0,3}(?=[\w.%\[\]]{1,60}=)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EXPECTED = "expected one Falco alert as a JSON object (json_output: true in falco.yaml)"


def _priority_of(said: object) -> object:
    word = said.strip().lower() if isinstance(said, str) else said
    return _OTHER_WORDS.get(word, word) if isinstance(word, str) else word


class FalcoSettings(PushSettings):
    """What only Falco's alerts have."""

    min_priority: Annotated[
        Literal["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"], BeforeValidator(_priority_of)
    ] = setting(
        "MIN_PRIORITY",
        "debug",
        "one of emergency, alert, critical, error, warning, notice, informational, debug",
        "Alerts of a lower Falco priority are left out; one whose priority is unknown is not.",
    )


# ---------------------------------------------------------------- a body


def decode(body: bytes, media_type: str) -> Iterator[Any]:
    """Falco posts one alert; a list of alerts is taken too. In text an alert is a line, or more lines if it has a time."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if media_type == "text/plain" and not body.lstrip().startswith(b"{"):
        yield from _lines_of(body.decode("utf-8", "replace"))
        return
    document = _document_of(body)
    alerts = document if isinstance(document, list) else [document]
    for place, alert in enumerate(alerts):
        if not isinstance(alert, dict):
            where = f"entry {place} of the list is" if isinstance(document, list) else "the body is"
            raise BadInput(f"{where} {_kind_of(alert)}; {_EXPECTED}")
    yield from alerts


def _document_of(body: bytes) -> Any:
    if not body.strip():
        raise BadInput(f"the body is empty; {_EXPECTED}")
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise BadInput(f"not JSON: not UTF-8 at byte {exc.start}; {_EXPECTED}") from exc
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise BadInput(f"not JSON: {exc.msg} at byte {len(text[: exc.pos].encode())}; {_EXPECTED}") from exc


def _kind_of(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def _lines_of(text: str) -> Iterator[Mapping[str, str]]:
    """What follows a line with a time is its own, up to the next such line: a command may be a whole script."""
    begins = [found.start() for found in _LINE_BEGINS.finditer(text)]
    if not text.strip():
        raise BadInput(f"the body is empty; {_EXPECTED}")
    ends = [*begins, len(text)]
    for line in re.finditer(r"\S[^\n]*", text[: ends[0]]):
        yield {"output": line[0]}
    for begin, end in zip(begins, ends[1:], strict=True):
        yield {"output": text[begin:end]}


def claims(document: Any) -> bool:
    """An alert, or a list of alerts."""
    alerts = document if isinstance(document, list) and document else [document]
    return all(
        isinstance(alert, dict)
        and any(isinstance(alert.get(field), str) for field in ("output", "rule"))
        and (isinstance(alert.get("priority"), str) or isinstance(alert.get("output_fields"), dict))
        for alert in alerts
    )


# ---------------------------------------------------------------- an alert


@dataclass(frozen=True, slots=True)
class _Alert:
    """As it came. prefix: the time and the priority that stand before what is said; moment: that time, if it has a date."""

    rule: str
    priority: str
    prefix: str
    said: str
    moment: str
    event: Mapping[str, Any]
    fields: Mapping[str, Any]

    @property
    def word(self) -> str:
        return _word(self.priority)

    def field(self, name: str) -> str:
        """Falco prints what it could not find out as <NA>."""
        value = text_of(self.fields, name)
        return "" if value == _NOT_AVAILABLE else value


def prepare(settings: Any, self_identity: SelfIdentity) -> Callable[[Any], Verdict]:
    """settings: FalcoSettings."""
    least = _RANKS[settings.min_priority]
    why_below = f"Its priority is below FALCO_MIN_PRIORITY, {settings.min_priority}."

    def judge(event: Any) -> Verdict:
        alert = _alert_of(event)
        if _is_telemetry(alert):
            return Verdict("telemetry", "Falco tells of itself: no program did anything.")
        if _RANKS.get(alert.word, least) > least:
            return Verdict("below-priority", why_below)
        if _is_own_contact(alert, self_identity):
            return Verdict("own-contact", "The pod of zenwatch talks to the API server, as it has to.")
        return Verdict("alert", "A rule of Falco's fired.", _finding_of(alert))

    return judge


def _alert_of(event: Any) -> _Alert:
    if not isinstance(event, Mapping):
        raise BadInput(f"an alert is {_kind_of(event)}; {_EXPECTED}")
    rule, priority, output = (_bounded(text_of(event, field), _OUTPUT_CHARS) for field in ("rule", "priority", "output"))
    # The message is the output without time and priority; newer versions can send it instead.
    said = output or _bounded(text_of(event, "message"), _OUTPUT_CHARS)
    if not rule and not said:
        raise BadInput(f"an alert has neither rule nor output; {_EXPECTED}")
    prefix, moment, in_prefix = _prefix_of(output, priority)
    fields = mapping_or_none(event, "output_fields")
    return _Alert(rule, priority or in_prefix, prefix=prefix, said=said[len(prefix) :], moment=moment, event=event, fields=fields)


def _prefix_of(output: str, priority: str) -> tuple[str, str, str]:
    """What stands before the sentence, the date and time in it, the priority in it; each may be empty."""
    prefix = _PREFIX.match(output)
    # Without a time the first word may be the sentence's own.
    if not prefix or not (prefix["time"] or _word(priority) in {"", _word(prefix["priority"] or "")}):
        return "", "", ""
    return prefix[0], prefix["moment"] or "", prefix["priority"] or ""


def _bounded(text: str, limit_chars: int) -> str:
    """Not cut within a word: half a credential cannot be told any more."""
    return text if len(text) <= limit_chars else text[:limit_chars].rpartition(" ")[0] or text[:limit_chars]


def _word(priority: str) -> str:
    word = priority.lower()
    return _OTHER_WORDS.get(word, word)


def _is_telemetry(alert: _Alert) -> bool:
    names = (alert.rule.lower(), alert.said.lower())
    return text_of(alert.event, "source").lower() == "internal" or any(name.startswith(_TELEMETRY) for name in names)


def _is_own_contact(alert: _Alert, own: SelfIdentity) -> bool:
    """Nothing else that our own pod does: whoever broke into it does other things than we."""
    if alert.rule.lower() != _CONTACTS_API or not (own.own_namespace and own.own_pod):
        return False
    return (alert.field("k8s.ns.name"), alert.field("k8s.pod.name")) == (own.own_namespace, own.own_pod)


# ---------------------------------------------------------------- a finding


def _finding_of(alert: _Alert) -> Finding:
    rule, said = redacted(alert.rule), redacted(alert.said)
    pod = _clean(alert.field("k8s.pod.name"))
    sample = f"{alert.prefix}{said}"
    details = {
        "rule": rule,
        "priority": redacted(alert.priority),
        "output": said,
        **_fields_of(alert),
        "samples": [_cut(sample, _SAMPLE_CHARS)] if sample else [],
    }
    return Finding(
        type=ALERT,
        key=f"{rule}/{pod}/{said[:KEY_OUTPUT_CHARS]}",
        # A word that is not Falco's is not harmless.
        severity=_SEVERITIES.get(alert.word, Severity.MEDIUM),
        title=_title(rule, said),
        resource=_resource_of(alert),
        details=fields.filled(details),
        detected_at=_time_of(alert),
    )


def _fields_of(alert: _Alert) -> dict[str, str | list[str]]:
    repository, tag = alert.field("container.image.repository"), alert.field("container.image.tag")
    users = (name for name in sorted(alert.fields) if name.endswith((".user", ".user.name")))
    texts = {
        "container": alert.field("container.name"),
        "containerID": alert.field("container.id"),
        "image": f"{repository}:{tag}" if repository and tag else repository or alert.field("container.image"),
        "imageDigest": alert.field("container.image.digest"),
        "node": text_of(alert.event, "hostname") or alert.field("evt.hostname"),
        "process": alert.field("proc.name") or _clean(alert.field("proc.cmdline")).partition(" ")[0],
        "user": next(filter(None, map(alert.field, ("user.name", "ka.user.name", *users))), ""),
        "falcoSource": text_of(alert.event, "source"),
    }
    tags = list(dict.fromkeys(texts_of(alert.event, "tags")[:_TAGS]))
    return {name: _clean(text) for name, text in texts.items()} | {"tags": [_clean(tag) for tag in tags]}


def _clean(text: str) -> str:
    return redacted(_bounded(text, _TEXT_CHARS))


def _title(rule: str, said: str) -> str:
    """The rule and its sentence, without the fields that follow it."""
    begin = _FIELDS_BEGIN.search(said)
    sentence = " ".join((said[: begin.start()] if begin else said).split())
    is_more = rule and sentence and sentence.lower() != rule.lower()
    return _cut(f"{rule}: {sentence}" if is_more else rule or sentence or " ".join(said.split()), _TITLE_CHARS)


def _cut(text: str, limit_chars: int) -> str:
    return text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…"


def _time_of(alert: _Alert) -> datetime | None:
    return fields.time_of(alert.event.get("time")) or _time_since_1970(alert.fields.get("evt.time")) or fields.time_of(alert.moment)


def _time_since_1970(said: Any) -> datetime | None:
    """Nanoseconds."""
    if isinstance(said, str) and re.fullmatch(r"[0-9]{1,20}", said):
        said = int(said)
    if not isinstance(said, int) or isinstance(said, bool):
        return None
    seconds, rest = divmod(said, 1_000_000_000)
    moment = fields.time_of({"seconds": seconds})
    return moment.replace(microsecond=rest // 1000) if moment else None


# ---------------------------------------------------------------- about what


def _plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith("ss"):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") else word if word.endswith("s") else f"{word}s"


_KINDS = {_plural(kind): kind for kind in fields.API_VERSIONS}


def _resource_of(alert: _Alert) -> Resource:
    """The pod; else what a request to the API server was about; else the node, where no container had a part in it."""
    namespace, pod = _clean(alert.field("k8s.ns.name")), _clean(alert.field("k8s.pod.name"))
    if pod:
        return Resource("v1", "Pod", pod, namespace)
    target = _target_of(alert)
    if target != Resource():
        return target
    node = text_of(alert.event, "hostname")
    if not namespace and node and _is_of_host(alert):
        return Resource("v1", "Node", _clean(node))
    return Resource(namespace=namespace)


def _target_of(alert: _Alert) -> Resource:
    # pods/exec: the subresource is no kind.
    plural = _clean(alert.field("ka.target.resource")).partition("/")[0]
    kind = _KINDS.get(plural.lower(), plural)
    namespace = "" if kind in fields.CLUSTER_SCOPED else _clean(alert.field("ka.target.namespace"))
    return Resource(fields.API_VERSIONS.get(kind, ""), kind, _clean(alert.field("ka.target.name")), namespace)


def _is_of_host(alert: _Alert) -> bool:
    """Without any field nothing is known of a container either."""
    if container := alert.field("container.id"):
        return container == _HOST
    is_syscall = text_of(alert.event, "source").lower() in {"", "syscall"}
    named = (name for name in alert.fields if name.startswith(("container.", "k8s.", "ka.", "jevt.")))
    return is_syscall and bool(alert.fields) and not any(map(alert.field, named))


FALCO = PushWatcher(
    name="falco",
    path="/falco/webhook",
    media_types=("application/json", "text/plain"),
    decode=decode,
    prepare=prepare,
    settings=FalcoSettings,
    counts_repeats=True,
    recent="samples",
    token_in_path=True,
    namespace="falco",
    pod_labels="app.kubernetes.io/name=falco",
    claims=claims,
)
