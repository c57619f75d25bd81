"""zenwatch/deliver/kube_events.py: one Event per critical record and resource, never in the way of the records."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from tests.support.fakes.api_server import Answer, FakeApiServer, Seen, body, cuts, hangs, raw, status
from tests.support.fakes.clock import START, FakeClock
from tests.support.paths import ROOT
from tests.support.tasks import until
from zenwatch.deliver.kube_events import KIND_KNOWN_SECS, MESSAGE_BYTES, TRIES, KubeEventAnnouncer
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource, Severity
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.runtime.supervise import Supervisor

CORE, NGINX, EVENTS = "/api/v1", "/api/v1/namespaces/default/pods/nginx", "/api/v1/namespaces/default/events"
KINDS = body(
    {
        "resources": [
            {"name": "pods/log", "kind": "Pod", "namespaced": True},
            {"name": "pods", "kind": "Pod", "namespaced": True},
            {"name": "nodes", "kind": "Node", "namespaced": False},
        ]
    }
)
FOUND = body({"metadata": {"name": "nginx", "namespace": "default", "uid": "1-2-3"}})
MADE = body({}, code=201)
A_RECORD = a_stored(namespace="default")
RESULTS = ("created", "dropped", "skipped", "refused", "failed")


def critical(**changes: Any) -> Event:
    return an_event(severity=Severity.CRITICAL, score=94, **changes)


def counted() -> dict[str, float]:
    return {result: REGISTRY.get_sample_value("zenwatch_kubernetes_events_total", {"result": result}) or 0.0 for result in RESULTS}


class Square:
    """An announcer with a clock that skips every wait, and an API server that knows the Pod nginx."""

    def __init__(self, server: FakeApiServer, announcer: KubeEventAnnouncer, clock: FakeClock) -> None:
        self.server = server
        self.announcer = announcer
        self.clock = clock
        self._before = counted()

    def results(self) -> dict[str, int]:
        """What became of the Events so far; zeros are left out."""
        return {result: int(count - self._before[result]) for result, count in counted().items() if count > self._before[result]}

    async def settled(self, events: int = 1) -> dict[str, int]:
        await until(lambda: sum(self.results().values()) >= events)
        return self.results()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        await self.announcer.start()
        try:
            yield
        finally:
            await self.announcer.stop()

    async def announce(self, event: Event | None = None) -> dict[str, int]:
        self.announcer.announce(event or critical(), A_RECORD)
        async with self.working():
            return await self.settled(sum(self.results().values()) + 1)

    def seen(self, method: str) -> list[Seen]:
        return [seen for seen in self.server.seen if seen.method == method]

    @property
    def made(self) -> list[Any]:
        return [seen.body for seen in self.seen("POST")]


@asynccontextmanager
async def a_square(
    *,
    kinds: Answer = KINDS,
    get: tuple[Answer, ...] = (FOUND,),
    post: tuple[Answer, ...] = (MADE,),
    timeout_secs: float = 60,
    **limits: Any,
) -> AsyncIterator[Square]:
    """kinds: the answer to discovery. get, post: what reading nginx and creating an Event in default are answered, one after the other."""
    async with FakeApiServer() as server:
        server.answers("GET", CORE, *[kinds] * 9)
        server.answers("GET", NGINX, *get)
        server.answers("POST", EVENTS, *post)
        client = server.client(timeout_secs=timeout_secs)
        clock = FakeClock(skips_waits=True)
        try:
            yield Square(server, KubeEventAnnouncer(client, Supervisor(), clock=clock, **limits), clock)
        finally:
            await client.close()


# ---------------------------------------------------------------- what is made


async def test_a_critical_record_makes_an_event_that_describe_finds() -> None:
    """kubectl selects by name, namespace, kind and uid of what it describes."""
    event = critical(remediation="Upgrade zlib to 1.3")
    async with a_square() as square:
        assert await square.announce(event) == {"created": 1}

    [made] = square.made
    assert made["involvedObject"] == {"apiVersion": "v1", "kind": "Pod", "name": "nginx", "namespace": "default", "uid": "1-2-3"}
    assert made["metadata"]["namespace"] == "default"
    assert made["metadata"]["name"].startswith(f"{event.name}.")
    assert (made["type"], made["reason"], made["source"], made["count"]) == ("Warning", "CriticalFinding", {"component": "zenwatch"}, 1)
    assert made["reportingComponent"] == "zen.kube-zen.io/zenwatch"
    assert made["firstTimestamp"] == made["lastTimestamp"] == format_rfc3339(START)
    assert made["message"] == f"CVE-2026-1 in zlib 1.2 (trivy, score 94): Upgrade zlib to 1.3; record default/{event.name}"


async def test_only_the_metadata_of_the_resource_is_read() -> None:
    """What a Pod runs is nobody's business here."""
    async with a_square() as square:
        await square.announce()

    assert square.seen("GET")[-1].headers["Accept"] == "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


async def test_an_event_about_what_has_no_namespace_lies_in_default() -> None:
    """As client-go has it; a namespace that the tool wrote beside a node is not one of the node."""
    async with a_square() as square:
        square.server.answers("GET", "/api/v1/nodes/worker", body({"metadata": {"uid": "4"}}))
        assert await square.announce(critical(resource=Resource("v1", "Node", "worker", "trivy-system"))) == {"created": 1}

    [made] = square.made
    assert made["metadata"]["namespace"] == "default"
    assert made["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": "worker", "uid": "4"}


async def test_a_kind_of_another_group_is_found_as_well() -> None:
    """The plural is the API server's to tell."""
    async with a_square() as square:
        square.server.answers(
            "GET", "/apis/apps/v1", body({"resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True}]})
        )
        square.server.answers("GET", "/apis/apps/v1/namespaces/default/deployments/web", FOUND)
        assert await square.announce(critical(resource=Resource("apps/v1", "Deployment", "web", "default"))) == {"created": 1}


async def test_an_event_about_a_static_pod_carries_the_uid_that_kubectl_looks_for() -> None:
    """The kubelet reports on such a Pod under the digest of its file, and so does `kubectl describe`."""
    mirror = body({"metadata": {"uid": "1-2-3", "annotations": {"kubernetes.io/config.mirror": "digest"}}})
    async with a_square(get=(mirror,)) as square:
        await square.announce()

    assert square.made[0]["involvedObject"]["uid"] == "digest"


@pytest.mark.parametrize("text", ["long " * 400, "lang ä" * 300, "漢" * 800], ids=["ASCII", "two bytes", "three bytes"])
async def test_a_long_message_is_cut_before_the_name_of_the_record(text: str) -> None:
    """The name is where the rest is found."""
    event = critical(remediation=text)
    async with a_square() as square:
        await square.announce(event)

    message = square.made[0]["message"]
    assert MESSAGE_BYTES - 3 <= len(message.encode()) <= MESSAGE_BYTES
    assert message.endswith(f"…; record default/{event.name}")


async def test_a_message_is_plain_text() -> None:
    """It is printed on a terminal, where a control character could do more than be read."""
    event = critical(title="a\x1b[31m b\u202e\n  c", remediation="1.\n2.")
    async with a_square() as square:
        await square.announce(event)

    assert square.made[0]["message"] == f"a [31m b c (trivy, score 94): 1. 2.; record default/{event.name}"


# ---------------------------------------------------------------- once


async def test_an_event_that_is_there_is_success() -> None:
    """409: it was made before a restart, or the answer to an earlier try was lost."""
    async with a_square(post=(status(409, reason="AlreadyExists"),)) as square:
        assert await square.announce() == {"created": 1}


async def test_the_name_is_the_same_after_a_restart_and_another_one_for_a_new_pod() -> None:
    """A Pod of a StatefulSet comes again under its name with another uid, and describe would not show the old Event."""
    other = body({"metadata": {"uid": "9-9-9"}})
    async with a_square(get=(FOUND, FOUND, other), post=(MADE,) * 3) as square:
        for _ in range(3):
            await square.announce()

    names = [made["metadata"]["name"] for made in square.made]
    assert names[0] == names[1] != names[2]


async def test_the_api_server_is_asked_once_for_its_kinds_and_again_after_a_while() -> None:
    """A CRD may have come."""
    async with a_square(get=(FOUND,) * 3, post=(MADE,) * 3) as square:
        for _ in range(2):
            await square.announce()
        assert [seen.path for seen in square.seen("GET")].count(CORE) == 1
        square.clock.advance(secs=KIND_KNOWN_SECS + 1)
        await square.announce()
        assert [seen.path for seen in square.seen("GET")].count(CORE) == 2


# ---------------------------------------------------------------- not at all


@pytest.mark.parametrize(
    "resource",
    [
        Resource(),
        Resource(kind="File", name="main.tf"),
        Resource("v1", "Pod", "", "default"),
        Resource("../../api/v1", "Pod", "nginx", "default"),
        Resource("v1", "Secret", "token", "default"),
        Resource("v1", "ConfigMap", "settings", "default"),
    ],
    ids=["nothing", "a file", "no name", "a path", "Secret", "ConfigMap"],
)
async def test_what_is_no_object_in_the_cluster_or_is_never_read_is_skipped_unasked(resource: Resource) -> None:
    """Metadata of a Secret may hold the Secret, where somebody applied it."""
    async with a_square() as square:
        square.announcer.announce(critical(resource=resource), A_RECORD)

        assert square.results() == {"skipped": 1}
        assert square.server.seen == []


@pytest.mark.parametrize(
    ("answers", "resource"),
    [
        ({"get": ()}, Resource("v1", "Pod", "nginx", "default")),
        ({"kinds": status(404)}, Resource("v1", "Pod", "nginx", "default")),
        ({}, Resource("v1", "Deplyoment", "nginx", "default")),
        ({}, Resource("v1", "Pod", "nginx", "")),
        ({"post": (status(404, details={"kind": "namespaces"}),)}, Resource("v1", "Pod", "nginx", "default")),
        (
            {"post": (status(403, details={"causes": [{"reason": "NamespaceTerminating"}]}),)},
            Resource("v1", "Pod", "nginx", "default"),
        ),
    ],
    ids=["gone", "no such group", "no such kind", "no namespace", "namespace gone", "namespace going"],
)
async def test_a_resource_that_is_gone_makes_no_event(answers: dict[str, Any], resource: Resource) -> None:
    """Nobody can describe it."""
    async with a_square(**answers) as square:
        with capture_logs() as lines:
            assert await square.announce(critical(resource=resource)) == {"skipped": 1}

    assert lines == []


async def test_a_name_that_would_lead_to_another_path_is_not_asked_for() -> None:
    """Tools write names."""
    async with a_square() as square:
        assert await square.announce(critical(resource=Resource("v1", "Pod", "..", "default"))) == {"failed": 1}

    assert {seen.path for seen in square.server.seen} == {CORE}


# ---------------------------------------------------------------- not too many


async def test_a_burst_goes_at_once_and_then_one_after_the_other() -> None:
    """The API server's Events are for all; a first scan finds thousands."""
    async with a_square(get=(FOUND,) * 5, post=(MADE,) * 5, rate_per_sec=2.0, burst=3) as square:
        for _ in range(5):
            square.announcer.announce(critical(), A_RECORD)
        async with square.working():
            await square.settled(5)

        assert square.clock.waits == [0.5, 0.5]


async def test_a_silence_allows_a_burst_again_but_no_more() -> None:
    """An hour without findings is not an hour's worth of Events."""
    async with a_square(get=(FOUND,) * 7, post=(MADE,) * 7, burst=3) as square:
        for _ in range(3):
            await square.announce()
        square.clock.advance(secs=3600)
        for _ in range(4):
            await square.announce()

        assert square.clock.waits == [1.0]


async def test_a_full_queue_drops_and_counts_and_says_so_once() -> None:
    """Who writes records must not wait for who announces them."""
    async with a_square(get=(FOUND,) * 4, post=(MADE,) * 4, queue_events=2) as square:
        with capture_logs() as lines:
            for _ in range(5):
                square.announcer.announce(critical(), A_RECORD)
            assert square.results() == {"dropped": 3}
            async with square.working():
                assert await square.settled(5) == {"created": 2, "dropped": 3}
                await until(lambda: not square.announcer._is_dropping)

    assert [line["event"] for line in lines] == ["kubernetes_events_dropped"]


# ---------------------------------------------------------------- failures


async def test_a_missing_permission_is_logged_once_with_the_file_that_grants_it() -> None:
    """A line for each would be a thousand lines of the same."""
    refused = status(403, reason="Forbidden")
    elsewhere = critical(resource=Resource("v1", "Pod", "nginx", "shop"))
    async with a_square(get=(refused, refused)) as square:
        square.server.answers("GET", "/api/v1/namespaces/shop/pods/nginx", refused)
        with capture_logs() as lines:
            for event in (critical(), critical(), elsewhere):
                await square.announce(event)
            assert square.results() == {"refused": 3}

    [line] = lines
    assert (line["event"], line["error"]) == ("permission_missing", "missing permission: get pods in namespace default")
    assert "deployments/events/rbac.yaml" in line["reason"]
    assert (ROOT / "deployments" / "events" / "rbac.yaml").exists()


async def test_each_missing_permission_is_logged() -> None:
    """Who grants one of two should learn of the other."""
    refused = status(403, reason="Forbidden")
    async with a_square(get=(refused, FOUND), post=(refused,)) as square:
        with capture_logs() as lines:
            assert await square.announce() == {"refused": 1}
            assert await square.announce() == {"refused": 2}

    assert [line["error"] for line in lines] == [
        "missing permission: get pods in namespace default",
        "missing permission: create events in namespace default",
    ]


@pytest.mark.parametrize(
    ("read", "create"),
    [
        ((status(429), FOUND), (MADE,)),
        ((raw(b"<html>"), FOUND), (MADE,)),
        ((FOUND, FOUND), (status(500), MADE)),
        ((FOUND, FOUND), (cuts(), MADE)),
        ((FOUND, FOUND), (cuts(), status(409, reason="AlreadyExists"))),
    ],
    ids=["429", "HTML", "500 to create", "cut", "cut after it was made"],
)
async def test_a_passing_failure_is_tried_again(read: tuple[Answer, ...], create: tuple[Answer, ...]) -> None:
    """The API server restarts, say."""
    async with a_square(get=read, post=create) as square:
        assert await square.announce() == {"created": 1}
        assert len(square.clock.waits) == 1


async def test_a_server_that_does_not_answer_is_asked_again() -> None:
    """API_TIMEOUT bounds each request; on a slow machine another one may exceed it, too."""
    async with a_square(get=(hangs(), *[FOUND] * TRIES), post=(MADE,), timeout_secs=2.0) as square:
        assert await square.announce() == {"created": 1}
        assert square.clock.waits


async def test_a_failure_that_does_not_pass_is_given_up_and_logged() -> None:
    """The record is there; an Event is not worth a queue that stands still."""
    async with a_square(get=(status(503),) * (TRIES + 1) + (FOUND,)) as square:
        with capture_logs() as lines:
            assert await square.announce() == {"failed": 1}

        assert len(square.seen("GET")) == 1 + TRIES
        assert [line["event"] for line in lines] == ["kubernetes_event_not_created"]


@pytest.mark.parametrize(
    "answers",
    [{"post": (status(422, reason="Invalid"),)}, {"get": (body({"metadata": {}}),)}, {"get": (body({"metadata": [1]}),)}],
    ids=["refused for good", "no uid", "no metadata"],
)
async def test_what_will_never_work_is_not_tried_again(answers: dict[str, Any]) -> None:
    """And does not hold up the next one."""
    async with a_square(**answers) as square:
        square.server.answers("GET", NGINX, FOUND)
        square.server.answers("POST", EVENTS, MADE)
        assert await square.announce() == {"failed": 1}
        assert square.clock.waits == []
        assert await square.announce() == {"failed": 1, "created": 1}


async def test_what_is_cut_off_at_the_end_is_counted() -> None:
    """The supervisor cancels the task; what it had in hand is in the metric."""
    async with a_square(get=(hangs(),)) as square:
        square.announcer.announce(critical(), A_RECORD)
        async with square.working():
            await square.server.until_seen(2)
        await asyncio.sleep(0)

        assert square.results() == {"failed": 1}


# ---------------------------------------------------------------- rights


def test_the_shipped_rights_read_no_content_and_make_nothing_but_events() -> None:
    """get on kinds whose metadata is harmless, create on Events, and for nobody but zenwatch's own account."""
    role, binding = yaml.safe_load_all((ROOT / "deployments" / "events" / "rbac.yaml").read_text())

    for rule in role["rules"]:
        assert rule["verbs"] == (["create"] if rule["resources"] == ["events"] else ["get"]), rule
        assert not {"*", "secrets", "configmaps"} & {*rule["apiGroups"], *rule["resources"]}, rule
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "zenwatch", "namespace": "zenwatch"}]


def test_every_rule_of_the_shipped_rights_says_who_needs_it() -> None:
    """As in deployments/base."""
    lines = (ROOT / "deployments" / "events" / "rbac.yaml").read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("  - apiGroups")]

    assert starts
    assert [lines[number] for number in starts if not lines[number - 1].lstrip().startswith("#")] == []
