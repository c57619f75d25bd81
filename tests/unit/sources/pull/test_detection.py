"""zenwatch/sources/pull/detection.py: whether a tool is there."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.support.fakes.api_server import Answer, FakeApiServer, body, status
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.intake import NotedIntake
from zenwatch.errors import Transient
from zenwatch.kube.client import KubeClient
from zenwatch.kube.cluster import Cluster
from zenwatch.model.finding import Finding
from zenwatch.sdk.watcher import ApiResource, Watcher
from zenwatch.sources.pull.detection import Detector, survey
from zenwatch.sources.pull.informer import ReportInformer, State

GROUP = "aquasecurity.github.io"
VULNS = ApiResource(GROUP, "v1alpha1", "vulnerabilityreports", "VulnerabilityReport")
AUDITS = ApiResource(GROUP, "v1alpha1", "configauditreports", "ConfigAuditReport")
OLD_AUDITS = ApiResource(GROUP, "v1", "configauditreports", "ConfigAuditReport")
RESULTS = ApiResource("", "v1", "configmaps", "ConfigMap", label_selector="app=trivy")
NEW, OLD, PODS = f"/apis/{GROUP}/v1alpha1", f"/apis/{GROUP}/v1", "/api/v1/namespaces/trivy-system/pods"


def _nothing(_report: Mapping[str, Any]) -> Iterator[Finding]:
    return iter(())


TRIVY = Watcher("trivy", (VULNS, AUDITS, OLD_AUDITS, RESULTS), _nothing, pod_labels="app=trivy")


class Kind(ReportInformer):
    """Reports whose state the test sets. seen: how often mark_served() was called."""

    def __init__(self, client: KubeClient, resource: ApiResource, state: State, *, objects: int = 0, namespace: str = "") -> None:
        cluster = Cluster("local", client)
        super().__init__(cluster, resource, TRIVY, NotedIntake(), namespace=namespace, ask_again_secs=1, clock=FakeClock())
        self.state, self.objects, self.seen = state, objects, 0

    def mark_served(self) -> None:
        self.seen += 1


@dataclass
class Scene:
    server: FakeApiServer
    client: KubeClient
    kinds: list[Kind] = field(default_factory=list)

    def has(self, resource: ApiResource, state: State, **parts: Any) -> Kind:
        self.kinds.append(Kind(self.client, resource, state, **parts))
        return self.kinds[-1]

    def detector(self, *, namespace: str = "") -> Detector:
        return Detector(Cluster("local", self.client), TRIVY, self.kinds, namespace=namespace)

    def asked(self) -> list[str]:
        return [seen.path for seen in self.server.seen]


@asynccontextmanager
async def scene(**answers: Answer | list[Answer]) -> AsyncIterator[Scene]:
    """pods, new, old, vulns, audits, results: what is answered there, in order."""
    paths = {"pods": PODS, "new": NEW, "old": OLD, "vulns": f"{NEW}/vulnerabilityreports", "results": "/api/v1/configmaps"}
    async with FakeApiServer() as server:
        for name, sent in answers.items():
            server.answers("GET", paths[name], *(sent if isinstance(sent, list) else [sent]))
        client = server.client()
        try:
            yield Scene(server, client)
        finally:
            await client.close()


def some(count: int, *, more: int = 0) -> Answer:
    """A list of count objects. more: how many the server says it left out."""
    return body({"metadata": {"remainingItemCount": more} if more else {}, "items": [{"metadata": {}}] * count})


def serves(*plurals: str) -> Answer:
    return body({"resources": [{"name": plural} for plural in plurals]})


def gauge() -> float | None:
    return REGISTRY.get_sample_value("zenwatch_tool_installed", {"cluster_id": "local", "source": "trivy"})


def changes(lines: list[Any]) -> list[tuple[str, str]]:
    return [(line["state"], line["reason"]) for line in lines if line["event"] == "tool_state_changed"]


# ---------------------------------------------------------------- what speaks for a tool


async def test_a_kind_that_is_read_speaks_for_its_tool_once() -> None:
    """However many namespaces it is read in; one that may not be read, or is not read yet, says nothing."""
    async with scene() as stage:
        for namespace in ("shop", "bank"):
            stage.has(VULNS, State.FOLLOWED, namespace=namespace)
        stage.has(AUDITS, State.FORBIDDEN)
        stage.has(OLD_AUDITS, State.UNREAD)

        assert await stage.detector().detect() == ["vulnerabilityreports.aquasecurity.github.io served"]
        assert stage.asked() == []


@pytest.mark.parametrize(("objects", "evidence"), [(0, []), (2, ["5 labelled objects"])])
async def test_a_kind_that_all_programs_use_speaks_for_a_tool_only_by_its_objects(objects: int, evidence: list[str]) -> None:
    """ConfigMaps are served everywhere; of all namespaces together."""
    async with scene() as stage:
        stage.has(RESULTS, State.FOLLOWED, objects=objects, namespace="shop")
        stage.has(RESULTS, State.FOLLOWED, objects=3 if objects else 0, namespace="bank")

        assert await stage.detector().detect() == evidence


@pytest.mark.parametrize(("pods", "evidence"), [(0, []), (1, ["pods in trivy-system"])])
async def test_running_pods_speak_for_their_tool(pods: int, evidence: list[str]) -> None:
    """Those with its labels, in its namespace; of them no more is read than that they are there."""
    async with scene(pods=some(pods)) as stage:
        assert await stage.detector(namespace="trivy-system").detect() == evidence

        [seen] = stage.server.seen
        assert seen.query["labelSelector"] == "app=trivy"
        assert "as=PartialObjectMetadataList" in seen.headers["Accept"]


async def test_without_a_namespace_nobody_looks_for_pods() -> None:
    """All pods of the cluster are more than a hint is worth, and more than a Role allows."""
    async with scene() as stage:
        await stage.detector().detect()

        assert stage.asked() == []


async def test_a_refusal_of_the_pods_is_named_once_and_not_asked_for_again() -> None:
    """It only costs the hint: whoever did not grant it meant it. What else speaks for the tool still does."""
    with capture_logs() as lines:
        async with scene(pods=status(403)) as stage:
            stage.has(VULNS, State.FOLLOWED)
            detector = stage.detector(namespace="trivy-system")

            looks = [await detector.detect() for _ in range(2)]

            assert looks == [["vulnerabilityreports.aquasecurity.github.io served"]] * 2
            assert stage.asked() == [PODS]
    missing = [line["error"] for line in lines if line["event"] == "detection_refused"]
    assert missing == ["missing permission: list pods in namespace trivy-system"]


@pytest.mark.parametrize("code", [400, 404, 406])
async def test_pods_that_cannot_be_counted_only_cost_the_hint(code: int) -> None:
    """Whatever stands between us and the API server may not know such lists: what the reports say must be written all the same."""
    async with scene(pods=status(code)) as stage:
        stage.has(VULNS, State.FOLLOWED)

        assert await stage.detector(namespace="trivy-system").detect() == ["vulnerabilityreports.aquasecurity.github.io served"]


# ---------------------------------------------------------------- what becomes of it


async def test_only_a_change_is_logged_and_the_gauge_follows_it() -> None:
    """Once at the start, whichever it is, and then when the tool comes or goes; not at every round."""
    gauges = []
    with capture_logs() as lines:
        async with scene(pods=[some(0), some(0), some(2), some(1), some(0)]) as stage:
            detector = stage.detector(namespace="trivy-system")
            for _ in range(5):
                await detector.detect()
                gauges.append(gauge())

    assert changes(lines) == [("not_installed", ""), ("installed", "pods in trivy-system"), ("not_installed", "")]
    assert gauges == [0, 0, 1, 1, 0]


@pytest.mark.parametrize("fault", ["pods", "new"])
async def test_a_server_that_is_away_says_nothing_about_the_tool(fault: str) -> None:
    """Unknown is not the same as not there: the state stays as it was."""
    with capture_logs() as lines:
        async with scene(**{fault: status(503)}) as stage:
            stage.has(VULNS, State.NOT_SERVED)
            with pytest.raises(Transient):
                await stage.detector(namespace="trivy-system").detect()

    assert changes(lines) == []


async def test_a_kind_that_cannot_be_reached_for_a_moment_does_not_take_the_tool_away() -> None:
    """It was read before, and is tried again at this very moment."""
    with capture_logs() as lines:
        async with scene() as stage:
            kind = stage.has(RESULTS, State.FOLLOWED, objects=1)
            detector = stage.detector()
            await detector.detect()
            kind.state = State.UNREACHABLE
            await detector.detect()

    assert [state for state, _ in changes(lines)] == ["installed"]


# ---------------------------------------------------------------- kinds that come to be served


async def test_kinds_that_were_missing_are_asked_for_once_per_group_and_version() -> None:
    """Eight kinds of one tool are one question; and only those that are served now are read again."""
    async with scene(new=serves("vulnerabilityreports", "exposedsecretreports"), old=serves("vulnerabilityreports")) as stage:
        vulns = [stage.has(VULNS, State.NOT_SERVED, namespace=namespace) for namespace in ("shop", "bank")]
        others = [stage.has(AUDITS, State.NOT_SERVED), stage.has(OLD_AUDITS, State.NOT_SERVED)]

        await stage.detector().detect()

        assert sorted(stage.asked()) == [OLD, NEW]
        assert ([kind.seen for kind in vulns], [kind.seen for kind in others]) == ([1, 1], [0, 0])


async def test_a_kind_that_is_not_missing_is_not_asked_for() -> None:
    """Nor is it read again, although its group serves it: only one that was missing waits for that."""
    async with scene(new=serves("vulnerabilityreports", "configauditreports")) as stage:
        idle = [stage.has(VULNS, state) for state in State if state is not State.NOT_SERVED]
        await stage.detector().detect()
        assert stage.asked() == []

        missing = stage.has(AUDITS, State.NOT_SERVED)
        await stage.detector().detect()

        assert (missing.seen, [kind.seen for kind in idle]) == (1, [0] * len(idle))


async def test_a_refused_discovery_does_not_stop_the_round() -> None:
    """A hardened cluster: what the kinds that are served say must be written, and the missing ones have to ask for themselves."""
    async with scene(new=status(403)) as stage:
        stage.has(VULNS, State.FOLLOWED)
        missing = stage.has(AUDITS, State.NOT_SERVED)

        assert await stage.detector().detect() == ["vulnerabilityreports.aquasecurity.github.io served"]
        assert missing.seen == 1


# ---------------------------------------------------------------- one look, for a person


async def surveyed(stage: Scene, *reads: ApiResource, namespace: str = "") -> list[str]:
    watcher = Watcher("trivy", reads, _nothing, pod_labels="app=trivy")
    return [line async for line in survey(stage.client, watcher, namespace=namespace)]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (some(1, more=41), "42 vulnerabilityreports.aquasecurity.github.io"),
        (some(0), "0 vulnerabilityreports.aquasecurity.github.io"),
        (
            status(404),
            "vulnerabilityreports.aquasecurity.github.io is not served: the tool is not installed, or does not write it",
        ),
        (status(403), "missing permission: list vulnerabilityreports.aquasecurity.github.io in all namespaces"),
        (status(503, message="shutting down"), "503: shutting down"),
        # An aggregated API server that knows no metadata-only lists.
        (status(406, message="only application/json"), "406: only application/json"),
    ],
    ids=["some", "none", "not served", "refused", "away", "not acceptable"],
)
async def test_a_survey_has_one_line_for_a_kind(answer: Answer, line: str) -> None:
    """Whatever the answer is; the kinds after it are asked for all the same."""
    async with scene(vulns=answer, results=some(3)) as stage:
        assert await surveyed(stage, VULNS, RESULTS) == [line, "3 configmaps labelled app=trivy"]

        # The server counts what it leaves out, but not where a selector chooses.
        assert [dict(seen.query) for seen in stage.server.seen] == [{"limit": "1"}, {"limit": "500", "labelSelector": "app=trivy"}]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (some(2), "2 pods in namespace trivy-system"),
        (status(403), "missing permission: list pods in namespace trivy-system"),
        (status(503, message="shutting down"), "503: shutting down"),
    ],
    ids=["some", "refused", "away"],
)
async def test_a_survey_ends_with_the_pods_where_the_tool_has_a_namespace(answer: Answer, line: str) -> None:
    """An empty one: they are not asked for."""
    async with scene(pods=answer) as stage:
        assert await surveyed(stage) == []
        assert await surveyed(stage, namespace="trivy-system") == [line]
