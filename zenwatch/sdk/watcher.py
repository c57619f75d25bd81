"""How a tool is declared: what zenwatch reads or receives from it, and the pure functions that make findings of that."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding, Resource, Severity
from zenwatch.sdk.settings import PushSettings

# How many entries zenwatch keeps of a list that grows with every sighting (docs/records.md, "Details").
RECENT_ENTRIES = 5


@dataclass(frozen=True, slots=True)
class ApiResource:
    """A kind that the API server may serve, named as in a URL."""

    group: str
    version: str
    plural: str
    kind: str
    # Only objects with this label are read, such as app=kube-bench. Empty: all objects.
    label_selector: str = ""
    # False for a cluster-scoped kind. zenwatch does not read it when WATCH_NAMESPACE is set.
    namespaced: bool = True

    @property
    def full_name(self) -> str:
        """The name that kubectl and RBAC use: vulnerabilityreports.aquasecurity.github.io."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True)
class Watcher:
    """The declaration of a tool that writes its findings into Kubernetes objects. A module makes it once, at import."""

    # The record's `source`, and the tool's name in settings, logs and metrics: a lower-case DNS label.
    name: str

    # The kinds that hold the tool's reports. zenwatch needs the rights to list and watch each of them. A kind that the API server does not
    # serve is no error. A kind that other programs write to as well (ConfigMaps) needs a label selector.
    reads: tuple[ApiResource, ...]

    # Returns the findings in one object, given as the API server sent it. Pure: no I/O, no clock, no state.
    # Yields every finding, whatever its severity: zenwatch filters them later, by the user's settings.
    # Yields a BadInput in place of an entry that it cannot understand: the others are stored, and what the report held before and does not
    # hold now stays open, because that entry may be it. Raises BadInput if it cannot understand the object at all: zenwatch then drops the
    # findings that it has already yielded, and keeps those of the last version that it could read.
    parse: Callable[[Mapping[str, Any]], Iterator[Finding | BadInput]]

    # Where the tool's pods usually run, and their labels. zenwatch uses both only to detect whether the tool is installed.
    # Empty namespace: the tool has no pods that stay.
    namespace: str = ""
    pod_labels: str = ""

    # The default of <NAME>_MIN_SEVERITY: zenwatch does not store findings below it.
    min_severity: Severity = Severity.INFO

    # Environment variables of the tool itself that resemble a setting of zenwatch, such as TRIVY_SEVERITY: they are no typing errors.
    tool_variables: tuple[str, ...] = ()

    # How a person makes a report that can be read, in one sentence, such as "Run checkov with -o json." zenwatch doctor prints it below
    # the reports that were rejected. Empty where nobody but the tool writes reports.
    remedy: str = ""

    # Returns whether a JSON document is this tool's own output, without a Kubernetes object around it.
    claims: Callable[[Any], bool] = lambda _document: False

    # The default of <NAME>_SILENCE_AFTER: zenwatch reports a tool that wrote nothing for this long. Most scanners write once a day.
    silence_after: str = "26h"

    # True: the tool always has something to write, so its silence counts from the start.
    # False: its silence counts only after zenwatch has learned how often it writes.
    is_steady: bool = True

    # Returns the only resource that a report is about, even if the report has no findings. Returns None if it is about several.
    # zenwatch needs it to tell a problem that was fixed from a report that was deleted. Pure, as parse.
    # None: every report of this tool is about several resources.
    subject: Callable[[Mapping[str, Any]], Resource | None] | None = None

    # With GROUP_BY_OWNER: returns the finding with the given controller in `key` and `resource`, and lists the replica in details.
    # zenwatch calls it with every finding, also if the resource has no controller: it then gives the resource itself. Pure, as parse.
    # None: a finding keeps the resource that the tool names.
    regroup: Callable[[Finding, Resource], Finding] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to one posted event, and why."""

    # The rule that decided. It is a label of a metric, so there must be a fixed number of rules.
    rule: str
    # The rule in one sentence, for a person.
    why: str
    # What zenwatch stores. None: the rule excludes the event.
    finding: Finding | None = None
    # The key of an excluded event, if it has one: `zenwatch explain` finds the event by it.
    key: str = ""


@dataclass(frozen=True, slots=True)
class SelfIdentity:
    """Who zenwatch is in the cluster: a push watcher needs it to exclude what zenwatch itself did."""

    # Returns the user name of zenwatch at the API server. Empty until the API server has answered that question.
    own_account: Callable[[], str] = lambda: ""
    own_namespace: str = ""
    # Empty outside a pod.
    own_pod: str = ""


@dataclass(frozen=True, slots=True)
class PushWatcher:
    """The declaration of a tool that posts its events to zenwatch. A module makes it once, at import."""

    # As in Watcher.
    name: str

    # The path of the URL that the tool posts to, such as /falco/webhook.
    path: str

    # The media types that the tool posts, without parameters. An error message recommends the first one.
    media_types: tuple[str, ...]

    # Returns the events in a body of the given media type. Lazy: one step of the iterator takes a few milliseconds at most, even if the
    # body has the size <NAME>_MAX_BODY, because the event loop waits for it.
    # Raises BadInput before the first event if the body is wrong. The message states what is wrong and what was expected.
    decode: Callable[[bytes, str], Iterator[Any]]

    # Returns the function that judges single events. zenwatch calls prepare once, at the start, with an object of `settings`.
    # Raises ConfigError if a setting is wrong. The judge is pure; it raises BadInput for an event that it cannot understand.
    prepare: Callable[[Any, SelfIdentity], Callable[[Any], Verdict]]

    # The settings of every push watcher, or a subclass that adds some. Their variables begin with the tool's name.
    settings: type[PushSettings] = PushSettings

    # True: the sender posts again what zenwatch answered with 429. False: events are lost when the buffer is full.
    sender_retries: bool = False

    # True: another event with the same key is another sighting. False: it is the same event, sent again.
    counts_repeats: bool = False

    # The list in `details` of which zenwatch keeps the last RECENT_ENTRIES entries, oldest first. Empty: there is no such list.
    recent: str = ""

    # The default of <NAME>_RESOLVE_AFTER: zenwatch resolves a record whose last sighting is older.
    resolve_after: str = "24h"

    # As in Watcher.
    silence_after: str = "26h"
    is_steady: bool = False

    # True: the sender cannot set headers. The token may then be the last segment of the path, or the password of basic authentication.
    token_in_path: bool = False

    # As in Watcher.
    namespace: str = ""
    pod_labels: str = ""
    min_severity: Severity = Severity.INFO
    tool_variables: tuple[str, ...] = ()

    # Returns whether a JSON document is one of the tool's bodies or events. `zenwatch preview` needs it to recognise a file.
    claims: Callable[[Any], bool] = lambda _document: False

    @property
    def reads(self) -> tuple[ApiResource, ...]:
        """Always empty: a push watcher reads no Kubernetes objects."""
        return ()


AnyWatcher = Watcher | PushWatcher
