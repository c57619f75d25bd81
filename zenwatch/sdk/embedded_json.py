"""Find the JSON documents in a tool's output that somebody put into a ConfigMap.

`kubectl logs` and shells mix log lines and other text with the documents. Text that may be a broken document makes its whole key BadInput:
half a document is no document.
"""

import base64
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import orjson

from zenwatch.errors import BadInput

# A full ConfigMap of gzip holds some 50 MiB of a tool's JSON, which takes five times that as objects. A guess: raise it together
# with the memory limit.
INFLATED_BYTES = 16 * 1024 * 1024
# An error within so many characters, before the first member's name, means text with a bracket in it; else a broken document. A guess.
NO_DOCUMENT_CHARS = 200
# For each error the library counts the lines before it, which takes time, so the number of errors is limited.
MOST_ERRORS = 100

_DECODER = json.JSONDecoder()
# Tools print an object, or a list of objects.
_DOCUMENT = r'(?=\{\s*["}]|\[\s*[{\]])'
# Most documents begin at the start of a line or right after another document. The search for other positions comes second.
_AT_LINES = re.compile(rf"(?:^[ \t]*|(?<=[}}\]])\s*){_DOCUMENT}", re.MULTILINE)
_ANYWHERE = re.compile(_DOCUMENT)
_MEMBER = re.compile(r'[\[\s]*\{\s*"[^"\n]*"\s*:')


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON document in a ConfigMap."""

    # The ConfigMap's key.
    key: str
    # An object or a list. Any value if the whole text is JSON.
    value: Any


def documents_of(config_map: Mapping[str, Any], *, claims: Callable[[Any], bool]) -> Iterator[Document | BadInput]:
    """Every document, in the order of the keys. `claims` recognises the tool's documents among others in a text.

    Yields a BadInput in place of the documents of a key that is unreadable; it names the key and the byte. Raises BadInput if no key can
    hold a document.
    """
    plain = {key: (value, _plain) for key, value in _values_of(config_map, "data") if key.lower().endswith(".json")}
    packed = {key: (value, _unpacked) for key, value in _values_of(config_map, "binaryData") if key.lower().endswith((".json", ".json.gz"))}
    if not plain and not packed:
        raise BadInput("no key of data ends in .json, and none of binaryData in .json or .json.gz")
    for key, (value, text_of) in sorted((plain | packed).items()):
        try:
            values = _documents_in(text_of(key, value).removeprefix("\ufeff"), key, claims)
        except BadInput as exc:
            yield exc
        else:
            yield from (Document(key, each) for each in values)


def _plain(_key: str, value: str) -> str:
    return value


def _unpacked(key: str, value: str) -> str:
    raw = _inflated(key, _decoded(key, value))
    # kubectl puts UTF-16, as PowerShell writes it, into binaryData.
    return raw.decode(json.detect_encoding(raw), "replace")


def _values_of(config_map: Mapping[str, Any], field: str) -> Iterator[tuple[str, str]]:
    values = config_map.get(field)
    if values is None:
        return
    if not isinstance(values, Mapping):
        raise BadInput(f"{field} is not an object")
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise BadInput(f"{field}.{key} is not a text")
        yield key, value


def _decoded(key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as exc:
        raise BadInput(f"{key} is not base64 at byte 0: {exc}") from exc


def _inflated(key: str, raw: bytes) -> bytes:
    if not raw.startswith(b"\x1f\x8b"):
        return raw
    try:
        with gzip.GzipFile(fileobj=BytesIO(raw)) as packed:
            inflated = packed.read(INFLATED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as exc:
        raise BadInput(f"{key} cannot be unpacked at byte {len(raw)}: {exc}") from exc
    if len(inflated) > INFLATED_BYTES:
        raise BadInput(f"{key} is longer than {INFLATED_BYTES} bytes when unpacked")
    return inflated


def _documents_in(text: str, key: str, claims: Callable[[Any], bool]) -> list[Any]:
    try:
        return [orjson.loads(text)]
    except ValueError as exc:
        whole = exc
    found = _amid_text(text, key, claims, _AT_LINES) or _amid_text(text, key, claims, _ANYWHERE)
    if found:
        return found
    if text.lstrip().startswith(("{", "[")):
        raise _unreadable(key, text, whole)
    raise BadInput(f"{key} {'holds no JSON document of this tool' if text.strip() else 'is empty'}, at byte 0")


def _amid_text(text: str, key: str, claims: Callable[[Any], bool], beginnings: re.Pattern[str]) -> list[Any]:
    """The claimed documents in a text. Skips other complete JSON, such as log lines."""
    found: list[Any] = []
    at, errors = 0, 0
    while beginning := beginnings.search(text, at):
        start = beginning.end()
        try:
            value, at = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError) as exc:
            at = getattr(exc, "pos", start + NO_DOCUMENT_CHARS + 1)
            errors += 1
            is_broken = at - start > NO_DOCUMENT_CHARS or _MEMBER.match(text, start)
            if found or is_broken or errors == MOST_ERRORS:
                raise _unreadable(key, text, exc) from exc
            at = max(at, start + 1)
        else:
            found += [value] if claims(value) else []
    return found


def _unreadable(key: str, text: str, error: Exception) -> BadInput:
    at_byte = len(text[: getattr(error, "pos", 0)].encode("utf-8", "replace"))
    return BadInput(f"{key} cannot be read as JSON at byte {at_byte}: {getattr(error, 'msg', error)}")
