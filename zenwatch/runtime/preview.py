"""What a file would be stored as, without a cluster: the way of a report through parse, normalise and merge, and no further.

In: the bytes of a file: Kubernetes objects as JSON or YAML (one, a List, many documents), or what a tool printed.  Out: records.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson

from zenwatch.errors import BadInput, first_line
from zenwatch.model.finding import Finding, Severity
from zenwatch.model.record import namespace_of, object_of, spec_hash
from zenwatch.processing.event.normalise import normalise, one_line, require_source
from zenwatch.processing.pull.report_cache import ReportCache
from zenwatch.runtime.supervise import plugin_boundary
from zenwatch.sdk.embedded_json import documents_of
from zenwatch.sdk.input_files import read, text_of
from zenwatch.sdk.watcher import AnyWatcher, ApiResource, PushWatcher, Verdict, Watcher

Json = Mapping[str, Any]
Judge = Callable[[Any], Verdict]


class NobodysReport(BadInput):
    """An object that is none of ours, such as the Namespace that stands in the same file: no error where something else is read."""


@dataclass
class Preview:
    """Add files, then read records.

    thresholds: per watcher name, below which findings are filtered.
    judges: per push watcher, what judges its events. judged: each of them, with where it stood.
    is_forced: there is one watcher, and everything is its own, whatever label or version it has.
    groups_by_owner: rules that a tool derives for controllers count as the rule itself.
    errors, passed_over: a line each, for a terminal.
    """

    watchers: Sequence[AnyWatcher]
    thresholds: Mapping[str, Severity]
    cluster_id: str
    own_namespace: str
    judges: Mapping[str, Judge] = field(default_factory=dict)
    is_forced: bool = False
    groups_by_owner: bool = True
    judged: list[tuple[str, Verdict]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    objects: int = 0
    findings: int = 0
    filtered: int = 0
    left_out: int = 0
    _cache: ReportCache = field(default_factory=ReportCache)
    _names: dict[str, None] = field(default_factory=dict)

    def add(self, name: str, raw: bytes) -> None:
        """One file. What cannot be read goes to errors, what no watcher reads to passed_over; the rest counts all the same."""
        text = text_of(raw)
        documents, failure = read(text)
        if not documents and self._takes_lines():
            documents, failure = [{"output": line} for line in text.splitlines() if line.strip()], None
        if not documents and failure is not None:
            # Neither JSON nor YAML as a whole: what a tool printed, perhaps, with other text around it.
            self._add_bare(name, text, failure)
            return
        entries = [entry for document in documents for entry in _entries_of(document)]
        for place, entry in enumerate(entries):
            self._add_entry(f"{name}[{place}]" if len(entries) > 1 else name, entry)
        if failure is not None:
            self._tell(self.errors, name, failure)

    def records(self) -> Iterator[dict[str, Any]]:
        """As they would be created, but for the count, which the status of each says."""
        for _, event, holders in self._cache.merged(list(self._names)):
            namespace = namespace_of(event, own_namespace=self.own_namespace)
            record = object_of(event, namespace=namespace, hash_of_spec=spec_hash(event))
            yield record | {"status": {"phase": "Open", "count": len(holders), "reopened": 0}}

    def _takes_lines(self) -> bool:
        """A tool that posts plain text prints a line for each event."""
        return self.is_forced and any(isinstance(watcher, PushWatcher) and "text/plain" in watcher.media_types for watcher in self.watchers)

    def _add_entry(self, label: str, entry: Any) -> None:
        for watcher in self.watchers:
            if isinstance(watcher, PushWatcher) and (self.is_forced or _claims(watcher, entry)):
                self._add_event(label, entry, watcher)
                return
        if not _is_object(entry):
            reason = BadInput("it has no apiVersion and kind, and is in no form that a watcher knows")
            try:
                text = orjson.dumps(entry).decode()
            except TypeError:
                # It can be read at more levels than it can be written.
                self._tell(self.errors, label, reason)
            else:
                self._add_bare(label, text, reason)
            return
        try:
            self._take(label, entry)
        except NobodysReport as exc:
            self._tell(self.passed_over, _named(entry, label), exc)
        except BadInput as exc:
            self._tell(self.errors, _named(entry, label), exc)

    def _add_event(self, label: str, entry: Any, watcher: PushWatcher) -> None:
        try:
            with plugin_boundary(f"the watcher {watcher.name}"):
                verdict = self.judges[watcher.name](entry)
                findings = [verdict.finding] if verdict.finding is not None else []
                self._hold(label, watcher, findings)
        except BadInput as exc:
            self._tell(self.errors, label, exc)
        else:
            self.left_out += verdict.finding is None
            self.judged.append((label, verdict))

    def _add_bare(self, label: str, text: str, reason: BadInput) -> None:
        """A tool's own output, in a ConfigMap as it would be put into one: with the label of the watcher that claims it."""
        for watcher in _pulling(self.watchers):
            for resource in watcher.reads:
                name, _, value = resource.label_selector.partition("=")
                metadata = {"name": label, "labels": {name: value}}
                wrapped = {"apiVersion": "v1", "kind": resource.kind, "metadata": metadata, "data": {"results.json": text}}
                if value and _claims_part(watcher, wrapped):
                    self._add_entry(label, wrapped)
                    return
        self._tell(self.errors, label, reason)

    def _take(self, label: str, report: Json) -> None:
        if not isinstance(report.get("metadata"), Mapping):
            raise BadInput("metadata is missing or not an object")
        watcher = self._watcher_of(report)
        with plugin_boundary(f"the watcher {watcher.name}"):
            findings = list(watcher.parse(report))
            if self.groups_by_owner and watcher.regroup:
                # Who owns what only a cluster knows.
                findings = [watcher.regroup(finding, finding.resource) for finding in findings]
            self._hold(label, watcher, findings)

    def _hold(self, label: str, watcher: AnyWatcher, findings: Sequence[Finding]) -> None:
        threshold, now = self.thresholds[watcher.name], datetime.now(UTC)
        require_source(findings, watcher.name)
        kept = [finding for finding in findings if finding.severity.is_at_least(threshold)]
        events = [normalise(finding, cluster_id=self.cluster_id, seen_at=now) for finding in kept]
        self._names |= dict.fromkeys(self._cache.replace(label, "", events))
        self.objects += 1
        self.findings += len(findings)
        self.filtered += len(findings) - len(kept)

    def _watcher_of(self, report: Json) -> Watcher:
        kind, group_version = report["kind"], report["apiVersion"]
        reading = [
            (watcher, resource.label_selector)
            for watcher in _pulling(self.watchers)
            for resource in watcher.reads
            if resource.kind == kind and (self.is_forced or group_version == _group_version(resource))
        ]
        for watcher, selector in reading:
            if not selector or self.is_forced or _selects(selector, report["metadata"].get("labels")):
                return watcher
        for watcher, _ in reading:
            # A ConfigMap without its label: say whose it looks like by what is in it.
            if _claims_part(watcher, report):
                return watcher
        raise NobodysReport(f"no watcher reads {kind} of {group_version}: name one with --source")

    def _tell(self, lines: list[str], label: str, error: BadInput) -> None:
        lines.append(one_line(f"{label}: {first_line(error)}", 900))


def _entries_of(document: Any) -> list[Any]:
    """The document itself, or the entries of a List, each with its kind: a List names it once for all."""
    if not _is_object(document) or not isinstance(document.get("items"), list):
        return [document]
    kind = {"kind": document["kind"].removesuffix("List")} if document["kind"] != "List" else {}
    about = {"apiVersion": document["apiVersion"], **kind}
    return [about | entry if isinstance(entry, dict) else entry for entry in document["items"]]


def _is_object(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("apiVersion"), str) and isinstance(document.get("kind"), str)


def _claims(watcher: AnyWatcher, document: Any) -> bool:
    """Whose a document is, is asked of all watchers: one that stumbles over it does not want it."""
    try:
        with plugin_boundary(f"the watcher {watcher.name}"):
            return watcher.claims(document)
    except BadInput:
        return False


def _claims_part(watcher: Watcher, config_map: Json) -> bool:
    try:
        return any(_claims(watcher, document.value) for document in documents_of(config_map, claims=partial(_claims, watcher)))
    except BadInput:
        return False


def _pulling(watchers: Sequence[AnyWatcher]) -> Iterator[Watcher]:
    return (watcher for watcher in watchers if isinstance(watcher, Watcher))


def _group_version(resource: ApiResource) -> str:
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def _selects(selector: str, labels: Any) -> bool:
    name, _, value = selector.partition("=")
    return isinstance(labels, Mapping) and labels.get(name) == value


def _named(report: Json, label: str) -> str:
    metadata = report["metadata"] if isinstance(report.get("metadata"), Mapping) else {}
    name = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
    return f"{label} ({one_line(report['kind'], 80)} {one_line(name, 200)})" if name else label
