"""Read the documents in a file of any origin: JSON, JSON lines, or YAML as kubectl prints it. Every value is one that JSON can hold."""

import json
from typing import Any

import orjson
import yaml

from zenwatch.errors import BadInput, first_line

# Reports are a dozen levels deep. The libraries recurse, so a limit is necessary.
MOST_LEVELS = 100
# A text of this length that begins like JSON is cut-off JSON. Reading it as YAML takes seconds and gives no better error.
LONG_CHARS = 1024 * 1024
_Fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _TextLoader(_Fastest):  # type: ignore[misc]
    """The safe loader, without YAML's own times and its `=`: the API server sends both as text."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def text_of(raw: bytes) -> str:
    """Decodes UTF-8, or UTF-16 as PowerShell writes it. Other bytes become replacement characters."""
    return raw.decode(json.detect_encoding(raw), "replace").removeprefix("\ufeff")


def read(text: str) -> tuple[list[Any], BadInput | None]:
    """The documents before the first unreadable one, and the reason why that one is unreadable."""
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
            # Added one at a time, so that the documents before a broken one are kept.
            documents += [orjson.loads(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))] if document is not None else []
    except BadInput as exc:
        return [], exc
    # Constructors of odd tags raise many exceptions besides YAMLError.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as exc:
        return documents, BadInput(f"neither JSON ({not_json}) nor YAML ({first_line(exc, 120)})")
    if not any(isinstance(document, dict | list) for document in documents):
        return [], BadInput(f"neither JSON ({not_json}) nor YAML objects")
    return documents, None


def _json_lines(text: str) -> list[Any]:
    """One JSON object per line, as programs write logs. Empty if any line is something else."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines):
        return []
    try:
        return [orjson.loads(line) for line in lines]
    except orjson.JSONDecodeError:
        return []


def _require_modest(text: str) -> None:
    """Raises BadInput for aliases and for deep nesting: a few aliases of aliases are billions of entries. kubectl prints no aliases."""
    level = 0
    try:
        for event in yaml.parse(text, Loader=_Fastest):
            if isinstance(event, yaml.AliasEvent):
                raise BadInput("YAML with aliases is not read")
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > MOST_LEVELS:
                raise BadInput(f"it is nested more than {MOST_LEVELS} levels deep")
    except yaml.YAMLError:
        # The caller finds the broken spot again, together with the documents before it.
        return
