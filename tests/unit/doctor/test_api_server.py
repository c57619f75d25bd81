"""zenwatch/doctor/cluster/api_server.py and clocks.py: whether the API server answers, how fast, and with which clock."""

from datetime import timedelta

import pytest

from tests.support.doctor_cluster import NOW, FakeCluster, FixedClock, a_process, diagnose
from zenwatch.doctor.clocks import skew_secs


@pytest.mark.parametrize(
    ("off_secs", "level", "text"),
    [
        (0, "OK", "agree within 5 s"),
        (4, "OK", "agree within 5 s"),
        (-5, "OK", "agree within 5 s"),
        (-7, "WARN", "6 s ahead of"),
        (7, "WARN", "7 s behind"),
        (3600, "FAIL", "1 hour behind"),
        (-90, "FAIL", "1 minute ahead of"),
    ],
)
async def test_clocks_are_compared(off_secs: float, level: str, text: str) -> None:
    """off_secs: how far the API server's clock is ahead. It shows whole seconds, so one second is not counted."""
    async with FakeCluster() as cluster:
        cluster.date = NOW + timedelta(seconds=off_secs)
        found = (await diagnose(cluster))["cluster", "clock"]

    assert (found.level, text in found.text, bool(found.advice)) == (level, True, level != "OK")


def test_a_second_that_was_cut_off_is_no_difference() -> None:
    """A clock shows 12:00:00 until 12:00:01."""
    for age_secs in (0.0, 0.5, 0.999):
        asked_at = NOW + timedelta(seconds=age_secs)
        assert skew_secs(NOW, asked_at, asked_at) == 0


async def test_the_process_is_compared_with_the_api_server() -> None:
    """The times in records come from its clock. A wrong clock of doctor's own does not hide that."""
    async with FakeCluster() as cluster:
        process = a_process()
        process.date = NOW - timedelta(seconds=100)
        behind = await diagnose(cluster, process)
        cluster.date = process.date
        together = await diagnose(cluster, process)

    assert (behind["process", "clock"].level, behind["cluster", "clock"].level) == ("FAIL", "OK")
    assert "the process's clock is 1 minute behind" in behind["process", "clock"].text
    assert (together["process", "clock"].level, together["cluster", "clock"].level) == ("OK", "FAIL")


async def test_a_slow_api_server_is_a_warning() -> None:
    """The median counts, so that a single slow answer does not matter."""
    async with FakeCluster() as cluster:
        slow = await diagnose(cluster, clock=FixedClock(request_secs=0.8))
        quick = await diagnose(cluster, clock=FixedClock(request_secs=0.002))

    assert (slow["cluster", "API server"].level, quick["cluster", "API server"].level) == ("WARN", "OK")
    assert "800 ms" in slow["cluster", "API server"].text
    assert "2 ms" in quick["cluster", "API server"].text


@pytest.mark.parametrize(("code", "advice"), [(401, "kubectl auth whoami"), (503, "kubectl get --raw /livez")])
async def test_an_api_server_that_does_not_answer_is_one_failure(code: int, advice: str) -> None:
    """Everything else would fail for the same reason. The process is still asked."""
    async with FakeCluster() as cluster:
        cluster.answers["/apis/authorization.k8s.io/v1"] = (code, {})
        found = await diagnose(cluster)

    assert found.at("FAIL") == {("cluster", "API server")}
    assert advice in found["cluster", "API server"].advice[0]
    assert found["process", "answers"].level == "OK"
    assert ("trivy", "tool") not in found
