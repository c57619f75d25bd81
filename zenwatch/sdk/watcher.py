"""What the author of a watcher reads, besides model/finding.py and BadInput of errors.py."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zenwatch.config.core import PushSettings
from zenwatch.model.finding import Finding, Resource, Severity

# Of a list that grows with every sighting, so many are kept (records.md: samples, the last five).
RECENT_ENTRIES = 5


@dataclass(frozen=True, slots=True)
class ApiResource:
    """A kind that the API server may serve, as it stands in a URL.

    label_selector: read only the objects that it selects, such as app=kube-bench; empty: all.
    namespaced: False for a kind of the whole cluster; it is not read where zenwatch is confined to namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    label_selector: str = ""
    namespaced: bool = True

    @property
    def full_name(self) -> str:
        """As kubectl and RBAC write it: vulnerabilityreports.aquasecurity.github.io."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True)
class Watcher:
    """The declaration of one tool. Made once, at import, and never changed.

    name: the record's `source`, and the word by which settings and logs call it. Lower case.
    reads: the kinds that hold its reports. Needs list and watch on each; a kind that is not served is no error.
        One that other programs write to as well (ConfigMaps) must have a label selector.
    parse: one object of those kinds, as the API server sent it, to what the tool says in it. Pure: no I/O, no clock, no state.
        Yields all findings, whatever their severity: what is kept is the user's choice and made later.
        Raises BadInput if the object cannot be understood; what it yielded before is then not used.
    namespace, pod_labels: where the tool usually runs and how its pods are labelled, to tell whether it is there.
        An empty namespace: it leaves no pods behind that could be looked for.
    min_severity: findings below it are filtered unless the user sets <NAME>_MIN_SEVERITY.
    claims: whether a bare JSON document that the tool printed, without a Kubernetes object around it, is of this tool.
    silence_after: how long it may say nothing at least, unless the user sets <NAME>_SILENCE_AFTER; scanners report once a day.
    is_steady: it always has something to say; otherwise it is only missed once it has a habit.
    subject: what a report is about, also one without findings; None where it is about several things. It tells what was fixed from what
        is only not reported any more. Pure, as parse.
    regroup: a finding as it is said of the controller that owns its resource, with GROUP_BY_OWNER: key and resource are the controller's,
        and what named the replica is listed in details. Pure; called for every finding, also where the resource is its own controller.
        None: what the tool says stays with what the tool names.
    """

    name: str
    reads: tuple[ApiResource, ...]
    parse: Callable[[Mapping[str, Any]], Iterator[Finding]]
    namespace: str = ""
    pod_labels: str = ""
    min_severity: Severity = Severity.INFO
    claims: Callable[[Any], bool] = lambda _document: False
    silence_after: str = "26h"
    is_steady: bool = True
    subject: Callable[[Mapping[str, Any]], Resource | None] | None = None
    regroup: Callable[[Finding, Resource], Finding] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one pushed event.

    rule: which rule decided, one of a bounded set: it is a metric's label. why: the rule in one sentence, for a person.
    finding: what is stored; None where the rule leaves the event out. key: of an event that is left out, where it has one.
    """

    rule: str
    why: str
    finding: Finding | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class SelfIdentity:
    """What a push watcher may know of the process it works for, to leave out what that process did itself.

    own_account: the user name that the API server knows zenwatch by; empty until it was asked.
    own_namespace, own_pod: where zenwatch runs; own_pod is empty outside a pod.
    """

    own_account: Callable[[], str] = lambda: ""
    own_namespace: str = ""
    own_pod: str = ""


@dataclass(frozen=True, slots=True)
class PushWatcher:
    """The declaration of a tool that posts its events to us. Made once, at import, and never changed.

    name, namespace, pod_labels, min_severity: as in Watcher.
    path: where it posts, such as /falco/webhook.
    media_types: what it posts, the parts before any parameter. The first one is the one that an error message recommends.
    decode: a body and its media type to the events in it. Lazy: one step of the iterator holds the loop for some milliseconds at
        most, also for a body of MAX_BODY. BadInput, before the first event, says what is wrong with the body and what was expected.
    prepare: the settings and the circumstances, once at the start, to the judge of single events. Raises ConfigError.
        The judge is pure and raises BadInput for an event that it cannot understand.
    settings: PushSettings, or a subclass with settings of its own; its variables begin with the watcher's name.
    sender_retries: what is answered with 429 comes again. Otherwise a full buffer means that events are lost.
    counts_repeats: one more event of a key is one more sighting. Otherwise it is the same event, sent again.
    recent: the list in a finding's details of which the last RECENT_ENTRIES are kept, oldest first; empty: there is none.
    silence_after, is_steady: as in Watcher.
    quiet: how long without a sighting until a record is resolved, unless the user sets <NAME>_RESOLVE_AFTER.
    token_in_path: the sender cannot set headers, so the token may be the last segment of its path, or a basic password.
    claims: whether a JSON document is one of its bodies or events; asked where a file has to be told from those of other tools.
    """

    name: str
    path: str
    media_types: tuple[str, ...]
    decode: Callable[[bytes, str], Iterator[Any]]
    prepare: Callable[[Any, SelfIdentity], Callable[[Any], Verdict]]
    settings: type[PushSettings] = PushSettings
    sender_retries: bool = False
    counts_repeats: bool = False
    recent: str = ""
    resolve_after: str = "24h"
    silence_after: str = "26h"
    is_steady: bool = False
    token_in_path: bool = False
    namespace: str = ""
    pod_labels: str = ""
    min_severity: Severity = Severity.INFO
    claims: Callable[[Any], bool] = lambda _document: False

    @property
    def reads(self) -> tuple[ApiResource, ...]:
        """No kind: it is told."""
        return ()


AnyWatcher = Watcher | PushWatcher
