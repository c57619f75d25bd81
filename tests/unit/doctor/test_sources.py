"""zenwatch/doctor/sources.py and census.py: each tool, what it said last, what is open of it."""

from typing import Any

import pytest

from tests.support.doctor_cluster import FakeCluster, Findings, a_process, a_record, diagnose, rfc3339
from zenwatch.doctor import census

KYVERNO = ("wgpolicyk8s.io/v1alpha2", "openreports.io/v1alpha1")


def a_pod(name: str) -> dict[str, Any]:
    return {"labels": {"app.kubernetes.io/name": name}}


async def test_where_all_is_well_every_line_is() -> None:
    """What only a newer process tells is unknown; every source has its lines."""
    async with FakeCluster() as cluster:
        found = await diagnose(cluster)

    assert found.at("WARN", "FAIL") == set()
    assert found.at("UNKNOWN") == {("process", "status"), ("falco", "sender"), ("audit", "sender")}
    assert {area for area, _ in found.checks} == {
        *("cluster", "store", "process"),
        *("audit", "checkov", "falco", "kube-bench", "kyverno", "trivy"),
    }


async def test_a_tool_is_told_by_its_kinds_its_pods_and_its_labelled_objects() -> None:
    """ConfigMaps are served everywhere: only those with the label speak for a tool."""
    async with FakeCluster() as cluster:
        del cluster.served[KYVERNO[1]]
        cluster.objects["configmaps"] = [{"labels": {"app": "kube-bench"}}, {"labels": {"app": "web"}}]
        cluster.objects["pods"] = [a_pod("falco"), a_pod("falco"), a_pod("kyverno")]
        found = await diagnose(cluster, KYVERNO_NAMESPACE="")

    assert found["kyverno", "tool"].text == "detected: 2 of 4 kinds served as wgpolicyk8s.io/v1alpha2"
    assert found["kube-bench", "tool"].text == "detected: 1 configmaps labelled app=kube-bench"
    assert found["falco", "tool"].text == "detected: 2 pods in falco"
    assert found["checkov", "tool"].text == "not there: no configmaps labelled app=checkov, no pods in checkov"
    assert found["audit", "tool"].text == "not looked for: its posts show that it is there"


async def test_a_tool_that_is_not_there_is_one_line_and_no_problem() -> None:
    """So is one that is switched off."""
    async with FakeCluster() as cluster:
        for place in KYVERNO:
            del cluster.served[place]
        found = await diagnose(cluster, TRIVY_ENABLED="false")

    assert {where: check.level for where, check in found.checks.items() if where[0] in ("kyverno", "trivy")} == {
        ("kyverno", "tool"): "OK",
        ("trivy", "tool"): "OK",
    }
    assert found["kyverno", "tool"].text == "not there: none of its kinds is served, no pods in kyverno"
    assert found["trivy", "tool"].text == "switched off (TRIVY_ENABLED=false)"


async def test_pods_without_their_kinds_are_a_warning() -> None:
    """The tool runs, but nothing of it can be read."""
    async with FakeCluster() as cluster:
        del cluster.served["aquasecurity.github.io/v1alpha1"]
        cluster.objects["pods"] = [a_pod("trivy-operator")]
        found = (await diagnose(cluster))["trivy", "tool"]

    assert (found.level, "vulnerabilityreports.aquasecurity.github.io (v1alpha1)" in found.advice[0]) == ("WARN", True)


async def test_a_kind_that_is_served_in_another_version_only_is_a_failure() -> None:
    """Its reports are there and nobody reads them; the versions are named."""
    async with FakeCluster() as cluster:
        for place in KYVERNO:
            del cluster.served[place]
        cluster.served["wgpolicyk8s.io/v1"] = ["policyreports"]
        cluster.served["wgpolicyk8s.io/v1beta1"] = ["policyreports"]
        found = await diagnose(cluster)

    version = found["kyverno", "version"]
    assert (version.level, bool(version.advice)) == ("FAIL", True)
    assert version.text == "policyreports.wgpolicyk8s.io is served as v1, v1beta1, but read as v1alpha2: its reports are not read"
    assert found["kyverno", "tool"].text == "detected: 1 of 4 kinds served, in another version"


# ---------------------------------------------------------------- last data, open records


async def test_without_a_status_the_newest_report_tells_when_there_was_data() -> None:
    """Written anew counts, not only created; what is pushed is known by its newest open record."""
    async with FakeCluster() as cluster:
        changed = {"creationTimestamp": rfc3339(90_000), "managedFields": [{"time": rfc3339(300)}, {}]}
        cluster.objects["vulnerabilityreports"] = [{"creationTimestamp": rfc3339(90_000)}, changed]
        cluster.objects["zenagentevents"] = [a_record("trivy"), a_record("falco", age_secs=20), a_record("falco", age_secs=3600)]
        found = await diagnose(cluster)

    assert found["trivy", "data"].text == "2 reports, the newest 5 minutes ago; 1 records open"
    assert found["falco", "data"].text == "newest open record 20 s ago; 2 records open"
    assert found["kyverno", "data"].text == "no data seen; 0 records open"


async def test_open_records_are_selected_by_the_api_server_and_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, of this cluster, open; a thousand of them cost pages of metadata. What is cut off is said to be more."""
    async with FakeCluster() as cluster:
        cluster.objects["zenagentevents"] = [a_record("trivy")] * 1200
        whole = await diagnose(cluster)
        asked = [query for path, query in cluster.lists if path.endswith("zenagentevents")]
        monkeypatch.setattr(census, "MOST_PAGES", 2)
        cut = await diagnose(cluster)

    assert "; 1200 records open" in whole["trivy", "data"].text
    assert "; more than 1000 records open" in cut["trivy", "data"].text
    assert [query.get("continue", "") for query in asked] == ["", "500", "1000"]
    assert {(query["fieldSelector"], query["labelSelector"]) for query in asked} == {
        ("status.phase=Open", "app.kubernetes.io/managed-by=zenwatch,zen.kube-zen.io/cluster=local")
    }


@pytest.mark.parametrize("plural", ["zenagentevents", "vulnerabilityreports"])
async def test_what_may_not_be_counted_is_unknown(plural: str) -> None:
    """Doctor may be somebody who reads less than zenwatch does."""
    async with FakeCluster() as cluster:
        cluster.denied = {f"list {plural}"}
        found = (await diagnose(cluster))["trivy", "data"]

    assert (found.level, f"missing permission: list {plural}" in found.text) == ("UNKNOWN", True)


async def test_pods_that_may_not_be_listed_leave_the_tool_unknown() -> None:
    """It only costs the hint: the rule is printed, the exit code stays."""
    async with FakeCluster() as cluster:
        cluster.denied = {"list pods"}
        found = await diagnose(cluster, GROUP_BY_OWNER="false")

    assert (found["falco", "tool"].level, "    resources: [pods]" in found["falco", "tool"].advice) == ("UNKNOWN", True)
    assert found["trivy", "tool"].level == "OK"
    assert found.at("WARN", "FAIL") == set()


async def test_where_zenwatch_is_confined_pods_are_looked_for_only_there() -> None:
    """And reports in each of the namespaces."""
    async with FakeCluster() as cluster:
        cluster.objects["policyreports"] = [{"creationTimestamp": rfc3339(5)}]
        found = await diagnose(cluster, WATCH_NAMESPACE="shop,payments")

    assert not [path for path, _ in cluster.lists if path.endswith("pods")]
    assert found["kyverno", "tool"].text.startswith("detected: 2 of 2 kinds served")
    assert found["kyverno", "data"].text.startswith("2 reports, the newest 5 s ago")


async def _told(**source: Any) -> Findings:
    async with FakeCluster() as cluster:
        return await diagnose(cluster, a_process({"sources": {"trivy": source}}))


async def test_a_source_that_fell_silent_is_a_warning() -> None:
    """The process knows what is usual for it."""
    found = (await _told(silent_since=rfc3339(10_800), last_data_at=rfc3339(10_800)))["trivy", "silence"]

    assert (found.level, found.text) == ("WARN", "silent for 3 hours, longer than usual; last data 3 hours ago")
    assert "raise TRIVY_SILENCE_AFTER; if it is gone for good: TRIVY_ENABLED=false" in found.advice[1]


async def test_fields_that_a_source_lacks_are_named() -> None:
    """Another version of the tool, most likely."""
    found = (await _told(missing_fields=["report.vulnerabilities", "report.updateTimestamp"], open=3))["trivy", "fields"]

    assert (found.level, "lacks report.vulnerabilities, report.updateTimestamp" in found.text) == ("WARN", True)


async def test_every_problem_has_its_advice() -> None:
    """Of all that can be wrong at once: a line without a way out is no help."""
    async with FakeCluster() as cluster:
        cluster.denied = {"create zenagentevents", "list vulnerabilityreports", "watch configmaps", "get jobs"}
        del cluster.served[KYVERNO[0]]
        cluster.served["wgpolicyk8s.io/v9"] = ["policyreports"]
        cluster.answers["/api/v1/namespaces/zenwatch"] = (404, {})
        found = await diagnose(cluster, a_process({"sources": {"trivy": {"silent_since": rfc3339(9)}}, "writes": {"failing": True}}))

    bad = found.at("WARN", "FAIL")
    assert len(bad) >= 9
    assert [where for where in bad if not found[where].advice] == []
