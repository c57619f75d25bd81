"""The audit events of a kube-apiserver."""

from watchers.audit.watcher import AUDIT

__all__ = ["AUDIT"]
