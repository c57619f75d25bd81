"""Recognise which watcher each object in a file is for.

A file holds Kubernetes objects as JSON or YAML (an object, a List, several documents), events of a tool that posts, or text that a tool
printed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from zenwatch.errors import BadInput
from zenwatch.runtime.supervise import plugin_boundary
from zenwatch.sdk.embedded_json import Document, documents_of
from zenwatch.sdk.input_files import read, text_of
from zenwatch.sdk.watcher import AnyWatcher, ApiResource, PushWatcher, Watcher

Json = Mapping[str, Any]


class NoWatcherReadsIt(BadInput):
    """The object is for no watcher, such as a Namespace beside reports. This is no error if a watcher reads other objects of the file."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """An object that the watcher can parse, or an event that the push watcher can judge."""

    # The file's name, with an index if the file has several objects: reports.yaml[2].
    label: str
    watcher: AnyWatcher
    content: Any


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A part of a file that is for no watcher, and why. content is None if the part is neither JSON nor YAML."""

    label: str
    content: Any
    error: BadInput


@dataclass(frozen=True, slots=True)
class Recogniser:
    """Finds the watcher for each object in a file."""

    watchers: Sequence[AnyWatcher]
    # True: there is a single watcher, and every object is for it, whatever its label or version.
    is_forced: bool = False

    def objects_in(self, name: str, raw: bytes) -> Iterator[Recognised | Unrecognised]:
        """Every object in the file of this name. After an unreadable part come no more objects, but those before it count."""
        text = text_of(raw)
        documents, failure = read(text)
        if not documents and self._is_for_lines():
            documents, failure = [{"output": line} for line in text.splitlines() if line.strip()], None
        if not documents and failure is not None:
            # The file as a whole is neither JSON nor YAML: it may be a tool's output amid other text.
            yield self._of_output(name, text, None, failure)
            return
        entries = [entry for document in documents for entry in _entries_of(document)]
        for index, entry in enumerate(entries):
            yield self._of_entry(f"{name}[{index}]" if len(entries) > 1 else name, entry)
        if failure is not None:
            yield Unrecognised(name, None, failure)

    def _is_for_lines(self) -> bool:
        """Whether every line is an event: a tool that posts plain text prints a line for each event."""
        return self.is_forced and any(isinstance(watcher, PushWatcher) and "text/plain" in watcher.media_types for watcher in self.watchers)

    def _of_entry(self, label: str, entry: Any) -> Recognised | Unrecognised:
        for watcher in self.watchers:
            if isinstance(watcher, PushWatcher) and (self.is_forced or _claims(watcher, entry)):
                return Recognised(label, watcher, entry)
        if is_object(entry):
            return self._of_object(label, entry)
        error = BadInput("it has no apiVersion and kind, and is in no form that a watcher knows")
        try:
            text = orjson.dumps(entry).decode()
        except TypeError:
            # orjson reads deeper nesting than it writes.
            return Unrecognised(label, entry, error)
        return self._of_output(label, text, entry, error)

    def _of_object(self, label: str, report: Json) -> Recognised | Unrecognised:
        if not isinstance(report.get("metadata"), Mapping):
            return Unrecognised(label, report, BadInput("metadata is missing or not an object"))
        kind, group_version = report["kind"], report["apiVersion"]
        reading = [
            (watcher, resource.label_selector)
            for watcher in _pull_watchers(self.watchers)
            for resource in watcher.reads
            if resource.kind == kind and (self.is_forced or group_version == _group_version(resource))
        ]
        for watcher, selector in reading:
            if not selector or self.is_forced or _selects(selector, report["metadata"].get("labels")):
                return Recognised(label, watcher, report)
        for watcher, _ in reading:
            # A ConfigMap without the tool's label: its content shows which tool it is from.
            if _claims_part(watcher, report):
                return Recognised(label, watcher, report)
        return Unrecognised(label, report, NoWatcherReadsIt(f"no watcher reads {kind} of {group_version}: name one with --source"))

    def _of_output(self, label: str, text: str, entry: Any, error: BadInput) -> Recognised | Unrecognised:
        """A tool's own output, in a ConfigMap with the label of the watcher that claims it. `error`: why it is nothing else."""
        for watcher in _pull_watchers(self.watchers):
            for resource in watcher.reads:
                name, _, value = resource.label_selector.partition("=")
                metadata = {"name": label, "labels": {name: value}}
                wrapped = {"apiVersion": "v1", "kind": resource.kind, "metadata": metadata, "data": {"results.json": text}}
                if value and _claims_part(watcher, wrapped):
                    return Recognised(label, watcher, wrapped)
        return Unrecognised(label, entry, error)


def is_object(document: Any) -> bool:
    """Whether it is an object of Kubernetes."""
    return isinstance(document, dict) and isinstance(document.get("apiVersion"), str) and isinstance(document.get("kind"), str)


def _entries_of(document: Any) -> list[Any]:
    """The document itself, or the entries of a List. A typed List names the kind once for all its entries."""
    if not is_object(document) or not isinstance(document.get("items"), list):
        return [document]
    kind = {"kind": document["kind"].removesuffix("List")} if document["kind"] != "List" else {}
    common = {"apiVersion": document["apiVersion"], **kind}
    return [common | entry if isinstance(entry, dict) else entry for entry in document["items"]]


def _claims(watcher: AnyWatcher, document: Any) -> bool:
    """Whether the watcher claims the document. A watcher that fails on a document of another tool does not claim it."""
    try:
        with plugin_boundary(f"the watcher {watcher.name}"):
            return watcher.claims(document)
    except BadInput:
        return False


def _claims_part(watcher: Watcher, config_map: Json) -> bool:
    try:
        found = documents_of(config_map, claims=partial(_claims, watcher))
        return any(isinstance(document, Document) and _claims(watcher, document.value) for document in found)
    except BadInput:
        return False


def _pull_watchers(watchers: Sequence[AnyWatcher]) -> Iterator[Watcher]:
    return (watcher for watcher in watchers if isinstance(watcher, Watcher))


def _group_version(resource: ApiResource) -> str:
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def _selects(selector: str, labels: Any) -> bool:
    name, _, value = selector.partition("=")
    return isinstance(labels, Mapping) and labels.get(name) == value
