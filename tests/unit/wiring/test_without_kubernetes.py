"""zenwatch/wiring/app.py without a cluster: a process that has no Kubernetes client stores what tools post."""

import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

# Runs in a process of its own, because the test process has imported the client long ago.
PROGRAM = """
import asyncio, sys

import aiohttp
from structlog.testing import capture_logs

from tests.support.builders.falco_alerts import an_alert
from tests.support.fakes.store import MemoryStore
from zenwatch.kube.client import KubeClient
from zenwatch.wiring.app import App
from zenwatch.wiring.plugins import configured_watchers
from zenwatch.wiring.settings import Settings

ENVIRONMENT = {"LISTEN": "127.0.0.1:0"}


def refuse(*_args, **_kwargs):
    raise AssertionError("a KubeClient was built")


async def post_and_store():
    KubeClient.__init__ = refuse
    store = MemoryStore()
    app = App(Settings.read(ENVIRONMENT), store=store, watchers=configured_watchers(ENVIRONMENT))
    with capture_logs() as lines:
        await app.start()
        address = next(line["address"] for line in lines if line["event"] == "listening")
        async with aiohttp.ClientSession() as session:
            answer = await session.post(f"{address}/falco/webhook", json=an_alert())
            assert answer.status == 200, await answer.text()
        assert await app.stop()
    [stored] = store.objects.values()
    assert stored["spec"]["source"] == "falco", stored
    assert "kubernetes" not in sys.modules


asyncio.run(post_and_store())
"""


def test_a_process_without_a_kubernetes_client_stores_what_falco_posts(tmp_path: Path) -> None:
    """Nothing imports the client library, nothing builds a client; the record is in the store in memory."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    ended = subprocess.run(
        [sys.executable, str(program)], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.returncode == 0, ended.stderr
