"""One HTTP session to one API server: raw JSON in and out, every failure as one of our errors.

In: calls from kube/watch and store/crd.  Out: decoded JSON.
Owns: the connection pool.
Stops: close() ends every request.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from zenwatch.contract import Clock
from zenwatch.errors import (
    AlreadyExists,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NamespaceTerminating,
    NotFound,
    Permanent,
    Transient,
    ZenwatchError,
    first_line,
)
from zenwatch.kube.access import Access
from zenwatch.metrics import api_requests
from zenwatch.runtime.clock import SystemClock
from zenwatch.runtime.token_bucket import TokenBucket
from zenwatch.sdk.watcher import ApiResource

JSON = "application/json"
# 20 objects (the first page of a list) of 3 MiB, the most that an API server takes for one object.
MAX_ANSWER_BYTES = 64 * 1024 * 1024


_REVIEWS = ApiResource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One request. verb is RBAC's word for it: it names the missing permission when the answer is 403."""

    verb: str
    resource: ApiResource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def path(self) -> str:
        """Names come from reports: one that would lead to another path is Invalid."""
        if {".", ".."} & {self.namespace, self.name, self.subresource}:
            raise Invalid(f"not a name: {self.namespace!r}, {self.name!r}")
        kind = self.resource
        parts = ["/apis", kind.group, kind.version] if kind.group else ["/api", kind.version]
        if self.namespace:
            parts += ["namespaces", quote(self.namespace, safe="")]
        parts.append(kind.plural)
        parts += [quote(part, safe="") for part in (self.name, self.subresource) if part]
        return "/".join(parts)

    @property
    def permission(self) -> str:
        """verb resource.group in namespace, as a Role would grant it."""
        plural = f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural
        full = f"{plural}.{self.resource.group}" if self.resource.group else plural
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.verb} {full} {where}"


@dataclass(frozen=True, slots=True)
class Discovery:
    """The request which kinds of a group and version the API server serves."""

    group: str
    version: str
    verb: str = "get"

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def permission(self) -> str:
        return f"get {self.path}"


_METHODS = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


class KubeClient:
    def __init__(
        self, access: Access, *, timeout_secs: float, connections: int, rate_per_sec: float = 2000.0, clock: Clock | None = None
    ) -> None:
        self._access = access
        self._rate_limit = TokenBucket(clock or SystemClock(), rate_per_sec)
        self._timeout_secs = timeout_secs
        # Answers are small or come from the same machine room: compressing them costs the API server more than it saves.
        headers = {"Accept-Encoding": "identity", "User-Agent": "zenwatch"}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=access.tls, ttl_dns_cache=60),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def send(
        self,
        call: Call | Discovery,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """The decoded answer. Raises Transient, Expired, NotFound, AlreadyExists, Forbidden, NamespaceTerminating or Invalid."""
        answer, _ = await self.send_sized(call, query=query, body=body, content_type=content_type, accept=accept)
        return answer

    async def send_sized(
        self,
        call: Call | Discovery,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> tuple[Any, int]:
        """send(), and how many bytes the answer had."""
        sent = None if body is None else orjson.dumps(body)
        # Before the clock starts: a server that was not asked cannot have been slow.
        await self._rate_limit.take()
        try:
            async with asyncio.timeout(self._timeout_secs):
                async with await self._open(call, query, sent, content_type, accept) as answer:
                    received = await _read(answer, call)
        except TimeoutError as exc:
            raise Transient(f"no answer within {self._timeout_secs:g} s: {call.verb} {call.path}") from exc
        except aiohttp.ClientError as exc:
            raise Transient(f"{call.verb} {call.path}: {first_line(exc)}") from exc
        return _decode(received, call), len(received)

    async def served(self, group: str, version: str) -> frozenset[str]:
        """The plurals that the API server serves there now; none where it does not know the group."""
        return frozenset(str(resource.get("name")) for resource in await self._discover(group, version))

    async def find_kind(self, group: str, version: str, kind: str) -> ApiResource | None:
        """The kind as it stands in a URL; None where it is not served."""
        for resource in await self._discover(group, version):
            plural = str(resource.get("name"))
            # A subresource may say that it is of its parent's kind: pods/log.
            if resource.get("kind") == kind and "/" not in plural:
                return ApiResource(group, version, plural, kind, namespaced=bool(resource.get("namespaced")))
        return None

    async def _discover(self, group: str, version: str) -> list[dict[str, Any]]:
        try:
            answer = await self.send(Discovery(group, version))
        except NotFound:
            return []
        resources = answer.get("resources") or []
        if not isinstance(resources, list) or not all(isinstance(resource, dict) for resource in resources):
            raise Transient(f"the answer to get /apis/{group}/{version} is no list of resources")
        return resources

    async def whoami(self) -> str:
        """The user name that the API server knows us by. NotFound: it is older than 1.28."""
        review = {"apiVersion": f"{_REVIEWS.group}/{_REVIEWS.version}", "kind": _REVIEWS.kind}
        answer = await self.send(Call("create", _REVIEWS), body=review)
        return str(answer["status"]["userInfo"]["username"])

    async def date(self) -> datetime:
        """What the API server's clock shows, cut off to the second. Transient: it does not tell."""
        call = Discovery(_REVIEWS.group, _REVIEWS.version)
        await self._rate_limit.take()
        try:
            async with asyncio.timeout(self._timeout_secs), await self._open(call, None, None, JSON, JSON) as answer:
                return parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
        except TimeoutError as exc:
            raise Transient(f"no answer within {self._timeout_secs:g} s: {call.verb} {call.path}") from exc
        except aiohttp.ClientError as exc:
            raise Transient(f"{call.verb} {call.path}: {first_line(exc)}") from exc
        except ValueError as exc:
            raise Transient(f"the answer to {call.verb} {call.path} has no date that can be read") from exc

    async def stream(self, call: Call | Discovery, *, query: Mapping[str, str], accept: str, idle_secs: float) -> AsyncIterator[bytes]:
        """The lines of a watch, each one JSON value. Ends when the server ends it; Transient when idle_secs pass without a byte."""
        await self._rate_limit.take()
        try:
            async with asyncio.timeout(self._timeout_secs):
                answer = await self._open(call, query, None, JSON, accept)
            async with answer:
                async for line in _lines(answer, call, idle_secs):
                    yield line
        except TimeoutError as exc:
            raise Transient(f"nothing came for {idle_secs:g} s: {call.verb} {call.path}") from exc
        except aiohttp.ClientError as exc:
            raise Transient(f"{call.verb} {call.path}: {first_line(exc)}") from exc

    async def _open(
        self, call: Call | Discovery, query: Mapping[str, str] | None, sent: bytes | None, content_type: str, accept: str
    ) -> aiohttp.ClientResponse:
        """The answer, still to be read, if its status is a success; else the error that the status means."""
        headers = {"Accept": accept} if sent is None else {"Accept": accept, "Content-Type": content_type}
        answer = await self._ask(call, query, sent, headers)
        if answer.status == 401:
            # The token may have been replaced since it was read.
            answer.release()
            answer = await self._ask(call, query, sent, headers, refused=True)
        api_requests(_METHODS[call.verb], answer.status).inc()
        if answer.status < 300:
            return answer
        async with answer:
            raise _error_of(answer.status, await _read(answer, call), answer.headers.get("Retry-After"), call)

    async def _ask(
        self, call: Call | Discovery, query: Mapping[str, str] | None, sent: bytes | None, headers: dict[str, str], *, refused: bool = False
    ) -> aiohttp.ClientResponse:
        if authorization := await self._access.authorization(refused=refused):
            headers["Authorization"] = authorization
        return await self._session.request(
            _METHODS[call.verb],
            self._access.server + call.path,
            params=query,
            data=sent,
            headers=headers,
            proxy=self._access.proxy,
            server_hostname=self._access.server_name,
            allow_redirects=False,
        )


async def _read(answer: aiohttp.ClientResponse, call: Call | Discovery) -> bytes:
    if answer.content_length is not None and answer.content_length <= MAX_ANSWER_BYTES:
        return await answer.read()
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise Invalid(f"the answer is larger than {MAX_ANSWER_BYTES} bytes: {call.verb} {call.path}")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _lines(answer: aiohttp.ClientResponse, call: Call | Discovery, idle_secs: float) -> AsyncIterator[bytes]:
    rest = bytearray()
    pieces = answer.content.iter_any()
    while True:
        async with asyncio.timeout(idle_secs):
            piece = await anext(pieces, None)
        if piece is None:
            return
        scanned = len(rest)
        rest += piece
        if len(rest) > MAX_ANSWER_BYTES:
            raise Transient(f"a line is larger than {MAX_ANSWER_BYTES} bytes: {call.verb} {call.path}")
        if b"\n" not in piece:
            continue
        end = rest.rindex(b"\n", scanned)
        whole, rest = bytes(rest[:end]), rest[end + 1 :]
        for line in whole.split(b"\n"):
            yield line


def _decode(body: bytes, call: Call | Discovery) -> Any:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Transient(f"the answer to {call.verb} {call.path} is not JSON: {exc}") from exc
    if not isinstance(answer, dict):
        raise Transient(f"the answer to {call.verb} {call.path} is not an object")
    return answer


def _error_of(code: int, body: bytes, retry_after: str | None, call: Call | Discovery) -> ZenwatchError:
    """The meaning of a Status (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/)."""
    status = _status_of(body)
    message = first_line(ValueError(status.get("message") or f"{call.verb} {call.path} answered {code}"))
    if code == 500 and "request is too large" in message:
        # etcd's limit comes back as a server error, but the object will not shrink.
        return Invalid(f"{code}: {message}")
    details = status.get("details") or {}
    causes = {cause.get("reason") for cause in details.get("causes") or ()}
    if code in (408, 429) or code >= 500:
        asked = retry_after if retry_after and retry_after.isdigit() else details.get("retryAfterSeconds")
        return Transient(f"{code}: {message}", retry_after_secs=float(asked) if asked else None)
    if code == 404:
        return NotFound(message, missing_kind=str(details.get("kind", "")))
    if code == 403:
        return NamespaceTerminating(message) if "NamespaceTerminating" in causes else Forbidden(f"missing permission: {call.permission}")
    if code == 409 and status.get("reason") != "AlreadyExists":
        return Conflict(f"409: {message}")
    return _KINDS.get(code, Permanent)(f"{code}: {message}")


_KINDS: dict[int, type[ZenwatchError]] = {
    400: Invalid,
    401: Forbidden,
    409: AlreadyExists,
    410: Expired,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def _status_of(body: bytes) -> dict[str, Any]:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {"message": body[:200].decode(errors="replace")}
    return status if isinstance(status, dict) else {}
