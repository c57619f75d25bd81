"""Whether the definition that the API server has takes what this zenwatch writes.

In: the definition that comes with zenwatch, and the one that is served.  Out: where they differ, if that matters.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Where the served one has less than ours, the API server refuses what we write; or where it has more.
_UPPER_LIMITS = ("maxLength", "maxItems", "maxProperties", "maximum")
_LOWER_LIMITS = ("minLength", "minItems", "minProperties", "minimum")


@dataclass
class Differences:
    """missing: fields that are thrown away. narrower: fields for which records may be refused."""

    missing: list[str] = field(default_factory=list)
    narrower: list[str] = field(default_factory=list)


def compare(ours: Mapping[str, Any], served: Mapping[str, Any]) -> Differences:
    """Of two openAPIV3Schemas of the whole object: what stands in spec and status."""
    found = Differences()
    for part in ("spec", "status"):
        _compare(part, _properties(ours).get(part, {}), _properties(served).get(part, {}), found)
    return found


def _compare(where: str, ours: Mapping[str, Any], served: Mapping[str, Any], found: Differences) -> None:
    found.narrower += [f"{where} ({reason})" for reason in _narrower(ours, served)]
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, schema in _properties(ours).items():
        if name not in _properties(served):
            found.missing.append(f"{where}.{name}")
        else:
            _compare(f"{where}.{name}", schema, _properties(served)[name], found)
    if "items" in ours and "items" in served:
        _compare(f"{where}[]", ours["items"], served["items"], found)


def _narrower(ours: Mapping[str, Any], served: Mapping[str, Any]) -> Iterator[str]:
    if ours.get("type") != served.get("type"):
        yield f"is {served.get('type')}, not {ours.get('type')}"
    if "enum" in served and (refused := [value for value in ours.get("enum", ()) if value not in served["enum"]]):
        yield f"does not take {', '.join(map(str, refused))}"
    if required := [name for name in served.get("required", ()) if name not in ours.get("required", ())]:
        yield f"requires {', '.join(required)}"
    for limit in _UPPER_LIMITS:
        if limit in served and ours.get(limit, float("inf")) > served[limit]:
            yield f"{limit} is {served[limit]}"
    for limit in _LOWER_LIMITS:
        if limit in served and ours.get(limit, float("-inf")) < served[limit]:
            yield f"{limit} is {served[limit]}"


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    return properties
