"""Read the documents of a file: JSON, or YAML as kubectl prints it.

In: bytes from anywhere.  Out: values that JSON could hold.
Owns: nothing.
Stops: nothing to stop.
"""

import json
from typing import Any

import orjson
import yaml

from zenwatch.errors import BadInput, first_line

# Reports are a dozen levels deep; libraries recurse.
MOST_LEVELS = 100
# So much that begins like JSON is JSON that breaks off; to try it as YAML takes seconds and says nothing better.
LONG_CHARS = 1024 * 1024
_Fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _TextLoader(_Fastest):  # type: ignore[misc]
    """Safe, and without YAML's own times and its `=`: the API server sends both as text."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def text_of(raw: bytes) -> str:
    """UTF-8, or UTF-16 as PowerShell writes it; what is neither becomes replacement characters."""
    return raw.decode(json.detect_encoding(raw), "replace").removeprefix("\ufeff")


def read(text: str) -> tuple[list[Any], BadInput | None]:
    """The documents up to the first that cannot be read, and why it cannot."""
    try:
        return [orjson.loads(text)], None
    except orjson.JSONDecodeError as exc:
        not_json = f"{exc.msg} at byte {exc.pos}"
    lines = _json_lines(text)
    return (lines, None) if lines else _read_yaml(text, not_json)


def _read_yaml(text: str, not_json: str) -> tuple[list[Any], BadInput | None]:
    if len(text) > LONG_CHARS and text.lstrip().startswith(("{", "[")):
        return [], BadInput(f"not JSON: {not_json}")
    documents: list[Any] = []
    try:
        _require_modest(text)
        for document in yaml.load_all(text, Loader=_TextLoader):
            # One by one: those before a broken one count.
            documents += [orjson.loads(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))] if document is not None else []
    except BadInput as exc:
        return [], exc
    # Besides YAMLError the constructors of odd tags raise what they please.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as exc:
        return documents, BadInput(f"neither JSON ({not_json}) nor YAML ({first_line(exc, 120)})")
    if not any(isinstance(document, dict | list) for document in documents):
        return [], BadInput(f"neither JSON ({not_json}) nor YAML objects")
    return documents, None


def _json_lines(text: str) -> list[Any]:
    """One JSON object a line, as programs write logs; none where a single line is something else."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines):
        return []
    try:
        return [orjson.loads(line) for line in lines]
    except orjson.JSONDecodeError:
        return []


def _require_modest(text: str) -> None:
    """A few aliases of aliases are billions of entries; kubectl never prints one."""
    level = 0
    try:
        for event in yaml.parse(text, Loader=_Fastest):
            if isinstance(event, yaml.AliasEvent):
                raise BadInput("YAML with aliases is not read")
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > MOST_LEVELS:
                raise BadInput(f"it is nested more than {MOST_LEVELS} levels deep")
    except yaml.YAMLError:
        # Where it breaks off is found again, with the documents before it.
        return
