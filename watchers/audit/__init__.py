"""Audit events of the Kubernetes API server. watcher.py has the declaration, and a list of the files."""

from watchers.audit.watcher import AUDIT

__all__ = ["AUDIT"]
