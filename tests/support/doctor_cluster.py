"""A cluster and a process in which all is well until the test changes them, and a diagnosis of both."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self

import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.paths import ROOT
from zenwatch.doctor.check import Check
from zenwatch.doctor.context import DoctorContext
from zenwatch.doctor.examine import Diagnosis, examine
from zenwatch.doctor.process.status_api import StatusResponse
from zenwatch.errors import Transient
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient
from zenwatch.sdk.watcher import PushWatcher
from zenwatch.wiring.plugins import installed_watchers, settings_of
from zenwatch.wiring.settings import Settings

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/zenagentevents.zen.kube-zen.io"


def rfc3339(age_secs: float) -> str:
    return (NOW - timedelta(seconds=age_secs)).strftime("%Y-%m-%dT%H:%M:%SZ")


class FixedClock:
    """It is always NOW. Each reading of monotonic_secs() is request_secs after the one before."""

    def __init__(self, *, request_secs: float = 0.001) -> None:
        self.request_secs = request_secs
        self._elapsed_secs = 0.0

    def now(self) -> datetime:
        return NOW

    def monotonic_secs(self) -> float:
        self._elapsed_secs += self.request_secs
        return self._elapsed_secs

    async def wait(self, event: object, *, timeout_secs: float) -> bool:
        raise AssertionError("doctor waits for nothing")


def definition() -> dict[str, Any]:
    crd: dict[str, Any] = yaml.safe_load((ROOT / "deployments" / "crds" / "zenagentevents.yaml").read_text())
    return crd


class FakeCluster:
    """served: plurals by group and version. denied: verb and plural of permissions that nobody has. objects: metadata by plural.

    answers: status code and body by path, in place of what it would answer. reviews, lists: what was asked.
    """

    def __init__(self) -> None:
        self.served: dict[str, list[str]] = {"zen.kube-zen.io/v1": ["zenagentevents"], "v1": ["configmaps", "pods"]}
        for watcher in installed_watchers():
            for kind in watcher.reads:
                if kind.group:
                    self.served.setdefault(f"{kind.group}/{kind.version}", []).append(kind.plural)
        self.denied: set[str] = set()
        self.objects: dict[str, list[dict[str, Any]]] = {}
        self.answers: dict[str, tuple[int, Any]] = {}
        self.definition = definition()
        self.date = NOW
        self.reviews: list[dict[str, Any]] = []
        self.lists: list[tuple[str, Mapping[str, str]]] = []
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._server = TestServer(application)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    def client(self) -> KubeClient:
        access = Access(self.url, tls=False, describe="a fake", read_authorization=lambda: None)
        return KubeClient(access, timeout_secs=5, connections=4)

    async def _handle(self, request: web.Request) -> web.Response:
        code, body = await self._answer(request)
        return web.json_response(body, status=code, headers={"Date": format_datetime(self.date, usegmt=True)})

    async def _answer(self, request: web.Request) -> tuple[int, Any]:
        path = request.path
        if path in self.answers:
            return self.answers[path]
        if request.method == "POST":
            return self._review(path, await request.json())
        if path.startswith("/openapi/v3/"):
            schema = dict(self.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
            schema["x-kubernetes-group-version-kind"] = [{"group": "zen.kube-zen.io", "version": "v1", "kind": "ZenAgentEvent"}]
            return 200, {"components": {"schemas": {"other": {}, "ours": schema}}}
        parts = path.removeprefix("/apis/").removeprefix("/api/").split("/")
        if path == CRDS:
            return 200, self.definition
        if path.startswith("/apis/auth"):
            return 200, {"resources": []}
        return self._discover(parts) or self._list(parts, request)

    def _review(self, path: str, review: dict[str, Any]) -> tuple[int, Any]:
        if "accessreviews" not in path:
            return 201, {"status": {"userInfo": {"username": "someone"}}}
        if f"create {path.rpartition('/')[2]}" in self.denied:
            return 403, {}
        self.reviews.append(review)
        need = review["spec"]["resourceAttributes"]
        plural = f"{need['resource']}/{need['subresource']}" if need["subresource"] else need["resource"]
        return 201, {"status": {"allowed": f"{need['verb']} {plural}" not in self.denied}}

    def _discover(self, parts: list[str]) -> tuple[int, Any] | None:
        group_version = "/".join(parts)
        if group_version in self.served:
            return 200, {"resources": [{"name": plural} for plural in self.served[group_version]]}
        versions = [served.partition("/")[2] for served in self.served if served.startswith(f"{group_version}/")]
        return (200, {"versions": [{"version": version} for version in versions]}) if versions else None

    def _list(self, parts: list[str], request: web.Request) -> tuple[int, Any]:
        if parts[1:] == ["namespaces", "zenwatch"]:
            return 200, {"metadata": {}}
        plural = parts[-1]
        if plural not in {plural for plurals in self.served.values() for plural in plurals}:
            return 404, {"message": "not found"}
        self.lists.append((request.path, dict(request.query)))
        if f"list {plural}" in self.denied:
            return 403, {}
        begin = int(request.query.get("continue", "0"))
        found = [metadata for metadata in self.objects.get(plural, []) if _is_selected(metadata, request.query.get("labelSelector", ""))]
        end = begin + int(request.query["limit"])
        more = {"continue": str(end)} if end < len(found) else {}
        return 200, {"metadata": more, "items": [{"metadata": metadata} for metadata in found[begin:end]]}


def _is_selected(metadata: Mapping[str, Any], selector: str) -> bool:
    labels = metadata.get("labels") or {}
    return all(labels.get(name) == value for name, _, value in (part.partition("=") for part in selector.split(",") if part))


def a_record(source: str, *, age_secs: float = 60) -> dict[str, Any]:
    labels = {"source": source, "app.kubernetes.io/managed-by": "zenwatch", "zen.kube-zen.io/cluster": "local"}
    return {"labels": labels, "creationTimestamp": rfc3339(age_secs)}


class FakeProcess:
    """A StatusApi. pages: status code and body by path; 404 for other paths. None: no process listens."""

    def __init__(self, pages: dict[str, tuple[int, Any]] | None = None, *, is_named: bool = False, has_token: bool = False) -> None:
        self.url = "http://127.0.0.1:8080"
        self.is_named = is_named
        self.has_token = has_token
        self.pages = pages
        self.date: datetime | None = NOW

    def get(self, path: str, *, with_token: bool = True) -> StatusResponse:
        if self.pages is None:
            raise Transient("Connection refused")
        code, page = self.pages.get(path if with_token else f"{path} without token", self.pages.get(path, (404, "there is nothing here")))
        return StatusResponse(code, page if isinstance(page, str) else json.dumps(page), self.date)


def no_process(*, is_named: bool = False) -> FakeProcess:
    """No process listens at the address."""
    return FakeProcess(None, is_named=is_named)


def a_source_status(**changes: Any) -> dict[str, Any]:
    """Of a pull source that is well."""
    status: dict[str, Any] = {
        "last_data_at": rfc3339(30),
        "last_post_at": None,
        "last_sender": "",
        "open": 7,
        "silent_since": None,
        "missing_fields": [],
        "buffer": None,
    }
    return status | changes


def a_status(*, sources: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What a zenwatch that is well answers at /status. sources: in place of those that they name."""
    buffer = {"used": 1, "capacity": 100, "unit": "events"}
    pushed = a_source_status(last_post_at=rfc3339(5), last_sender="10.0.0.7", buffer=buffer)
    pulled = {name: a_source_status() for name in ("trivy", "kyverno", "kube-bench", "checkov")}
    status: dict[str, Any] = {
        "version": "0.2.0",
        "started_at": rfc3339(7200),
        "sources": {**pulled, "falco": pushed, "audit": pushed, **(sources or {})},
        "budget": {"records": 100, "records_limit": 20_000, "bytes": 5 << 20, "bytes_limit": 200 << 20, "rolled_up": 0},
        "writes": {"retries": 3, "failing": False},
    }
    return status | changes


def a_process(status: Mapping[str, Any] | None = None, **parts: bool) -> FakeProcess:
    """A process that is well. status: the body of /status; None: it has no /status."""
    pages: dict[str, tuple[int, Any]] = {
        "/healthz": (200, "loop ok: last beat 0.2 s ago\n"),
        "/readyz": (200, "apiserver ok\ncrds ok\nbuffer/falco ok: 3 of 100 events\nbuffer/audit ok: 0 of 200 events\n"),
        "/explain": (400, "nothing was asked for"),
    }
    pages |= {watcher.path: (405, "") for watcher in installed_watchers() if isinstance(watcher, PushWatcher)}
    return FakeProcess(pages | ({"/status": (200, status)} if status is not None else {}), **parts)


async def diagnose(
    cluster: FakeCluster, process: FakeProcess | None = None, *, clock: FixedClock | None = None, service_account: str = "", **settings: str
) -> "Checks":
    client = cluster.client()
    watchers = [(watcher, settings_of(watcher, settings)) for watcher in installed_watchers()]
    context = DoctorContext(
        Settings.read(settings),
        watchers,
        client,
        cluster.url,
        process or a_process(),
        definition(),
        clock or FixedClock(),
        service_account,
    )
    try:
        return Checks(await examine(context))
    finally:
        await client.close()


class Checks:
    """The checks of a diagnosis by area and title."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        self.diagnosis = diagnosis
        self.checks = {(check.area, check.title): check for check in diagnosis.checks}

    def __getitem__(self, area_and_title: tuple[str, str]) -> Check:
        return self.checks[area_and_title]

    def __contains__(self, area_and_title: tuple[str, str]) -> bool:
        return area_and_title in self.checks

    def at(self, *levels: str) -> set[tuple[str, str]]:
        return {area_and_title for area_and_title, check in self.checks.items() if check.level in levels}
