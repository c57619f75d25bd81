"""zenwatch/sources/pull/informer.py: follow one kind of report and tell the intake what each says."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.builders.findings import REPORTS, a_finding
from tests.support.fakes.api_server import Answer, FakeApiServer, error_line, hangs, line, page, status, watch
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.intake import NotedIntake
from tests.support.pipelines.pull import a_pipeline
from tests.support.tasks import background, until
from zenwatch.contract import Intake
from zenwatch.errors import BadInput
from zenwatch.kube.cluster import Cluster
from zenwatch.model.finding import Finding
from zenwatch.model.refs import ReportRef
from zenwatch.sdk.watcher import ApiResource, Watcher
from zenwatch.sources.monitor.rejected import RejectedReports, Rejection
from zenwatch.sources.pull.informer import ReportInformer, State

KIND = ApiResource("aquasecurity.github.io", "v1alpha1", "vulnerabilityreports", "VulnerabilityReport")
ASK_AGAIN_SECS = 30.0
API = "/apis/aquasecurity.github.io/v1alpha1"
A, B = f"{REPORTS}/default/a", f"{REPORTS}/default/b"

# What no watcher may put into details, and a careless one might.
ODD = {"nothing": None, "a list of numbers": [1]}


def report(name: str, version: str = "1", **fields: Any) -> dict[str, Any]:
    """fields: junk=True cannot be read, bug=True meets a bug of the watcher, odd=… is the one of ODD that its finding carries.

    odd_entries=2: beside its finding are two entries that are not understood. only_odd_entries=True: there is nothing else.
    """
    return {"metadata": {"name": name, "namespace": "default", "resourceVersion": version}, **fields}


@dataclass
class Stage:
    """Reports over a fake API server, and all that can be seen of it. parsed: the names that reached the watcher. kinds: theirs."""

    reports: ReportInformer
    server: FakeApiServer
    intake: NotedIntake
    clock: FakeClock
    rejected: RejectedReports
    parsed: list[str] = field(default_factory=list)
    kinds: list[Any] = field(default_factory=list)
    changes: list[State] = field(default_factory=list)

    async def becomes(self, state: State) -> None:
        await until(lambda: self.reports.state is state)


def _ref(text: str) -> ReportRef:
    report = ReportRef.parse(text)
    assert report is not None
    return report


@asynccontextmanager
async def following(*answers: Answer, intake: Intake | None = None, namespace: str = "") -> AsyncIterator[Stage]:
    """namespace: the only one that is read; empty: all."""
    parsed: list[str] = []
    kinds: list[Any] = []

    def parse(payload: Mapping[str, Any]) -> Iterator[Finding | BadInput]:
        parsed.append(payload["metadata"]["name"])
        kinds.append(payload.get("kind"))
        if "only_odd_entries" in payload:
            yield BadInput("entry 0 is odd")
            return
        yield from (BadInput(f"entry {index} is odd") for index in range(payload.get("odd_entries", 0)))
        yield a_finding(**({"details": {"x": ODD[payload["odd"]]}} if "odd" in payload else {}))
        if "junk" in payload:
            raise BadInput("unreadable")
        if "bug" in payload:
            raise KeyError("a bug")

    async with FakeApiServer() as server:
        server.answers("GET", f"{API}/namespaces/{namespace}/{KIND.plural}" if namespace else f"{API}/{KIND.plural}", *answers)
        client, noted, clock = server.client(), NotedIntake(), FakeClock()
        cluster, watcher = Cluster("local", client), Watcher("trivy", (KIND,), parse)
        rejected = RejectedReports()
        reports = ReportInformer(
            cluster, KIND, watcher, intake or noted, namespace=namespace, ask_again_secs=ASK_AGAIN_SECS, clock=clock, rejected=rejected
        )
        informed = Stage(reports, server, noted, clock, rejected, parsed, kinds)
        reports.on_state_change = lambda: informed.changes.append(reports.state)
        try:
            async with background(reports.follow):
                yield informed
        finally:
            await client.close()


async def test_every_report_of_the_list_is_taken_and_only_they_are_kept() -> None:
    """replace_all comes once the list is complete, and then the kind is known."""
    async with following(page(report("a"), more="t"), page(report("b")), watch()) as informed:
        known_from_the_begin = informed.reports.has_synced
        await informed.becomes(State.FOLLOWED)

        assert (known_from_the_begin, informed.reports.has_synced) == (False, True)
        assert informed.intake.held == {A: ("1", [a_finding()]), B: ("1", [a_finding()])}
        assert informed.intake.kept == [(REPORTS, {A, B})]
        assert informed.changes == [State.FOLLOWED]


async def test_changes_are_taken_and_deletions_forgotten() -> None:
    """As they happen, without a new list."""
    changes = line("MODIFIED", report("a", "2")), line("ADDED", report("b")), line("DELETED", report("a", "3"))
    async with following(page(report("a")), watch(*changes[:2]), watch()) as informed:
        await until(lambda: informed.intake.held.get(B, (None,))[0] == "1")
        assert informed.intake.held.get(A, (None,))[0] == "2"

    async with following(page(report("a")), watch(changes[2])) as informed:
        await informed.becomes(State.FOLLOWED)
        await until(lambda: informed.intake.held == {})


async def test_a_report_of_a_known_version_is_not_parsed_again() -> None:
    """A relist of an unchanged cluster costs no parsing."""
    again = page(report("a"), report("b", "2")), watch()
    async with following(page(report("a"), report("b")), watch(error_line(410)), *again) as informed:
        await until(lambda: len(informed.intake.kept) == 2)

        assert informed.parsed == ["a", "b", "b"]


async def test_a_relist_forgets_what_is_no_longer_there() -> None:
    """Deletions that happened while the version was lost."""
    async with following(page(report("a"), report("b")), watch(error_line(410)), page(report("b")), watch()) as informed:
        await until(lambda: len(informed.intake.kept) == 2)

        assert set(informed.intake.held) == {B}


async def test_a_list_that_breaks_off_forgets_nothing() -> None:
    """Unknown is never empty: half a list is no list, and the next one does not remember it."""
    relist = page(report("a"), more="t"), status(410), page(report("b")), watch()
    async with following(page(report("a"), report("b")), watch(error_line(410)), *relist) as informed:
        # The second 410 in a row costs a pause.
        await informed.clock.pass_one_wait()
        await until(lambda: len(informed.intake.kept) == 2)

        assert informed.intake.kept == [(REPORTS, {A, B}), (REPORTS, {B})]


async def test_a_report_without_a_namespace_keeps_its_slash() -> None:
    """A namespace of a name and a name of a namespace stay apart."""
    cluster_wide = {"metadata": {"name": "a", "resourceVersion": "1"}}
    async with following(page(cluster_wide), watch()) as informed:
        await informed.becomes(State.FOLLOWED)

        assert set(informed.intake.held) == {f"{REPORTS}//a"}


async def test_every_report_names_its_kind() -> None:
    """A list names the kind of its items once for all; watchers that read several kinds tell them apart by it."""
    async with following(page(report("a"), report("b", kind="Other")), watch(line("ADDED", report("c")))) as informed:
        await until(lambda: len(informed.kinds) == 3)

        assert informed.kinds == ["VulnerabilityReport", "Other", "VulnerabilityReport"]


async def test_what_there_is_of_a_kind_is_counted() -> None:
    """Also what cannot be read: that an object is there speaks for the tool, whatever it says."""
    changes = line("ADDED", report("c")), line("MODIFIED", report("a", "2")), line("DELETED", report("b", "2")), line("ADDED", report("d"))
    relist = error_line(410), page(report("e")), watch()
    async with following(page(report("a"), report("b", junk=True)), watch(*changes, relist[0]), *relist[1:]) as informed:
        await until(lambda: informed.intake.held.get(f"{REPORTS}/default/d", (None,))[0] == "1")
        assert informed.reports.objects == 3

        await until(lambda: len(informed.intake.kept) == 2)
        assert informed.reports.objects == 1


# ---------------------------------------------------------------- confined to namespaces


async def test_reports_of_one_namespace_are_read_under_it_and_leave_others_alone() -> None:
    """WATCH_NAMESPACE: a Role there is enough; and what another namespace's list held is not forgotten for not being in this one."""
    pipeline = a_pipeline()
    others = ReportRef(REPORTS, "default-2", "a"), ReportRef(REPORTS, "shop", "a"), ReportRef(REPORTS, "", "a")
    for other in others:
        pipeline.intake.take(other, "1", [])
    pipeline.intake.take(_ref(B), "1", [])

    async with following(page(report("a")), watch(), intake=pipeline.intake, namespace="default") as informed:
        await informed.becomes(State.FOLLOWED)

    assert {seen.path for seen in informed.server.seen} == {f"{API}/namespaces/default/{KIND.plural}"}
    assert [pipeline.intake.version_of(held) for held in (_ref(A), _ref(B), *others)] == ["1", None, "1", "1", "1"]


# ---------------------------------------------------------------- bad reports


@pytest.mark.parametrize("fault", ["junk", "bug"])
async def test_a_report_that_cannot_be_read_is_rejected_and_the_others_go_on(fault: str) -> None:
    """One tool's odd report, or a bug of the watcher, costs that report. It still is in the list, so it is not forgotten."""
    with capture_logs() as lines:
        async with following(page(report("a") | {fault: True}, report("b")), watch()) as informed:
            await informed.becomes(State.FOLLOWED)

            assert set(informed.intake.held) == {B}
            assert informed.intake.kept == [(REPORTS, {A, B})]
    rejected = [line for line in lines if line["event"] == "report_rejected"]
    assert [(line["name"], line["source"]) for line in rejected] == [(A, "trivy")]


async def test_a_report_that_becomes_unreadable_keeps_its_content() -> None:
    """Neither taken nor forgotten: what was known of it is still the best we know."""
    async with following(page(report("a")), watch(line("MODIFIED", report("a", "2", junk=True)), line("ADDED", report("b")))) as informed:
        await until(lambda: B in informed.intake.held)

        assert informed.intake.held[A] == ("1", [a_finding()])


@pytest.mark.parametrize("odd", ODD)
async def test_findings_that_cannot_be_stored_cost_their_report_only(odd: str) -> None:
    """A watcher that breaks the contract in what it yields is as contained as one that raises; and the ledger still balances."""
    pipeline = a_pipeline()
    async with following(page(report("a", odd=odd), report("b")), watch(), intake=pipeline.intake) as informed:
        await informed.becomes(State.FOLLOWED)

    assert (pipeline.intake.version_of(_ref(A)), pipeline.intake.version_of(_ref(B))) == (None, "1")
    assert pipeline.page() == {"received": 2, "in_flight": 1, "rejected": 1}


async def test_an_entry_that_is_not_understood_costs_only_itself() -> None:
    """The rest of the report is taken. What is known of the entry is logged once, and remembered until a version is understood whole."""
    changes = watch(line("MODIFIED", report("a", "2")))
    with capture_logs() as lines:
        async with following(
            page(report("a", odd_entries=2)), watch(error_line(410)), page(report("a", odd_entries=2)), changes
        ) as informed:
            await until(lambda: len(informed.intake.kept) == 2)
            [(reference, rejection)] = informed.rejected.first(5)
            assert informed.intake.held == {A: ("1", [a_finding()])}
            assert (str(reference), rejection) == (A, Rejection("1", "entry 0 is odd", 2))
            await until(lambda: not informed.rejected)

    assert informed.intake.rejected == 2
    assert [(line["name"], line["count"], line["error"]) for line in lines if line["event"] == "entries_rejected"] == [
        (A, 2, "entry 0 is odd")
    ]


async def test_a_rejected_report_is_remembered_until_it_is_read_or_gone() -> None:
    """A relist does not parse, count and log the same version again."""
    odd, plain = report("a", junk=True), report("b", only_odd_entries=True)
    relist = page(odd, plain), watch(line("DELETED", odd), line("MODIFIED", report("b", "2")))
    with capture_logs() as lines:
        async with following(page(odd, plain, report("c", junk=True)), watch(error_line(410)), *relist) as informed:
            await until(lambda: len(informed.intake.kept) == 2)
            assert informed.parsed.count("a") == 1
            assert {report.name: rejection.reason for report, rejection in informed.rejected.first(5)} == {
                "a": "unreadable",
                "b": "entry 0 is odd",
            }
            await until(lambda: not informed.rejected)

    assert informed.intake.rejected == 1 + 1 + 1
    assert len([line for line in lines if line["event"] == "report_rejected"]) == 3


# ---------------------------------------------------------------- states


async def test_a_kind_that_we_may_not_read_is_asked_for_again() -> None:
    """Permissions are granted while zenwatch runs."""
    async with following(status(403), page(report("a")), watch()) as informed:
        await informed.becomes(State.FORBIDDEN)
        assert informed.reports.has_synced

        assert await informed.clock.pass_one_wait() == ASK_AGAIN_SECS
        await informed.becomes(State.FOLLOWED)

        assert set(informed.intake.held) == {A}
        assert informed.changes == [State.FORBIDDEN, State.FOLLOWED]


async def test_a_kind_that_is_not_served_waits_until_somebody_saw_it() -> None:
    """Detection asks once for all kinds of a group; each of them asking for itself would be many times as much."""
    async with following(status(404), page(report("a")), watch()) as informed:
        await informed.becomes(State.NOT_SERVED)
        assert informed.reports.has_synced

        informed.reports.mark_served()
        await informed.becomes(State.FOLLOWED)

        assert set(informed.intake.held) == {A}
        assert informed.changes == [State.NOT_SERVED, State.FOLLOWED]


async def test_a_missing_permission_is_named_once() -> None:
    """Each asking again says nothing new."""
    with capture_logs() as lines:
        async with following(status(403), status(403), status(403)) as informed:
            await informed.becomes(State.FORBIDDEN)
            for requests in (2, 3):
                await informed.clock.pass_one_wait()
                await informed.server.until_seen(requests)

    permission = "list vulnerabilityreports.aquasecurity.github.io in all namespaces"
    assert len([line for line in lines if permission in line.get("error", "")]) == 1


async def test_a_server_that_is_away_leaves_the_kind_unknown() -> None:
    """A round may not conclude anything from it; and each wait is longer than the one before."""
    async with following(*[status(500)] * 3, page(report("a")), watch()) as informed:
        await informed.becomes(State.UNREACHABLE)
        assert not informed.reports.has_synced

        waits = [await informed.clock.pass_one_wait() for _ in range(3)]
        await informed.becomes(State.FOLLOWED)

    assert [0.25 * 2**attempt <= wait <= 0.5 * 2**attempt for attempt, wait in enumerate(waits)] == [True] * 3


async def test_a_kind_that_was_read_once_stays_known_while_the_server_is_away() -> None:
    """What its reports held last still holds."""
    async with following(page(report("a")), watch(error_line(410)), status(500)) as informed:
        await informed.becomes(State.UNREACHABLE)

        assert informed.reports.has_synced
        assert set(informed.intake.held) == {A}


async def test_a_server_that_says_410_to_every_watch_is_not_listed_without_a_pause() -> None:
    """The first time at once; a list that succeeds in between is what it costs the server, no sign that it is better."""
    async with following(*[page(report("a")), watch(error_line(410))] * 4, page(report("a")), watch()) as informed:
        await until(lambda: bool(informed.clock.waits) or len(informed.intake.kept) == 5)

        assert informed.clock.waits


async def test_an_outage_that_is_over_does_not_delay_the_next_list() -> None:
    """Its failures were another matter: the first 410 after it is answered at once, as any first one is."""
    relist = page(report("a")), watch(error_line(410)), page(report("b")), watch()
    async with following(status(500), status(500), *relist) as informed:
        for _ in range(2):
            await informed.clock.pass_one_wait()
        await until(lambda: len(informed.clock.waits) > 2 or len(informed.intake.kept) == 2)

        assert set(informed.intake.held) == {B}


# ---------------------------------------------------------------- cancelled and run again


def _one_finding(_report: Mapping[str, Any]) -> Iterator[Finding]:
    yield a_finding()


async def test_cancelled_and_run_again_it_ends_with_the_truth() -> None:
    """Leadership is lost and won again: meanwhile reports came, went and changed. Some runs are cut off inside the list."""
    there: dict[str, str] = {}
    async with FakeApiServer() as server:
        client, intake = server.client(), NotedIntake()
        cluster, watcher = Cluster("local", client), Watcher("trivy", (KIND,), _one_finding)
        informer = ReportInformer(cluster, KIND, watcher, intake, ask_again_secs=ASK_AGAIN_SECS, clock=FakeClock())
        for number in range(10):
            there = {f"new-{number}": "1", f"new-{number - 1}": "1", "changing": str(number)}
            reports = [report(name, version) for name, version in there.items()]
            is_cut_off = number % 3 == 1
            answers = (page(*reports[:1], more="t"), hangs()) if is_cut_off else (page(*reports), watch())
            server.answers("GET", f"{API}/{KIND.plural}", *answers)
            async with background(informer.follow):
                await server.until_seen(2 * (number + 1))
                assert bool(intake.fresh) is not is_cut_off
            assert not intake.fresh
        await client.close()

    assert {name: version for name, (version, _) in intake.held.items()} == {
        f"{REPORTS}/default/{name}": version for name, version in there.items()
    }
    assert (informer.has_synced, informer.objects) == (True, len(there))


async def test_a_scope_is_stale_from_an_expired_watch_until_it_was_listed_again() -> None:
    """What is deleted between the two is only known from the new list."""
    async with following(page(report("a")), watch(error_line(410)), hangs()) as informed:
        await informed.server.until_seen(3)

        assert (informed.reports.state, informed.intake.fresh) == (State.FOLLOWED, set())
