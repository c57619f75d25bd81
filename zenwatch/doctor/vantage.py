"""How the API server looks from here: whether it answers, how fast, and whether our clocks agree.

In: a few small requests.  Out: checks of the area cluster.
Owns: nothing.
Stops: nothing to stop.
"""

from dataclasses import dataclass
from datetime import datetime
from statistics import median

from zenwatch.contract import Clock
from zenwatch.doctor.check import Check, Level, span
from zenwatch.errors import Permanent, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import server_time
from zenwatch.kube.http.request import Discovery

AREA = "cluster"
TRIES = 5
# A guess: a write costs a few of these, and the specification's latencies leave room for a second.
SLOW_SECS = 0.5
SKEW_WARN_SECS, SKEW_FAIL_SECS = 5.0, 60.0
# What every account may ask.
SMALL = Discovery("authorization.k8s.io", "v1")
SET_CLOCK = "Set the clock of the one that is wrong: timedatectl set-ntp true (compare: date -u here and on the control plane)."


@dataclass(frozen=True)
class View:
    """is_clear: the API server answers. server_ahead_secs: its clock against ours, where it told."""

    checks: list[Check]
    is_clear: bool = False
    server_ahead_secs: float | None = None


async def look(client: KubeClient, clock: Clock, server: str) -> View:
    """server: its address, for a person."""
    try:
        took_secs = [await _took(client, clock) for _ in range(TRIES + 1)]
    except ZenwatchError as exc:
        return View([_unreachable(exc, server)])
    # The first one opens the connection.
    answers = _answers(median(took_secs[1:]), server)
    asked_at = clock.now()
    try:
        shown = await server_time(client)
    except ZenwatchError as exc:
        return View([answers, Check(AREA, "clock", Level.UNKNOWN, first_line(exc))], is_clear=True)
    ahead_secs = skew_secs(shown, asked_at, clock.now())
    return View([answers, skew_check(AREA, "this machine's", ahead_secs)], is_clear=True, server_ahead_secs=-ahead_secs)


async def _took(client: KubeClient, clock: Clock) -> float:
    began_secs = clock.monotonic_secs()
    await client.send(SMALL)
    return clock.monotonic_secs() - began_secs


def _answers(latency_secs: float, server: str) -> Check:
    text = f"{server} answers in {1000 * latency_secs:.0f} ms (median of {TRIES})"
    if latency_secs <= SLOW_SECS:
        return Check(AREA, "API server", Level.OK, text)
    advice = "Look at the load of the API server and of etcd, and at the way there; BEHAVIOR_MODE=conservative asks less of them."
    return Check(AREA, "API server", Level.WARN, text, (advice,))


def _unreachable(exc: ZenwatchError, server: str) -> Check:
    advice = (
        "Renew the credentials: kubectl auth whoami, with the same kubeconfig, says whether they are taken."
        if isinstance(exc, Permanent)
        else "Try with the same kubeconfig: kubectl get --raw /livez. In a pod: is there a NetworkPolicy in the way?"
    )
    return Check(AREA, "API server", Level.FAIL, f"{server}: {first_line(exc)}", (advice,))


def skew_secs(shown: datetime, asked_at: datetime, answered_at: datetime) -> float:
    """How far our clock is ahead of one that shows whole seconds; the least that fits, so that 0 means it may be right."""
    if (ahead := (asked_at - shown).total_seconds() - 1.0) > 0:
        return ahead
    return min(0.0, (answered_at - shown).total_seconds())


def skew_check(area: str, whose: str, ahead_secs: float) -> Check:
    """whose: clock, against the API server's."""
    off_secs = abs(ahead_secs)
    if off_secs <= SKEW_WARN_SECS:
        return Check(area, "clock", Level.OK, f"{whose} clock and the API server's agree within {SKEW_WARN_SECS:.0f} s")
    level = Level.FAIL if off_secs > SKEW_FAIL_SECS else Level.WARN
    side = "ahead of" if ahead_secs > 0 else "behind"
    text = f"{whose} clock is {span(off_secs)} {side} the API server's: times in records are wrong, and tokens may be refused"
    return Check(area, "clock", level, text, (SET_CLOCK,))
