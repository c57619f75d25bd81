"""Every kind that a watcher reads: from the object in a real API server to the record that kubectl shows."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import payloads
from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.corpus import CORPUS
from tests.support.live.objects import apply, writes
from tests.support.live.process import Zenwatch, eventually
from tests.support.paths import ROOT
from zenwatch.sdk.watcher import ApiResource
from zenwatch.wiring.plugins import installed_watchers

pytestmark = pytest.mark.cluster
Start = Callable[..., Zenwatch]
Json = dict[str, Any]
EVERY_SEVERITY = {f"{tool}_MIN_SEVERITY": "INFO" for tool in ("TRIVY", "KYVERNO", "KUBE_BENCH", "CHECKOV")}


def kinds() -> Iterator[tuple[str, ApiResource]]:
    for watcher in installed_watchers():
        for resource in watcher.reads:
            yield watcher.name, resource


def an_object(source: str, kind: ApiResource, namespace: str) -> Json:
    """The sample of this source, as an object of this kind in this namespace."""
    samples = [sample for sample in payloads.SAMPLES[source] if sample["kind"] == kind.kind] or payloads.SAMPLES[source]
    sample: Json = json.loads(json.dumps(samples[0]))
    if "VulnerabilityReport" in kind.kind:
        sample = report_in(namespace, a_vulnerability())
    sample |= {"apiVersion": f"{kind.group}/{kind.version}".removeprefix("/"), "kind": kind.kind}
    sample["metadata"] |= {"name": f"sample-{namespace}"} | ({"namespace": namespace} if kind.namespaced else {})
    # The owner does not exist here, so the garbage collector would delete the report.
    sample["metadata"].pop("ownerReferences", None)
    if kind.label_selector:
        label, _, value = kind.label_selector.partition("=")
        sample["metadata"].setdefault("labels", {})[label] = value
    return sample


def preview(*objects: Json, **settings: str) -> list[Json]:
    """The records that `zenwatch preview` prints for these objects."""
    command = [sys.executable, "-m", "zenwatch", "preview", "-", "-o", "json"]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    printed = subprocess.run(command, input=listed, env={"PATH": "/usr/bin:/bin", **settings}, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in printed.stdout.splitlines()]


def stored(cluster: ControlPlane, wanted: list[Json]) -> dict[str, Json]:
    """Those of the wanted records that are stored, by name."""
    names = {record["metadata"]["name"] for record in wanted}
    found = json.loads(cluster.kubectl("get", "zenagentevents", "-A", "-o", "json"))["items"]
    return {record["metadata"]["name"]: record for record in found if record["metadata"]["name"] in names}


@pytest.mark.parametrize(("source", "kind"), list(kinds()), ids=lambda value: value if isinstance(value, str) else value.full_name)
def test_an_object_of_every_kind_becomes_the_record_that_preview_shows(
    source: str, kind: ApiResource, cluster: ControlPlane, namespace: str, start_zenwatch: Start
) -> None:
    """It is stored once, also if the tool deletes its report and writes it again; kubectl shows the table and the object."""
    report = an_object(source, kind, namespace)
    wanted = preview(report, **EVERY_SEVERITY)
    assert wanted
    zenwatch = start_zenwatch(**EVERY_SEVERITY)
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(report))
    try:
        eventually(lambda: len(stored(cluster, wanted)) == len(wanted))
        in_namespace = ("-n", namespace) if kind.namespaced else ()
        cluster.kubectl("delete", kind.full_name, report["metadata"]["name"], *in_namespace)
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(report))
        eventually(lambda: sum(line.get("repeated", 0) for line in zenwatch.log("round_done")) >= len(wanted))
        found = stored(cluster, wanted)
        for record in wanted:
            name, where = record["metadata"]["name"], found[record["metadata"]["name"]]["metadata"]["namespace"]
            assert found[name]["spec"] | {"detectedAt": ""} == record["spec"] | {"detectedAt": ""}
            assert found[name]["metadata"]["labels"] == record["metadata"]["labels"]
            assert f" {source} " in cluster.kubectl("get", "zae", name, "-n", where)
        assert [write for write in writes(cluster, namespace) if write != "create"] == []
    finally:
        zenwatch.stop()
        cluster.kubectl("delete", kind.full_name, report["metadata"]["name"], *(("-n", namespace) if kind.namespaced else ()))
        for name, record in stored(cluster, wanted).items():
            cluster.kubectl("delete", "zae", name, "-n", record["metadata"]["namespace"], "--wait=false")


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no real output of the tools in {CORPUS}; ZENWATCH_CORPUS names the folder")
def test_every_record_of_real_output_is_accepted(cluster: ControlPlane, account: Identity, namespace: str) -> None:
    """The API server checks it with the schema and CEL in a dry run, so nothing is stored."""
    files = [str(file) for tool in ("trivy", "kyverno", "kube-bench", "checkov") for file in sorted((CORPUS / tool).iterdir())]
    command = [sys.executable, "-m", "zenwatch", "preview", "-o", "json", *files]
    printed = subprocess.run(command, env={"PATH": "/usr/bin:/bin", **EVERY_SEVERITY}, check=False, capture_output=True, text=True)
    records = [json.loads(line) for line in printed.stdout.splitlines()]
    assert len(records) > 100, printed.stderr
    for record in records:
        record["metadata"]["namespace"] = namespace
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": records})

    created = cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", "-o", "name", stdin=listed)

    assert created.count("\n") == len(records)


@pytest.fixture
def confined(cluster: ControlPlane, account: Identity, namespace: str) -> Identity:
    """An account with the shipped Role in one namespace and in zenwatch's own, and no other rights."""
    identity = cluster.service_account("zenwatch", "confined")
    role = (ROOT / "deployments" / "namespaced" / "role.yaml").read_text()
    role = role.replace("name: zenwatch\n    namespace", "name: confined\n    namespace").replace(
        "  name: zenwatch\n", "  name: confined\n"
    )
    for granted in (namespace, "zenwatch"):
        cluster.kubectl("apply", "-n", granted, "-f", "-", stdin=role)
    return identity


def test_confined_to_namespaces_roles_are_enough(cluster: ControlPlane, namespace: str, confined: Identity, start_zenwatch: Start) -> None:
    """WATCH_NAMESPACE: zenwatch does not ask for objects of other namespaces, and no permission is missing."""
    elsewhere = cluster.namespace()
    apply(cluster, report_in(namespace, a_vulnerability()), report_in(elsewhere, a_vulnerability()))
    zenwatch = start_zenwatch(identity=confined, WATCH_NAMESPACE=namespace)
    zenwatch.wait_for_stored(1)
    assert zenwatch.stop() == 0

    about = [
        record["spec"]["resource"]["namespace"] for record in stored(cluster, preview(report_in(elsewhere, a_vulnerability()))).values()
    ]
    assert about == []
    assert [line for line in zenwatch.log() if line["level"] in ("warning", "error")] == []
    cluster.kubectl("delete", "vulnerabilityreports", "--all", "-n", elsewhere)
    cluster.kubectl("delete", "namespace", elsewhere, "--wait=false")


def test_a_watcher_that_is_disabled_reads_nothing(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """Each tool is independent and can be enabled or disabled (docs/specification.md, "Sources")."""
    apply(cluster, report_in(namespace, a_vulnerability()))
    zenwatch = start_zenwatch(TRIVY_ENABLED="false")
    eventually(lambda: [line for line in zenwatch.log("round_done") if line["source"] == "kyverno"])
    assert zenwatch.stop() == 0

    assert [line for line in zenwatch.log() if line.get("source") == "trivy"] == []
    assert writes(cluster, namespace) == []
