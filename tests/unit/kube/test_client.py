"""zenwatch/kube/client.py: raw JSON in and out, every failure as one of our errors."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.support.fakes.api_server import Answer, FakeApiServer, body, cuts, hangs, line, raw, status, watch
from tests.support.fakes.clock import FakeClock
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
)
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call
from zenwatch.kube.http.session import MAX_ANSWER_BYTES
from zenwatch.sdk.watcher import ApiResource

PODS = ApiResource("", "v1", "pods", "Pod")
REPORTS = ApiResource("aquasecurity.github.io", "v1alpha1", "vulnerabilityreports", "VulnerabilityReport")
LIST, PATH = Call("list", PODS), "/api/v1/pods"


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as server:
        yield server


@pytest.fixture
async def client(server: FakeApiServer) -> AsyncIterator[KubeClient]:
    client = server.client()
    yield client
    await client.close()


# ---------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("call", "path", "permission"),
    [
        (LIST, "/api/v1/pods", "list pods in all namespaces"),
        (
            Call("create", REPORTS, "default"),
            "/apis/aquasecurity.github.io/v1alpha1/namespaces/default/vulnerabilityreports",
            "create vulnerabilityreports.aquasecurity.github.io in namespace default",
        ),
        (
            Call("patch", REPORTS, "default", "a", "status"),
            "/apis/aquasecurity.github.io/v1alpha1/namespaces/default/vulnerabilityreports/a/status",
            "patch vulnerabilityreports/status.aquasecurity.github.io in namespace default",
        ),
        (Call("get", PODS, "a/../b", "c?d"), "/api/v1/namespaces/a%2F..%2Fb/pods/c%3Fd", "get pods in namespace a/../b"),
    ],
)
def test_a_call_knows_its_path_and_its_permission(call: Call, path: str, permission: str) -> None:
    """What a tool wrote into a name cannot lead to another path; the permission is what a Role has to grant."""
    assert (call.path, call.permission) == (path, permission)


async def test_a_namespace_of_dots_does_not_lead_to_another_path(server: FakeApiServer, client: KubeClient) -> None:
    """Names come from reports: '..' would turn a create in a namespace into one beside it."""
    with pytest.raises(ZenwatchError):
        await client.send(Call("get", PODS, "..", "x"))

    assert all(".." in seen.path or "%2" in seen.path for seen in server.seen)


async def test_a_body_is_sent_as_json_of_its_type(server: FakeApiServer, client: KubeClient) -> None:
    """Three kinds of patch differ by it."""
    server.answers("PATCH", "/api/v1/namespaces/a/pods/b", body({"ok": True}))

    answer = await client.send(Call("patch", PODS, "a", "b"), query={"x": "1"}, body={"ä": 1}, content_type="application/merge-patch+json")

    [seen] = server.seen
    assert answer == {"ok": True}
    assert (seen.body, seen.query, seen.headers["Content-Type"]) == ({"ä": 1}, {"x": "1"}, "application/merge-patch+json")


async def test_the_size_of_an_answer_is_returned(server: FakeApiServer, client: KubeClient) -> None:
    """Pages are meant in bytes."""
    server.answers("GET", PATH, raw(b'{"a": "\xc3\xa4"}'))

    assert await client.send_sized(LIST, query={}) == ({"a": "ä"}, 11)


async def test_a_redirect_is_not_followed(server: FakeApiServer, client: KubeClient) -> None:
    """It would carry the token to wherever it points."""
    server.answers("GET", PATH, body({}, code=307, headers={"Location": f"{server.url}/elsewhere"}))

    with pytest.raises(ZenwatchError):
        await client.send(LIST)

    assert [seen.path for seen in server.seen] == [PATH]


# ---------------------------------------------------------------- what a status means


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(400), Invalid),
        (status(403), Forbidden),
        (status(403, reason="Forbidden", details={"causes": [{"reason": "NamespaceTerminating"}]}), NamespaceTerminating),
        (status(404), NotFound),
        (status(405), Permanent),
        (status(408), Transient),
        (status(409, reason="AlreadyExists"), AlreadyExists),
        (status(409, reason="Conflict"), Conflict),
        (status(410), Expired),
        (status(413), Invalid),
        (status(415), Invalid),
        (status(422), Invalid),
        (status(429), Transient),
        (status(500), Transient),
        (status(503), Transient),
        (status(504), Transient),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
async def test_every_status_is_one_of_our_errors(
    answer: Answer, error: type[ZenwatchError], server: FakeApiServer, client: KubeClient
) -> None:
    """Components decide by the class what to do; none of them knows a status code."""
    server.answers("GET", PATH, answer)

    with pytest.raises(ZenwatchError) as raised:
        await client.send(LIST)

    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("answer", "secs"),
    [
        (status(429, retry_after="7"), 7.0),
        (status(503, details={"retryAfterSeconds": 3}), 3.0),
        (status(429, retry_after="7", details={"retryAfterSeconds": 3}), 7.0),
        (status(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), 0.0),
        (status(503, retry_after="86400"), 60.0),
        (status(503, retry_after="Wed, 21 Oct 2099 07:28:00 GMT"), 60.0),
        (status(503, details={"retryAfterSeconds": 86400}), 60.0),
        (status(503, retry_after="soon", details={"retryAfterSeconds": 3}), 3.0),
        (status(503, retry_after="-1", details={"retryAfterSeconds": -3}), None),
        (status(503, details={"retryAfterSeconds": "soon"}), None),
        (status(503, details="a proxy has its own JSON"), None),
        (status(429), None),
    ],
)
async def test_how_long_to_wait_comes_through(answer: Answer, secs: float | None, server: FakeApiServer, client: KubeClient) -> None:
    """The header counts first, then the Status, up to a minute; what cannot be understood is ignored, and then our own back-off holds."""
    server.answers("GET", PATH, answer)

    with pytest.raises(Transient) as raised:
        await client.send(LIST)

    assert raised.value.retry_after_secs == secs


async def test_a_missing_namespace_is_distinguished_from_a_missing_object(server: FakeApiServer, client: KubeClient) -> None:
    """By this a record falls back to zenwatch's own namespace."""
    server.answers("GET", PATH, status(404, message='namespaces "x" not found', details={"kind": "namespaces"}), status(404))

    missing = []
    for _ in range(2):
        with pytest.raises(NotFound) as raised:
            await client.send(LIST)
        missing.append(raised.value.missing_kind)

    assert missing == ["namespaces", ""]


async def test_a_refusal_names_the_permission(server: FakeApiServer, client: KubeClient) -> None:
    """The sentence is what an administrator needs, not what the server states about us."""
    server.answers("GET", PATH, status(403, message='User "system:serviceaccount:x" cannot list'))

    with pytest.raises(Forbidden, match=r"^missing permission: list pods in all namespaces$"):
        await client.send(LIST)


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        # k8s.io/apiserver: a webhook chooses its code, and has 400 where it chooses none.
        (400, 'admission webhook "validate.kyverno.svc-fail" denied the request: images cannot be latest', Denied),
        (403, 'admission webhook "gatekeeper" denied the request: no', Denied),
        (500, 'admission webhook "own.code" denied the request without explanation', Denied),
        (422, "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no records in here", Denied),
        (403, 'zenagentevents "x" is forbidden: exceeded quota: records, requested: count/zenagentevents=1', QuotaExceeded),
        (500, 'Internal error occurred: failed calling webhook "w": failed to call webhook: Post "https://w": EOF', WebhookFailed),
        (500, "etcdserver: request is too large", Invalid),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_what_refuses_an_object_behind_the_authorization_says_so_itself(
    code: int, message: str, error: type[Exception], server: FakeApiServer, client: KubeClient
) -> None:
    """None of them is a missing permission; the message is their own."""
    server.answers("GET", PATH, status(code, message=message))

    with pytest.raises(error) as raised:
        await client.send(LIST)

    assert type(raised.value) is error
    assert message[:60] in str(raised.value)


@pytest.mark.parametrize("content", [b"<html>Bad Gateway</html>", b"", b"[]", b"\xff\xfe"])
async def test_a_failure_that_is_no_status_keeps_its_code(content: bytes, server: FakeApiServer, client: KubeClient) -> None:
    """Proxies answer in their own words."""
    server.answers("GET", PATH, raw(content, code=502))

    with pytest.raises(Transient, match=r"^502: "):
        await client.send(LIST)


# ---------------------------------------------------------------- what is no answer


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"", b'{"items": [', b"\xff"])
async def test_an_answer_that_is_not_json_may_be_better_next_time(content: bytes, server: FakeApiServer, client: KubeClient) -> None:
    """Somebody between us and the server answered."""
    server.answers("GET", PATH, raw(content))

    with pytest.raises(Transient, match="is not JSON"):
        await client.send(LIST)


@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"1"])
async def test_json_that_is_no_object_may_be_better_next_time(content: bytes, server: FakeApiServer, client: KubeClient) -> None:
    """Every answer of the API is an object; what is not would fail in a component as a bug."""
    server.answers("GET", PATH, raw(content))

    with pytest.raises(Transient):
        await client.send(LIST)


async def test_a_server_that_says_nothing_is_not_waited_for_for_ever(server: FakeApiServer) -> None:
    """API_TIMEOUT bounds every request."""
    server.answers("GET", PATH, hangs())
    client = server.client(timeout_secs=0.05)

    with pytest.raises(Transient, match=r"no answer within 0\.05 s: list /api/v1/pods"):
        await client.send(LIST)
    await client.close()


@pytest.mark.parametrize("sent", [b"", b'{"items": ['], ids=["before the head", "inside the body"])
async def test_a_connection_that_breaks_is_a_passing_failure(sent: bytes, server: FakeApiServer, client: KubeClient) -> None:
    """Half an answer is no answer."""
    server.answers("POST", PATH, cuts(sent))

    with pytest.raises(Transient):
        await client.send(Call("create", PODS), body={})


async def test_a_server_that_is_not_there_is_a_passing_failure() -> None:
    """It restarts."""
    async with FakeApiServer() as server:
        client = server.client()

    with pytest.raises(Transient):
        await client.send(LIST)
    await client.close()


async def test_an_answer_without_end_is_refused(server: FakeApiServer, client: KubeClient) -> None:
    """Memory is bounded whatever the server sends."""

    async def endless(request: web.Request, _ending: asyncio.Event) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        mebibyte = bytes(1024 * 1024)
        for _ in range(MAX_ANSWER_BYTES // len(mebibyte) + 1):
            await response.write(mebibyte)
        return response

    server.answers("GET", PATH, endless)

    with pytest.raises(Invalid, match="larger than"):
        await client.send(LIST)


# ---------------------------------------------------------------- how often is asked


async def test_requests_keep_to_the_rate(server: FakeApiServer) -> None:
    """API_RATE: a second's worth at once, then one after the other."""
    clock = FakeClock(skips_waits=True)
    client = KubeClient(server.access(), timeout_secs=5, connections=4, rate_per_sec=20, clock=clock)
    server.answers("GET", PATH, *[body({})] * 23)

    await asyncio.gather(*(client.send(LIST) for _ in range(23)))
    await client.close()

    assert clock.waits == pytest.approx([0.05] * 3)


async def test_waiting_for_one_s_turn_is_not_the_server_s_silence(server: FakeApiServer) -> None:
    """API_TIMEOUT begins when the request goes: a server that was not asked cannot have been slow."""
    client = KubeClient(server.access(), timeout_secs=0.9, connections=4, rate_per_sec=1)
    server.answers("GET", PATH, *[body({})] * 3)
    try:
        for _ in range(3):
            await client.send(LIST)
    finally:
        await client.close()


# ---------------------------------------------------------------- who asks


class Credentials:
    """A token that is new after every start_over()."""

    def __init__(self) -> None:
        self.generation = 0
        self.reads = 0

    def read(self) -> str | None:
        self.reads += 1
        return f"Bearer {self.generation}"

    def start_over(self) -> None:
        self.generation += 1

    def parts(self) -> dict[str, Any]:
        return {"read_authorization": self.read, "start_over": self.start_over}


async def test_credentials_are_read_once_for_many_requests(server: FakeApiServer) -> None:
    """A file or a plug-in per request would cost more than the request."""
    credentials = Credentials()
    client = server.client(**credentials.parts())
    server.answers("GET", PATH, body({}), body({}))

    await client.send(LIST)
    await client.send(LIST)
    await client.close()

    assert [seen.headers["Authorization"] for seen in server.seen] == ["Bearer 0", "Bearer 0"]
    assert credentials.reads == 1


async def test_a_401_reads_the_credentials_again_once(server: FakeApiServer) -> None:
    """The token was replaced: the same request goes out with the new one, and nobody notices."""
    credentials = Credentials()
    client = server.client(**credentials.parts())
    server.answers("POST", PATH, status(401), body({"ok": True}))

    assert await client.send(Call("create", PODS), body={"a": 1}) == {"ok": True}
    await client.close()

    assert [(seen.headers["Authorization"], seen.body) for seen in server.seen] == [("Bearer 0", {"a": 1}), ("Bearer 1", {"a": 1})]


async def test_a_second_401_is_a_refusal(server: FakeApiServer) -> None:
    """New credentials that are refused too will not get better by asking a third time."""
    client = server.client(**Credentials().parts())
    server.answers("GET", PATH, status(401), status(401, message="Unauthorized"))

    with pytest.raises(Forbidden, match="Unauthorized"):
        await client.send(LIST)
    await client.close()

    assert len(server.seen) == 2


# ---------------------------------------------------------------- watching


async def _lines(client: KubeClient, *, idle_secs: float = 5.0) -> list[bytes]:
    return [line async for line in client.stream(Call("watch", PODS), query={"watch": "true"}, idle_secs=idle_secs)]


async def test_lines_come_out_whole_however_they_were_cut(server: FakeApiServer, client: KubeClient) -> None:
    """TCP knows no lines; nor does it respect characters."""
    sent = b"".join(line("ADDED", {"name": name}) for name in ("a", "ä", "c"))
    server.answers("GET", PATH, watch(*(sent[start : start + 3] for start in range(0, len(sent), 3)), then="end"), watch(sent, then="end"))

    odd, whole = await _lines(client), await _lines(client)

    assert odd == whole == sent.splitlines()


async def test_the_start_of_a_line_without_its_end_is_not_returned(server: FakeApiServer, client: KubeClient) -> None:
    """The server ended the watch inside a line: it comes again with the next watch."""
    server.answers("GET", PATH, watch(b'{"a":1}\n{"b"', then="end"))

    assert await _lines(client) == [b'{"a":1}']


async def test_an_idle_watch_is_given_up(server: FakeApiServer, client: KubeClient) -> None:
    """A connection that died without a word looks like a cluster where nothing happens; bookmarks tell them apart."""
    server.answers("GET", PATH, watch(b'{"a":1}\n'))

    with pytest.raises(Transient, match=r"nothing came for 0\.05 s"):
        await _lines(client, idle_secs=0.05)


async def test_a_watch_that_is_cut_is_a_passing_failure(server: FakeApiServer, client: KubeClient) -> None:
    """Not the end that the server announced."""
    server.answers("GET", PATH, watch(b'{"a":1}\n', then="cut"))

    with pytest.raises(Transient):
        await _lines(client)


async def test_a_watch_that_is_refused_says_why(server: FakeApiServer, client: KubeClient) -> None:
    """As send() would."""
    server.answers("GET", PATH, status(410), status(403))

    with pytest.raises(Expired):
        await _lines(client)
    with pytest.raises(Forbidden, match="watch pods"):
        await _lines(client)


async def test_a_watch_that_does_not_begin_is_given_up(server: FakeApiServer) -> None:
    """The head of the answer has API_TIMEOUT, only its lines have longer."""
    server.answers("GET", PATH, hangs())
    client = server.client(timeout_secs=0.05)

    with pytest.raises(Transient):
        await _lines(client)
    await client.close()
