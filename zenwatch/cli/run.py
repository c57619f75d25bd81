"""`zenwatch run`: watch the tools of one cluster and store what they find, until a signal."""

import argparse
import asyncio
import os
import signal

import structlog

from zenwatch import log as logging
from zenwatch.cli.shared.cluster import add_cluster_options, named_cluster
from zenwatch.config.core import Settings
from zenwatch.kube import access
from zenwatch.runtime.app import run_loop, run_until

log = structlog.get_logger(component="run")

_DESCRIPTION = """Watch the security tools of one cluster and store what they find as ZenAgentEvents.

In a pod the pod's service account is used. Outside, name the cluster: --kubeconfig, --context, or the
environment variable KUBECONFIG. Settings are environment variables; README.md lists them."""


def define(command: argparse.ArgumentParser) -> None:
    command.description, command.formatter_class = _DESCRIPTION, argparse.RawDescriptionHelpFormatter
    add_cluster_options(command)
    command.set_defaults(call=_call)


def _call(parsed: argparse.Namespace) -> int:
    settings = Settings.read(os.environ)
    logging.configure(level=settings.log_level, style=settings.log_format)
    cluster = named_cluster(parsed)
    if cluster.own_namespace and not os.environ.get("POD_NAMESPACE"):
        settings = settings.model_copy(update={"own_namespace": cluster.own_namespace})
    log.info("cluster_chosen", cluster=cluster.describe)
    return 0 if run_loop(lambda: _until_signal(settings, cluster)) else 1


async def _until_signal(settings: Settings, cluster: access.Access) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def receive(number: signal.Signals) -> None:
        if stop.is_set():
            # The second signal: whoever sends it does not want to wait. Nothing is lost that the tools do not still report.
            os._exit(128 + number)
        log.info("signal_received", signal=number.name)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receive, number)
    return await run_until(stop, settings, cluster, os.environ)
