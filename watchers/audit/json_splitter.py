"""Split a JSON object that no decoder accepts into its members, so that one bad event does not cost the others of its batch.

An audit event holds a patch as its author wrote it. It may be nested a thousand levels deep, or have half a character in a string, and
decoders refuse that. This file needs only brackets and strings.
"""

import re

from zenwatch.sdk import BadInput

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'(?:[^"\[\]{}]++|' + _STRING + rb")*+"
# Skips flat objects and lists up to the next other bracket, which saves nine tenths of the steps.
_TO_BRACKET = re.compile(rb"(?:" + _FLAT + rb"(?:\{" + _FLAT + rb"\}|\[" + _FLAT + rb"\]))*+" + _FLAT + rb"([\[\]{}])", re.DOTALL)
_SCALAR = re.compile(_STRING + rb"|[-+.\w]++", re.DOTALL)
_SPACE = re.compile(rb"\s*+")
_NAME = re.compile(rb"\s*+(" + _STRING + rb")\s*+:\s*+", re.DOTALL)
_NEXT = re.compile(rb"\s*+([,\]}])")


def members_of(text: bytes, *, list_name: bytes = b"") -> tuple[dict[bytes, bytes], list[bytes]]:
    """The undecoded members of a JSON object by their undecoded names, and apart from them the entries of the list `list_name`.

    Raises BadInput if the text is no object, or is cut off.
    """
    members: dict[bytes, bytes] = {}
    entries: list[bytes] = []
    at, closing = _opened(text, 0, b"{}")
    while not closing:
        found = _NAME.match(text, at)
        if found is None:
            raise BadInput(f"no member of a JSON object at byte {at}")
        name, start = found[1][1:-1], found.end()
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
    """The entries of the list that begins at start, and the position after the list."""
    entries = []
    at, closing = _opened(text, start, b"[]")
    while not closing:
        first = _after_space(text, at)
        end = _end_of(text, first)
        entries.append(text[first:end])
        at, closing = _closing(text, end)
    return entries, at


def _opened(text: bytes, at: int, brackets: bytes) -> tuple[int, bool]:
    """The position after the opening bracket, or after both if nothing stands between them; and whether that is so."""
    start = _after_space(text, at)
    if text[start : start + 1] != brackets[:1]:
        raise BadInput(f"no {brackets.decode()} at byte {start}")
    at = _after_space(text, start + 1)
    is_empty = text[at : at + 1] == brackets[1:]
    return at + is_empty, is_empty


def _end_of(text: bytes, start: int) -> int:
    """The position after the value that begins at start."""
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
    """The position after the comma or bracket that follows a value, and whether it is a bracket."""
    following = _NEXT.match(text, at)
    if following is None:
        raise BadInput(f"the JSON breaks off at byte {at}")
    return following.end(), following[1] != b","


def _after_space(text: bytes, at: int) -> int:
    matched = _SPACE.match(text, at)
    return matched.end() if matched else at
