"""Whatever happens in whatever order: what is stored is what a model of a dozen lines says. A real API server, and steps by chance."""

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
from tests.support.live.fault_proxy import FaultProxy
from tests.support.live.in_process import InProcess
from tests.support.live.objects import Json, apply, records
from tests.support.live.process import eventually
from tests.support.live.rights import Rights

pytestmark = pytest.mark.cluster

KIND = "reports.openreports.io"
GRACE_SECS = 600.0
RULES = ("a", "b")
# Sums of these stay away from the grace by more than a step takes: the moved clock goes on by itself.
SHORT_SECS, LONG_SECS = 250.0, 700.0
# After a break nothing is concluded from absence until the API server's next bookmark.
BOOKMARK_WITHIN_SECS = 90.0
STEPS = 12
_numbers = itertools.count()


# ---------------------------------------------------------------- the model


@dataclass
class Model:
    """lives: per report and rule the phase of the record, and how often it was reopened."""

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
    """A cluster, a zenwatch in it, and what both should have come to. number: tells the objects of one life from another's."""

    def __init__(self, place: "Place", number: int) -> None:
        self._place = place
        self._cluster, self._namespace = place.cluster, place.namespace
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
        self._place.proxy.is_away = False
        self._place.rights.grant()
        if self._is_unserved:
            self._cluster.apply_crds(self._place.manifest)
        self._cluster.kubectl("delete", KIND, "--all", "-n", self._namespace)
        self._zenwatch.stop()

    def possible(self) -> list[Step]:
        """What can happen now, the likelier the more often."""
        # Where nothing is gone, nothing comes of waiting.
        is_worth_it = self._is_hidden or bool(self._model.gone_since)
        waits = [Step("wait", secs=secs) for secs in ((SHORT_SECS, LONG_SECS, LONG_SECS) if is_worth_it else (LONG_SECS,))]
        if self._is_unserved:
            return [*waits, Step("restart"), Step("serve")]
        writes = [Step("write", report, rules) for report in ("one", "two") for rules in ("", "a", "b", "ab")]
        deletes = [Step("delete", report) for report in self._reports] * 3
        sight = [Step("show")] * 4 if self._is_hidden else [Step("hide"), Step("hide"), Step("unserve")]
        return [*writes, *deletes, *waits * 2, *sight, Step("restart"), Step("restart")]

    def make(self, step: Step) -> None:
        """Until zenwatch has drawn its conclusions, which are those of the model."""
        self._made.append(step)
        getattr(self, step.what)(step)
        if not self._is_hidden:
            self._model.see(self._reports, now_secs=self._now_secs)
        with suppress(AssertionError):
            eventually(lambda: self._stored() == self._model.lives, within_secs=BOOKMARK_WITHIN_SECS)
        # Nor is there anything more to come, before time passes again.
        self._zenwatch.wait_for_rounds("kyverno")
        assert self._stored() == self._model.lives, self._made

    # ------------------------------------------------------------ steps

    def write(self, step: Step) -> None:
        """A report appears, or changes."""
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
        """The permission is taken. A watch outlives that: it has to end, and does with what it would tell next."""
        self._is_hidden = self._place.proxy.is_away = True
        interrupted = len(self._zenwatch.log("watch_interrupted", resource=KIND))
        apply(self._cluster, self._report("marker", ""))
        eventually(lambda: len(self._zenwatch.log("watch_interrupted", resource=KIND)) > interrupted)
        self._cluster.kubectl("delete", KIND, f"{self._prefix}marker", "-n", self._namespace)
        self._place.rights.revoke("reports")
        self._place.proxy.is_away = False
        self._zenwatch.wait_for_state(KIND, "forbidden")

    def show(self, step: Step) -> None:
        self._place.rights.grant()
        self._zenwatch.wait_for_state(KIND, "followed")
        self._is_hidden = False

    def unserve(self, step: Step) -> None:
        """The tool is taken out of the cluster, with all that it wrote."""
        with self._zenwatch.sees(-len(self._reports), source="kyverno"):
            self._cluster.kubectl("delete", "crd", KIND)
        self._zenwatch.wait_for_state(KIND, "not_served")
        self._reports.clear()
        self._is_unserved = True

    def serve(self, step: Step) -> None:
        self._cluster.apply_crds(self._place.manifest)
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

    # ------------------------------------------------------------ what there is

    def _started(self) -> InProcess:
        return InProcess(self._place.kubeconfig, self._clock, {}).start()

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
class Place:
    """What all examples share."""

    cluster: ControlPlane
    namespace: str
    proxy: FaultProxy
    rights: Rights
    kubeconfig: Path
    manifest: str


@pytest.fixture
def place(cluster: ControlPlane, account: Identity, namespace: str, proxy: FaultProxy, tmp_path: Path) -> Iterator[Place]:
    """A proxy before the API server, an account of the test's own, and how the kind comes back that the test takes away."""
    kind = json.loads(cluster.kubectl("get", "crd", KIND, "-o", "json"))
    manifest = json.dumps({part: kind[part] for part in ("apiVersion", "kind", "spec")} | {"metadata": {"name": KIND}})
    with Rights(cluster, f"life-{namespace}") as rights:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(kubeconfig_text(rights.identity, server=proxy.url, ca_pem=b""))
        yield Place(cluster, namespace, proxy, rights, kubeconfig, manifest)


# ---------------------------------------------------------------- what happens


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    # No shrinking: each try takes seconds. What failed is told as it was.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(chance=st.randoms(use_true_random=True))
def test_what_is_stored_is_what_the_model_says(place: Place, chance: Random) -> None:
    """After every step, and not before its time: which records are open, and how often each was reopened."""
    with World(place, next(_numbers)) as world:
        world.make(Step("write", "one", "ab"))
        for _ in range(STEPS):
            world.make(chance.choice(world.possible()))


def test_what_is_stored_is_what_the_model_says_after_a_break(place: Place) -> None:
    """The API server restarts: what it tells is believed, and of what it does not tell nothing is until it said that this is all."""
    steps = [
        Step("write", "one", "ab"),
        Step("write", "two", "a"),
        Step("restart_apiserver"),
        Step("write", "one", "b"),
        Step("delete", "two"),
        Step("wait", secs=LONG_SECS),
        Step("write", "two", "ab"),
    ]
    with World(place, next(_numbers)) as world:
        for step in steps:
            world.make(step)
