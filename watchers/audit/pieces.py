"""Take JSON apart that cannot be read as a whole: one event that no decoder takes must not cost the others of its batch.

A patch stands in an audit event as its author wrote it: nested a thousand levels deep, or with half a character in a string, which
decoders refuse. Brackets and strings can be told apart all the same.

In: bytes that a decoder refused.  Out: the pieces of the outermost object.
Owns: nothing.
Stops: nothing to stop.
"""

import re

from zenwatch.sdk import BadInput

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
# All up to the next bracket, and brackets with none inside: a tenth of the steps.
_TO_BRACKET = re.compile(rb"(?:" + _FLAT + rb"(?:\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\]))*+" + _FLAT + rb"([\[\]{}])", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|[-+.\w]++", re.DOTALL)
_SPACE = re.compile(rb"\s*+")
_NAME = re.compile(rb"\s*+(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_NEXT = re.compile(rb"\s*+([,\]}])")


def members_of(text: bytes, *, list_name: bytes = b"") -> tuple[dict[bytes, bytes], list[bytes]]:
    """The members of the object that text is, by their names as they are written; and apart from them the entries of the list of
    that name. BadInput: it is no object, or breaks off."""
    members: dict[bytes, bytes] = {}
    entries: list[bytes] = []
    at, closing = _opened(text, 0, b"{}")
    while not closing:
        named = _NAME.match(text, at)
        if named is None:
            raise BadInput(f"no member of a JSON object at byte {at}")
        name, start = named[1][1:-1], named.end()
        if name == list_name and text[start : start + 1] == b"[":
            entries, end = _entries_at(text, start)
        else:
            end = _end_of(text, start)
            members[name] = text[start:end]
        at, closing = _closing(text, end)
    if _after_space(text, at) != len(text):
        raise BadInput(f"more follows the JSON at byte {at}")
    return members, entries


def _entries_at(text: bytes, start: int) -> tuple[list[bytes], int]:
    """The entries of the list that begins there, and its end."""
    entries = []
    at, closing = _opened(text, start, b"[]")
    while not closing:
        first = _after_space(text, at)
        end = _end_of(text, first)
        entries.append(text[first:end])
        at, closing = _closing(text, end)
    return entries, at


def _opened(text: bytes, at: int, brackets: bytes) -> tuple[int, bool]:
    """Behind the first bracket, and whether the second one follows at once; then behind that."""
    start = _after_space(text, at)
    if text[start : start + 1] != brackets[:1]:
        raise BadInput(f"no {brackets.decode()} at byte {start}")
    at = _after_space(text, start + 1)
    is_empty = text[at : at + 1] == brackets[1:]
    return at + is_empty, is_empty


def _end_of(text: bytes, start: int) -> int:
    """Behind the value that begins at start."""
    if text[start : start + 1] not in (b"{", b"["):
        scalar = _SCALAR.match(text, start)
        if scalar is None:
            raise BadInput(f"no JSON value at byte {start}")
        return scalar.end()
    level, at = 1, start + 1
    while level:
        bracket = _TO_BRACKET.match(text, at)
        if bracket is None:
            raise BadInput("the JSON breaks off")
        level += 1 if bracket[1] in b"{[" else -1
        at = bracket.end()
    return at


def _closing(text: bytes, at: int) -> tuple[int, bool]:
    """Behind the comma or bracket that follows a value, and whether it was a bracket."""
    following = _NEXT.match(text, at)
    if following is None:
        raise BadInput(f"the JSON breaks off at byte {at}")
    return following.end(), following[1] != b","


def _after_space(text: bytes, at: int) -> int:
    matched = _SPACE.match(text, at)
    return matched.end() if matched else at
