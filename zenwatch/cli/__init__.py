"""One file per command: parse the arguments, call a component, print. What commands have in common is in shared/."""

import argparse
import io
import sys
from collections.abc import Sequence
from importlib import import_module

from zenwatch.cli.shared.terminal import complain, show
from zenwatch.errors import ConfigError
from zenwatch.log import configure

# A command is imported only when it is called: `zenwatch run` does not load what the others need.
COMMANDS = {
    "run": "watch the tools and store what they find",
    "preview": "show what report files would be stored as, with no cluster",
    "doctor": "say what is wrong, and how to mend it",
    "top": "show what is open, grouped by CVE, policy, rule, namespace, image or actor",
    "explain": "tell what became of one event, and why",
    "deadletters": "look at events that the API server refused, try them again or drop them",
    "watchers": "list the watchers, what they read and what they find",
    "settings": "print every setting with its current value",
    "crds": "print the custom resource definitions",
}


def main(arguments: Sequence[str]) -> int:
    """Exit codes: 0 done, 1 failed, 2 a setting or argument is wrong."""
    _print_whatever_comes()
    parser = argparse.ArgumentParser(prog="zenwatch", description="Every Kubernetes security finding, once, as one kind of record.")
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        command = commands.add_parser(name, help=purpose)
        if name in arguments:
            import_module(f"zenwatch.cli.{name}").define(command)
    parsed = parser.parse_args(arguments)
    # By default structlog prints to stdout, where it would mix with the command's output.
    configure(level="info", style="auto")
    try:
        return int(parsed.call(parsed))
    except ConfigError as exc:
        complain(*f"zenwatch: {exc}".split("\n"))
        return 2
    except BrokenPipeError:
        # `zenwatch crds | head`: the reader closed the pipe. That is no failure.
        sys.stderr.close()
        return 0


def _print_whatever_comes() -> None:
    """What the terminal's encoding cannot show becomes a question mark: findings hold text of every language."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415  importing it takes longer than parsing the arguments

        show(f"zenwatch {version('zenwatch')}")
        parser.exit()
