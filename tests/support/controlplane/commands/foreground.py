"""A command that stays in the foreground until Ctrl-C, SIGTERM or the terminal's end."""

import shutil
import signal
import time
from types import FrameType

from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.commands.say import Say
from tests.support.controlplane.errors import StartError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHECK_EVERY_SECS = 0.5


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on the first signal and ignore all others: a second Ctrl-C must not interrupt the clean-up."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    # A shell starts background commands with SIGINT ignored, so set a handler for each signal.
    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)


def say_how_to_reach(control_plane: ControlPlane, say: Say) -> None:
    """Print lines that a user can paste into another terminal."""
    say("In another terminal:")
    say("")
    say(f"export KUBECONFIG={control_plane.kubeconfig()}")
    if shutil.which("kubectl") is None:
        say(f"export PATH={control_plane.binaries.kubectl.parent}:$PATH")
    say("")


def run(say: Say) -> None:
    """Never return; KeyboardInterrupt ends it."""
    with ControlPlane.start(say=say) as control_plane:
        say("The API server is real; there are no nodes, so Pods stay Pending.")
        say_how_to_reach(control_plane, say)
        say("Ctrl-C ends it and removes everything in it.")
        try:
            while (failure := control_plane.failure()) is None:
                time.sleep(CHECK_EVERY_SECS)
        except KeyboardInterrupt:
            say("Stopping the control plane ...")
            raise
        raise StartError(failure)
