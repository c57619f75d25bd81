"""Detect that a tool stopped sending a field that it always sent: an upgrade renamed it, or a setting removed it.

Payloads are reports, alerts, or ConfigMaps that contain JSON. The fields of an object, and those of each object in a list, are one entry:
report.vulnerabilities[].severity is counted per vulnerability. Only the presence of a key counts, not its value.

Memory: at most MOST_PATHS names of fields, each with a few numbers; of values only a hash of some words that distinguish kinds. After a
restart everything is learned again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Any

import orjson

from zenwatch.contract import Clock

# The tool always sends a field that is in every one of LEARNED_ENTRIES entries, of LEARNED_PAYLOADS payloads. The field is missing when it
# is then absent from MISSING_ENTRIES entries in a row, of MISSING_PAYLOADS payloads. All guesses: raise them if a rare field is reported,
# lower them if a missing one is reported too late.
LEARNED_ENTRIES, LEARNED_PAYLOADS = 50, 5
MISSING_ENTRIES, MISSING_PAYLOADS = 20, 3
# A field that was absent and came back is missing only after an absence this many times as long: while a DaemonSet is upgraded, nodes
# with the field and nodes without it alternate; and some fields are rare.
FACTOR = 3

MOST_PATHS = 500
MOST_MISSING = 20
# With these limits a usual payload takes a tenth of a millisecond, the longest two or three; a ConfigMap takes as long as its JSON.
MOST_ENTRIES, MOST_ENTRIES_OF_A_LIST, MOST_FIELDS = 200, 36, 100
MOST_DOCUMENTS, MOST_DOCUMENT_CHARS = 20, 1024 * 1024

# How many names a path may have. In posted events one: below that, the fields depend on the rule that was broken.
NAMES_POSTED, NAMES_OF_OBJECT, NAMES_OF_DOCUMENT = 1, 3, 4
# The values of these fields distinguish kinds of entries in one list, or of posts to one address, that have different fields: Kyverno's
# results by source, Trivy's vulnerabilities by class, Checkov's documents by check_type, audit events by stage, level and verb.
KIND_WORDS = ("check_type", "node_type", "source", "class", "type", "packageType", "stage", "level", "verb")
# Kubernetes' own fields; a list has apiVersion and kind once for all its objects.
NOT_THE_TOOLS = frozenset({"apiVersion", "kind", "metadata"})
# Anyone may choose the keys of these maps.
OPEN_MAPS = frozenset({"metadata", "labels", "annotations", "properties", "output_fields"})

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BURST_SECS = 1.0


@dataclass(slots=True)
class _Absence:
    """In how many entries in a row, of how many payloads, a field was absent; and the longest earlier absence."""

    entries: int = 0
    payloads: set[int] = field(default_factory=set)
    longest: int = 0

    @property
    def limit_entries(self) -> int:
        return max(MISSING_ENTRIES, FACTOR * self.longest)

    @property
    def is_missing(self) -> bool:
        return self.entries >= self.limit_entries and len(self.payloads) >= MISSING_PAYLOADS

    def add(self, payload: int) -> None:
        self.entries += 1
        if len(self.payloads) < MISSING_PAYLOADS:
            self.payloads.add(payload)

    def end(self) -> None:
        # Bounded: one very long absence does not prove that long absences are usual.
        self.longest = max(self.longest, min(self.entries, self.limit_entries))
        self.entries = 0
        self.payloads.clear()


@dataclass(slots=True)
class _Fields:
    """The names of the fields that all entries of one path and kind have."""

    names: set[str]
    entries: int = 0
    payloads: set[int] = field(default_factory=set)
    absences: dict[str, _Absence] = field(default_factory=dict)

    @property
    def missing(self) -> Iterator[str]:
        return (name for name, absence in self.absences.items() if absence.is_missing)

    def count(self, entry: dict[str, Any], payload: int) -> int:
        """payload: the same number for the same payload. Return how many names were forgotten, because this entry lacks them."""
        if not self.names or (not self.absences and self._is_learned and self.names <= entry.keys()):
            return 0
        if self._is_learned:
            self._count_absences(entry, payload)
            return 0
        self.entries += 1
        if len(self.payloads) < LEARNED_PAYLOADS:
            self.payloads.add(payload)
        rare = {name for name in self.names if name not in entry}
        self.names -= rare
        return len(rare)

    @property
    def _is_learned(self) -> bool:
        return self.entries >= LEARNED_ENTRIES and len(self.payloads) >= LEARNED_PAYLOADS

    def _count_absences(self, entry: dict[str, Any], payload: int) -> None:
        for name in self.names:
            if name not in entry:
                self.absences.setdefault(name, _Absence()).add(payload)
            elif name in self.absences:
                self.absences[name].end()


class SchemaDriftDetector:
    """payloads_per_sec: further payloads are skipped. Above 0."""

    def __init__(self, clock: Clock, *, payloads_per_sec: float = 20.0) -> None:
        self._clock = clock
        self._secs_of_one = 1 / payloads_per_sec
        self._booked_until_secs = -inf
        # By path, and by a hash of the words that distinguish kinds.
        self._fields: dict[tuple[str, int], _Fields] = {}
        self._free_paths = MOST_PATHS
        self._observed = self._payload = 0
        self._entries_left = 0

    @property
    def missing(self) -> Sequence[str]:
        """The paths of at most MOST_MISSING fields, sorted. A field that is seen again is removed."""
        return sorted({path + name for (path, _), fields in self._fields.items() for name in fields.missing})[:MOST_MISSING]

    def observe(self, payload: Any) -> None:
        """payload: as it was decoded. Nothing is raised, whatever it is."""
        if not isinstance(payload, dict) or not self._is_within_rate():
            return
        self._observed += 1
        self._payload = _version_of(payload) or self._observed
        self._entries_left = MOST_ENTRIES
        kind = payload.get("kind")
        if kind == "ConfigMap":
            for path, document in _documents_in(payload.get("data")):
                self._visit(document, path, hash(kind), names=NAMES_OF_DOCUMENT)
        elif isinstance(kind, str):
            self._visit(payload, "", hash(kind), names=NAMES_OF_OBJECT)
        else:
            self._visit(payload, "", 0, names=NAMES_POSTED)

    def _is_within_rate(self) -> bool:
        now_secs = self._clock.monotonic_secs()
        if self._booked_until_secs - now_secs >= _BURST_SECS:
            return False
        self._booked_until_secs = max(self._booked_until_secs, now_secs) + self._secs_of_one
        return True

    def _visit(self, entry: dict[str, Any], path: str, kind: int, *, names: int, in_list: bool = False) -> None:
        """names: how many names a path may have from here on."""
        if self._entries_left <= 0:
            return
        self._entries_left -= 1
        # The words that distinguish kinds are counted over all kinds: an entry without its word would only be of another kind.
        self._count(entry, path, kind, (word for word in KIND_WORDS if word in entry))
        kind = hash((kind, *(value if isinstance(value := entry.get(word), str) else "" for word in KIND_WORDS)))
        self._count(entry, path, kind, (name for name in islice(entry, MOST_FIELDS) if _is_kept(name, path) and name not in KIND_WORDS))
        if names > 1:
            for name, value in islice(entry.items(), MOST_FIELDS):
                if isinstance(value, list) and _is_kept(name, path):
                    for part in _objects_in(value):
                        self._visit(part, f"{path}{name}[].", kind, names=names - 1, in_list=True)
                elif isinstance(value, dict) and not in_list and name not in OPEN_MAPS and _is_kept(name, path):
                    # Not inside entries of a list: there, the keys of maps depend on the entry.
                    self._visit(value, f"{path}{name}.", kind, names=names - 1)

    def _count(self, entry: dict[str, Any], path: str, kind: int, names: Iterable[str]) -> None:
        """names: the fields to learn, if this is the first entry of the path and kind."""
        fields = self._fields.get((path, kind))
        if fields is None:
            if self._free_paths <= 0:
                return
            # The path itself counts as one, also if none of its fields is kept.
            fields = self._fields[path, kind] = _Fields(set(islice(names, self._free_paths - 1)))
            self._free_paths -= 1 + len(fields.names)
        self._free_paths += fields.count(entry, self._payload)


def _version_of(payload: dict[str, Any]) -> int:
    """The same number for the same version of an object, which may be listed again. 0: it has no version."""
    metadata = payload.get("metadata")
    parts = [metadata.get(name) for name in ("namespace", "name", "resourceVersion")] if isinstance(metadata, dict) else [None]
    return hash(tuple(map(str, parts))) if isinstance(parts[-1], str) else 0


def _is_kept(name: Any, path: str) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and bool(path or name not in NOT_THE_TOOLS)


def _objects_in(value: list[Any]) -> Iterator[dict[str, Any]]:
    return (part for part in value[:MOST_ENTRIES_OF_A_LIST] if isinstance(part, dict))


def _documents_in(texts: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects in a ConfigMap's data, with their path. The keys of data are file names, which anyone may choose."""
    left_chars = MOST_DOCUMENT_CHARS
    for text in islice(texts.values(), MOST_DOCUMENTS) if isinstance(texts, dict) else ():
        if not isinstance(text, str) or len(text) > left_chars or not text[:64].lstrip().startswith(("{", "[")):
            continue
        left_chars -= len(text)
        try:
            document = orjson.loads(text)
        except ValueError:
            continue
        if isinstance(document, dict):
            yield "data.*.", document
        elif isinstance(document, list):
            yield from (("data.*[].", part) for part in _objects_in(document))
