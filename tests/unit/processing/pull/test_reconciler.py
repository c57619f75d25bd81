"""zenwatch/processing/pull/reconciler.py: the records follow the reports, and the accounts balance at every moment.

tests/contract/intake_suite.py tests what every Intake promises.
"""

import asyncio

import pytest

from tests.support.builders.findings import REPORTS, a_finding
from tests.support.fakes.writer import HeldWriter
from tests.support.pipelines.pull import Pipeline, a_pipeline, running
from tests.support.tasks import background, until
from zenwatch.errors import Forbidden, Invalid, Transient
from zenwatch.model.finding import Severity
from zenwatch.model.refs import ReportRef, Scope
from zenwatch.model.write import Outcome

WEB, SIDECAR = ReportRef(REPORTS, "default", "nginx-web"), ReportRef(REPORTS, "default", "nginx-sidecar")
AWAY = Transient("the store is away")


def _only(pipeline: Pipeline) -> tuple[str, int, list[str]]:
    """Return severity, count and packages of the only record."""
    [kept] = pipeline.store.objects.values()
    return kept["spec"]["severity"], kept["status"]["count"], list(kept["spec"]["details"]["packages"])


# ---------------------------------------------------------------- one record of several reports


async def test_two_reports_of_one_resource_become_one_record() -> None:
    """Trivy writes a report per container: the record has both packages, the count 2 and the worse severity."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(package="zlib 1.2", severity=Severity.MEDIUM)])
        pipeline.intake.take(SIDECAR, "1", [a_finding(package="zlib 1.3", severity=Severity.HIGH)])

        await pipeline.intake.settle()

        assert _only(pipeline) == ("HIGH", 2, ["zlib 1.2", "zlib 1.3"])
        assert pipeline.store.operations() == ["create", "set_status"]
        assert pipeline.page() == {"received": 2, "stored": 1, "repeated": 1}


async def test_a_forgotten_report_is_not_counted_any_more() -> None:
    """What only this report held is removed from the record."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(package="zlib 1.2", severity=Severity.MEDIUM)])
        pipeline.intake.take(SIDECAR, "1", [a_finding(package="zlib 1.3", severity=Severity.HIGH)])
        await pipeline.intake.settle()

        pipeline.intake.forget(SIDECAR)
        await pipeline.intake.settle()

        assert _only(pipeline) == ("MEDIUM", 1, ["zlib 1.2"])


async def test_a_record_that_no_report_holds_stays() -> None:
    """It was found: the lifecycle may resolve it, and nothing deletes it here."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding()])
        await pipeline.intake.settle()

        pipeline.intake.replace_all(Scope(REPORTS), [])
        await pipeline.intake.settle()

        assert _only(pipeline) == ("HIGH", 1, ["zlib 1.2"])
        assert pipeline.store.operations() == ["create"]


async def test_a_finding_that_is_stored_already_is_repeated() -> None:
    """A restart writes nothing again."""
    async with running() as before:
        before.intake.take(WEB, "1", [a_finding()])
        await before.intake.settle()
    before.store.calls.clear()

    async with running(store=before.store) as after:
        after.intake.take(WEB, "1", [a_finding()])
        await after.intake.settle()

    assert before.store.calls == []
    assert after.page() == {"received": 1, "repeated": 1}


async def test_nothing_is_concluded_before_the_mirror_is_synced() -> None:
    """A mirror that is not read yet knows of no record; all of them would be created again."""
    pipeline = a_pipeline()
    pipeline.intake.take(WEB, "1", [a_finding()])
    async with background(pipeline.writer.work, pipeline.intake.settle):
        for _ in range(20):
            await asyncio.sleep(0)

        assert pipeline.store.calls == []


# ---------------------------------------------------------------- failures


async def test_a_write_that_fails_stays_in_flight_until_it_is_settled() -> None:
    """The next settle() writes it."""
    async with running() as pipeline:
        pipeline.store.fail_next(4, AWAY)
        pipeline.intake.take(WEB, "1", [a_finding(), a_finding(package="zlib 1.3")])

        with pytest.raises(Transient):
            await pipeline.intake.settle()
        assert pipeline.page() == {"received": 2, "in_flight": 2}

        await pipeline.intake.settle()
        assert _only(pipeline) == ("HIGH", 1, ["zlib 1.2", "zlib 1.3"])
        assert pipeline.page() == {"received": 2, "stored": 1, "repeated": 1}


async def test_findings_that_are_withdrawn_before_they_are_written_are_filtered() -> None:
    """The accounts balance although nothing is stored."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(), a_finding(vuln_id="CVE-2026-2")])
        pipeline.intake.forget(WEB)

        await pipeline.intake.settle()

        assert pipeline.store.calls == []
        assert pipeline.page() == {"received": 2, "filtered": 2}


async def test_findings_that_are_withdrawn_after_a_failed_write_are_filtered() -> None:
    """They are not written any more."""
    async with running() as pipeline:
        pipeline.store.fail_next(4, AWAY)
        pipeline.intake.take(WEB, "1", [a_finding()])
        with pytest.raises(Transient):
            await pipeline.intake.settle()

        pipeline.intake.forget(WEB)
        await pipeline.intake.settle()

        assert pipeline.store.objects == {}
        assert pipeline.page() == {"received": 1, "filtered": 1}


async def test_a_refused_record_does_not_stop_the_others() -> None:
    """It becomes a dead letter, and no later settle() tries it again."""
    async with running() as pipeline:
        pipeline.store.fail_next(1, Invalid("422: no"))
        pipeline.intake.take(WEB, "1", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(3)])

        await pipeline.intake.settle()
        await pipeline.intake.settle()

        assert len(pipeline.store.objects) == 2
        assert len(pipeline.store.calls) == 3
        assert pipeline.page() == {"received": 3, "stored": 2, "dead_lettered": 1}


async def test_a_missing_permission_keeps_everything_for_later() -> None:
    """Once it is granted, everything is written."""
    async with running() as pipeline:
        pipeline.store.fail_next(1, Forbidden("missing permission: create zenagentevents"))
        pipeline.intake.take(WEB, "1", [a_finding()])
        await pipeline.intake.settle()

        await until(lambda: pipeline.page() == {"received": 1, "stored": 1})


async def test_an_outage_costs_a_few_writes_not_all_of_them() -> None:
    """The writer has retried each write that failed: the others would not succeed now."""
    async with running() as pipeline:
        pipeline.store.fail_next(1000, AWAY)
        pipeline.intake.take(WEB, "1", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(100)])

        with pytest.raises(Transient):
            await pipeline.intake.settle()

        assert len({name for _, name in pipeline.store.calls}) < 20
        assert pipeline.page() == {"received": 100, "in_flight": 100}


# ---------------------------------------------------------------- somebody else changes records meanwhile


async def test_a_record_deleted_by_hand_is_written_again() -> None:
    """The tool still reports it: the next settle() creates it, and counts no finding again."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding()])
        await pipeline.intake.settle()
        [name] = pipeline.store.objects

        pipeline.store.remove(name)
        await until(lambda: name not in pipeline.mirror)
        await pipeline.intake.settle()

        assert list(pipeline.store.objects) == [name]
        assert pipeline.page() == {"received": 1, "stored": 1}


async def test_a_deleted_record_that_no_report_holds_stays_deleted() -> None:
    """The tool does not report it any more."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding()])
        await pipeline.intake.settle()
        pipeline.intake.forget(WEB)
        [name] = pipeline.store.objects

        pipeline.store.remove(name)
        await until(lambda: name not in pipeline.mirror)
        await pipeline.intake.settle()

        assert pipeline.store.objects == {}


async def test_a_finding_that_changes_during_its_write_is_written_again() -> None:
    """The write in flight holds the finding as it was; the next settle() writes the change."""
    async with running() as pipeline:
        pipeline.store.hold_writes()
        pipeline.intake.take(WEB, "1", [a_finding(severity=Severity.HIGH)])
        async with background(pipeline.intake.settle):
            await until(lambda: bool(pipeline.store.calls))
            pipeline.intake.take(WEB, "2", [a_finding(severity=Severity.CRITICAL)])
            pipeline.store.let_go()
            await until(lambda: bool(pipeline.store.objects))
        assert _only(pipeline)[0] == "HIGH"

        await pipeline.intake.settle()

        assert _only(pipeline)[0] == "CRITICAL"
        assert pipeline.page() == {"received": 2, "stored": 2}


async def test_settle_returns_after_the_last_result() -> None:
    """What it reports as stored is stored."""
    writer = HeldWriter()
    async with running(writer=writer) as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(), a_finding(vuln_id="CVE-2026-2")])
        settling = asyncio.create_task(pipeline.intake.settle())
        await writer.until_open(2)

        writer.answer(Outcome.STORED)
        await asyncio.sleep(0)
        assert not settling.done()
        writer.answer(Outcome.REPEATED)

        await settling
        assert pipeline.page() == {"received": 2, "stored": 1, "repeated": 1}


async def test_the_accounts_balance_at_every_moment() -> None:
    """received = the sum over all outcomes + in flight, also between submit and result."""
    writer = HeldWriter()
    async with running(writer=writer, min_severity=Severity.MEDIUM) as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(), a_finding(package="b"), a_finding(vuln_id="CVE-2026-2", severity=Severity.LOW)])
        async with background(pipeline.intake.settle):
            await writer.until_open(1)
            assert pipeline.page() == {"received": 3, "filtered": 1, "in_flight": 2}
            writer.answer(Outcome.STORED)
        assert pipeline.page() == {"received": 3, "filtered": 1, "stored": 1, "repeated": 1}


async def test_a_settle_that_is_cut_off_while_it_submits_leaves_no_record_in_flight() -> None:
    """Its time is over while the queue of the writer is full: the next settle() submits the rest."""
    pipeline = a_pipeline()
    pipeline.intake.take(WEB, "1", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(10)])

    async with background(pipeline.mirror.follow):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pipeline.intake.settle()
        async with background(pipeline.writer.work):
            await pipeline.intake.settle()

    assert len(pipeline.store.objects) == 10
    assert pipeline.page() == {"received": 10, "stored": 10}


async def test_other_tasks_run_while_thousands_of_records_are_compared() -> None:
    """After a restart all open records are compared, and none is written: this must not block the event loop."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(1000)])
        await pipeline.intake.settle()
        pipeline.intake.take(WEB, "2", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(1000)])
        schedule = 0

        async def count_turns() -> None:
            nonlocal schedule
            while True:
                schedule += 1
                await asyncio.sleep(0)

        async with background(count_turns):
            await pipeline.intake.settle()

        assert schedule >= 10
        assert pipeline.page() == {"received": 2000, "stored": 1000, "repeated": 1000}
