"""The API server's audit trail: to a webhook, to a file, or neither."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

# Whole bodies, Secrets too: this cluster holds nothing secret, and a test must be able to see that none is passed on.
DEFAULT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: RequestResponse
    resources:
      - group: ""
        resources: [secrets, pods, pods/exec, pods/attach, pods/portforward, pods/ephemeralcontainers]
      - group: rbac.authorization.k8s.io
  - level: Metadata
"""


def audit_flags(folder: Path, *, policy: str, webhook_url: str | None, log_file: Path | None) -> list[str]:
    """Flags of kube-apiserver; writes the files they name into `folder`."""
    if webhook_url is None and log_file is None:
        return []
    policy_file = folder / "audit-policy.yaml"
    policy_file.write_text(policy)
    flags = [f"--audit-policy-file={policy_file}"]
    if log_file is not None:
        # Written before the response is sent (mode blocking is the default), and never rotated: counts are exact.
        flags += [f"--audit-log-path={log_file}", "--audit-log-maxsize=0"]
    if webhook_url is not None:
        webhook_file = folder / "audit-webhook.yaml"
        webhook_file.write_text(_webhook_kubeconfig(webhook_url))
        flags += [
            f"--audit-webhook-config-file={webhook_file}",
            # The default, 30 s, is longer than a test wants to wait for an event.
            "--audit-webhook-batch-max-wait=500ms",
            "--audit-webhook-initial-backoff=1s",
        ]
    return flags


def read_audit_log(log_file: Path) -> Iterator[dict[str, Any]]:
    """Events of audit.k8s.io/v1, oldest first. A last line that is still being written is left out."""
    if not log_file.exists():
        return
    with log_file.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def _webhook_kubeconfig(url: str) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "webhook", "cluster": {"server": url}}],
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook", "user": ""}}],
        "current-context": "webhook",
    }
    return yaml.safe_dump(config)
