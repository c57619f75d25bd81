"""Strategies of hypothesis: any JSON, and changes that put any JSON anywhere into a valid sample."""

import copy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

# The same examples in every run: a build fails because of a change, not by chance.
SETTINGS = settings(max_examples=300, deadline=None, derandomize=True, database=None)

texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "\x00", "\ud800", "a\r\nb\u2028", "/", "fail", "FAIL", "Pod", "HIGH", "Node", "kyverno"]),
    st.sampled_from(["x" * 2000, "ä" * 2000, "\U0001f600" * 600, "a b " * 300, "\ud800" * 300, "[" * 500, '{"' * 500]),
    st.sampled_from(["https://example.test/", "https://ä", "http://\ud800", "https://x y", "https://" + "x" * 600]),
    st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2026-01-01", "20260101T10", "2026-01-01T10:00:00+14:00"]),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([2**63, 2**200, -(2**200), 10**4000]), st.floats(), texts)


def _deep(levels: int) -> Any:
    value: Any = "deep"
    for level in range(levels):
        value = [value] if level % 2 else {"tests": value}
    return value


values = st.one_of(
    scalars,
    texts,
    st.lists(scalars, max_size=4),
    st.dictionaries(texts, scalars, max_size=4),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6),
    st.sampled_from([_deep(6), _deep(100), [f"entry {number} " + "x" * 500 for number in range(60)], ["ä" * 600, "ö" * 600]]),
)
# For each change: which value of the sample, as an index into all its values, and the new value. KeyError: remove the value.
changes = st.lists(st.tuples(st.integers(0, 10**6), st.one_of(st.just(KeyError), values)), min_size=1, max_size=4)


def _paths(part: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of keys and indices to every value inside part, as deep as the tools nest."""
    steps = list(part.items()) if isinstance(part, dict) else list(enumerate(part)) if isinstance(part, list) else []
    if len(before) == 12:
        return []
    return [path for step, value in steps for path in ((*before, step), *_paths(value, (*before, step)))]


def with_changes(sample: Any, wanted: list[tuple[int, Any]]) -> Any:
    """A copy of the sample with changes that the strategy `changes` drew."""
    changed = copy.deepcopy(sample)
    for number, value in wanted:
        paths = _paths(changed)
        if not paths:
            break
        *path, last = paths[number % len(paths)]
        holder = changed
        for step in path:
            holder = holder[step]
        if value is KeyError:
            del holder[last]
        else:
            # A copy, because the next change may be inside it.
            holder[last] = copy.deepcopy(value)
    return changed
