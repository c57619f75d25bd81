"""How fast reports become records."""

import json
import subprocess
import sys
import time

from tests.bench.figure import Figure
from tests.bench.process import zenwatch_as_pod
from tests.bench.reports import replica_set, vulnerability_report
from tests.support.controlplane.cluster import ControlPlane
from tests.support.live.install import install_zenwatch

REPORTS = 1000
FINDINGS_PER_REPORT = 20
# The default of WRITE_CONCURRENCY.
BASELINE_CONNECTIONS = 16
BASELINE_RECORDS = 6000


def records_per_second() -> Figure:
    """From the start of the process to the last record, start-up and reading included; the baseline is measured before and after."""
    with ControlPlane.start(say=_say) as cluster:
        install_zenwatch(cluster)
        namespace = cluster.namespace("bench")
        create_reports(cluster, namespace, reports=REPORTS, findings=FINDINGS_PER_REPORT)
        before = minimal_client_rate(cluster, namespace)
        started = time.perf_counter()
        with zenwatch_as_pod(cluster) as zenwatch:
            zenwatch.wait_for_stored(REPORTS * FINDINGS_PER_REPORT)
            passed_secs = time.perf_counter() - started
            _say(f"zenwatch: {REPORTS * FINDINGS_PER_REPORT} records in {passed_secs:.1f} s, {zenwatch.cpu_secs():.1f} s of CPU")
        after = minimal_client_rate(cluster, namespace)
    return Figure(REPORTS * FINDINGS_PER_REPORT / passed_secs, "records/s", (before + after) / 2)


def create_reports(cluster: ControlPlane, namespace: str, *, reports: int, findings: int) -> None:
    _say(f"Creating {reports} reports of {findings} findings ...")
    made = [vulnerability_report(number, namespace=namespace, findings=findings) for number in range(reports)]
    # zenwatch asks for the owner of each resource.
    made += [replica_set(number, namespace=namespace) for number in range(reports)]
    for start in range(0, len(made), 250):
        manifest = {"apiVersion": "v1", "kind": "List", "items": made[start : start + 250]}
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest))


def minimal_client_rate(cluster: ControlPlane, namespace: str) -> float:
    pod = cluster.in_pod("zenwatch", "zenwatch")
    arguments = [cluster.server, pod.folder / "ca.crt", pod.folder / "token", namespace, BASELINE_RECORDS, BASELINE_CONNECTIONS]
    command = [sys.executable, "-m", "tests.bench.minimal_client", *map(str, arguments)]
    rate = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    _say(f"minimal client, {BASELINE_CONNECTIONS} connections: {rate:.0f} creates/s")
    return rate


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
