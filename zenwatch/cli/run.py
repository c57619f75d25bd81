"""`zenwatch run`: watch the tools of one cluster and store what they find, until a signal."""

import argparse
import asyncio
import os
import signal
from collections.abc import Sequence

import structlog

from zenwatch import log as logging
from zenwatch.cli.shared.cluster import add_cluster_options, named_cluster, settings_in
from zenwatch.config.validate import in_child_process
from zenwatch.kube import access
from zenwatch.sdk.settings import WatcherSettings
from zenwatch.sdk.watcher import AnyWatcher
from zenwatch.wiring.in_cluster import run_loop, run_until
from zenwatch.wiring.plugins import ConfiguredWatcher, installed_watchers, settings_of, unknown_settings
from zenwatch.wiring.settings import Settings

log = structlog.get_logger(component="run")

_DESCRIPTION = """Watch the security tools of one cluster and store what they find as ZenAgentEvents.

In a pod the pod's service account is used. Outside, name the cluster: --kubeconfig, --context, or the
environment variable KUBECONFIG. Settings are environment variables; README.md lists them."""


def define(command: argparse.ArgumentParser) -> None:
    command.description, command.formatter_class = _DESCRIPTION, argparse.RawDescriptionHelpFormatter
    add_cluster_options(command)
    command.set_defaults(call=_call)


def _call(parsed: argparse.Namespace) -> int:
    # pydantic stays out of this process: its 9 MB would never be used again.
    installed = installed_watchers()
    settings, own, unknown = in_child_process(lambda: _read_settings(installed))
    logging.configure(level=settings.log_level, style=settings.log_format)
    for name, reason in unknown:
        log.warning("setting_unknown", setting=name, reason=reason)
    cluster = named_cluster(parsed)
    settings = settings_in(cluster, settings)
    log.info("cluster_chosen", cluster=cluster.describe)
    watchers = [(watcher, own[watcher.name]) for watcher in installed]
    return 0 if run_loop(lambda: _until_signal(settings, cluster, watchers)) else 1


def _read_settings(watchers: Sequence[AnyWatcher]) -> tuple[Settings, dict[str, WatcherSettings], list[tuple[str, str]]]:
    """Third: variables that have no effect, and why. ConfigError names every wrong variable of the first class that has one."""
    settings = Settings.read(os.environ)
    own = {watcher.name: settings_of(watcher, os.environ) for watcher in watchers}
    unknown = [(variable.name, variable.reason) for variable in unknown_settings(os.environ, watchers)]
    return settings, own, unknown


async def _until_signal(settings: Settings, cluster: access.Access, watchers: Sequence[ConfiguredWatcher]) -> bool:
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
    return await run_until(stop, settings, cluster, os.environ, watchers)
