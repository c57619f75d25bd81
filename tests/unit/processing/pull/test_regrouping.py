"""GROUP_BY_OWNER is switched: what becomes of the records under the names of before. All parts are real but the servers and the clock."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
from tests.support.fakes.api_server import FakeApiServer, page, watch
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.payloads import a_policy_report, a_result
from tests.support.pipelines.pull import Pipeline, running
from tests.support.tasks import background, until
from watchers.kyverno import KYVERNO
from watchers.trivy import TRIVY
from zenwatch.kube.cluster import Cluster
from zenwatch.model.finding import Resource, Severity
from zenwatch.model.refs import Origin, Scope
from zenwatch.sdk.watcher import Watcher
from zenwatch.sources.pull.informer import ReportInformer, State

DEPLOYMENT = Resource("apps/v1", "Deployment", "web", "default")
REPLICA_SET = {"trivy-operator.resource.kind": "ReplicaSet", "trivy-operator.resource.name": "web-5f4d8"}
SCOPE = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5f4d8", "namespace": "default"}
GRACE_SECS = 600.0
# Deployment: the resource of a record is the controller, with GROUP_BY_OWNER. ReplicaSet: as the tool reports it.
GROUPED, AS_REPORTED = "Deployment", "ReplicaSet"


class WebOwnsAll:
    async def controller_of(self, resource: Resource) -> Resource:
        return DEPLOYMENT if resource.name.startswith("web") else resource


@dataclass
class Switched:
    """Processes of one watcher over the same store, one after the other."""

    watcher: Watcher = TRIVY
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=lambda: FakeClock(skips_waits=True))

    async def process(self, *reports: dict[str, Any], groups: bool, **policy: Any) -> dict[str, str]:
        """One process, with GROUP_BY_OWNER or without. Return the state of each record, by its resource's kind and its rule or CVE."""
        kind = self.watcher.reads[0]
        parts = {"grace_secs": GRACE_SECS, "scopes": frozenset({Scope(kind.full_name)}), **policy}
        regroup = None if groups else self.watcher.regroup
        async with FakeApiServer() as server:
            server.answers("GET", f"/apis/{kind.group}/{kind.version}/{kind.plural}", page(*reports), watch())
            client = server.client()
            cluster = Cluster("local", client, owners=WebOwnsAll() if groups else None)
            origin = Origin("local", self.watcher.name)
            async with running(origin=origin, store=self.store, clock=self.clock, regroup=regroup, **parts) as pipeline:
                informer = ReportInformer(cluster, kind, self.watcher, pipeline.intake, ask_again_secs=30.0, clock=self.clock)
                async with background(informer.follow):
                    await until(lambda: informer.state is State.FOLLOWED)
                    await self._settle(pipeline)
            await client.close()
        return self.states()

    async def _settle(self, pipeline: Pipeline) -> None:
        for _ in range(2):
            await pipeline.intake.settle()
            self.clock.advance(secs=GRACE_SECS)

    def states(self) -> dict[str, str]:
        records = (record for record in self.store.objects.values())
        return {_label(record["spec"]): f"{record['status']['phase']} {record['status'].get('reason', '')}".strip() for record in records}


def _label(spec: dict[str, Any]) -> str:
    details = spec["details"]
    return f"{spec['resource']['kind']} {details.get('rule') or details['vulnID']}"


def of_trivy(*vulnerabilities: Any) -> dict[str, Any]:
    return a_report(vulnerabilities or [a_vulnerability()], name="replicaset-web-5f4d8", labels=REPLICA_SET)


async def test_a_finding_that_now_belongs_to_the_controller_is_regrouped() -> None:
    """Its report is still there, and holds it under the new name."""
    switched = Switched()
    assert await switched.process(of_trivy(), groups=False) == {"ReplicaSet CVE-2026-1": "Open"}

    assert await switched.process(of_trivy(), groups=True) == {
        "ReplicaSet CVE-2026-1": "Resolved Regrouped",
        "Deployment CVE-2026-1": "Open",
    }


async def test_a_finding_that_no_longer_belongs_to_the_controller_is_regrouped() -> None:
    """The other way round: nobody asks who owns what, and the old name still shows it."""
    switched = Switched()
    assert await switched.process(of_trivy(), groups=True) == {"Deployment CVE-2026-1": "Open"}

    assert await switched.process(of_trivy(), groups=False) == {
        "Deployment CVE-2026-1": "Resolved Regrouped",
        "ReplicaSet CVE-2026-1": "Open",
    }


async def test_switched_back_the_old_record_is_reopened() -> None:
    """It is the same finding, under the same name."""
    switched = Switched()
    for groups in (True, False):
        await switched.process(of_trivy(), groups=groups)

    assert await switched.process(of_trivy(), groups=True) == {
        "Deployment CVE-2026-1": "Open Reopened",
        "ReplicaSet CVE-2026-1": "Resolved Regrouped",
    }


@pytest.mark.parametrize("groups", [True, False])
async def test_a_rule_that_is_named_as_its_author_wrote_it_is_regrouped(*, groups: bool) -> None:
    """Kyverno's autogen rules have another name in both directions; where the resource stays, too."""
    report = a_policy_report(a_result(rule="autogen-check-team"), scope=SCOPE)
    of_deployment = a_policy_report(
        a_result(rule="autogen-check-team"), scope=SCOPE | {"kind": "Deployment", "name": "web"}, metadata={"name": "of-web"}
    )
    for each in (report, of_deployment):
        each["metadata"]["resourceVersion"] = "1"
    switched = Switched(KYVERNO)
    await switched.process(report, of_deployment, groups=not groups)
    states = await switched.process(report, of_deployment, groups=groups)

    grouped = {"Deployment check-team"}
    reported = {"ReplicaSet autogen-check-team", "Deployment autogen-check-team"}
    now, before = (grouped, reported) if groups else (reported, grouped)
    assert states == dict.fromkeys(now, "Open") | dict.fromkeys(before, "Resolved Regrouped")


@pytest.mark.parametrize("groups", [True, False])
async def test_what_its_report_does_not_hold_any_more_is_not_regrouped(*, groups: bool) -> None:
    """It was fixed while the setting was switched, or it is gone with its report."""
    switched = Switched()
    await switched.process(of_trivy(a_vulnerability(), a_vulnerability(vulnerabilityID="CVE-2026-2")), groups=not groups)
    states = await switched.process(of_trivy(a_vulnerability()), groups=groups)
    before = AS_REPORTED if groups else GROUPED

    assert states[f"{before} CVE-2026-1"] == "Resolved Regrouped"
    assert states[f"{before} CVE-2026-2"] in ("Resolved Fixed", "Resolved ReportGone")
    gone = Switched()
    await gone.process(of_trivy(), groups=not groups)
    assert await gone.process(groups=groups) == {f"{before} CVE-2026-1": "Resolved ReportGone"}


async def test_what_a_threshold_excludes_as_well_is_below_the_threshold() -> None:
    """There is no record under the new name."""
    switched = Switched()
    await switched.process(of_trivy(), groups=False)

    assert await switched.process(of_trivy(), groups=True, min_severity=Severity.CRITICAL) == {
        "ReplicaSet CVE-2026-1": "Resolved BelowThreshold"
    }


async def test_a_regrouping_is_known_although_other_entries_are_not_understood() -> None:
    """An entry that is not understood cannot be a finding that is."""
    switched = Switched()
    await switched.process(of_trivy(), groups=False)

    assert await switched.process(of_trivy(a_vulnerability(), {}), groups=True) == {
        "ReplicaSet CVE-2026-1": "Resolved Regrouped",
        "Deployment CVE-2026-1": "Open",
    }
