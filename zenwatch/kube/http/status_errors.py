"""Turn every failure of a request into one of our errors: status codes, broken connections and silence."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from zenwatch.errors import (
    AlreadyExists,
    Conflict,
    Denied,
    Expired,
    Forbidden,
    Invalid,
    NamespaceTerminating,
    NotFound,
    Permanent,
    QuotaExceeded,
    Transient,
    WebhookFailed,
    ZenwatchError,
    first_line,
)
from zenwatch.kube.http.request import Request
from zenwatch.kube.http.retry_after import retry_after_secs
from zenwatch.model.text import flat

MESSAGE_CHARS = 300
_BY_CODE: dict[int, type[ZenwatchError]] = {
    400: Invalid,
    401: Forbidden,
    409: AlreadyExists,
    410: Expired,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


@contextmanager
def transport_errors(request: Request, *, silence: str) -> Iterator[None]:
    """Raise Transient for a broken connection and for a time-out. silence: how the message calls the time-out."""
    try:
        yield
    except TimeoutError as exc:
        raise Transient(f"{silence}: {request.verb} {request.path}") from exc
    except aiohttp.ClientError as exc:
        raise Transient(f"{request.verb} {request.path}: {first_line(exc)}") from exc


def error_of(code: int, body: bytes, retry_after: str | None, request: Request, *, most_wait_secs: float) -> ZenwatchError:
    """The meaning of a Status (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/).

    retry_after: the header. most_wait_secs: no longer wait is believed.
    """
    status = _status_of(body)
    message = flat(str(status.get("message") or ""))[:MESSAGE_CHARS] or f"{request.verb} {request.path} answered {code}"
    if (refusal := _admission_error(code, message)) is not None:
        return refusal
    details = status.get("details")
    details = details if isinstance(details, dict) else {}
    if code in (408, 429) or code >= 500:
        asked = retry_after_secs(retry_after, details.get("retryAfterSeconds"), most_secs=most_wait_secs, now=datetime.now(UTC))
        return Transient(f"{code}: {message}", retry_after_secs=asked)
    if code == 404:
        return NotFound(message, missing_kind=str(details.get("kind", "")))
    if code == 403:
        return _forbidden(details, message, request)
    if code == 409 and status.get("reason") != "AlreadyExists":
        return Conflict(f"409: {message}")
    return _BY_CODE.get(code, Permanent)(f"{code}: {message}")


def _forbidden(details: dict[str, Any], message: str, request: Request) -> ZenwatchError:
    causes = {cause.get("reason") for cause in _list_of(details, "causes") if isinstance(cause, dict)}
    return NamespaceTerminating(message) if "NamespaceTerminating" in causes else Forbidden(f"missing permission: {request.permission}")


def _admission_error(code: int, message: str) -> ZenwatchError | None:
    """What refuses an object behind the authorization. A webhook and a policy choose their status code themselves, so only the
    API server's own words tell (k8s.io/apiserver: webhook/errors/statuserror.go, policy/validating/plugin.go, resourcequota).
    """
    if code == 500 and "request is too large" in message:
        # etcd's limit is reported as a server error, but the object will not shrink.
        return Invalid(f"{code}: {message}")
    if code >= 400 and ("denied the request" in message or "denied request:" in message):
        return Denied(f"{code}: {message}")
    if code == 403 and "exceeded quota" in message:
        return QuotaExceeded(f"{code}: {message}")
    if code == 500 and ("failed calling webhook" in message or "failed to call webhook" in message):
        return WebhookFailed(f"{code}: {message}")
    return None


def permission_of(refusal: Forbidden) -> str:
    """The refused verb and kind, without the namespace: a hundred namespaces are one missing permission."""
    permission, _, _ = first_line(refusal).partition(" in ")
    return permission


def _list_of(details: dict[str, Any], name: str) -> list[Any]:
    """Empty where a proxy answered with JSON of its own."""
    return value if isinstance(value := details.get(name), list) else []


def _status_of(body: bytes) -> dict[str, Any]:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"message": body[:200].decode(errors="replace")}
    return status if isinstance(status, dict) else {}
