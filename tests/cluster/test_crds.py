"""The CRDs in a real API server: what it accepts, what it refuses, what it shows."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders.findings import an_event
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.errors import KubectlError
from tests.support.controlplane.identity import Identity
from tests.support.paths import ROOT
from zenwatch.kube.records import object_of

pytestmark = pytest.mark.cluster
Json = dict[str, Any]


def a_record(namespace: str, **spec: Any) -> Json:
    record = object_of(an_event(), namespace=namespace, hash_of_spec="0123456789abcdef")
    record["spec"] |= spec
    return record


def a_remediation(namespace: str, **spec: Any) -> Json:
    return {
        "apiVersion": "zen.kube-zen.io/v1",
        "kind": "ZenAgentRemediation",
        "metadata": {"name": "fix", "namespace": namespace},
        "spec": {
            "eventRef": {"name": "trivy-vuln-1", "namespace": namespace},
            "action": "UpgradeImage",
            "target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "namespace": namespace},
        }
        | spec,
    }


def create(cluster: ControlPlane, record: Json) -> None:
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(record))


def refusal(cluster: ControlPlane, *arguments: str, stdin: str | None = None) -> str:
    with pytest.raises(KubectlError) as refused:
        cluster.kubectl(*arguments, stdin=stdin)
    return refused.value.stderr


def test_a_new_record_shows_the_default_status(cluster: ControlPlane, namespace: str) -> None:
    """The table, field selectors and readers get it, although no client wrote it."""
    create(cluster, a_record(namespace) | {"status": {"phase": "Resolved"}})

    read = json.loads(cluster.kubectl("get", "zae", "-n", namespace, "-o", "json", "--field-selector", "status.phase=Open"))["items"]
    assert [record["status"] for record in read] == [{"phase": "Open", "count": 1, "reopened": 0}]


@pytest.mark.parametrize(
    "selector",
    ["spec.source=trivy", "spec.severity=HIGH", "spec.category=security", "spec.eventType=vulnerability-report", "spec.clusterID=local"],
)
def test_records_can_be_selected_by(selector: str, cluster: ControlPlane, namespace: str) -> None:
    """The selectable fields of docs/records.md, "Queries and columns"; the API server selects."""
    create(cluster, a_record(namespace))

    assert cluster.kubectl("get", "zae", "-n", namespace, "-o", "name", "--field-selector", selector).count("\n") == 1
    field = selector.partition("=")[0]
    assert cluster.kubectl("get", "zae", "-n", namespace, "-o", "name", "--field-selector", f"{field}=other") == ""


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"severity": "BAD"}, "spec.severity: Unsupported value"),
        ({"category": "other"}, "spec.category: Unsupported value"),
        ({"score": 101}, "spec.score: Invalid value"),
        ({"score": -1}, "spec.score: Invalid value"),
        ({"key": "k" * 1025}, "spec.key: Too long"),
        ({"title": "t" * 257}, "spec.title: Too long"),
        ({"title": "two\nlines"}, "spec.title: Invalid value"),
        ({"remediation": "r" * 1025}, "spec.remediation: Too long"),
        ({"references": ["https://example.test"] * 11}, "spec.references: Too many"),
        ({"detectedAt": "yesterday"}, "spec.detectedAt: Invalid value"),
        ({"source": "Not A Label"}, "spec.source: Invalid value"),
        ({"resource": {"kind": "Pod", "name": "n" * 254}}, "spec.resource.name: Too long"),
        ({"title": None}, "spec.title: Required value"),
    ],
    ids=lambda value: str(next(iter(value), "")) if isinstance(value, dict) else None,
)
def test_a_record_out_of_bounds_is_refused(spec: Json, message: str, cluster: ControlPlane, namespace: str) -> None:
    """The API server names the field."""
    assert message in refusal(cluster, "create", "-f", "-", stdin=json.dumps(a_record(namespace, **spec)))


@pytest.mark.parametrize("field", ["source", "key", "clusterID"])
def test_the_fields_that_make_a_name_cannot_change(field: str, cluster: ControlPlane, namespace: str) -> None:
    """If they could, the name of a record would not match its content."""
    record = a_record(namespace)
    create(cluster, record)
    change = json.dumps({"spec": {field: "other"}})

    message = refusal(cluster, "patch", "zae", record["metadata"]["name"], "-n", namespace, "--type=merge", "-p", change)
    assert f"the {field} cannot change" in message


def test_a_status_cannot_contradict_itself(cluster: ControlPlane, namespace: str) -> None:
    """lastSeen is not before firstSeen, and only a resolved record has a time of resolution."""
    record = a_record(namespace)
    create(cluster, record)
    patch = ("patch", "zae", record["metadata"]["name"], "-n", namespace, "--subresource=status", "--type=merge", "-p")

    backwards = json.dumps({"status": {"firstSeen": "2026-01-02T00:00:00Z", "lastSeen": "2026-01-01T00:00:00Z"}})
    assert "lastSeen is before firstSeen" in refusal(cluster, *patch, backwards)
    assert "the phase is not Resolved" in refusal(cluster, *patch, json.dumps({"status": {"resolvedAt": "2026-01-01T00:00:00Z"}}))
    cluster.kubectl(*patch, json.dumps({"status": {"phase": "Resolved", "resolvedAt": "2026-01-01T00:00:00Z", "reason": "Fixed"}}))


@pytest.mark.parametrize("kind", ["zenagentevents", "zenagentremediations"])
def test_every_field_is_explained(kind: str, cluster: ControlPlane, account: Identity) -> None:
    """`kubectl explain` is documentation that every user has."""
    for crd in ROOT.glob("deployments/crds/*.yaml"):
        schema = yaml.safe_load(crd.read_text())
        if schema["spec"]["names"]["plural"] == kind:
            version = schema["spec"]["versions"][0]
            undescribed = list(_undescribed(version["schema"]["openAPIV3Schema"]["properties"]))
            assert undescribed == []
    assert "DESCRIPTION" in cluster.kubectl("explain", f"{kind}.spec")


def test_strings_and_lists_are_bounded() -> None:
    """A record that could grow without limit could fill etcd."""
    for crd in ROOT.glob("deployments/crds/*.yaml"):
        schema = yaml.safe_load(crd.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        for part in ("spec", "status"):
            assert list(_unbounded(schema[part], part)) == [], crd.name


def test_a_remediation_can_be_created_validated_and_printed(cluster: ControlPlane, namespace: str) -> None:
    """Nothing writes remediations yet, but their kind exists."""
    create(cluster, a_remediation(namespace))
    head, row = cluster.kubectl("get", "zenagentremediations", "-n", namespace).splitlines()
    assert head.split()[:3] == ["NAME", "PHASE", "ACTION"]
    assert row.split()[:3] == ["fix", "Proposed", "UpgradeImage"]

    bad = json.dumps({"status": {"phase": "Perhaps"}})
    message = refusal(cluster, "patch", "zar", "fix", "-n", namespace, "--subresource=status", "--type=merge", "-p", bad, stdin=None)
    assert "status.phase: Unsupported value" in message
    incomplete = a_remediation(namespace)
    del incomplete["spec"]["action"]
    assert "spec.action: Required value" in refusal(cluster, "create", "-f", "-", stdin=json.dumps(incomplete))
    other = copy.deepcopy(a_remediation(namespace, action="Other"))
    assert re.search("action.*cannot change", refusal(cluster, "apply", "-f", "-", stdin=json.dumps(other)))


def test_an_installed_wheel_prints_the_crds(tmp_path: Path, cluster: ControlPlane) -> None:
    """`zenwatch crds | kubectl apply -f -` needs no checkout."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel], check=True)

    command = [sys.executable, "-P", "-m", "zenwatch", "crds"]
    printed = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)}, check=True, capture_output=True, text=True)

    assert "zenagentevents.zen.kube-zen.io" in printed.stdout
    cluster.kubectl("apply", "-f", "-", "--dry-run=server", stdin=printed.stdout)


def _undescribed(properties: Json, path: str = "") -> Any:
    for name, schema in properties.items():
        if "description" not in schema and (path or name != "metadata"):
            yield f"{path}.{name}"
        yield from _undescribed(schema.get("properties", {}), f"{path}.{name}")


def _unbounded(schema: Json, path: str) -> Any:
    if schema["type"] == "string" and not ({"maxLength", "enum"} & schema.keys()):
        yield path
    if schema["type"] == "array":
        if "maxItems" not in schema:
            yield path
        yield from _unbounded(schema["items"], f"{path}[]")
    for name, inner in schema.get("properties", {}).items():
        yield from _unbounded(inner, f"{path}.{name}")
    if isinstance(values := schema.get("additionalProperties"), dict):
        if "maxProperties" not in schema:
            yield path
        yield from _unbounded(values, f"{path}.*")
