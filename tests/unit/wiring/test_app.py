"""zenwatch/wiring/app.py: which watchers there are, and what is started for them."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.fakes.api_server import FakeApiServer, body, page, watch
from tests.support.fakes.clock import FakeClock
from tests.support.tasks import until
from zenwatch.cli import main
from zenwatch.errors import ConfigError
from zenwatch.model.finding import Finding, Severity
from zenwatch.sdk.watcher import ApiResource, Watcher
from zenwatch.wiring.in_cluster import InClusterApp
from zenwatch.wiring.plugins import configured_watchers, installed_watchers, settings_of
from zenwatch.wiring.settings import Settings

EMPTY_TABLE = body({"metadata": {"resourceVersion": "1"}, "columnDefinitions": [], "rows": []})
RECORDS = "/apis/zen.kube-zen.io/v1/zenagentevents"


def _nothing(_report: Mapping[str, Any]) -> Iterator[Finding]:
    return iter(())


def a_watcher(name: str, **parts: Any) -> Watcher:
    fields: dict[str, Any] = {
        "reads": (
            ApiResource(f"{name}.test", "v1", "reports", "Report"),
            ApiResource(f"{name}.test", "v1", "clusterreports", "ClusterReport", namespaced=False),
        ),
        "parse": _nothing,
    }
    return Watcher(name=name, **fields | parts)


# ---------------------------------------------------------------- a watcher's settings


def test_a_watcher_s_own_defaults_hold_until_somebody_sets_them() -> None:
    """Each with the prefix of its name."""
    watcher = a_watcher("kube-scan", min_severity=Severity.HIGH, namespace="scanners")

    default = settings_of(watcher, {"KUBE_SCAN_MIN_SEVERITY": " ", "SCAN_ENABLED": "false"})
    configured = settings_of(watcher, {"KUBE_SCAN_MIN_SEVERITY": "low", "KUBE_SCAN_NAMESPACE": "ci", "KUBE_SCAN_ENABLED": "false"})

    assert (default.enabled, default.min_severity, default.namespace) == (True, Severity.HIGH, "scanners")
    assert (configured.enabled, configured.min_severity, configured.namespace) == (False, Severity.LOW, "ci")


# ---------------------------------------------------------------- installed watchers

Installed = Callable[[str, str], None]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """A package of that name whose code declares WATCHER, as pip would leave it."""

    def install(package: str, code: str) -> None:
        about = tmp_path / f"{package}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (about / "entry_points.txt").write_text(f"[zenwatch.watchers]\n{package} = {package}:WATCHER\n")
        (tmp_path / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    structlog.reset_defaults()


DECLARES = "from zenwatch.sdk import Watcher\nWATCHER = Watcher(name={name!r}, reads=(), parse=lambda report: iter(()))\n"


def test_a_watcher_of_another_package_stands_among_ours(installed: Installed) -> None:
    """Installing it is all that it takes."""
    installed("acme_scan", DECLARES.format(name="acme-scan"))

    assert {"trivy", "kyverno", "kube-bench", "checkov", "falco", "audit", "acme-scan"} == {
        watcher.name for watcher in installed_watchers()
    }


@pytest.mark.parametrize(
    ("package", "code", "reason"),
    [
        ("acme_text", "WATCHER = 'trivy'\n", "neither a Watcher nor a PushWatcher"),
        ("acme_nothing", "", "WATCHER"),
        ("acme_import", "import no_such_module\n", "no_such_module"),
        ("acme_bug", "WATCHER = 1 / 0\n", "division by zero"),
        ("acme_twice", DECLARES.format(name="trivy"), "named trivy already"),
        ("acme_name", DECLARES.format(name="Acme Scan"), "'Acme Scan'"),
        ("acme_prefix", DECLARES.format(name="watch"), "WATCH_NAMESPACE"),
    ],
)
def test_a_watcher_that_cannot_be_used_ends_the_process_with_a_sentence(
    package: str, code: str, reason: str, installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tool that is silently not watched looks like a safe one. Which package it is, is what one has to know to mend it."""
    installed(package, code)

    with pytest.raises(ConfigError) as raised:
        installed_watchers()
    assert reason in str(raised.value)
    assert package in str(raised.value)

    assert main(["watchers"]) == 2
    assert str(raised.value) in capsys.readouterr().err


# ---------------------------------------------------------------- what is started


@asynccontextmanager
async def running(*watchers: Watcher, environment: Mapping[str, str] | None = None) -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as server:
        server.answers("GET", RECORDS, EMPTY_TABLE, watch())
        server.answers("GET", "/api/v1/namespaces/shop/pods", page())
        for watcher in watchers:
            for resource in watcher.reads:
                server.answers("GET", f"/apis/{resource.group}/v1/{resource.plural}", page(), watch())
        app = InClusterApp(
            Settings.read({"ALLOW_SECOND": "true"} | dict(environment or {})),
            server.access(),
            environment=environment,
            clock=FakeClock(),
            watchers=configured_watchers(environment or {}, watchers),
        )
        await app.start()
        try:
            yield server
        finally:
            await app.stop()


async def test_a_watcher_that_is_switched_off_asks_for_nothing() -> None:
    """Neither for its reports nor for its pods: no right is needed for it."""
    off, on = a_watcher("off", namespace="scanners"), a_watcher("on")
    async with running(off, on, environment={"OFF_ENABLED": "false"}) as server:
        # Its own namespace, which is missing there; the list and the watch of our records and of two kinds.
        await server.until_seen(8)
        paths = {seen.path for seen in server.seen}

    assert paths == {
        "/api/v1/namespaces/zenwatch",
        "/api/v1/namespaces",
        RECORDS,
        "/apis/on.test/v1/reports",
        "/apis/on.test/v1/clusterreports",
    }


async def test_confined_to_namespaces_nothing_is_asked_for_outside_them() -> None:
    """Roles there and in its own namespace are enough: no kind of the whole cluster, and no pods elsewhere."""
    inside, outside = a_watcher("inside", namespace="shop", pod_labels="app=inside"), a_watcher("outside", namespace="scanners")
    with capture_logs() as lines:
        async with running(inside, outside, environment={"WATCH_NAMESPACE": "shop,bank"}) as server:
            # Both have looked for their tool, which comes after everything else.
            await until(lambda: sum(line["event"] == "tool_state_changed" for line in lines) == 2)
            paths = {seen.path for seen in server.seen}

    # Three parts of the store; one kind of two watchers in two namespaces, none of them served; its discovery; pods.
    assert paths == {
        *(f"/apis/zen.kube-zen.io/v1/namespaces/{namespace}/zenagentevents" for namespace in ("shop", "bank", "zenwatch")),
        *(f"/apis/{name}.test/v1/namespaces/{namespace}/reports" for name in ("inside", "outside") for namespace in ("shop", "bank")),
        *("/apis/inside.test/v1", "/apis/outside.test/v1", "/api/v1/namespaces/shop/pods"),
    }
