"""What the rooms promise each other. The author of a watcher needs Watcher and ApiResource, or PushWatcher and Verdict, besides
model/finding.py and BadInput of errors.py.

A watcher yields findings; a source hands them to an Intake; the Intake decides against the Index and submits
envelopes to a RecordWriter; the writer calls the Store; the receipt comes back through the envelope. Where a tool pushes, a Hook
takes the body and a PushIntake the findings, with an Inbox in it; a Destination stands behind the store where records are delivered.
Each of these has one suite in tests/contract that every implementation passes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from zenwatch.model.envelope import Envelope, Outcome
from zenwatch.model.event import Event
from zenwatch.model.finding import Finding, Severity
from zenwatch.model.parcel import DeadLetter, Fill, Intent, Parcel
from zenwatch.model.record import Stored
from zenwatch.settings import PushSettings

# Of a list that grows with every sighting, so many are kept (records.md: samples, the last five).
RECENT_ENTRIES = 5

# ---------------------------------------------------------------- what a tool says


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
    """

    name: str
    reads: tuple[ApiResource, ...]
    parse: Callable[[Mapping[str, Any]], Iterator[Finding]]
    namespace: str = ""
    pod_labels: str = ""
    min_severity: Severity = Severity.INFO
    claims: Callable[[Any], bool] = lambda _document: False


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
class Circumstances:
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
    token_in_path: the sender cannot set headers, so the token may be the last segment of its path, or a basic password.
    claims: whether a JSON document is one of its bodies or events; asked where a file has to be told from those of other tools.
    """

    name: str
    path: str
    media_types: tuple[str, ...]
    decode: Callable[[bytes, str], Iterator[Any]]
    prepare: Callable[[Any, Circumstances], Callable[[Any], Verdict]]
    settings: type[PushSettings] = PushSettings
    sender_retries: bool = False
    counts_repeats: bool = False
    recent: str = ""
    token_in_path: bool = False
    namespace: str = ""
    pod_labels: str = ""
    min_severity: Severity = Severity.INFO
    claims: Callable[[Any], bool] = lambda _document: False

    @property
    def reads(self) -> tuple[ApiResource, ...]:
        """No kind: it is told."""
        return ()


# ---------------------------------------------------------------- on the way in


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook's sender is told: an HTTP status, one line of text, and when to come again."""

    status: int
    line: str
    retry_after_secs: int | None = None


class Hook(Protocol):
    """What stands behind one path of the server. The server has checked who posts, and bounded and unpacked the body."""

    @property
    def path(self) -> str: ...

    @property
    def media_types(self) -> Sequence[str]: ...

    @property
    def max_body_bytes(self) -> int: ...

    @property
    def token_in_path(self) -> bool: ...

    def count(self, status: int) -> None:
        """A request to this path was answered with this status, by whom ever."""
        ...

    async def post(self, body: bytes, media_type: str) -> Answer:
        """Answer once the events are as safe as configured. Never raises for what a sender may send."""
        ...


class TellsFates(Protocol):
    """Remembers what became of events, for whoever asks."""

    def tell(self, source: str, key: str, outcome: Outcome, why: str, *, name: str = "") -> None:
        """why: a sentence. name: of the record, where there is one."""
        ...


class PushIntake(Protocol):
    """Takes what a tool pushed and sees to it that the records follow."""

    async def offer(self, findings: Sequence[Finding], *, filtered: int, rejected: int) -> bool:
        """Take all of one body, or nothing of it. filtered, rejected: how many other events the body held, for the ledger.

        False: the buffer is full. Nothing is counted then if the sender comes again; else what did not fit is counted as lost.
        """
        ...


class Intake(Protocol):
    """Takes what the reports of one source say and sees to it that the records follow.

    A report is named by its reference (resource/namespace/name) and has a version. Taking and forgetting are memory only;
    settle() writes. A report that could not be read is neither taken nor forgotten: unknown is never empty.
    """

    def version_of(self, report: str) -> str | None:
        """The version that was taken last; None for a report that is not held."""
        ...

    def take(self, report: str, version: str, findings: Sequence[Finding]) -> None:
        """This is all that the report says now; it replaces what it said before."""
        ...

    def forget(self, report: str) -> None:
        """The report was deleted."""
        ...

    def keep_only(self, place: str, reports: Collection[str]) -> None:
        """A complete list of the place (resource, or resource/namespace) holds just these: forget its other ones."""
        ...

    async def settle(self) -> None:
        """Write what is not settled yet and return when all of it is. Transient: some is left; call again later."""
        ...


class Inbox(Protocol):
    """Between a webhook and the worker: bounded, in memory or on disk. Each event is received once, released once, settled once."""

    @property
    def is_durable(self) -> bool:
        """What was taken and not settled is received again after a restart."""
        ...

    @property
    def is_pressed(self) -> bool:
        """It is half full: whatever can be stored should be stored now."""
        ...

    @property
    def fill(self) -> Fill: ...

    def call_when_taken(self, call: Callable[[int], None]) -> None:
        """call(events) for every batch that is taken, before any of it is received."""
        ...

    async def offer(self, events: Sequence[Event]) -> bool:
        """Take all or none, and return when they are as safe as they will be. False: full, or closed, or the disk refuses; the caller
        answers so that a sender who retries comes back. More than its capacity at once is taken if it is empty: a batch cannot be made
        smaller by sending it again.
        """
        ...

    async def receive(self) -> Parcel:
        """The next event, in the order of the offers. Raises Closed once it is closed and all was received."""
        ...

    def release(self, tickets: Sequence[int]) -> None:
        """These events need no room in memory any more: they are settled, or became part of another one's write."""
        ...

    async def intend(self, intents: Sequence[Intent]) -> None:
        """Return once it is safe to make these writes. Each replaces an earlier intent for the same record."""
        ...

    def settle(self, tickets: Sequence[int]) -> None:
        """What became of these events is known: never give them out again."""
        ...

    def close(self) -> None:
        """Take nothing more; what is in it can still be received."""
        ...


class DeadLetters(Protocol):
    """Where events go that no record will tell of."""

    async def put(self, letter: DeadLetter) -> None:
        """Keep it where somebody can look at it. Raises nothing: at worst it is a line in the log."""
        ...


# ---------------------------------------------------------------- the store


@dataclass(frozen=True, slots=True)
class Put:
    """A record is stored like this."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Gone:
    """A record was deleted. version: of the deletion, higher than any that the record had."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Synced:
    """All records that were stored when follow() began have been told."""


class Store(Protocol):
    """Where records live. Knows records by name; names are unique over all namespaces, because they are made of the content.

    All methods raise Transient (try again), Forbidden (a permission is missing) or Invalid (this record, never).
    """

    async def create(self, event: Event, *, spec_hash: str) -> tuple[Stored, bool]:
        """Create the record and return it with True; or return the one of that name that was there, with False.

        A namespace that does not exist or is going away is no error: the record then goes to the store's own namespace.
        """
        ...

    async def update(self, event: Event, *, spec_hash: str, stored: Stored) -> Stored:
        """Replace what was found (all of the spec but detectedAt and what is immutable); the status stays.

        NotFound: it is gone. Conflict: it is not of stored.version any more.
        """
        ...

    async def set_count(self, stored: Stored, *, count: int, seen_at: datetime) -> Stored:
        """Write status.count, and seen_at as status.lastSeen. NotFound, Conflict: as in update()."""
        ...

    async def read(self, stored: Stored) -> Mapping[str, Any]:
        """The whole record as it is now: metadata, spec, status. NotFound: it is gone."""
        ...

    @property
    def parts(self) -> Sequence[str]:
        """What has to be followed to know all: one part, or one per namespace that records may lie in."""
        ...

    def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        """Tell every stored record of this part and cluster_id as Put, then one Synced, then each change as it happens, ours included.

        Ends only by an error: Expired (call it again at once) or another Transient. What the next call tells up to Synced is the
        whole truth; a record that it does not name is gone.
        """
        ...


class Index(Protocol):
    """The one memory of what is stored."""

    async def wait_until_synced(self) -> None:
        """Return once the store was read completely. Until then nothing may be concluded from a name that is missing."""
        ...

    def get(self, name: str) -> Stored | None: ...

    def put(self, stored: Stored) -> None:
        """Remember it, unless something newer is known of that record."""
        ...

    def drop(self, name: str) -> None:
        """Forget it: the store said that it is gone."""
        ...


class RecordWriter(Protocol):
    """The only way to the store."""

    async def submit(self, envelope: Envelope) -> None:
        """Return once it is queued; waits while the queue is full. Raises Closed when the process is stopping."""
        ...


# ---------------------------------------------------------------- on the way out


class Destination(Protocol):
    """Where copies of records are delivered to (a bucket, a log service). At least once, in order per record."""

    async def deliver(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Return once all are safe there. Transient: the same batch comes again. Permanent: it goes to dead letters."""
        ...


# ---------------------------------------------------------------- time


class Clock(Protocol):
    """Time as the rooms see it, so that a test can move it."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def monotonic_secs(self) -> float:
        """Only differences mean something."""
        ...

    async def wait(self, event: asyncio.Event, *, timeout_secs: float) -> bool:
        """True as soon as event is set; False after timeout_secs."""
        ...
