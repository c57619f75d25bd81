"""Make a finding of an alert, without credentials."""

import re
from datetime import datetime
from typing import Any

from watchers.falco.alert import Alert, bounded
from zenwatch.sdk import Category, Finding, FindingType, Resource, Severity, fields, redacted
from zenwatch.sdk.fields import text_of, texts_of

ALERT = FindingType("falco", "falco-", "runtime-security", Category.SECURITY)
# docs/specification.md, "Deduplication keys": the key holds so many characters of the output.
KEY_OUTPUT_CHARS = 50

# docs/severity.md, "Falco" has the sources.
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
_HOST = "host"
_TITLE_CHARS = 256
_SAMPLE_CHARS = 512
# The length of a text before redaction. Records hold 512 characters.
_TEXT_CHARS = 1024
_TAGS = 32
# The sentence of the output ends here, and its fields begin: "(user=root ..." or "| evt_type=execve ...".
_FIELDS_BEGIN = re.compile(r"[(|]\s{0,3}(?=[\w.%\[\]]{1,60}=)")


def finding_of(alert: Alert) -> Finding:
    rule, output = redacted(alert.rule), redacted(alert.text)
    pod = _clean(alert.field("k8s.pod.name"))
    sample = f"{alert.prefix}{output}"
    details = {
        "rule": rule,
        "priority": redacted(alert.priority),
        "output": output,
        **_fields_of(alert),
        "samples": [_cut(sample, _SAMPLE_CHARS)] if sample else [],
    }
    return Finding(
        type=ALERT,
        key=f"{rule}/{pod}/{output[:KEY_OUTPUT_CHARS]}",
        # An unknown word is not harmless.
        severity=_SEVERITIES.get(alert.word, Severity.MEDIUM),
        title=_title(rule, output),
        resource=_resource_of(alert),
        details=fields.filled(details),
        detected_at=_time_of(alert),
    )


def _fields_of(alert: Alert) -> dict[str, str | list[str]]:
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
    return redacted(bounded(text, _TEXT_CHARS))


def _title(rule: str, output: str) -> str:
    """The rule and the sentence of the output, without the fields after the sentence."""
    begin = _FIELDS_BEGIN.search(output)
    sentence = " ".join((output[: begin.start()] if begin else output).split())
    is_more = rule and sentence and sentence.lower() != rule.lower()
    return _cut(f"{rule}: {sentence}" if is_more else rule or sentence or " ".join(output.split()), _TITLE_CHARS)


def _cut(text: str, limit_chars: int) -> str:
    return text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…"


def _time_of(alert: Alert) -> datetime | None:
    return fields.time_of(alert.event.get("time")) or _time_since_1970(alert.fields.get("evt.time")) or fields.time_of(alert.moment)


def _time_since_1970(nanoseconds: Any) -> datetime | None:
    """nanoseconds: a number, or a text of digits."""
    if isinstance(nanoseconds, str) and re.fullmatch(r"[0-9]{1,20}", nanoseconds):
        nanoseconds = int(nanoseconds)
    if not isinstance(nanoseconds, int) or isinstance(nanoseconds, bool):
        return None
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    moment = fields.time_of({"seconds": seconds})
    return moment.replace(microsecond=rest // 1000) if moment else None


# ---------------------------------------------------------------- the resource


def _plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith("ss"):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") else word if word.endswith("s") else f"{word}s"


_KINDS = {_plural(kind): kind for kind in fields.API_VERSIONS}


def _resource_of(alert: Alert) -> Resource:
    """The pod; else the object of a request to the API server; else the node, if no container took part."""
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


def _target_of(alert: Alert) -> Resource:
    # In pods/exec the kind is pods.
    plural = _clean(alert.field("ka.target.resource")).partition("/")[0]
    kind = _KINDS.get(plural.lower(), plural)
    namespace = "" if kind in fields.CLUSTER_SCOPED else _clean(alert.field("ka.target.namespace"))
    return Resource(fields.API_VERSIONS.get(kind, ""), kind, _clean(alert.field("ka.target.name")), namespace)


def _is_of_host(alert: Alert) -> bool:
    """Whether a program on the host did it. Without output fields this is unknown: False."""
    if container := alert.field("container.id"):
        return container == _HOST
    is_syscall = text_of(alert.event, "source").lower() in {"", "syscall"}
    named = (name for name in alert.fields if name.startswith(("container.", "k8s.", "ka.", "jevt.")))
    return is_syscall and bool(alert.fields) and not any(map(alert.field, named))
