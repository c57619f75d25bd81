"""Random lives of findings, compared with a model of ten lines: after any sequence of events the store holds what the model holds.

Everything is real but the store and the clock: a restart is a new pipeline over the same store.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.builders.findings import REPORTS, a_finding
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.pull import WORKERS, Pipeline, a_pipeline
from zenwatch.errors import Transient
from zenwatch.model.finding import Resource
from zenwatch.model.refs import ReportRef, Scope

GRACE_SECS = 600.0
CVES = ("CVE-2026-1", "CVE-2026-2", "CVE-2026-3")
SCOPE = Scope(REPORTS)
NAMES = (ReportRef(REPORTS, "default", "a"), ReportRef(REPORTS, "default", "b"))
POD = Resource("v1", "Pod", "nginx", "default")
HELD = st.frozensets(st.sampled_from(CVES))


class Model:
    """What should be stored: per CVE whether it is open, and how often it came back."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, int]] = {}

    def see(self, held: set[str], unknown: set[str]) -> None:
        """held: by a report now. unknown: held by a report that is gone and may come back, or that is not watched."""
        for cve in held:
            phase, reopened = self.records.get(cve, ("Open", 0))
            self.records[cve] = ("Open", reopened + (phase == "Resolved"))
        for cve in self.records.keys() - held - unknown:
            self.records[cve] = ("Resolved", self.records[cve][1])


class Lives(RuleBasedStateMachine):
    """reports: what the tool has now. seen: what zenwatch could know of it. gone: which reports it saw disappear, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.store, self.model = FakeClock(skips_waits=True), MemoryStore(), Model()
        self.reports: dict[ReportRef, frozenset[str]] = {}
        self.seen: dict[ReportRef, frozenset[str]] = {}
        self.gone: dict[ReportRef, tuple[float, frozenset[str]]] = {}
        self.is_fresh = False
        self.version = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.unlisted: set[str] = set()

    # ------------------------------------------------------------ what happens

    @initialize()
    def begin(self) -> None:
        self.start()

    @rule(report=st.sampled_from(NAMES), held=HELD)
    def a_report_appears_or_changes(self, report: ReportRef, held: frozenset[str]) -> None:
        self.reports[report] = held
        if self.is_fresh:
            self.show(report)

    @precondition(lambda self: self.reports)
    @rule(number=st.integers(0, 1))
    def a_report_disappears(self, number: int) -> None:
        report = sorted(self.reports)[number % len(self.reports)]
        del self.reports[report]
        if self.is_fresh:
            self.hide(report)

    @rule()
    def the_list_fails(self) -> None:
        self.intake.mark_stale(SCOPE)
        self.is_fresh = False

    @rule()
    def the_list_succeeds(self) -> None:
        for report in self.reports:
            self.show(report)
        for report in self.seen.keys() - self.reports.keys():
            self.hide(report, is_reported=False)
        self.intake.replace_all(SCOPE, set(self.reports))
        self.is_fresh = True
        for cve in self.unlisted.difference(*self.seen.values()):
            self.find_report_of(cve)
        self.unlisted = set()

    @rule(secs=st.sampled_from((1.0, GRACE_SECS / 2, GRACE_SECS)))
    def time_passes(self, secs: float) -> None:
        self.clock.advance(secs=secs)

    @rule(failures=st.integers(1, 6), answers=st.integers(0, 2))
    def the_store_stumbles(self, failures: int, answers: int) -> None:
        self.store.fail_next(failures, Transient("away"))
        self.store.lose_answers(answers)

    @rule()
    def zenwatch_restarts(self) -> None:
        """An open record whose report is not listed again lost its report; as far as zenwatch knows, it lost it now."""
        self.end()
        self.start()
        self.is_fresh = False
        # What was known before the restart is forgotten; the next list shows what is gone and what is still there.
        self.unlisted = {cve for cve, (phase, _) in self.model.records.items() if phase == "Open"}
        self.seen, self.gone = {}, {}

    # ------------------------------------------------------------ what is always true

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        self.run(self.settle())
        stored = {
            record["spec"]["details"]["vulnID"]: (record["status"]["phase"], record["status"]["reopened"])
            for record in self.store.objects.values()
        }
        now = self.clock.monotonic_secs()
        over = [report for report, (since, _) in self.gone.items() if self.is_fresh and now - since >= GRACE_SECS]
        for report in over:
            del self.gone[report]
        self.model.see(set().union(*self.seen.values()), set().union(self.unlisted, *(held for _, held in self.gone.values())))
        assert stored == self.model.records

    # ------------------------------------------------------------ how it happens

    def show(self, report: ReportRef) -> None:
        self.version += 1
        findings = [a_finding(vuln_id=cve) for cve in sorted(self.reports[report])]
        self.intake.take(report, str(self.version), findings, subject=POD)
        self.seen[report] = self.reports[report]
        self.gone.pop(report, None)

    def hide(self, report: ReportRef, *, is_reported: bool = True) -> None:
        held = self.seen.pop(report, frozenset())
        if held:
            self.gone[report] = (self.clock.monotonic_secs(), held)
        if is_reported:
            self.intake.forget(report)

    def find_report_of(self, cve: str) -> None:
        """The record was open before a restart: if its report is not listed, the report is gone since now."""
        [record] = [record for record in self.store.objects.values() if record["spec"]["details"]["vulnID"] == cve]
        report = ReportRef.parse(record["metadata"]["annotations"]["zen.kube-zen.io/report"])
        assert report is not None
        if report not in self.reports:
            since, held = self.gone.get(report, (self.clock.monotonic_secs(), frozenset()))
            self.gone[report] = (since, held | {cve})

    def start(self) -> None:
        pipeline = a_pipeline(store=self.store, clock=self.clock, grace_secs=GRACE_SECS, scopes=frozenset({SCOPE}))
        self.pipeline: Pipeline = pipeline
        self.intake = pipeline.intake
        works = [pipeline.mirror.follow, *[pipeline.writer.work] * WORKERS]
        self.tasks = [self.loop.create_task(work()) for work in works]
        self.run(pipeline.mirror.wait_until_synced())

    def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        self.run(asyncio.wait(self.tasks))

    async def settle(self) -> None:
        """Rounds, until one has nothing left to do."""
        for _ in range(20):
            try:
                await self.intake.settle()
            except Transient:
                continue
            return
        raise AssertionError("it never settled")

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.end()
        self.loop.close()


Lives.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLives = Lives.TestCase
