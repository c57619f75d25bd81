"""watchers/ADDING_A_WATCHER.md, typed in: its package is built and installed, its files applied, and what it shows compared."""

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
# A block that is a file has its name in the line above.
FILES = dict(re.findall(r"^`([^`\n]+)`:\n```\w+\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
CONSOLE = "".join(re.findall(r"^```console\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))


def commands(program: str) -> list[str]:
    return [line.removeprefix("$ ") for line in CONSOLE.splitlines() if line.startswith(f"$ {program} ")]


def shown(command: str) -> list[str]:
    """The lines that the document prints below a command."""
    (printed,) = re.findall(rf"^\$ {re.escape(command)}\n((?:[^$].*\n)*)", CONSOLE, re.MULTILINE)
    return str(printed).splitlines()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of the document, where it says that they are."""
    folder = tmp_path_factory.mktemp("adding-a-watcher")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="session")
def packages(folder: Path) -> Path:
    """Where the package is installed: a folder of its own for PYTHONPATH, so that nothing is left in the environment."""
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
    """The specs of the sample's records by name, as `zenwatch preview` says that they will be."""
    printed = _run(sys.executable, "-m", "zenwatch", "preview", "report.yaml", "-o", "json", cwd=folder, PYTHONPATH=str(packages))
    return {record["metadata"]["name"]: record["spec"] for record in map(json.loads, printed.stdout.splitlines())}


# ---------------------------------------------------------------- without a cluster


def test_zenwatch_lists_the_watcher_with_its_origin(folder: Path, packages: Path) -> None:
    """Installing the package is all that it takes."""
    assert commands("pip") == ["pip install ./zenwatch-kubescan"]
    printed = _run(sys.executable, "-m", "zenwatch", "watchers", cwd=folder, PYTHONPATH=str(packages), KUBECONFIG="").stdout

    assert "\n".join(shown("zenwatch watchers")) in printed
    assert "zenwatch-kubescan" in shown("zenwatch watchers")[1]


def test_preview_prints_what_the_document_shows(folder: Path, packages: Path) -> None:
    """Names, severities, scores and titles to the letter."""
    printed = _run(sys.executable, *shlex.split("-m zenwatch preview report.yaml"), cwd=folder, PYTHONPATH=str(packages))

    assert printed.stdout.splitlines() + printed.stderr.splitlines() == shown("zenwatch preview report.yaml")


def test_one_key_in_two_containers_is_one_record(folder: Path, packages: Path) -> None:
    """The worst leads, and the list names both."""
    worst, _ = previewed(folder, packages).values()

    assert (worst["key"], worst["severity"], worst["title"]) == ("shop/Deployment/web/KS-101", "HIGH", "KS-101: Runs as root")
    assert worst["details"] == {"issueId": "KS-101", "containers": ["proxy", "web"]}
    assert (worst["remediation"], worst["references"]) == ("Set runAsNonRoot", ["https://kubescan.example.com/KS-101"])
    assert worst["detectedAt"] == "2026-03-01T10:00:00Z"


def test_its_settings_are_there(folder: Path, packages: Path) -> None:
    """With the defaults that the document names, and obeyed."""
    printed = _run(sys.executable, "-m", "zenwatch", "settings", cwd=folder, PYTHONPATH=str(packages)).stdout
    found = [line for line in printed.splitlines() if line.startswith("KUBESCAN_")]
    assert found == ["KUBESCAN_ENABLED=true", "KUBESCAN_MIN_SEVERITY=INFO", "KUBESCAN_NAMESPACE=kubescan", "KUBESCAN_SILENCE_AFTER=26h"]
    assert all(f"`{line.partition('=')[0]}`" in DOCUMENT for line in found)

    command = (sys.executable, "-m", "zenwatch", "preview", "report.yaml")
    told = _run(*command, cwd=folder, PYTHONPATH=str(packages), KUBESCAN_MIN_SEVERITY="HIGH").stderr
    assert told.strip() == "1 reports with 3 findings, 2 below the threshold: 1 records"


def test_its_own_tests_pass_with_the_suite_of_the_sdk(folder: Path, packages: Path, tmp_path: Path) -> None:
    """The suite needs nothing else of zenwatch's tests."""
    for file in (
        folder / "zenwatch-kubescan" / "test_kubescan.py",
        folder / "report.yaml",
    ):
        shutil.copy(file, tmp_path)

    told = _run(sys.executable, "-m", "pytest", "-q", "test_kubescan.py", cwd=tmp_path, PYTHONPATH=str(packages)).stdout

    assert re.search(r"\d+ passed", told), told


# ---------------------------------------------------------------- in a cluster


@pytest.fixture
def kubescan(cluster: ControlPlane, folder: Path) -> Iterator[None]:
    """Afterwards neither the kind nor the rights are there."""
    yield
    cluster.kubectl("delete", "--ignore-not-found", "-f", folder / "rbac.yaml", "-f", folder / "crd.yaml")
    cluster.kubectl("delete", "namespace", "shop", "--ignore-not-found", "--wait=false")


def type_in(cluster: ControlPlane, folder: Path, command: str) -> str:
    """A kubectl command of the document, in the folder of its files."""
    words = [str(folder / word) if (folder / word).is_file() else word for word in shlex.split(command)[1:]]
    told = cluster.kubectl(*words)
    if "crd.yaml" in command:
        # A person types slowly enough; a test has to wait until the kind is served.
        cluster.apply_crds(folder / "crd.yaml")
    return told


def a_scan_report(namespace: str, name: str, *issues: Json) -> Json:
    """The sample under another name, in another namespace; with other issues, if any are given."""
    report: Json = yaml.safe_load(FILES["report.yaml"])
    report["metadata"] |= {"name": name, "namespace": namespace}
    report["spec"]["target"]["name"] = name
    report["status"]["issues"] = list(issues) or report["status"]["issues"]
    return report


@pytest.fixture
def careless(packages: Path, tmp_path: Path) -> Path:
    """The same package by somebody who did not think of a severity that the tool adds later."""
    installed = tmp_path / "packages"
    shutil.copytree(packages, installed)
    module = installed / "zenwatch_kubescan.py"
    careful = 'SEVERITIES.get(_text(issue, "severity").lower(), Severity.MEDIUM)'
    assert careful in module.read_text()
    module.write_text(module.read_text().replace(careful, 'SEVERITIES[_text(issue, "severity")]'))
    return installed


@pytest.mark.usefixtures("kubescan")
def test_the_commands_of_the_document_end_in_its_records(
    cluster: ControlPlane, folder: Path, packages: Path, start_zenwatch: Start
) -> None:
    """kubectl shows them as printed there; zenwatch ran before the kind, the rights and the report were there."""
    zenwatch = start_zenwatch(PYTHONPATH=str(packages))
    eventually(lambda: _states(zenwatch))
    *steps, look = commands("kubectl")
    for step in steps:
        type_in(cluster, folder, step)
    zenwatch.wait_for_stored(2)

    head, *rows = type_in(cluster, folder, look).splitlines()
    shown_head, *shown_rows = shown(look)
    assert head.split() == shown_head.split()
    # But for the age.
    assert [row.split()[:-1] for row in rows] == [row.split()[:-1] for row in shown_rows]
    assert {record["metadata"]["name"]: record["spec"] for record in records(cluster, "shop")} == previewed(folder, packages)
    assert zenwatch.stop() == 0
    (page,) = [line for line in zenwatch.log("ledger") if line["source"] == "kubescan"]
    assert (page["received"], page["stored"], page["repeated"], page["in_flight"]) == (3, 2, 1, 0)


def _states(zenwatch: Zenwatch) -> list[Json]:
    return [line for line in zenwatch.log("reports_state_changed") if line["source"] == "kubescan"]


@pytest.mark.usefixtures("kubescan")
def test_without_its_rights_the_log_says_which_and_granting_them_is_enough(
    cluster: ControlPlane, namespace: str, packages: Path, start_zenwatch: Start
) -> None:
    """What zenwatch ships with does not cover a kind that it has never heard of."""
    cluster.apply_crds(FILES["crd.yaml"])
    apply(cluster, a_scan_report(namespace, "web"))
    zenwatch = start_zenwatch(PYTHONPATH=str(packages))
    told = eventually(lambda: _states(zenwatch))
    assert told[0]["state"] == "forbidden"
    assert f"`{told[0]['error']}`" in DOCUMENT

    cluster.kubectl("apply", "-f", "-", stdin=FILES["rbac.yaml"])

    zenwatch.wait_for_stored(2)
    assert len(records(cluster, namespace)) == 2


@pytest.mark.usefixtures("kubescan")
def test_a_rejected_report_and_a_bug_in_parse_each_cost_one_report(
    cluster: ControlPlane, namespace: str, careless: Path, start_zenwatch: Start
) -> None:
    """Both are named in the log; the watcher's other reports and the other watchers do not notice."""
    cluster.apply_crds(FILES["crd.yaml"])
    cluster.kubectl("apply", "-f", "-", stdin=FILES["rbac.yaml"])
    nameless = a_scan_report(namespace, "nameless", {"id": "KS-1", "severity": "high"}, {"severity": "high"})
    strange = a_scan_report(namespace, "strange", {"id": "KS-1", "severity": "odd"})
    apply(cluster, nameless, strange, a_scan_report(namespace, "web"), report_in(namespace, a_vulnerability()))

    zenwatch = start_zenwatch(PYTHONPATH=str(careless))
    zenwatch.wait_for_stored(3)

    place = f"scanreports.kubescan.example.com/{namespace}"
    assert {line["name"]: line["error"] for line in zenwatch.log("report_rejected")} == {
        f"{place}/nameless": "status.issues[1].id is missing",
        f"{place}/strange": "the watcher kubescan failed: 'odd'",
    }
    assert {line["error"] for line in zenwatch.log("plugin_failed")} == {"'odd'"}
    about = [(record["spec"]["source"], record["spec"]["resource"]["name"]) for record in records(cluster, namespace)]
    assert sorted(about) == [("kubescan", "web"), ("kubescan", "web"), ("trivy", "nginx")]
    assert zenwatch.log("task_restarts") == []
