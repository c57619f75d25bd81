"""One file per command. Each is thin: parse arguments, call a room, print."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from zenwatch.cli import crds, preview, run, settings, watchers
from zenwatch.errors import ConfigError

COMMANDS = (run, preview, watchers, settings, crds)


def main(arguments: Sequence[str]) -> int:
    """Exit codes: 0 done, 1 failed, 2 a setting or argument is wrong."""
    parser = argparse.ArgumentParser(prog="zenwatch", description="Every Kubernetes security finding, once, as one kind of record.")
    parser.add_argument("--version", action="version", version=f"zenwatch {version('zenwatch')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.call(parsed))
    except ConfigError as exc:
        print(f"zenwatch: {exc}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `zenwatch crds | head`: the reader has seen enough.
        sys.stderr.close()
        return 0
