"""Find the installed watchers, ours and those of other packages, and read the settings of each."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from itertools import chain
from typing import TYPE_CHECKING

from zenwatch.config.env import Setting
from zenwatch.errors import BadInput, ConfigError
from zenwatch.runtime.supervise import plugin_boundary
from zenwatch.sdk.settings import WatcherSettings, watcher_prefix
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher
from zenwatch.wiring.settings import Settings

if TYPE_CHECKING:
    from zenwatch.config.unknown import UnknownVariable

# Paths that the server needs itself.
OWN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/explain", "/top", "/status"})
# Variables that zenwatch reads, and that are no settings of a person.
READ_ELSEWHERE = frozenset({"POD_NAME"})


def installed_watchers() -> list[AnyWatcher]:
    """All watchers that installed packages declare in the entry-point group zenwatch.watchers, ours among them.

    ConfigError names the entry point that cannot be used, and why: a tool that is silently not watched would look safe.
    """
    watchers: list[AnyWatcher] = []
    declared_by: dict[str, str] = {}
    for point in sorted(entry_points(group="zenwatch.watchers"), key=lambda point: point.name):
        where = f"the entry point {point.name} ({point.value}) of {point.dist.name if point.dist else 'an unknown package'}"
        try:
            with plugin_boundary(where):
                watcher = point.load()
        except BadInput as exc:
            raise ConfigError(f"{exc}. Mend that package or uninstall it.") from exc
        if not isinstance(watcher, AnyWatcher):
            raise ConfigError(f"{where} is neither a Watcher nor a PushWatcher of zenwatch.sdk. Mend that package or uninstall it.")
        if reason := _why_unusable(watcher, watchers, declared_by):
            raise ConfigError(f"{where}: {reason}. Mend that package or uninstall it.")
        watchers.append(watcher)
        declared_by[watcher.name] = where
    return watchers


def _why_unusable(watcher: AnyWatcher, others: Sequence[AnyWatcher], declared_by: Mapping[str, str]) -> str:
    """Empty: it can be used."""
    name = watcher.name
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):
        return f"the name {name!r} is no lower-case DNS label, and so no source of a record"
    if name in declared_by:
        return f"there is a watcher named {name} already, by {declared_by[name]}"
    if taken := _settings_type(watcher).variables(watcher_prefix(name)).keys() & Settings.variables().keys():
        return f"the name {name} would give {', '.join(sorted(taken))} a second meaning"
    if isinstance(watcher, PushWatcher):
        if not re.fullmatch(r"(/[a-z0-9][a-z0-9._-]*)+", watcher.path):
            return f"{watcher.path!r} is no path of lower-case letters, digits, '.', '_' and '-'"
        same = [other.name for other in others if isinstance(other, PushWatcher) and other.path == watcher.path]
        if same or watcher.path in OWN_PATHS:
            return f"the path {watcher.path} is {same[0] if same else 'zenwatch'}'s already"
    return ""


def watcher_defaults(watcher: AnyWatcher) -> dict[str, str]:
    """The defaults that a watcher declares, by the variables that override them."""
    prefix = watcher_prefix(watcher.name)
    silence = {f"{prefix}SILENCE_AFTER": watcher.silence_after}
    pushed = {f"{prefix}RESOLVE_AFTER": watcher.resolve_after} if isinstance(watcher, PushWatcher) else {}
    return {f"{prefix}MIN_SEVERITY": watcher.min_severity.value, f"{prefix}NAMESPACE": watcher.namespace, **silence, **pushed}


def variables_of(watcher: AnyWatcher) -> dict[str, Setting]:
    """The variables of this watcher alone."""
    return _settings_type(watcher).variables(watcher_prefix(watcher.name))


def settings_of(watcher: AnyWatcher, environment: Mapping[str, str]) -> WatcherSettings:
    """The watcher's defaults, overridden by what the user set; PushSettings for a PushWatcher."""
    return _settings_type(watcher).read(environment, prefix=watcher_prefix(watcher.name), defaults=watcher_defaults(watcher))


def _settings_type(watcher: AnyWatcher) -> type[WatcherSettings]:
    return watcher.settings if isinstance(watcher, PushWatcher) else WatcherSettings


def unknown_settings(environment: Mapping[str, str], watchers: Sequence[AnyWatcher] | None = None) -> "list[UnknownVariable]":
    """Variables that look like settings and that nothing reads. watchers: None for all that are installed."""
    from zenwatch.config.unknown import unknown_variables  # noqa: PLC0415  difflib: only the validating process pays for it

    watchers = installed_watchers() if watchers is None else watchers
    known = {*Settings.variables(), *chain.from_iterable(variables_of(watcher) for watcher in watchers), *READ_ELSEWHERE}
    prefixes = [watcher_prefix(watcher.name) for watcher in watchers]
    of_tools = set(chain.from_iterable(watcher.tool_variables for watcher in watchers))
    return list(unknown_variables(environment, known, tool_prefixes=prefixes, of_tools=of_tools))


ConfiguredWatcher = tuple[AnyWatcher, WatcherSettings]


def configured_watchers(environment: Mapping[str, str], watchers: Sequence[AnyWatcher] | None = None) -> list[ConfiguredWatcher]:
    """Return each watcher with its settings, disabled ones, too. watchers: None for all that are installed. Raises ConfigError."""
    return [(watcher, settings_of(watcher, environment)) for watcher in (installed_watchers() if watchers is None else watchers)]
