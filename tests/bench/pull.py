"""From reports in the API server to records in it, as fast as it goes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.reports import vulnerability_report
from tests.controlplane.cluster import ControlPlane
from tests.installed import install_zenwatch

REPORTS = 1000
FINDINGS_PER_REPORT = 20
# The best of these is the baseline: what the API server takes, not what one way of asking gets.
BASELINE_CONNECTIONS = (16, 64)
BASELINE_RECORDS = 4000


def records_per_second() -> Figure:
    """From the start of the process to the last record stored, start-up and reading included; baseline before and after."""
    with ControlPlane.start(say=_say) as cluster:
        account = install_zenwatch(cluster)
        namespace = cluster.namespace("bench")
        _say(f"Creating {REPORTS} reports of {FINDINGS_PER_REPORT} findings ...")
        _create_reports(cluster, namespace)
        before = _baseline(cluster, namespace)
        taken_secs = _run_zenwatch(cluster.kubeconfig(account), REPORTS * FINDINGS_PER_REPORT)
        after = _baseline(cluster, namespace)
    value = REPORTS * FINDINGS_PER_REPORT / taken_secs
    baseline = max((first + second) / 2 for first, second in zip(before, after, strict=True))
    return Figure(value, "records/s", baseline)


def _create_reports(cluster: ControlPlane, namespace: str) -> None:
    reports = [vulnerability_report(number, namespace=namespace, findings=FINDINGS_PER_REPORT) for number in range(REPORTS)]
    for start in range(0, REPORTS, 250):
        manifest = {"apiVersion": "v1", "kind": "List", "items": reports[start : start + 250]}
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest))


def _baseline(cluster: ControlPlane, namespace: str) -> list[float]:
    pod = cluster.in_pod("zenwatch", "zenwatch")
    rates = []
    for connections in BASELINE_CONNECTIONS:
        arguments = [cluster.server, pod.folder / "ca.crt", pod.folder / "token", namespace, BASELINE_RECORDS, connections]
        command = [sys.executable, "-m", "tests.bench.minimal_client", *map(str, arguments)]
        rates.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        _say(f"minimal client, {connections} connections: {rates[-1]:.0f} creates/s")
    return rates


def _run_zenwatch(kubeconfig: Path, records: int) -> float:
    """Seconds until the log says that all records are stored."""
    environment = os.environ | {"LOG_FORMAT": "json", "LOG_LEVEL": "info"}
    command = [sys.executable, "-m", "zenwatch", "run", "--kubeconfig", str(kubeconfig)]
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=errors, stderr=subprocess.PIPE, text=True)
        try:
            stored = 0
            for line in process.stderr or ():
                told = json.loads(line)
                if told["event"] == "round_done":
                    stored += told["stored"]
                elif told["level"] in ("warning", "error"):
                    _say(line.strip())
                if stored >= records:
                    break
            taken_secs = time.perf_counter() - started
        finally:
            process.terminate()
            process.wait(timeout=30)
    if stored < records:
        raise RuntimeError(f"zenwatch ended with {stored} of {records} records stored")
    _say(f"zenwatch stored {stored} records in {taken_secs:.1f} s")
    return taken_secs


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
