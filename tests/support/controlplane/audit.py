"""The API server's audit trail: to a webhook, to a file, or neither."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Whole bodies, of Secrets too: this cluster holds no secret, and a test must be able to see that zenwatch passes none on.
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


@dataclass(frozen=True)
class Webhook:
    """The address that events are posted to. token: the bearer token; empty: none. ca_file: the authority of an https server."""

    url: str
    token: str
    ca_file: Path


def audit_flags(folder: Path, *, policy: str, webhook: Webhook | None, log_file: Path | None) -> list[str]:
    """Return flags of kube-apiserver, and write the files that they name into `folder`."""
    if webhook is None and log_file is None:
        return []
    policy_file = folder / "audit-policy.yaml"
    policy_file.write_text(policy)
    flags = [f"--audit-policy-file={policy_file}"]
    if log_file is not None:
        # Written before the response is sent (mode blocking is the default), and never rotated: counts are exact.
        flags += [f"--audit-log-path={log_file}", "--audit-log-maxsize=0"]
    if webhook is not None:
        webhook_file = folder / "audit-webhook.yaml"
        webhook_file.write_text(_webhook_kubeconfig(webhook))
        flags += [
            f"--audit-webhook-config-file={webhook_file}",
            # The default, 30 s, is too long for a test that waits for an event.
            "--audit-webhook-batch-max-wait=500ms",
            "--audit-webhook-initial-backoff=1s",
        ]
    return flags


def read_audit_log(log_file: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of audit.k8s.io/v1, oldest first, but not a last line that is still being written."""
    if not log_file.exists():
        return
    with log_file.open() as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def _webhook_kubeconfig(webhook: Webhook) -> str:
    """The API server reads the token and the authority of a webhook from a kubeconfig only."""
    authority = {"certificate-authority": str(webhook.ca_file)} if webhook.url.startswith("https:") else {}
    user = {"token": webhook.token} if webhook.token else {}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "webhook", "cluster": {"server": webhook.url, **authority}}],
        "users": [{"name": "webhook", "user": user}],
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook", "user": "webhook"}}],
        "current-context": "webhook",
    }
    return yaml.safe_dump(config)
