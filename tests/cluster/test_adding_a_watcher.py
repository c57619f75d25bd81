"""watchers/ADDING_A_WATCHER.md: the package builds, installs and runs, and every command prints what the document shows."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.live.objects import apply, records
from tests.support.live.process import Zenwatch, eventually
from tests.support.paths import ROOT

pytestmark = pytest.mark.cluster
Start = Callable[..., Zenwatch]
Json = dict[str, Any]

DOCUMENT = (ROOT / "watchers" / "ADDING_A_WATCHER.md").read_text()
# The line above a block names its file.
FILES = dict(re.findall(r"^`([^`\n]+)`:\n```\w+\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
CONSOLE = "".join(re.findall(r"^```console\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))


def commands(program: str) -> list[str]:
    return [line.removeprefix("$ ") for line in CONSOLE.splitlines() if line.startswith(f"$ {program} ")]


def shown(command: str) -> list[str]:
    """The output that the document shows below a command."""
    (printed,) = re.findall(rf"^\$ {re.escape(command)}\n((?:[^$].*\n)*)", CONSOLE, re.MULTILINE)
    return str(printed).splitlines()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files of the document."""
    folder = tmp_path_factory.mktemp("adding-a-watcher")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="session")
def packages(folder: Path) -> Path:
    """The folder with the installed package, for PYTHONPATH. Nothing stays in the environment."""
    project, target = folder / "zenwatch-kubescan", folder / "packages"
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist", cwd=project)
    (wheel,) = (project / "dist").glob("*.whl")
    offline = ("--no-deps", "--no-index", "--disable-pip-version-check")
    _run(sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(wheel), cwd=folder)
    return target


def _run(*command: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    ended = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def previewed(folder: Path, packages: Path) -> dict[str, Json]:
    """The specs of the sample's records by name, as `zenwatch preview` prints them."""
    printed = _run(sys.executable, "-m", "zenwatch", "preview", "report.yaml", "-o", "json", cwd=folder, PYTHONPATH=str(packages))
    return {record["metadata"]["name"]: record["spec"] for record in map(json.loads, printed.stdout.splitlines())}


# ---------------------------------------------------------------- without a cluster


def test_zenwatch_lists_the_watcher_with_its_origin(folder: Path, packages: Path) -> None:
    """Installing the package is enough."""
    assert commands("pip") == ["pip install ./zenwatch-kubescan"]
    printed = _run(sys.executable, "-m", "zenwatch", "watchers", cwd=folder, PYTHONPATH=str(packages), KUBECONFIG="").stdout

    assert "\n".join(shown("zenwatch watchers")) in printed
    assert "zenwatch-kubescan" in shown("zenwatch watchers")[1]


def test_preview_prints_what_the_document_shows(folder: Path, packages: Path) -> None:
    """Names, severities, scores and titles are exactly the same."""
    printed = _run(sys.executable, *shlex.split("-m zenwatch preview report.yaml"), cwd=folder, PYTHONPATH=str(packages))

    assert printed.stdout.splitlines() + printed.stderr.splitlines() == shown("zenwatch preview report.yaml")


def test_the_same_key_in_two_containers_is_a_single_record(folder: Path, packages: Path) -> None:
    """The worst finding leads, and the list names both containers."""
    worst, _ = previewed(folder, packages).values()

    assert (worst["key"], worst["severity"], worst["title"]) == ("shop/Deployment/web/KS-101", "HIGH", "KS-101: Runs as root")
    assert worst["details"] == {"issueId": "KS-101", "containers": ["proxy", "web"]}
    assert (worst["remediation"], worst["references"]) == ("Set runAsNonRoot", ["https://kubescan.example.com/KS-101"])
    assert worst["detectedAt"] == "2026-03-01T10:00:00Z"


def test_the_watcher_has_its_settings(folder: Path, packages: Path) -> None:
    """They have the defaults of the document, and zenwatch obeys them."""
    printed = _run(sys.executable, "-m", "zenwatch", "settings", cwd=folder, PYTHONPATH=str(packages)).stdout
    found = [line for line in printed.splitlines() if line.startswith("KUBESCAN_")]
    assert found == ["KUBESCAN_ENABLED=true", "KUBESCAN_MIN_SEVERITY=INFO", "KUBESCAN_NAMESPACE=kubescan", "KUBESCAN_SILENCE_AFTER=26h"]
    assert all(f"`{line.partition('=')[0]}`" in DOCUMENT for line in found)

    command = (sys.executable, "-m", "zenwatch", "preview", "report.yaml")
    summary = _run(*command, cwd=folder, PYTHONPATH=str(packages), KUBESCAN_MIN_SEVERITY="HIGH").stderr
    assert summary.strip() == "1 reports with 3 findings, 2 below the threshold: 1 records"


def test_its_own_tests_pass_with_the_suite_of_the_sdk(folder: Path, packages: Path, tmp_path: Path) -> None:
    """The suite needs nothing of zenwatch's own tests: only the package, the test and the sample are here."""
    for name in ("zenwatch-kubescan/test_kubescan.py", "report.yaml"):
        shutil.copy(folder / name, tmp_path)

    printed = _run(sys.executable, "-m", "pytest", "-q", "test_kubescan.py", cwd=tmp_path, PYTHONPATH=str(packages)).stdout

    assert re.search(r"\d+ passed", printed), printed


# ---------------------------------------------------------------- in a cluster


@pytest.fixture
def kubescan(cluster: ControlPlane, folder: Path) -> Iterator[None]:
    """Removes the kind and the rights after the test."""
    yield
    cluster.kubectl("delete", "--ignore-not-found", "-f", folder / "rbac.yaml", "-f", folder / "crd.yaml")
    cluster.kubectl("delete", "namespace", "shop", "--ignore-not-found", "--wait=false")


def type_in(cluster: ControlPlane, folder: Path, command: str) -> str:
    """Runs a kubectl command of the document in the folder of its files."""
    words = [str(folder / word) if (folder / word).is_file() else word for word in shlex.split(command)[1:]]
    printed = cluster.kubectl(*words)
    if "crd.yaml" in command:
        # A person types slowly. A test must wait until the API server serves the kind.
        cluster.apply_crds(folder / "crd.yaml")
    return printed


def a_scan_report(namespace: str, name: str, *issues: Json) -> Json:
    """The sample with another name, another namespace, and perhaps other issues."""
    report: Json = yaml.safe_load(FILES["report.yaml"])
    report["metadata"] |= {"name": name, "namespace": namespace}
    report["spec"]["target"]["name"] = name
    report["status"]["issues"] = list(issues) or report["status"]["issues"]
    return report


@pytest.fixture
def careless(packages: Path, tmp_path: Path) -> Path:
    """The same package with a bug: it fails for an unknown severity."""
    installed = tmp_path / "packages"
    shutil.copytree(packages, installed)
    module = installed / "zenwatch_kubescan.py"
    careful = 'SEVERITIES.get(text_of(issue, "severity").lower(), Severity.MEDIUM)'
    assert careful in module.read_text()
    module.write_text(module.read_text().replace(careful, 'SEVERITIES[text_of(issue, "severity")]'))
    return installed


@pytest.mark.usefixtures("kubescan")
def test_the_commands_of_the_document_end_in_its_records(
    cluster: ControlPlane, folder: Path, packages: Path, start_zenwatch: Start
) -> None:
    """kubectl prints what the document shows, although zenwatch starts before the kind, the rights and the report exist."""
    zenwatch = start_zenwatch(PYTHONPATH=str(packages))
    eventually(lambda: _states(zenwatch))
    *steps, query = commands("kubectl")
    for step in steps:
        type_in(cluster, folder, step)
    zenwatch.wait_for_stored(2)

    head, *rows = type_in(cluster, folder, query).splitlines()
    shown_head, *shown_rows = shown(query)
    assert head.split() == shown_head.split()
    # Without the age.
    assert [row.split()[:-1] for row in rows] == [row.split()[:-1] for row in shown_rows]
    assert {record["metadata"]["name"]: record["spec"] for record in records(cluster, "shop")} == previewed(folder, packages)
    assert zenwatch.stop() == 0
    (page,) = [line for line in zenwatch.log("ledger") if line["source"] == "kubescan"]
    assert (page["received"], page["stored"], page["repeated"], page["in_flight"]) == (3, 2, 1, 0)


def _states(zenwatch: Zenwatch) -> list[Json]:
    return [line for line in zenwatch.log("reports_state_changed") if line["source"] == "kubescan"]


@pytest.mark.usefixtures("kubescan")
def test_the_log_names_missing_rights_and_granting_them_is_enough(
    cluster: ControlPlane, namespace: str, packages: Path, start_zenwatch: Start
) -> None:
    """The rights that zenwatch ships with do not include the kinds of other packages."""
    cluster.apply_crds(FILES["crd.yaml"])
    apply(cluster, a_scan_report(namespace, "web"))
    zenwatch = start_zenwatch(PYTHONPATH=str(packages))
    states = eventually(lambda: _states(zenwatch))
    assert states[0]["state"] == "forbidden"
    assert f"`{states[0]['error']}`" in DOCUMENT

    cluster.kubectl("apply", "-f", "-", stdin=FILES["rbac.yaml"])

    zenwatch.wait_for_stored(2)
    assert len(records(cluster, namespace)) == 2


@pytest.mark.usefixtures("kubescan")
def test_a_bug_in_parse_costs_one_report_and_an_entry_that_is_not_understood_only_itself(
    cluster: ControlPlane, namespace: str, careless: Path, start_zenwatch: Start
) -> None:
    """The log names both. Nothing else happens to the watcher's other reports and to the other watchers."""
    cluster.apply_crds(FILES["crd.yaml"])
    cluster.kubectl("apply", "-f", "-", stdin=FILES["rbac.yaml"])
    nameless = a_scan_report(namespace, "nameless", {"id": "KS-1", "severity": "high"}, {"severity": "high"})
    strange = a_scan_report(namespace, "strange", {"id": "KS-1", "severity": "odd"})
    apply(cluster, nameless, strange, a_scan_report(namespace, "web"), report_in(namespace, a_vulnerability()))

    zenwatch = start_zenwatch(PYTHONPATH=str(careless))
    zenwatch.wait_for_stored(4)

    kind_and_namespace = f"scanreports.kubescan.example.com/{namespace}"
    assert {line["name"]: line["error"] for line in zenwatch.log("report_rejected")} == {
        f"{kind_and_namespace}/strange": "the watcher kubescan failed: 'odd'",
    }
    assert {line["name"]: line["error"] for line in zenwatch.log("entries_rejected")} == {
        f"{kind_and_namespace}/nameless": "status.issues[1].id is missing",
    }
    assert {line["error"] for line in zenwatch.log("plugin_failed")} == {"'odd'"}
    about = [(record["spec"]["source"], record["spec"]["resource"]["name"]) for record in records(cluster, namespace)]
    assert sorted(about) == [("kubescan", "nameless"), ("kubescan", "web"), ("kubescan", "web"), ("trivy", "nginx")]
    assert zenwatch.log("task_restarts") == []
