"""Check that the API server answers, how fast it is, and whether its clock agrees with ours."""

from dataclasses import dataclass
from statistics import median

from zenwatch.contract import Clock
from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.clocks import skew_check, skew_secs
from zenwatch.errors import Permanent, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import server_time
from zenwatch.kube.http.request import Discovery

AREA = "cluster"
MEASURED_REQUESTS = 5
# A guess: a write needs a few requests, and a record should be there within seconds. Measured delays would change it.
SLOW_SECS = 0.5
# A small request that every account may send.
_SMALL_REQUEST = Discovery("authorization.k8s.io", "v1")


@dataclass(frozen=True)
class ApiServerReport:
    """ahead_secs: how far the API server's clock is ahead of ours. None: it did not show its clock."""

    checks: list[Check]
    is_reachable: bool = False
    ahead_secs: float | None = None


async def check_api_server(client: KubeClient, clock: Clock, address: str) -> ApiServerReport:
    """address: of the API server, as it is printed."""
    try:
        latencies_secs = [await _latency_secs(client, clock) for _ in range(MEASURED_REQUESTS + 1)]
    except ZenwatchError as exc:
        return ApiServerReport([_unreachable(exc, address)])
    # The first request also opens the connection, so it is not counted.
    latency = _latency_check(median(latencies_secs[1:]), address)
    asked_at = clock.now()
    try:
        shown = await server_time(client)
    except ZenwatchError as exc:
        return ApiServerReport([latency, Check(AREA, "clock", Level.UNKNOWN, first_line(exc))], is_reachable=True)
    our_lead_secs = skew_secs(shown, asked_at, clock.now())
    checks = [latency, skew_check(AREA, "this machine's", our_lead_secs)]
    return ApiServerReport(checks, is_reachable=True, ahead_secs=-our_lead_secs)


async def _latency_secs(client: KubeClient, clock: Clock) -> float:
    began_secs = clock.monotonic_secs()
    await client.send(_SMALL_REQUEST)
    return clock.monotonic_secs() - began_secs


def _latency_check(latency_secs: float, address: str) -> Check:
    text = f"{address} answers in {1000 * latency_secs:.0f} ms (median of {MEASURED_REQUESTS})"
    if latency_secs <= SLOW_SECS:
        return Check(AREA, "API server", Level.OK, text)
    advice = "Look at the load of the API server and of etcd, and at the way there; BEHAVIOR_MODE=conservative asks less of them."
    return Check(AREA, "API server", Level.WARN, text, (advice,))


def _unreachable(exc: ZenwatchError, address: str) -> Check:
    advice = (
        "Renew the credentials: kubectl auth whoami, with the same kubeconfig, says whether they are taken."
        if isinstance(exc, Permanent)
        else "Try with the same kubeconfig: kubectl get --raw /livez. In a pod: is there a NetworkPolicy in the way?"
    )
    return Check(AREA, "API server", Level.FAIL, f"{address}: {first_line(exc)}", (advice,))
