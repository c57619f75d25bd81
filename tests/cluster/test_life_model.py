"""Random steps in random order: the records are always those of a model of a dozen lines. On a real API server."""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType
from typing import NamedTuple, Self

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support import payloads
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity, kubeconfig_text
from tests.support.fakes.clock import MovedClock
from tests.support.faults.fault_proxy import FaultProxy
from tests.support.live.in_process import InProcess
from tests.support.live.objects import Json, apply, records
from tests.support.live.process import eventually
from tests.support.live.rights import Rights

pytestmark = pytest.mark.cluster

KIND = "reports.openreports.io"
GRACE_SECS = 600.0
RULES = ("a", "b")
# The moved clock also runs by itself. Sums of these keep a distance from the grace that is longer than a step.
SHORT_SECS, LONG_SECS = 250.0, 700.0
# After an interruption, absence means nothing until the next bookmark of the API server.
BOOKMARK_WITHIN_SECS = 90.0
STEPS = 12
_numbers = itertools.count()


# ---------------------------------------------------------------- the model


@dataclass
class Model:
    """lives: by report and rule, the phase of the record and how often it was reopened."""

    lives: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    gone_since: dict[str, float] = field(default_factory=dict)

    def see(self, reports: Mapping[str, str], *, now_secs: float) -> None:
        for report in {report for report, _ in self.lives} | reports.keys():
            if report in reports:
                self.gone_since.pop(report, None)
            elif now_secs - self.gone_since.setdefault(report, now_secs) < GRACE_SECS:
                continue
            for rule in RULES:
                phase, reopened = self.lives.get((report, rule), ("", 0))
                if rule in reports.get(report, ""):
                    self.lives[report, rule] = "Open", reopened + (phase == "Resolved")
                elif phase:
                    self.lives[report, rule] = "Resolved", reopened

    def restart(self) -> None:
        self.gone_since.clear()


# ---------------------------------------------------------------- the world


class Step(NamedTuple):
    """what: the name of a method of World."""

    what: str
    report: str = ""
    rules: str = ""
    secs: float = 0.0


class World:
    """A cluster, zenwatch in it, and the model of both. number: is part of the names of all objects of one example."""

    def __init__(self, shared: "Shared", number: int) -> None:
        self._shared = shared
        self._cluster, self._namespace = shared.cluster, shared.namespace
        self._prefix = f"w{number}-"
        self._model = Model()
        self._reports: dict[str, str] = {}
        self._is_hidden = self._is_unserved = False
        self._now_secs = 0.0
        self._clock = MovedClock()
        self._made: list[Step] = []

    def __enter__(self) -> Self:
        self._zenwatch = self._started()
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        self._shared.proxy.is_away = False
        self._shared.rights.grant()
        if self._is_unserved:
            self._cluster.apply_crds(self._shared.manifest)
        self._cluster.kubectl("delete", KIND, "--all", "-n", self._namespace)
        self._zenwatch.stop()

    def possible(self) -> list[Step]:
        """The steps that are possible now; a likely step is in the list several times."""
        # A wait changes nothing while no report is gone.
        is_worth_it = self._is_hidden or bool(self._model.gone_since)
        waits = [Step("wait", secs=secs) for secs in ((SHORT_SECS, LONG_SECS, LONG_SECS) if is_worth_it else (LONG_SECS,))]
        if self._is_unserved:
            return [*waits, Step("restart"), Step("serve")]
        writes = [Step("write", report, rules) for report in ("one", "two") for rules in ("", "a", "b", "ab")]
        deletes = [Step("delete", report) for report in self._reports] * 3
        sight = [Step("show")] * 4 if self._is_hidden else [Step("hide"), Step("hide"), Step("unserve")]
        return [*writes, *deletes, *waits * 2, *sight, Step("restart"), Step("restart")]

    def make(self, step: Step) -> None:
        """Do the step, and wait until the records are those of the model."""
        self._made.append(step)
        getattr(self, step.what)(step)
        if not self._is_hidden:
            self._model.see(self._reports, now_secs=self._now_secs)
        with suppress(AssertionError):
            eventually(lambda: self._stored() == self._model.lives, within_secs=BOOKMARK_WITHIN_SECS)
        # No more writes follow, until time passes again.
        self._zenwatch.wait_for_rounds("kyverno")
        assert self._stored() == self._model.lives, self._made

    # ------------------------------------------------------------ steps

    def write(self, step: Step) -> None:
        """A report appears or changes."""
        with self._zenwatch.sees(int(not self._is_hidden and step.report not in self._reports), source="kyverno"):
            apply(self._cluster, self._report(step.report, step.rules))
        self._reports[step.report] = step.rules

    def delete(self, step: Step) -> None:
        del self._reports[step.report]
        with self._zenwatch.sees(-int(not self._is_hidden), source="kyverno"):
            self._cluster.kubectl("delete", KIND, self._prefix + step.report, "-n", self._namespace)

    def wait(self, step: Step) -> None:
        self._now_secs += step.secs
        self._zenwatch.advance(step.secs, source="kyverno")

    def hide(self, step: Step) -> None:
        """The permission is revoked. An open watch goes on without it, so let it end with its next change."""
        self._is_hidden = self._shared.proxy.is_away = True
        interrupted = len(self._zenwatch.log("watch_interrupted", resource=KIND))
        apply(self._cluster, self._report("marker", ""))
        eventually(lambda: len(self._zenwatch.log("watch_interrupted", resource=KIND)) > interrupted)
        self._cluster.kubectl("delete", KIND, f"{self._prefix}marker", "-n", self._namespace)
        self._shared.rights.revoke("reports")
        self._shared.proxy.is_away = False
        self._zenwatch.wait_for_state(KIND, "forbidden")

    def show(self, step: Step) -> None:
        self._shared.rights.grant()
        self._zenwatch.wait_for_state(KIND, "followed")
        self._is_hidden = False

    def unserve(self, step: Step) -> None:
        """The tool is removed from the cluster with all its reports."""
        with self._zenwatch.sees(-len(self._reports), source="kyverno"):
            self._cluster.kubectl("delete", "crd", KIND)
        self._zenwatch.wait_for_state(KIND, "not_served")
        self._reports.clear()
        self._is_unserved = True

    def serve(self, step: Step) -> None:
        self._cluster.apply_crds(self._shared.manifest)
        self._zenwatch.wait_for_state(KIND, "followed")
        self._is_unserved = False

    def restart(self, step: Step) -> None:
        self._zenwatch.stop()
        self._zenwatch = self._started()
        self._model.restart()

    def restart_apiserver(self, step: Step) -> None:
        self._cluster.stop_apiserver()
        self._zenwatch.wait_for_log("watch_interrupted", resource=KIND)
        self._cluster.start_apiserver()

    # ------------------------------------------------------------ state

    def _started(self) -> InProcess:
        return InProcess(self._shared.kubeconfig, self._clock, {}).start()

    def _report(self, name: str, rules: str) -> Json:
        scope = {"apiVersion": "v1", "kind": "Pod", "name": self._prefix + name, "namespace": self._namespace}
        metadata = {"name": self._prefix + name, "namespace": self._namespace, "ownerReferences": None}
        results = [payloads.a_result(rule=rule) for rule in rules]
        body = payloads.a_policy_report(*results, metadata=metadata, scope=scope)
        return body | {"apiVersion": "openreports.io/v1alpha1", "kind": "Report"}

    def _stored(self) -> dict[tuple[str, str], tuple[str, int]]:
        ours = [r for r in records(self._cluster, self._namespace) if r["spec"]["resource"]["name"].startswith(self._prefix)]
        return {
            (record["spec"]["resource"]["name"].removeprefix(self._prefix), record["spec"]["details"]["rule"]): (
                record["status"]["phase"],
                record["status"]["reopened"],
            )
            for record in ours
        }


@dataclass(frozen=True)
class Shared:
    """What all examples share."""

    cluster: ControlPlane
    namespace: str
    proxy: FaultProxy
    rights: Rights
    kubeconfig: Path
    manifest: str


@pytest.fixture
def shared(cluster: ControlPlane, account: Identity, namespace: str, proxy: FaultProxy, tmp_path: Path) -> Iterator[Shared]:
    """A proxy in front of the API server, an account of this test alone, and the manifest of the kind that the test removes."""
    kind = json.loads(cluster.kubectl("get", "crd", KIND, "-o", "json"))
    manifest = json.dumps({part: kind[part] for part in ("apiVersion", "kind", "spec")} | {"metadata": {"name": KIND}})
    with Rights(cluster, f"life-{namespace}") as rights:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(kubeconfig_text(rights.identity, server=proxy.url, ca_pem=b""))
        yield Shared(cluster, namespace, proxy, rights, kubeconfig, manifest)


# ---------------------------------------------------------------- tests


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    # No shrinking, because each attempt needs seconds: the example that failed is shown unchanged.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(chance=st.randoms(use_true_random=True))
def test_the_records_are_those_of_the_model(shared: Shared, chance: Random) -> None:
    """After every step: which records are open, and how often each was reopened."""
    with World(shared, next(_numbers)) as world:
        world.make(Step("write", "one", "ab"))
        for _ in range(STEPS):
            world.make(chance.choice(world.possible()))


def test_the_records_are_those_of_the_model_after_an_interruption(shared: Shared) -> None:
    """The API server restarts. What it lists counts at once; what it does not list is gone only after its next bookmark."""
    steps = [
        Step("write", "one", "ab"),
        Step("write", "two", "a"),
        Step("restart_apiserver"),
        Step("write", "one", "b"),
        Step("delete", "two"),
        Step("wait", secs=LONG_SECS),
        Step("write", "two", "ab"),
    ]
    with World(shared, next(_numbers)) as world:
        for step in steps:
            world.make(step)
