"""Every edit that a person can make to a record: each field of its metadata and of the definition, removed, and replaced by junk."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.support.paths import ROOT
from zenwatch.kube.records import REPORT_ANNOTATION, SPEC_HASH_ANNOTATION, labels_of

CRD = ROOT / "deployments" / "crds" / "zenagentevents.yaml"
# Values of every type, among them the ends of what the definition allows.
_TIMES = ("0001-01-01T00:00:00Z", "2026-01-01t00:00:00z", "9999-12-31T23:59:59Z")
_JUNK: Mapping[str, tuple[Any, ...]] = {
    "string": ("junk", "", "junk\x1b[2J\u202e", "https://junk.test", *_TIMES),
    "integer": (0, 1, 7, -1, 2**63 - 1),
    "array": ([], ["junk"], ["https://junk.test"]),
    "object": ({}, {"kind": "Junk"}, {"junk": [{"a": None}]}),
}
# What only the record itself remembers: docs/records.md, "Edits".
KEPT = ("/spec/detectedAt", "/status/reopened", "/status/firstSeen", "/status/lastSeen", "/status/reason", "/status/resolvedAt")


@dataclass(frozen=True)
class Edit:
    """operations: a JSON patch. is_of_status: of the subresource. is_kept: zenwatch leaves it as the person wrote it."""

    path: str
    operations: tuple[dict[str, Any], ...]

    @property
    def is_of_status(self) -> bool:
        return self.path.startswith("/status")

    @property
    def is_kept(self) -> bool:
        wants_suppressed = self.path == "/status/phase" and self.operations[0].get("value") == "Suppressed"
        return self.path.startswith(KEPT) or wants_suppressed

    def __str__(self) -> str:
        [operation, *_] = self.operations
        return f"{operation['op']} {self.path}" + (f" {operation['value']!r}" if "value" in operation else "")


def edits() -> list[Edit]:
    """For any record: the API server refuses some of them, and others change nothing."""
    return [*_of_metadata(), *_of_schema("/spec"), *_of_schema("/status")]


def applied(record: dict[str, Any], edit: Edit) -> dict[str, Any]:
    """The record with the edit; KeyError if there is nothing to remove."""
    for operation in edit.operations:
        *parents, name = (part.replace("~1", "/") for part in operation["path"].split("/")[1:])
        holder = record
        for parent in parents:
            holder = holder[parent]
        if operation["op"] == "remove":
            del holder[name]
        else:
            holder[name] = operation["value"]
    return record


def _of_metadata() -> Iterator[Edit]:
    yield from (_removed("/metadata/labels"), _removed("/metadata/annotations"))
    for name in labels_of("", "", "", ""):
        path = f"/metadata/labels/{name.replace('/', '~1')}"
        yield from (_removed(path), _replaced(path, "junk"), _replaced(path, ""))
    for name in (SPEC_HASH_ANNOTATION, REPORT_ANNOTATION):
        path = f"/metadata/annotations/{name.replace('/', '~1')}"
        yield from (_removed(path), *(_replaced(path, junk) for junk in ("", "x", "a/b/c", "/", "\x1b[2J", "0" * 16)))


def _of_schema(part: str) -> Iterator[Edit]:
    for path, kind in _fields(part):
        yield _removed(path)
        yield from (_replaced(path, junk) for junk in _JUNK[kind])
        if path in ("/spec/severity", "/spec/category", "/status/phase"):
            yield from (_replaced(path, value) for value in _schema(path)["enum"])


def _fields(path: str) -> Iterator[tuple[str, str]]:
    schema = _schema(path)
    if path.count("/") > 1:
        yield path, schema["type"]
    for name in schema.get("properties", {}):
        yield from _fields(f"{path}/{name}")
    if path == "/spec/details":
        # Of the fields that only a source knows: one for each type.
        yield from ((f"{path}/vulnID", "string"), (f"{path}/cvss", "integer"), (f"{path}/packages", "array"), (f"{path}/junk", "object"))


@cache
def _definition() -> dict[str, Any]:
    version: dict[str, Any] = yaml.safe_load(CRD.read_text(encoding="utf-8"))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return version


def _schema(path: str) -> dict[str, Any]:
    schema = _definition()
    for part in path.split("/")[1:]:
        schema = schema["properties"][part]
    return schema


def _removed(path: str) -> Edit:
    return Edit(path, ({"op": "remove", "path": path},))


def _replaced(path: str, value: Any) -> Edit:
    return Edit(path, ({"op": "add", "path": path, "value": value},))
