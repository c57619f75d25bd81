"""The part of the API server that checks a record against our CRD: types, lengths, enums, patterns, required fields."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from tests.support.paths import ROOT

CRD = ROOT / "deployments" / "crds" / "zenagentevents.yaml"
_TYPES = {"string": str, "integer": int, "object": dict, "array": list}


def violations(spec: Any) -> list[str]:
    """Return a sentence for each part of the spec that breaks the schema; empty: the API server would accept it."""
    return list(_in_any(spec, _schema(), "spec"))


@cache
def _schema() -> dict[str, Any]:
    crd = yaml.safe_load(CRD.read_text(encoding="utf-8"))
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def _in_any(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    if not isinstance(value, _TYPES[schema["type"]]):
        yield f"{where} is no {schema['type']}"
    elif isinstance(value, str):
        yield from _in_text(value, schema, where)
    elif isinstance(value, int):
        if not schema["minimum"] <= value <= schema["maximum"]:
            yield f"{where}: {value}"
    elif isinstance(value, list):
        yield from _in_list(value, schema, where)
    elif isinstance(value, dict):
        yield from _in_object(value, schema, where)


def _in_text(text: str, schema: dict[str, Any], where: str) -> Iterator[str]:
    fits = schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text))
    if not fits or text not in schema.get("enum", [text]) or not re.search(schema.get("pattern", ""), text):
        yield f"{where}: {text!r}"


def _in_list(entries: list[Any], schema: dict[str, Any], where: str) -> Iterator[str]:
    if len(entries) > schema["maxItems"]:
        yield f"{where} has {len(entries)} entries"
    for index, entry in enumerate(entries):
        yield from _in_any(entry, schema["items"], f"{where}[{index}]")


def _in_object(fields: dict[str, Any], schema: dict[str, Any], where: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    yield from (f"{where}.{field} is missing" for field in schema.get("required", ()) if field not in fields)
    if len(fields) > schema.get("maxProperties", len(fields)):
        yield f"{where} has {len(fields)} fields"
    for field, value in fields.items():
        if field in properties:
            yield from _in_any(value, properties[field], f"{where}.{field}")
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{where}.{field} is not in the schema"
