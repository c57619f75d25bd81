"""Bodies that no tool should send, made from those that tools do send."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

DEEP = 10_000
LONG_CHARS = 5 * 1024 * 1024


def _cut(body: bytes) -> bytes:
    return body[: len(body) * 2 // 3]


def _doubled(body: bytes) -> bytes:
    return body + body


def _nested(body: bytes) -> bytes:
    return b'{"items":[' + b'{"requestObject":' * DEEP + body + b"}" * DEEP + b"]}"


def _nested_lists(body: bytes) -> bytes:
    return b"[" * DEEP + body + b"]" * DEEP


def _every_value(replace: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """Replace each leaf by replace(leaf)."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: walk(part) for name, part in value.items()}
        return [walk(part) for part in value] if isinstance(value, list) else replace(value)

    return lambda body: json.dumps(walk(json.loads(body))).encode()


def _one_field(name: str, value: Any) -> Callable[[bytes], bytes]:
    """Give every field of this name this value."""

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: value if key == name else walk(below) for key, below in part.items()}
        return [walk(below) for below in part] if isinstance(part, list) else part

    return lambda body: json.dumps(walk(json.loads(body))).encode()


def _raw(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(old, new)


_SWAPPED: Mapping[type, Any] = {str: 7, int: "seven", float: [], bool: {}, type(None): True}
MUTATIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "as it is": lambda body: body,
    "cut": _cut,
    "doubled": _doubled,
    "nested 10,000 deep": _nested,
    "in 10,000 lists": _nested_lists,
    "wrong types": _every_value(lambda value: _SWAPPED[type(value)]),
    "all null": _every_value(lambda _: None),
    "all lists": _every_value(lambda value: [value]),
    "all objects": _every_value(lambda value: {"a": value}),
    "2^63": _every_value(lambda value: 2**63 if isinstance(value, int) else value),
    "2^63 everywhere": _every_value(lambda _: 2**63),
    "beyond any number": _raw(b": 200", b": 1e999"),
    "NUL in every text": _every_value(lambda value: f"\x00{value}\x00" if isinstance(value, str) else value),
    "NUL bytes": _raw(b'"', b'"\x00'),
    "half a character in every text": _every_value(lambda value: f"\ud800{value}" if isinstance(value, str) else value),
    "invalid UTF-8": _raw(b'": "', b'": "\xff\xfe\xc3'),
    "a text of 5 MB": _one_field("output", "x" * LONG_CHARS),
    "an audit text of 5 MB": _one_field("requestURI", "/" + "x" * LONG_CHARS),
    "a name of 5 MB": _one_field("name", "n" * LONG_CHARS),
    "an ID of 5 MB": _one_field("auditID", "i" * LONG_CHARS),
    "100,000 empty events": lambda _: b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[' + b"{}," * 99_999 + b"{}]}",
    "items that are none": _one_field("items", 7),
    "only a text": lambda body: json.dumps(body.decode()).encode(),
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
}


def mutated(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield every mutation of a JSON body, with its name."""
    for name, mutate in MUTATIONS.items():
        yield name, mutate(body)
