"""Read the bodies that Falco posts: from a body to alerts."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from watchers.falco.alert import EXPECTED, TIME, type_name
from zenwatch.sdk import BadInput

_LINE_BEGINS = re.compile(rf"^{TIME}: ", re.MULTILINE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def decode(body: bytes, media_type: str) -> Iterator[Any]:
    """The alerts in a body: Falco posts a single alert, log shippers a list. In text, an alert is a line, or several if it has a time."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if media_type == "text/plain" and not body.lstrip().startswith(b"{"):
        yield from _alerts_in_text(body.decode("utf-8", "replace"))
        return
    document = _document_of(body)
    alerts = document if isinstance(document, list) else [document]
    for index, alert in enumerate(alerts):
        if not isinstance(alert, dict):
            where = f"entry {index} of the list is" if isinstance(document, list) else "the body is"
            raise BadInput(f"{where} {type_name(alert)}; {EXPECTED}")
    yield from alerts


def _document_of(body: bytes) -> Any:
    if not body.strip():
        raise BadInput(f"the body is empty; {EXPECTED}")
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise BadInput(f"not JSON: not UTF-8 at byte {exc.start}; {EXPECTED}") from exc
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise BadInput(f"not JSON: {exc.msg} at byte {len(text[: exc.pos].encode())}; {EXPECTED}") from exc


def _alerts_in_text(text: str) -> Iterator[Mapping[str, str]]:
    """An alert that begins with a time ends before the next such line, because a command in it may be a whole script."""
    begins = [found.start() for found in _LINE_BEGINS.finditer(text)]
    if not text.strip():
        raise BadInput(f"the body is empty; {EXPECTED}")
    ends = [*begins, len(text)]
    for line in re.finditer(r"\S[^\n]*", text[: ends[0]]):
        yield {"output": line[0]}
    for begin, end in zip(begins, ends[1:], strict=True):
        yield {"output": text[begin:end]}


def claims(document: Any) -> bool:
    """Whether it is an alert, or a list of alerts."""
    alerts = document if isinstance(document, list) and document else [document]
    return all(
        isinstance(alert, dict)
        and any(isinstance(alert.get(field), str) for field in ("output", "rule"))
        and (isinstance(alert.get("priority"), str) or isinstance(alert.get("output_fields"), dict))
        for alert in alerts
    )
