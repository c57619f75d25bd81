"""python -m tests.support.controlplane build | run | demo"""

import argparse
import sys

from tests.support.controlplane.binaries.build import ensure_binaries
from tests.support.controlplane.commands.demo import demo
from tests.support.controlplane.commands.foreground import interrupt_on_signals, run
from tests.support.controlplane.commands.say import Say, say_on_terminal
from tests.support.controlplane.errors import ControlPlaneError


def _build(say: Say) -> None:
    say(f"Ready to start: {ensure_binaries(say).kube_apiserver.parent}")


def main() -> int:
    """Return 0 after Ctrl-C too, because Ctrl-C is how run and demo end."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.controlplane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="build|run|demo")
    commands.add_parser("build", help="build the binaries into the cache (about five minutes, once)")
    commands.add_parser("run", help="a control plane in the foreground, until Ctrl-C")
    commands.add_parser("demo", help="a control plane, some reports, zenwatch at work on them, until Ctrl-C")
    command = {"build": _build, "run": run, "demo": demo}[parser.parse_args().command]
    interrupt_on_signals()
    try:
        command(say_on_terminal)
    except KeyboardInterrupt:
        return 1 if command is _build else 0
    except ControlPlaneError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
