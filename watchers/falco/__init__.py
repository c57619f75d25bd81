"""Falco's alerts: what programs do at run time that they should not. watcher.py has the declaration, and a list of the files."""

from watchers.falco.watcher import FALCO

__all__ = ["FALCO"]
