"""Each acknowledged event is stored once, whatever fails: every test compares what is stored with what was sent.

This is the short form; `make chaos` runs the long one and prints figures.
"""

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.builders.posted import a_numbered_alert
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity, kubeconfig_text
from tests.support.controlplane.processes import free_ports
from tests.support.faults.fault_proxy import Fault, FaultProxy, in_turn, some_of
from tests.support.faults.silent_webhook import silent_webhook
from tests.support.live.client import get, post
from tests.support.live.load.comparison import differences, ledger_of, wait_until_drained, wrong_in_ledger
from tests.support.live.load.sender import Load
from tests.support.live.objects import records_of_source, remove_records
from tests.support.live.process import Zenwatch, eventually

pytestmark = pytest.mark.cluster

Say = Callable[[str], None]

IS_LONG = os.environ.get("ZENWATCH_CHAOS") == "long"
KILLS = 50 if IS_LONG else 3
KILLS_AMID_FAULTS = 20 if IS_LONG else 2
TERMS = 20 if IS_LONG else 1
OUTAGE_SECS = 60.0 if IS_LONG else 4.0
OUTAGE_ALERTS_PER_SEC = 100.0
BACKLOG_SECS = 5.0 if IS_LONG else 0.5
DRAINED_WITHIN_SECS = 60.0
REFUSED_KILLS = 10 if IS_LONG else 1
# How long the API server waits for the webhook.
HANG_SECS = 5
# Once: each stored event leaves space for new ones, so that even a small disk is full only now and then.
DISK_FULL_TIMES = 1
FAULTED_SECS = 15.0 if IS_LONG else 2.0
HARMED_SHARE = 0.3
# Late writes have a test of their own.
ALL_FAULTS = tuple(fault for fault in Fault if fault not in (Fault.NONE, Fault.LATE))
FAULTS = [*((fault,) for fault in ALL_FAULTS), ALL_FAULTS] if IS_LONG else [ALL_FAULTS]
# While the disk is full, no file of the process grows beyond this. Its log needs less.
FULL_DISK_BYTES = 128 * 1024


class Scene:
    """A proxy in front of the API server, and zenwatch processes that follow each other on one port and one spool."""

    def __init__(self, cluster: ControlPlane, account: Identity, proxy: FaultProxy, folder: Path) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.namespaces: list[str] = []
        self._account = account
        self._folder = folder
        self._port = free_ports(1)[0]
        self._running: list[Zenwatch] = []

    def namespace(self) -> str:
        self.namespaces.append(self.cluster.namespace("chaos"))
        return self.namespaces[-1]

    def start(self, *, is_proxied: bool = False, **settings: str) -> Zenwatch:
        """Start zenwatch with the spool; return as soon as it listens."""
        spooling = {"SPOOL_DIR": str(self._folder / "spool"), "LISTEN": f"127.0.0.1:{self._port}", "COALESCE_WINDOW": "200ms"}
        kubeconfig = self._proxied() if is_proxied else self.cluster.kubeconfig(self._account)
        self._running.append(Zenwatch(kubeconfig, self._folder / f"zenwatch-{len(self._running)}.log", spooling | settings))
        self._running[-1].wait_for_log("listening")
        return self._running[-1]

    def start_without_spool(self) -> Zenwatch:
        """Start it beside a process with a spool; another CLUSTER_ID keeps their records apart."""
        return self.start(SPOOL_DIR="", LISTEN="127.0.0.1:0", CLUSTER_ID="memory")

    def kill(self, zenwatch: Zenwatch) -> None:
        zenwatch.signal(signal.SIGKILL)
        zenwatch.process.wait()

    def end(self) -> None:
        for zenwatch in self._running:
            zenwatch.stop()
        for namespace in self.namespaces:
            remove_records(self.cluster, namespace)
            self.cluster.kubectl("delete", "namespace", namespace, "--wait=false")

    def _proxied(self) -> Path:
        """Return a kubeconfig whose API server is the proxy."""
        file = self._folder / "proxied.yaml"
        file.write_text(kubeconfig_text(self._account, server=self.proxy.url, ca_pem=b""))
        return file


@pytest.fixture
def scene(cluster: ControlPlane, account: Identity, tmp_path: Path) -> Iterator[Scene]:
    with FaultProxy(cluster.server, cluster.ca_file, choose=lambda: Fault.NONE) as proxy:
        scene = Scene(cluster, account, proxy, tmp_path)
        yield scene
        scene.end()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print figures in the long form only."""

    def print_figure(sentence: str) -> None:
        if IS_LONG:
            with capsys.disabled():
                print(f"\n    {sentence}", flush=True)  # noqa: T201  the figures are its output

    return print_figure


# ---------------------------------------------------------------- the process dies


def test_a_process_that_is_killed_at_any_moment_loses_no_event_and_counts_none_twice(scene: Scene, say: Say) -> None:
    """kill -9 under load, again and again on one spool."""
    moments = random.Random(7)  # noqa: S311  every run has the same moments
    namespace, zenwatch = scene.namespace(), scene.start()
    with Load(zenwatch.url, namespace, alerts_per_sec=150, batches_per_sec=4) as load:
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.2, 2.0))
            scene.kill(zenwatch)
            zenwatch = scene.start()
    drained_secs = wait_until_drained(zenwatch)

    assert zenwatch.stop() == 0
    assert differences(scene.cluster, namespace, load.sent) == []
    assert load.sent.acknowledged > 30 * KILLS, load.sent
    assert [ledger_of(zenwatch, source)["in_flight"] for source in ("falco", "audit")] == [0, 0]
    say(f"{KILLS} kills: {load.sent}; drained {drained_secs:.1f} s after the last start")


def test_a_process_that_is_killed_while_answers_are_lost_counts_no_sighting_twice(scene: Scene, say: Say) -> None:
    """The next process cannot know which writes succeeded, so it reads what is stored."""
    moments = random.Random(9)  # noqa: S311  every run has the same moments
    scene.proxy.choose = some_of([Fault.CUT, Fault.CUT_AFTER, Fault.HANG_AFTER], share=HARMED_SHARE, seed=5)
    namespace, zenwatch = scene.namespace(), scene.start(is_proxied=True, API_TIMEOUT="1s")
    with Load(zenwatch.url, namespace, alerts_per_sec=40, batches_per_sec=1) as load:
        for _ in range(KILLS_AMID_FAULTS):
            time.sleep(moments.uniform(0.5, 3.0))
            scene.kill(zenwatch)
            zenwatch = scene.start(is_proxied=True, API_TIMEOUT="1s")
    scene.proxy.choose = lambda: Fault.NONE
    drained_secs = wait_until_drained(zenwatch, within_secs=DRAINED_WITHIN_SECS)

    assert zenwatch.stop() == 0
    assert differences(scene.cluster, namespace, load.sent) == []
    assert scene.proxy.done[Fault.CUT_AFTER] > KILLS_AMID_FAULTS
    say(f"{KILLS_AMID_FAULTS} kills amid faults: {load.sent}; {met(scene.proxy)}; drained in {drained_secs:.1f} s")


def test_sigterm_under_load_leaves_in_the_spool_what_is_not_stored(scene: Scene, say: Say) -> None:
    """Each process ends in order, and the next one stores what the last one left."""
    moments = random.Random(8)  # noqa: S311  every run has the same moments
    namespace, zenwatch = scene.namespace(), scene.start()
    left = 0
    with Load(zenwatch.url, namespace, alerts_per_sec=150, batches_per_sec=4) as load:
        for _ in range(TERMS):
            time.sleep(moments.uniform(0.2, 2.0))
            assert zenwatch.stop() == 0
            ledgers = [ledger_of(zenwatch, source) for source in ("falco", "audit")]
            assert [ledger["lost"] for ledger in ledgers] == [0, 0]
            left += sum(ledger["in_flight"] for ledger in ledgers)
            zenwatch = scene.start()
    wait_until_drained(zenwatch)

    assert zenwatch.stop() == 0
    assert differences(scene.cluster, namespace, load.sent) == []
    assert [ledger_of(zenwatch, source)["in_flight"] for source in ("falco", "audit")] == [0, 0]
    say(f"{TERMS} times SIGTERM: {load.sent}; {left} left to the next start")


def test_sigterm_under_load_stores_all_that_memory_holds(scene: Scene, say: Say) -> None:
    """Without a spool it ends when the last event is stored."""
    namespace, zenwatch = scene.namespace(), scene.start_without_spool()
    with Load(zenwatch.url, namespace, alerts_per_sec=150, batches_per_sec=4) as load:
        load.wait_for(acknowledged=1000 if IS_LONG else 100)
        began = time.monotonic()
        code = zenwatch.stop()
        stopped_secs = time.monotonic() - began

    falco, audit = (ledger_of(zenwatch, source) for source in ("falco", "audit"))
    assert code == 0
    assert differences(scene.cluster, namespace, load.sent) == []
    assert (falco["lost"], falco["in_flight"], audit["lost"], audit["in_flight"]) == (load.sent.lost, 0, 0, 0)
    assert load.sent.acknowledged <= falco["stored"] + falco["repeated"] <= load.sent.acknowledged + load.sent.unknown
    say(f"SIGTERM without a spool: {load.sent}; ended in {stopped_secs:.1f} s")


# ---------------------------------------------------------------- a namespace refuses


def test_a_namespace_whose_writes_hang_loses_nothing_over_kills_and_costs_its_neighbour_nothing(scene: Scene, say: Say) -> None:
    """Killed and stopped while they hang, as waiting writes and as dead letters: each alert is counted once in the end."""
    healthy, hanging = scene.namespace(), scene.namespace()
    with silent_webhook(scene.cluster, hanging, timeout_secs=HANG_SECS):
        zenwatch = scene.start(DEAD_LETTER_AFTER="2s")
        with Load(zenwatch.url, healthy, alerts_per_sec=20) as beside, Load(zenwatch.url, hanging, alerts_per_sec=20) as refused:
            eventually(lambda: zenwatch.log("writes_refused"))
            for _ in range(REFUSED_KILLS):
                beside.wait_for(acknowledged=beside.sent.acknowledged + 40)
                scene.kill(zenwatch)
                zenwatch = scene.start(DEAD_LETTER_AFTER="2s")
            eventually(lambda: f"writes/{hanging} refused" in get(f"{zenwatch.url}/readyz")[1])
            refused.wait_for(acknowledged=refused.sent.acknowledged + 20)
        assert get(f"{zenwatch.url}/readyz")[0] == 200
        eventually(lambda: differences(scene.cluster, healthy, beside.sent) == [])
        assert zenwatch.stop() == 0
        assert records_of_source(scene.cluster, hanging, "falco") == []
    zenwatch = scene.start(DEAD_LETTER_AFTER="2s")
    drained_secs = wait_until_drained(zenwatch)

    assert differences(scene.cluster, healthy, beside.sent) == []
    eventually(lambda: differences(scene.cluster, hanging, refused.sent) == [])
    say(f"{REFUSED_KILLS} kills beside a namespace that hangs: {beside.sent}; there: {refused.sent}; drained in {drained_secs:.1f} s")


# ---------------------------------------------------------------- the API server is away


def test_while_the_api_server_is_away_the_spool_accepts_everything_and_memory_what_fits(scene: Scene, say: Say) -> None:
    """What memory cannot hold is refused and counted as lost. All that was accepted is stored when the server is back."""
    spooling, in_memory = scene.start(), scene.start_without_spool()
    for zenwatch in (spooling, in_memory):
        zenwatch.wait_for_log("records_read_back")
    first, second = scene.namespace(), scene.namespace()
    with (
        Load(spooling.url, first, alerts_per_sec=OUTAGE_ALERTS_PER_SEC, batches_per_sec=2) as to_spool,
        Load(in_memory.url, second, alerts_per_sec=OUTAGE_ALERTS_PER_SEC / 2) as to_memory,
    ):
        time.sleep(1)
        scene.cluster.stop_apiserver()
        try:
            time.sleep(OUTAGE_SECS)
        finally:
            scene.cluster.start_apiserver()
    drained_secs = wait_until_drained(spooling, within_secs=DRAINED_WITHIN_SECS)
    wait_until_drained(in_memory)

    assert (spooling.stop(), in_memory.stop()) == (0, 0)
    assert differences(scene.cluster, first, to_spool.sent) == []
    assert differences(scene.cluster, second, to_memory.sent) == []
    assert wrong_in_ledger(spooling, to_spool.sent) == []
    assert wrong_in_ledger(in_memory, to_memory.sent) == []
    assert (to_spool.sent.lost, to_memory.sent.lost > 0) == (0, True)
    say(f"API server away for {OUTAGE_SECS:.0f} s, spool: {to_spool.sent}; drained {drained_secs:.1f} s after it was ready")
    say(f"API server away for {OUTAGE_SECS:.0f} s, memory: {to_memory.sent}; {to_memory.sent.lost} lost")


def test_a_backlog_outlives_every_end_of_the_process(scene: Scene, say: Say) -> None:
    """The process is killed, stopped with a backlog, and started without an API server: the spool keeps every event."""
    start = partial(scene.start, is_proxied=True, SHUTDOWN_TIMEOUT="1s")
    namespace, zenwatch = scene.namespace(), start()
    with Load(zenwatch.url, namespace, alerts_per_sec=100, batches_per_sec=2) as load:
        load.wait_for(acknowledged=50)
        scene.proxy.is_away = True
        time.sleep(BACKLOG_SECS)
        scene.kill(zenwatch)
        zenwatch = start()
        time.sleep(BACKLOG_SECS)
        code = zenwatch.stop()
        ended = ledger_of(zenwatch, "falco")
        zenwatch = start()
        time.sleep(BACKLOG_SECS)
        scene.proxy.is_away = False
    drained_secs = wait_until_drained(zenwatch, within_secs=DRAINED_WITHIN_SECS)

    assert zenwatch.stop() == 0
    assert (code, ended["lost"]) == (1, 0)
    assert ended["in_flight"] > 0
    assert differences(scene.cluster, namespace, load.sent) == []
    say(f"killed and stopped in an outage: {load.sent}; {ended['in_flight']} in flight at the stop; drained in {drained_secs:.1f} s")


# ---------------------------------------------------------------- the API server answers badly


def met(proxy: FaultProxy) -> str:
    return "writes: " + ", ".join(f"{count} {fault.value}" for fault, count in proxy.done.items())


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: "all" if len(faults) > 1 else faults[0].name.lower())
def test_whatever_the_api_server_answers_each_sighting_is_counted_once(scene: Scene, say: Say, faults: tuple[Fault, ...]) -> None:
    """A refusal, no answer, a broken connection; and a write that succeeds and whose answer is lost."""
    namespace, zenwatch = scene.namespace(), scene.start(is_proxied=True, API_TIMEOUT="1s")
    zenwatch.wait_for_log("records_read_back")
    scene.proxy.choose = some_of(faults, share=HARMED_SHARE, seed=3)
    with Load(zenwatch.url, namespace, alerts_per_sec=15, batches_per_sec=0.5) as load:
        time.sleep(FAULTED_SECS)
    drained_secs = wait_until_drained(zenwatch, within_secs=300 if IS_LONG else 60)

    assert zenwatch.stop() == 0
    assert differences(scene.cluster, namespace, load.sent) == []
    assert wrong_in_ledger(zenwatch, load.sent) == []
    assert load.sent.lost == 0
    assert sum(scene.proxy.done[fault] for fault in faults) > 5
    say(f"{load.sent}; {met(scene.proxy)}; drained in {drained_secs:.1f} s")


def test_a_write_that_arrives_late_undoes_no_sighting(scene: Scene) -> None:
    """A proxy may still hold a write when zenwatch has repeated it and made the next one."""
    namespace, zenwatch = scene.namespace(), scene.start(is_proxied=True, API_TIMEOUT="1s", COALESCE_WINDOW="0s")
    zenwatch.wait_for_log("records_read_back")
    # The writes in order: the record; the spec and the count of its second sighting.
    scene.proxy.choose = in_turn([Fault.NONE, Fault.NONE, Fault.LATE])

    def count() -> int:
        [record] = records_of_source(scene.cluster, namespace, "falco")
        return int(record["status"].get("count", 1))

    counts = []
    for number in range(1, 5):
        if number == 4:
            eventually(lambda: scene.proxy.done[Fault.LATE])
            counts.append(count())
        assert post(f"{zenwatch.url}/falco/webhook", a_numbered_alert(namespace, f"late in {namespace}", number))[0] == 200
        wait_until_drained(zenwatch)
        counts.append(count())

    assert counts == [1, 2, 3, 3, 4]


# ---------------------------------------------------------------- the disk is full


def limit_files(zenwatch: Zenwatch, most_bytes: int) -> None:
    """Let the kernel refuse to make a file of the process longer, as a full disk does."""
    resource.prlimit(zenwatch.process.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


def test_a_full_disk_refuses_new_events_and_loses_none(scene: Scene, say: Say) -> None:
    """Falco gets 503, and its alerts are counted as lost; the API server gets 429 and tries again. With space the spool goes on."""
    namespace, zenwatch = scene.namespace(), scene.start()
    zenwatch.wait_for_log("records_read_back")
    with Load(zenwatch.url, namespace, alerts_per_sec=100, batches_per_sec=4) as load:
        for _ in range(DISK_FULL_TIMES):
            limit_files(zenwatch, FULL_DISK_BYTES)
            load.wait_for_refusals(alerts=10, batches=1)
            limit_files(zenwatch, resource.RLIM_INFINITY)
            load.wait_for(acknowledged=load.sent.acknowledged + 100)
    wait_until_drained(zenwatch)

    assert zenwatch.stop() == 0
    assert zenwatch.log("spool_not_written")
    assert differences(scene.cluster, namespace, load.sent) == []
    assert wrong_in_ledger(zenwatch, load.sent) == []
    say(f"disk full {DISK_FULL_TIMES} times: {load.sent}; {load.sent.lost} lost")
