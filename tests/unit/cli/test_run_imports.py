"""zenwatch/cli/run.py: what `zenwatch run` keeps in memory."""

import subprocess
import sys

from tests.support.paths import ROOT

# SQLite is imported with SPOOL_DIR only. With a kubeconfig the Kubernetes client is imported, which imports pydantic itself;
# a pod needs neither.
PROGRAM = """
import sys

from zenwatch.cli import run
from zenwatch.config.validate import in_child_process
from zenwatch.wiring.plugins import installed_watchers

installed = installed_watchers()
settings, own, _ = in_child_process(lambda: run._read_settings(installed))
assert settings.watch_interval_secs == 7.0, settings
assert own.keys() >= {"trivy", "falco"}, own
print(*sorted({"pydantic", "pydantic_core", "kubernetes", "sqlite3"} & sys.modules.keys()))
"""


def test_run_validates_its_settings_and_keeps_neither_pydantic_nor_sqlite() -> None:
    """A child process validates them (decisions/0012)."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(ROOT), "WATCH_INTERVAL": "7s"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout.strip()) == (0, ""), ended.stderr


def test_run_imports_aiohttp_without_the_certificates_of_the_system() -> None:
    """Each connection brings its own TLS context (decisions/0012); a context that is made later loads them as ever."""
    program = """
import os, ssl

before = dict(os.environ)

import zenwatch.cli.run
import sys

from aiohttp import connector

assert os.environ == before
assert connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"] == 0
assert "frozenlist._frozenlist" not in sys.modules
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
