"""Make records of the findings in files, without a cluster: parse, normalise and merge, as for a report in the cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from zenwatch.errors import BadInput, first_line
from zenwatch.kube.records import namespace_of, object_of
from zenwatch.model.finding import Finding, Severity
from zenwatch.model.record import spec_hash
from zenwatch.model.refs import ReportRef
from zenwatch.model.text import one_line
from zenwatch.processing.event.normalise import normalise, require_source
from zenwatch.processing.pull.report_cache import ReportCache
from zenwatch.runtime.supervise import plugin_boundary
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher, Verdict, Watcher
from zenwatch.sources.pull.recognise import NoWatcherReadsIt, Recogniser, Unrecognised, is_object

Judge = Callable[[Any], Verdict]


@dataclass
class Preview:
    """Add files, then read the records that they would become."""

    watchers: Sequence[AnyWatcher]
    # By watcher name: findings below this severity are filtered.
    thresholds: Mapping[str, Severity]
    cluster_id: str
    own_namespace: str
    # By name of the push watcher.
    judges: Mapping[str, Judge] = field(default_factory=dict)
    # True: there is a single watcher, and everything is for it.
    is_forced: bool = False
    # True: a rule that a tool derives for a controller's Pods counts as the rule itself.
    groups_by_owner: bool = True

    # Every posted event, with its position in the files.
    judged: list[tuple[str, Verdict]] = field(default_factory=list)
    # Lines for a terminal: what was unreadable, and what no watcher reads.
    errors: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    objects: int = 0
    findings: int = 0
    filtered: int = 0
    excluded: int = 0
    _cache: ReportCache = field(default_factory=ReportCache)
    _names: dict[str, None] = field(default_factory=dict)

    def add(self, name: str, raw: bytes) -> None:
        """Reads a file. An unreadable object costs only itself and a line in `errors`."""
        for found in Recogniser(self.watchers, is_forced=self.is_forced).objects_in(name, raw):
            if isinstance(found, Unrecognised):
                lines = self.passed_over if isinstance(found.error, NoWatcherReadsIt) else self.errors
                _add_line(lines, _named(found.label, found.content), found.error)
            elif isinstance(found.watcher, PushWatcher):
                self._add_event(found.label, found.content, found.watcher)
            else:
                self._add_report(found.label, found.content, found.watcher)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records as zenwatch would create them, with the count in their status."""
        for _, event, holders in self._cache.merged(list(self._names)):
            namespace = namespace_of(event, own_namespace=self.own_namespace)
            record = object_of(event, namespace=namespace, hash_of_spec=spec_hash(event))
            yield record | {"status": {"phase": "Open", "count": len(holders), "reopened": 0}}

    def _add_event(self, label: str, event: Any, watcher: PushWatcher) -> None:
        try:
            with plugin_boundary(f"the watcher {watcher.name}"):
                verdict = self.judges[watcher.name](event)
                self._add_findings(label, watcher, [verdict.finding] if verdict.finding is not None else [])
        except BadInput as exc:
            _add_line(self.errors, label, exc)
        else:
            self.excluded += verdict.finding is None
            self.judged.append((label, verdict))

    def _add_report(self, label: str, report: Mapping[str, Any], watcher: Watcher) -> None:
        try:
            with plugin_boundary(f"the watcher {watcher.name}"):
                entries = list(watcher.parse(report))
                findings = [entry for entry in entries if not isinstance(entry, BadInput)]
                if self.groups_by_owner and watcher.regroup:
                    # Only a cluster knows the owner, so the finding keeps its own resource.
                    findings = [watcher.regroup(finding, finding.resource) for finding in findings]
                self._add_findings(label, watcher, findings)
        except BadInput as exc:
            entries = [exc]
        for error in entries:
            if isinstance(error, BadInput):
                _add_line(self.errors, _named(label, report), error)

    def _add_findings(self, label: str, watcher: AnyWatcher, findings: Sequence[Finding]) -> None:
        threshold, now = self.thresholds[watcher.name], datetime.now(UTC)
        require_source(findings, watcher.name)
        kept = [finding for finding in findings if finding.severity.is_at_least(threshold)]
        events = [normalise(finding, cluster_id=self.cluster_id, seen_at=now) for finding in kept]
        self._names |= dict.fromkeys(self._cache.replace(ReportRef("file", "", label), "", events))
        self.objects += 1
        self.findings += len(findings)
        self.filtered += len(findings) - len(kept)


def _add_line(lines: list[str], label: str, error: BadInput) -> None:
    lines.append(one_line(f"{label}: {first_line(error)}", 900))


def _named(label: str, content: Any) -> str:
    """The label, with kind, namespace and name if the content is a Kubernetes object that has a name."""
    if not is_object(content):
        return label
    metadata = content["metadata"] if isinstance(content.get("metadata"), Mapping) else {}
    name = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
    return f"{label} ({one_line(content['kind'], 80)} {one_line(name, 200)})" if name else label
