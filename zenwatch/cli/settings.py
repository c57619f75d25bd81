"""`zenwatch settings`: every setting, its value now, and what it accepts."""

import argparse
import os
from collections.abc import Iterator, Mapping

from zenwatch.cli.shared.terminal import complain, show
from zenwatch.config.env import Setting
from zenwatch.wiring.plugins import installed_watchers, settings_of, unknown_settings, variables_of, watcher_defaults
from zenwatch.wiring.settings import Settings


def define(command: argparse.ArgumentParser) -> None:
    command.description = "Print every environment variable that zenwatch reads: its value now, its default, what it accepts and means."
    command.set_defaults(call=_call)


def _call(_parsed: argparse.Namespace) -> int:
    for name, value, default, accepts, meaning in rows():
        show(f"{name}={value}" + ("" if value == default else f"   (default: {default or 'empty'})"))
        show(f"    {meaning}", f"    Accepts {accepts}.")
    for unknown in unknown_settings(os.environ):
        complain(f"zenwatch: {unknown}")
    return 0


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Variable, value now, default, accepted values, meaning. ConfigError if a value is wrong."""
    Settings.read(os.environ)
    yield from _rows_of(Settings.variables(), {})
    for watcher in installed_watchers():
        settings_of(watcher, os.environ)
        yield from _rows_of(variables_of(watcher), watcher_defaults(watcher))


def _rows_of(variables: Mapping[str, Setting], defaults: Mapping[str, str]) -> Iterator[tuple[str, str, str, str, str]]:
    for variable, field in variables.items():
        default = defaults.get(variable, str(field.default))
        # The text that was set reads better than the parsed value: 30s, not 30.0.
        value = os.environ.get(variable, "").strip() or default
        yield variable, value, default, field.accepts, field.meaning or ""
