"""HTTP requests to a running zenwatch; an error status is an answer like any other."""

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

PATIENCE_SECS = 20.0


def post(url: str, body: Any, *, tls: ssl.SSLContext | None = None, **headers: str) -> tuple[int, str]:
    """Return the status and the text of the answer. body: bytes are sent as they are, everything else as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return _answer_to(urllib.request.Request(url, sent, {"Content-Type": "application/json"} | headers), tls)  # noqa: S310  our own server


def get(url: str) -> tuple[int, str]:
    """Return the status and the text of the answer."""
    return _answer_to(urllib.request.Request(url), None)  # noqa: S310  our own server


def _answer_to(request: urllib.request.Request, tls: ssl.SSLContext | None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECS, context=tls) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode()
