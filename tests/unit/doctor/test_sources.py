"""zenwatch/doctor/sources: whether each tool is there, how old its last data is, how many of its records are open."""

from typing import Any

import pytest

from tests.support.doctor_cluster import Checks, FakeCluster, a_process, a_record, a_source_status, a_status, diagnose, rfc3339
from zenwatch.doctor.cluster import object_count

KYVERNO = ("wgpolicyk8s.io/v1alpha2", "openreports.io/v1alpha1")


def a_pod(name: str) -> dict[str, Any]:
    return {"labels": {"app.kubernetes.io/name": name}}


async def test_if_all_is_well_no_check_fails() -> None:
    """Every source has its checks. Only what a process without /status does not answer is UNKNOWN."""
    async with FakeCluster() as cluster:
        found = await diagnose(cluster)

    assert found.at("WARN", "FAIL") == set()
    assert found.at("UNKNOWN") == {("process", "status"), ("falco", "sender"), ("audit", "sender")}
    assert {area for area, _ in found.checks} == {
        *("cluster", "store", "process"),
        *("audit", "checkov", "falco", "kube-bench", "kyverno", "trivy"),
    }


async def test_a_tool_is_detected_by_its_kinds_its_pods_and_its_labelled_objects() -> None:
    """Every API server serves ConfigMaps: only those with the label are evidence of a tool."""
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
    """The same holds for a tool that is switched off."""
    async with FakeCluster() as cluster:
        for group_version in KYVERNO:
            del cluster.served[group_version]
        found = await diagnose(cluster, TRIVY_ENABLED="false")

    assert {key: check.level for key, check in found.checks.items() if key[0] in ("kyverno", "trivy")} == {
        ("kyverno", "tool"): "OK",
        ("trivy", "tool"): "OK",
    }
    assert found["kyverno", "tool"].text == "not there: none of its kinds is served, no pods in kyverno"
    assert found["trivy", "tool"].text == "switched off (TRIVY_ENABLED=false)"


async def test_pods_without_their_kinds_are_a_warning() -> None:
    """The tool runs, but none of its reports can be read."""
    async with FakeCluster() as cluster:
        del cluster.served["aquasecurity.github.io/v1alpha1"]
        cluster.objects["pods"] = [a_pod("trivy-operator")]
        found = (await diagnose(cluster))["trivy", "tool"]

    assert (found.level, "vulnerabilityreports.aquasecurity.github.io (v1alpha1)" in found.advice[0]) == ("WARN", True)


async def test_a_kind_that_is_served_in_another_version_only_is_a_failure() -> None:
    """Its reports exist, but are not read; the check names the versions."""
    async with FakeCluster() as cluster:
        for group_version in KYVERNO:
            del cluster.served[group_version]
        cluster.served["wgpolicyk8s.io/v1"] = ["policyreports"]
        cluster.served["wgpolicyk8s.io/v1beta1"] = ["policyreports"]
        found = await diagnose(cluster)

    version = found["kyverno", "version"]
    assert (version.level, bool(version.advice)) == ("FAIL", True)
    assert version.text == "policyreports.wgpolicyk8s.io is served as v1, v1beta1, but read as v1alpha2: its reports are not read"
    assert found["kyverno", "tool"].text == "detected: 1 of 4 kinds served, in another version"


# ---------------------------------------------------------------- last data, open records


async def test_without_a_status_the_newest_report_shows_when_there_was_data() -> None:
    """A report that was changed counts as new. For a push source it is the newest open record."""
    async with FakeCluster() as cluster:
        changed = {"creationTimestamp": rfc3339(90_000), "managedFields": [{"time": rfc3339(300)}, {}]}
        cluster.objects["vulnerabilityreports"] = [{"creationTimestamp": rfc3339(90_000)}, changed]
        cluster.objects["zenagentevents"] = [a_record("trivy"), a_record("falco", age_secs=20), a_record("falco", age_secs=3600)]
        found = await diagnose(cluster)

    assert found["trivy", "data"].text == "2 reports, the newest 5 minutes ago; 1 records open"
    assert found["falco", "data"].text == "newest open record 20 s ago; 2 records open"
    assert found["kyverno", "data"].text == "no data seen; 0 records open"


async def test_open_records_are_selected_by_the_api_server_and_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only our open records of this cluster are listed, and only their metadata. If there are more pages, the text says "more than"."""
    async with FakeCluster() as cluster:
        cluster.objects["zenagentevents"] = [a_record("trivy")] * 1200
        whole = await diagnose(cluster)
        asked = [query for path, query in cluster.lists if path.endswith("zenagentevents")]
        monkeypatch.setattr(object_count, "MAX_OBJECTS", 1000)
        cut = await diagnose(cluster)

    assert "; 1200 records open" in whole["trivy", "data"].text
    assert "; more than 1000 records open" in cut["trivy", "data"].text
    assert [query.get("continue", "") for query in asked] == ["", "500", "1000"]
    assert {(query["fieldSelector"], query["labelSelector"]) for query in asked} == {
        ("status.phase=Open", "app.kubernetes.io/managed-by=zenwatch,zen.kube-zen.io/cluster=local")
    }


@pytest.mark.parametrize("plural", ["zenagentevents", "vulnerabilityreports"])
async def test_without_the_permission_to_count_the_data_is_unknown(plural: str) -> None:
    """The account of doctor may have fewer permissions than zenwatch."""
    async with FakeCluster() as cluster:
        cluster.denied = {f"list {plural}"}
        found = (await diagnose(cluster))["trivy", "data"]

    assert (found.level, f"missing permission: list {plural}" in found.text) == ("UNKNOWN", True)


async def test_pods_that_may_not_be_listed_leave_the_tool_unknown() -> None:
    """The advice is the missing rule; the exit code does not change."""
    async with FakeCluster() as cluster:
        cluster.denied = {"list pods"}
        found = await diagnose(cluster, GROUP_BY_OWNER="false")

    assert (found["falco", "tool"].level, "    resources: [pods]" in found["falco", "tool"].advice) == ("UNKNOWN", True)
    assert found["trivy", "tool"].level == "OK"
    assert found.at("WARN", "FAIL") == set()


async def test_where_zenwatch_is_confined_pods_are_counted_only_there() -> None:
    """And reports in each of the namespaces."""
    async with FakeCluster() as cluster:
        cluster.objects["policyreports"] = [{"creationTimestamp": rfc3339(5)}]
        found = await diagnose(cluster, WATCH_NAMESPACE="shop,payments")

    assert not [path for path, _ in cluster.lists if path.endswith("pods")]
    assert found["kyverno", "tool"].text.startswith("detected: 2 of 2 kinds served")
    assert found["kyverno", "data"].text.startswith("2 reports, the newest 5 s ago")


async def _diagnosed(**trivy: Any) -> Checks:
    """trivy: what is different in the status of that source."""
    async with FakeCluster() as cluster:
        return await diagnose(cluster, a_process(a_status(sources={"trivy": a_source_status(**trivy)})))


async def test_a_source_that_fell_silent_is_a_warning() -> None:
    """The process knows how long it is usually silent."""
    found = (await _diagnosed(silent_since=rfc3339(10_800), last_data_at=rfc3339(10_800)))["trivy", "silence"]

    assert (found.level, found.text) == ("WARN", "silent for 3 hours, longer than usual; last data 3 hours ago")
    assert "raise TRIVY_SILENCE_AFTER; if it is gone for good: TRIVY_ENABLED=false" in found.advice[1]


async def test_fields_that_a_source_lacks_are_named() -> None:
    """Most likely the tool has another version."""
    found = (await _diagnosed(missing_fields=["report.vulnerabilities", "report.updateTimestamp"], open=3))["trivy", "fields"]

    assert (found.level, "lacks report.vulnerabilities, report.updateTimestamp" in found.text) == ("WARN", True)


async def test_reports_that_cannot_be_read_are_named_with_what_to_do() -> None:
    """Whoever wrote them can write them anew. A tool that writes its reports itself has no such advice."""
    examples = [
        {"report": "configmaps ci/scan", "reason": "scan.json is SARIF", "entries": 0},
        {"report": "configmaps ci/unit", "reason": "a.json is empty", "entries": 3},
    ]
    rejected = {"rejected": 9, "rejected_reports": 7, "rejected_examples": examples}
    async with FakeCluster() as cluster:
        sources = {"checkov": a_source_status(**rejected), "trivy": a_source_status(**rejected | {"rejected_reports": 2})}
        found = await diagnose(cluster, a_process(a_status(sources=sources)))

    check = found["checkov", "reports"]
    assert (check.level, check.text.split(":")[0]) == ("WARN", "7 reports cannot be read, wholly or in part")
    assert check.advice == (
        "configmaps ci/scan: scan.json is SARIF",
        "configmaps ci/unit: a.json is empty (and 2 more like this); the rest of it is stored",
        "... and 5 more: the log of the process names them (report_rejected, entries_rejected)",
        "Run checkov with -o json, and put what it prints into a key of the ConfigMap that ends in .json.",
    )
    assert "zenwatch preview FILE" in found["trivy", "reports"].advice[-1]
    assert found.at("WARN", "FAIL") == {("checkov", "reports"), ("trivy", "reports")}


async def test_every_problem_has_its_advice() -> None:
    """Everything that can be wrong at the same time is wrong."""
    async with FakeCluster() as cluster:
        cluster.denied = {"create zenagentevents", "list vulnerabilityreports", "watch configmaps", "get jobs"}
        del cluster.served[KYVERNO[0]]
        cluster.served["wgpolicyk8s.io/v9"] = ["policyreports"]
        cluster.answers["/api/v1/namespaces/zenwatch"] = (404, {})
        status = a_status(
            sources={"trivy": a_source_status(silent_since=rfc3339(9))},
            writes={"retries": 0, "failing": True},
        )
        found = await diagnose(cluster, a_process(status))

    bad = found.at("WARN", "FAIL")
    assert len(bad) >= 9
    assert [check for check in bad if not found[check].advice] == []
