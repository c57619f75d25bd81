"""A demo of zenwatch: a control plane, some reports, what the API server and Falco post, and the records of all that.

zenwatch runs as its own service account, with the rights that deployments/ gives it and no others.
"""

import os
import sys
import time
import urllib.request
from pathlib import Path

from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.commands.foreground import CHECK_EVERY_SECS, say_how_to_reach
from tests.support.controlplane.commands.say import Say
from tests.support.controlplane.components import Options
from tests.support.controlplane.errors import StartError
from tests.support.controlplane.processes import Child, free_ports
from tests.support.live.install import install_zenwatch
from tests.support.paths import ROOT

EXAMPLES = ROOT / "examples"
AUDIT_POLICY = ROOT / "deployments" / "webhooks" / "audit-policy.yaml"
# The API server collects its events for half a second.
PUSHED_WITHIN_SECS = 2.0
RECORDS = "zenagentevents"
REPORTS = "vulnerabilityreports"
# The count is stable after so many equal readings.
SAME_READINGS = 4
# Shorter than the default, so that a user who changes a report soon sees the result.
ROUND_EVERY = "5s"
FIRST_RECORD_WITHIN_SECS = 60.0
# Longer than zenwatch's own deadline for draining.
ZENWATCH_STOPS_WITHIN_SECS = 40.0


def demo(say: Say) -> None:
    """Never return; KeyboardInterrupt ends it."""
    [port] = free_ports(1)
    # As a user sets it up, with the shipped policy: the API server posts its audit events to zenwatch.
    options = Options(audit_webhook_url=f"http://127.0.0.1:{port}/audit/webhook", audit_policy=AUDIT_POLICY.read_text())
    with ControlPlane.start(options, say=say) as control_plane:
        say("Installing zenwatch's kinds (zenwatch crds), its account and its rights (deployments/base), and the tools' kinds ...")
        identity = install_zenwatch(control_plane)
        say("Applying the reports in examples/ ...")
        control_plane.kubectl("apply", "-f", f"{EXAMPLES}{os.sep}")
        say("Starting zenwatch as the service account zenwatch/zenwatch, a round every 5 s; its log follows.")
        kubeconfig = control_plane.kubeconfig(identity)
        command = [sys.executable, "-m", "zenwatch", "run", "--kubeconfig", str(kubeconfig)]
        zenwatch = Child("zenwatch", command, log=None, env=os.environ | {"WATCH_INTERVAL": ROUND_EVERY, "LISTEN": f"127.0.0.1:{port}"})
        try:
            _watch_records(control_plane, zenwatch, say)
            _do_something(control_plane, f"http://127.0.0.1:{port}", say)
            _say_what_next(control_plane, say)
            while True:
                _wait(control_plane, zenwatch)
        except KeyboardInterrupt:
            say("Stopping zenwatch, then the control plane ...")
            raise
        finally:
            zenwatch.stop(deadline_secs=ZENWATCH_STOPS_WITHIN_SECS)


def _wait(control_plane: ControlPlane, zenwatch: Child) -> None:
    """Wait half a second; raise if zenwatch or the control plane ended by itself."""
    failure = zenwatch.failure() or control_plane.failure()
    if failure is not None:
        raise StartError(failure)
    time.sleep(CHECK_EVERY_SECS)


def _names(control_plane: ControlPlane, kind: str) -> list[tuple[str, str]]:
    columns = "-o=custom-columns=A:.metadata.namespace,B:.metadata.name"
    lines = control_plane.kubectl("get", kind, "-A", "--no-headers", columns).splitlines()
    return [(line.split()[0], line.split()[1]) for line in lines]


def _watch_records(control_plane: ControlPlane, zenwatch: Child, say: Say) -> None:
    """Return when there are records and their number is stable, or after FIRST_RECORD_WITHIN_SECS without any."""
    deadline = time.monotonic() + FIRST_RECORD_WITHIN_SECS
    counts = [0]
    while counts[-1] == 0 or len(counts) < SAME_READINGS or len(set(counts[-SAME_READINGS:])) > 1:
        _wait(control_plane, zenwatch)
        counts.append(len(_names(control_plane, RECORDS)))
        if counts[-1] != counts[-2]:
            say(f"  {counts[-1]} {RECORDS}")
        if counts[-1] == 0 and time.monotonic() > deadline:
            say(f"No {RECORDS} after {FIRST_RECORD_WITHIN_SECS:.0f} s: the log above says why.")
            return
    say("")
    say(control_plane.kubectl("get", RECORDS, "-A").rstrip())
    say("")


def _do_something(control_plane: ControlPlane, url: str, say: Say) -> None:
    """Do what Falco and a user would do; each act is a record a second later."""
    say("Posting an alert as Falco would, and binding cluster-admin with kubectl, which the API server posts ...")
    alert = (EXAMPLES / "pushed" / "falco-alert.json").read_bytes()
    request = urllib.request.Request(f"{url}/falco/webhook", alert, {"Content-Type": "application/json"})  # noqa: S310  it is ours
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        say(f"  POST /falco/webhook: {answer.read().decode().strip()}")
    control_plane.kubectl("create", "clusterrolebinding", "break-glass", "--clusterrole=cluster-admin", "--user=bob")
    time.sleep(PUSHED_WITHIN_SECS)
    say(control_plane.kubectl("get", RECORDS, "-A", "-l", "source in (falco, audit)").rstrip())
    say("")
    say("# post another one:")
    say(f"curl -H 'Content-Type: application/json' -d @examples/pushed/falco-alert.json {url}/falco/webhook")
    say(f"curl {url}/readyz; curl -s {url}/metrics | grep ^zenwatch_findings")
    say("")


def _say_what_next(control_plane: ControlPlane, say: Say) -> None:
    say_how_to_reach(control_plane, say)
    say(f"kubectl get {RECORDS} -A")
    say("kubectl get zae -A --field-selector spec.severity=CRITICAL")
    for namespace, name in _names(control_plane, RECORDS)[:1]:
        say(f"kubectl describe zae -n {namespace} {name}")
        say(f"kubectl get zae -n {namespace} {name} -o yaml")
    say(f"kubectl explain {RECORDS}.spec")
    for namespace, name in _names(control_plane, REPORTS)[:1]:
        say("# change a report, for example a severity, and see what zenwatch makes of it:")
        say(f"kubectl edit {REPORTS} -n {namespace} {name}")
    for path in _example_with_high():
        say("# or apply a changed one:")
        say(f"sed 's/severity: HIGH/severity: CRITICAL/' {path} | kubectl apply -f -")
    say("")
    say("Ctrl-C ends it and removes everything in it.")


def _example_with_high() -> list[Path]:
    found = sorted(path for path in EXAMPLES.glob("*.y*ml") if "severity: HIGH" in path.read_text())
    return [path.relative_to(ROOT) for path in found[:1]]
