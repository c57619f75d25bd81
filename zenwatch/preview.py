"""What a file would be stored as, without a cluster: the way of a report through parse, normalise and merge, and no further.

In: the bytes of a file: Kubernetes objects as JSON or YAML (one, a List, many documents), or what a tool printed.  Out: records.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import yaml

from zenwatch.contract import ApiResource, Watcher
from zenwatch.documents import documents_of
from zenwatch.errors import BadInput, first_line
from zenwatch.model.finding import Severity
from zenwatch.model.record import object_of, spec_hash
from zenwatch.supervise import contained
from zenwatch.transform.group import Holdings
from zenwatch.transform.normalise import normalise, require_source

Json = Mapping[str, Any]


@dataclass
class Preview:
    """Add files, then read records.

    thresholds: per watcher name, below which findings are filtered.
    is_forced: there is one watcher, and everything is its own, whatever label or version it has.
    """

    watchers: Sequence[Watcher]
    thresholds: Mapping[str, Severity]
    cluster_id: str
    own_namespace: str
    is_forced: bool = False
    errors: list[str] = field(default_factory=list)
    objects: int = 0
    findings: int = 0
    filtered: int = 0
    _held: Holdings = field(default_factory=Holdings)
    _names: dict[str, None] = field(default_factory=dict)

    def add(self, name: str, raw: bytes) -> None:
        """One file. What cannot be read goes to errors; the rest counts all the same."""
        try:
            reports = list(self._reports_in(name, raw))
        except BadInput as exc:
            self.errors.append(f"{name}: {first_line(exc)}")
            return
        for place, report in enumerate(reports):
            label = f"{name}[{place}]" if len(reports) > 1 else name
            try:
                self._take(label, report)
            except BadInput as exc:
                self.errors.append(f"{_named(report, label)}: {first_line(exc)}")

    def records(self) -> Iterator[dict[str, Any]]:
        """As they would be created, but for the count, which the status of each says."""
        for _, event, count in self._held.merged(list(self._names)):
            if event is not None:
                namespace = event.resource.namespace or self.own_namespace
                record = object_of(event, namespace=namespace, hash_of_spec=spec_hash(event))
                yield record | {"status": {"phase": "Open", "count": count, "reopened": 0}}

    def _take(self, label: str, report: Json) -> None:
        watcher = self._watcher_of(report)
        threshold, now = self.thresholds[watcher.name], datetime.now(UTC)
        with contained(f"the watcher {watcher.name}"):
            findings = list(watcher.parse(report))
            require_source(findings, watcher.name)
            kept = [finding for finding in findings if finding.severity.is_at_least(threshold)]
            events = [normalise(finding, cluster_id=self.cluster_id, seen_at=now) for finding in kept]
            self._names |= dict.fromkeys(self._held.replace(label, "", events))
        self.objects += 1
        self.findings += len(findings)
        self.filtered += len(findings) - len(kept)

    def _watcher_of(self, report: Json) -> Watcher:
        group_version, kind = str(report.get("apiVersion", "")), report.get("kind")
        labels = (report.get("metadata") or {}).get("labels") or {}
        reading = [
            (watcher, resource.label_selector)
            for watcher in self.watchers
            for resource in watcher.reads
            if resource.kind == kind and (self.is_forced or group_version == _group_version(resource))
        ]
        for watcher, selector in reading:
            if not selector or self.is_forced or _selects(selector, labels):
                return watcher
        for watcher, _ in reading:
            # A ConfigMap without its label: say whose it looks like by what is in it.
            if any(watcher.claims(document) for document in _documents(report, watcher)):
                return watcher
        raise BadInput(f"no watcher reads {kind or 'an object without kind'} of {group_version or 'no apiVersion'}: name one with --source")

    def _reports_in(self, name: str, raw: bytes) -> Iterator[Json]:
        try:
            documents = _parsed(raw)
        except BadInput as exc:
            # Neither JSON nor YAML as a whole: what a tool printed, perhaps, with other text around it.
            yield self._wrapped(name, raw.decode(errors="replace"), exc)
            return
        for document in documents:
            if isinstance(document, Mapping) and {"apiVersion", "kind"} <= document.keys():
                yield from _objects_in(document)
            else:
                reason = BadInput("it has no apiVersion and kind, and is in no form that a watcher knows")
                yield self._wrapped(name, orjson.dumps(document).decode(), reason)

    def _wrapped(self, name: str, text: str, reason: BadInput) -> Json:
        """A tool's bare output in a ConfigMap as it would be put into one: with the label of the watcher that claims it."""
        for watcher in self.watchers:
            for resource in watcher.reads:
                label, _, value = resource.label_selector.partition("=")
                metadata = {"name": name, "labels": {label: value}}
                wrapped = {"apiVersion": "v1", "kind": resource.kind, "metadata": metadata, "data": {"results.json": text}}
                if value and any(watcher.claims(document) for document in _documents(wrapped, watcher)):
                    return wrapped
        raise reason


def _documents(report: Json, watcher: Watcher) -> list[Any]:
    try:
        return [document.value for document in documents_of(report, claims=watcher.claims)]
    except BadInput:
        return []


def _objects_in(document: Json) -> Iterator[Json]:
    """The object, or those of a List, each with its kind: a List names it once for all."""
    entries = document.get("items")
    if not isinstance(entries, list):
        yield document
        return
    kind = {"kind": str(document["kind"]).removesuffix("List")} if document["kind"] != "List" else {}
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise BadInput("an entry of items is not an object")
        yield {"apiVersion": document["apiVersion"], **kind, **entry}


def _parsed(raw: bytes) -> list[Any]:
    try:
        return [orjson.loads(raw)]
    except orjson.JSONDecodeError as exc:
        not_json = exc
    try:
        # Only text that is no JSON at all can still be YAML: times stay text, as the API server would send them.
        documents = [document for document in yaml.load_all(raw, Loader=_TextLoader) if document is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise BadInput(f"neither JSON ({not_json.msg} at byte {not_json.pos}) nor YAML ({first_line(exc, 120)})") from exc
    if not any(isinstance(document, Mapping | list) for document in documents):
        raise BadInput(f"neither JSON ({not_json.msg} at byte {not_json.pos}) nor YAML objects")
    return documents


class _TextLoader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Safe, and without YAML's own times: the API server sends them as text."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _group_version(resource: ApiResource) -> str:
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def _selects(selector: str, labels: Json) -> bool:
    name, _, value = selector.partition("=")
    return bool(labels.get(name) == value)


def _named(report: Json, label: str) -> str:
    metadata = report.get("metadata") or {}
    name = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
    return f"{label} ({report.get('kind')} {name})" if name else label
