"""Compare two schemas of a kind: the one that comes with zenwatch, and the one that the API server has.

Reported is only what matters to a writer: fields that would be thrown away, and values that would be refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# The API server refuses values if its upper limit is below ours, or its lower limit above ours.
_UPPER_LIMITS = ("maxLength", "maxItems", "maxProperties", "maximum")
_LOWER_LIMITS = ("minLength", "minItems", "minProperties", "minimum")


@dataclass
class Differences:
    """missing: fields that the API server throws away. narrower: fields because of which it may refuse a record."""

    missing: list[str] = field(default_factory=list)
    narrower: list[str] = field(default_factory=list)


def compare(ours: Mapping[str, Any], served: Mapping[str, Any]) -> Differences:
    """Compare spec and status. ours, served: openAPIV3Schemas of the whole object."""
    found = Differences()
    for part in ("spec", "status"):
        _compare(part, _properties(ours).get(part, {}), _properties(served).get(part, {}), found)
    return found


def _compare(path: str, ours: Mapping[str, Any], served: Mapping[str, Any], found: Differences) -> None:
    found.narrower += [f"{path} ({reason})" for reason in _narrower(ours, served)]
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, schema in _properties(ours).items():
        if name not in _properties(served):
            found.missing.append(f"{path}.{name}")
        else:
            _compare(f"{path}.{name}", schema, _properties(served)[name], found)
    if "items" in ours and "items" in served:
        _compare(f"{path}[]", ours["items"], served["items"], found)


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
