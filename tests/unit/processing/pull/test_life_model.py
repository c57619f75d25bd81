"""Random lives against a model of ten lines: after any sequence of events the store says what the model says.

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

GRACE_SECS = 600.0
CVES = ("CVE-2026-1", "CVE-2026-2", "CVE-2026-3")
NAMES = (f"{REPORTS}/default/a", f"{REPORTS}/default/b")
POD = Resource("v1", "Pod", "nginx", "default")
SAID = st.frozensets(st.sampled_from(CVES))


class Model:
    """What should be stored: per CVE whether it is open, and how often it came back."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, int]] = {}

    def see(self, said: set[str], unknown: set[str]) -> None:
        """said: by some report now. unknown: by a report that is gone, but perhaps comes back, or that cannot be seen."""
        for cve in said:
            phase, reopened = self.records.get(cve, ("Open", 0))
            self.records[cve] = ("Open", reopened + (phase == "Resolved"))
        for cve in self.records.keys() - said - unknown:
            self.records[cve] = ("Resolved", self.records[cve][1])


class Lives(RuleBasedStateMachine):
    """reports: what the tool has now. seen: what zenwatch could know of it. gone: what disappeared in its sight, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.store, self.model = FakeClock(skips_waits=True), MemoryStore(), Model()
        self.reports: dict[str, frozenset[str]] = {}
        self.seen: dict[str, frozenset[str]] = {}
        self.gone: dict[str, tuple[float, frozenset[str]]] = {}
        self.is_in_sight = False
        self.version = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.unlisted: set[str] = set()

    # ------------------------------------------------------------ what happens

    @initialize()
    def begin(self) -> None:
        self.start()

    @rule(report=st.sampled_from(NAMES), said=SAID)
    def a_report_appears_or_changes(self, report: str, said: frozenset[str]) -> None:
        self.reports[report] = said
        if self.is_in_sight:
            self.show(report)

    @precondition(lambda self: self.reports)
    @rule(number=st.integers(0, 1))
    def a_report_disappears(self, number: int) -> None:
        report = sorted(self.reports)[number % len(self.reports)]
        del self.reports[report]
        if self.is_in_sight:
            self.hide(report)

    @rule()
    def the_list_fails(self) -> None:
        self.intake.mark_stale(REPORTS)
        self.is_in_sight = False

    @rule()
    def the_list_succeeds(self) -> None:
        for report in self.reports:
            self.show(report)
        for report in self.seen.keys() - self.reports.keys():
            self.hide(report, is_told=False)
        self.intake.replace_all(REPORTS, set(self.reports))
        self.is_in_sight = True
        for cve in self.unlisted.difference(*self.seen.values()):
            self.look_for(cve)
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
        """What is stored as open and not listed anew is a report that is gone: since now, as far as anybody can know."""
        self.end()
        self.start()
        self.is_in_sight = False
        # What was in sight before says nothing now; the next list makes it gone, or says it again.
        self.unlisted = {cve for cve, (phase, _) in self.model.records.items() if phase == "Open"}
        self.seen, self.gone = {}, {}

    # ------------------------------------------------------------ what must be so

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        self.run(self.settle())
        stored = {
            record["spec"]["details"]["vulnID"]: (record["status"]["phase"], record["status"]["reopened"])
            for record in self.store.objects.values()
        }
        now = self.clock.monotonic_secs()
        over = [report for report, (since, _) in self.gone.items() if self.is_in_sight and now - since >= GRACE_SECS]
        for report in over:
            del self.gone[report]
        self.model.see(set().union(*self.seen.values()), set().union(self.unlisted, *(said for _, said in self.gone.values())))
        assert stored == self.model.records

    # ------------------------------------------------------------ hands

    def show(self, report: str) -> None:
        self.version += 1
        findings = [a_finding(vuln_id=cve) for cve in sorted(self.reports[report])]
        self.intake.take(report, str(self.version), findings, subject=POD)
        self.seen[report] = self.reports[report]
        self.gone.pop(report, None)

    def hide(self, report: str, *, is_told: bool = True) -> None:
        said = self.seen.pop(report, frozenset())
        if said:
            self.gone[report] = (self.clock.monotonic_secs(), said)
        if is_told:
            self.intake.forget(report)

    def look_for(self, cve: str) -> None:
        """Open before a restart: if its report is not listed, that is gone since now."""
        [record] = [record for record in self.store.objects.values() if record["spec"]["details"]["vulnID"] == cve]
        report = record["metadata"]["annotations"]["zen.kube-zen.io/report"]
        if report not in self.reports:
            since, said = self.gone.get(report, (self.clock.monotonic_secs(), frozenset()))
            self.gone[report] = (since, said | {cve})

    def start(self) -> None:
        pipeline, writer = a_pipeline(store=self.store, clock=self.clock, grace_secs=GRACE_SECS, places=frozenset({REPORTS}))
        self.pipeline: Pipeline = pipeline
        self.intake = pipeline.intake
        works = [pipeline.index.follow, *[writer.work] * WORKERS]
        self.tasks = [self.loop.create_task(work()) for work in works]
        self.run(pipeline.index.wait_until_synced())

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
