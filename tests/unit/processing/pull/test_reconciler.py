"""zenwatch/processing/pull/reconciler.py: the store says what the reports say, and the ledger balances all the while.

What every Intake promises stands in tests/contract/intake_suite.py.
"""

import asyncio

import pytest

from tests.support.builders.findings import REPORTS, a_finding
from tests.support.fakes.writer import HeldWriter
from tests.support.pipelines.pull import Pipeline, a_pipeline, running
from tests.support.tasks import background, until
from zenwatch.errors import Forbidden, Invalid, Transient
from zenwatch.model.finding import Severity
from zenwatch.model.write import Outcome

WEB, SIDECAR = f"{REPORTS}/default/nginx-web", f"{REPORTS}/default/nginx-sidecar"
AWAY = Transient("the store is away")


def _only(pipeline: Pipeline) -> tuple[str, int, list[str]]:
    """The one record: its severity, its count and its packages."""
    [kept] = pipeline.store.objects.values()
    return kept["spec"]["severity"], kept["status"]["count"], list(kept["spec"]["details"]["packages"])


# ---------------------------------------------------------------- one record of several reports


async def test_two_reports_of_one_resource_become_one_record() -> None:
    """Trivy reports per container: one record with both packages, counted twice, and the worse severity."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(package="zlib 1.2", severity=Severity.MEDIUM)])
        pipeline.intake.take(SIDECAR, "1", [a_finding(package="zlib 1.3", severity=Severity.HIGH)])

        await pipeline.intake.settle()

        assert _only(pipeline) == ("HIGH", 2, ["zlib 1.2", "zlib 1.3"])
        assert pipeline.store.operations() == ["create", "set_status"]
        assert pipeline.page() == {"received": 2, "stored": 1, "repeated": 1}


async def test_a_report_that_is_forgotten_is_counted_no_longer() -> None:
    """What only it said is gone from the record."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(package="zlib 1.2", severity=Severity.MEDIUM)])
        pipeline.intake.take(SIDECAR, "1", [a_finding(package="zlib 1.3", severity=Severity.HIGH)])
        await pipeline.intake.settle()

        pipeline.intake.forget(SIDECAR)
        await pipeline.intake.settle()

        assert _only(pipeline) == ("MEDIUM", 1, ["zlib 1.2"])


async def test_a_record_that_no_report_holds_stays() -> None:
    """It was found; that it is gone is for the lifecycle to say, not a reason to delete it."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding()])
        await pipeline.intake.settle()

        pipeline.intake.replace_all(REPORTS, [])
        await pipeline.intake.settle()

        assert _only(pipeline) == ("HIGH", 1, ["zlib 1.2"])
        assert pipeline.store.operations() == ["create"]


async def test_what_is_stored_already_is_repeated_not_written() -> None:
    """After a restart, nothing is written again."""
    async with running() as before:
        before.intake.take(WEB, "1", [a_finding()])
        await before.intake.settle()
    before.store.calls.clear()

    async with running(store=before.store) as after:
        after.intake.take(WEB, "1", [a_finding()])
        await after.intake.settle()

    assert before.store.calls == []
    assert after.page() == {"received": 1, "repeated": 1}


async def test_nothing_is_concluded_before_the_index_is_synced() -> None:
    """An index that is not read yet knows of no record; all of them would be created again."""
    pipeline, writer = a_pipeline()
    pipeline.intake.take(WEB, "1", [a_finding()])
    async with background(writer.work, pipeline.intake.settle):
        for _ in range(20):
            await asyncio.sleep(0)

        assert pipeline.store.calls == []


# ---------------------------------------------------------------- failures


async def test_a_write_that_fails_stays_in_flight_until_it_is_settled() -> None:
    """Not settled is not lost: the next round writes it."""
    async with running() as pipeline:
        pipeline.store.fail_next(4, AWAY)
        pipeline.intake.take(WEB, "1", [a_finding(), a_finding(package="zlib 1.3")])

        with pytest.raises(Transient):
            await pipeline.intake.settle()
        assert pipeline.page() == {"received": 2, "in_flight": 2}

        await pipeline.intake.settle()
        assert _only(pipeline) == ("HIGH", 1, ["zlib 1.2", "zlib 1.3"])
        assert pipeline.page() == {"received": 2, "stored": 1, "repeated": 1}


async def test_findings_that_vanish_before_they_were_written_are_filtered() -> None:
    """The ledger balances although there is nothing to store any more."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(), a_finding(vuln_id="CVE-2026-2")])
        pipeline.intake.forget(WEB)

        await pipeline.intake.settle()

        assert pipeline.store.calls == []
        assert pipeline.page() == {"received": 2, "filtered": 2}


async def test_findings_that_vanish_after_a_failed_write_are_filtered() -> None:
    """The same, one failure later."""
    async with running() as pipeline:
        pipeline.store.fail_next(4, AWAY)
        pipeline.intake.take(WEB, "1", [a_finding()])
        with pytest.raises(Transient):
            await pipeline.intake.settle()

        pipeline.intake.forget(WEB)
        await pipeline.intake.settle()

        assert pipeline.store.objects == {}
        assert pipeline.page() == {"received": 1, "filtered": 1}


async def test_a_record_that_the_store_refuses_is_rejected_and_the_others_go_on() -> None:
    """One record against the schema is no reason to stop; and it is not tried again in every round."""
    async with running() as pipeline:
        pipeline.store.fail_next(1, Invalid("422: no"))
        pipeline.intake.take(WEB, "1", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(3)])

        await pipeline.intake.settle()
        await pipeline.intake.settle()

        assert len(pipeline.store.objects) == 2
        assert len(pipeline.store.calls) == 3
        assert pipeline.page() == {"received": 3, "stored": 2, "dead_lettered": 1}


async def test_a_missing_permission_keeps_everything_for_later() -> None:
    """An administrator grants it, and nothing was lost meanwhile."""
    async with running() as pipeline:
        pipeline.store.fail_next(1, Forbidden("missing permission: create zenagentevents"))
        pipeline.intake.take(WEB, "1", [a_finding()])
        with pytest.raises(Transient):
            await pipeline.intake.settle()

        await pipeline.intake.settle()

        assert pipeline.page() == {"received": 1, "stored": 1}


async def test_an_outage_costs_a_few_writes_not_all_of_them() -> None:
    """Each write that fails was retried by the writer: the others would fare no better now."""
    async with running() as pipeline:
        pipeline.store.fail_next(1000, AWAY)
        pipeline.intake.take(WEB, "1", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(100)])

        with pytest.raises(Transient):
            await pipeline.intake.settle()

        assert len({name for _, name in pipeline.store.calls}) < 20
        assert pipeline.page() == {"received": 100, "in_flight": 100}


# ---------------------------------------------------------------- others change things meanwhile


async def test_a_record_deleted_by_hand_is_written_again() -> None:
    """The tool still reports it: the next settle puts it back, without counting it anew."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding()])
        await pipeline.intake.settle()
        [name] = pipeline.store.objects

        pipeline.store.remove(name)
        await until(lambda: pipeline.index.get(name) is None)
        await pipeline.intake.settle()

        assert list(pipeline.store.objects) == [name]
        assert pipeline.page() == {"received": 1, "stored": 1}


async def test_a_deleted_record_that_no_report_holds_stays_deleted() -> None:
    """The person who deleted it was right."""
    async with running() as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding()])
        await pipeline.intake.settle()
        pipeline.intake.forget(WEB)
        [name] = pipeline.store.objects

        pipeline.store.remove(name)
        await until(lambda: pipeline.index.get(name) is None)
        await pipeline.intake.settle()

        assert pipeline.store.objects == {}


async def test_what_changes_while_it_is_written_is_written_again() -> None:
    """The write in flight carries what was true when it began; the next settle brings the rest."""
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


async def test_settle_returns_only_after_the_last_receipt() -> None:
    """What a round says it stored is stored."""
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


async def test_the_ledger_balances_at_every_moment() -> None:
    """received = the sum over all outcomes + in flight, also between submit and receipt."""
    writer = HeldWriter()
    async with running(writer=writer, min_severity=Severity.MEDIUM) as pipeline:
        pipeline.intake.take(WEB, "1", [a_finding(), a_finding(package="b"), a_finding(vuln_id="CVE-2026-2", severity=Severity.LOW)])
        async with background(pipeline.intake.settle):
            await writer.until_open(1)
            assert pipeline.page() == {"received": 3, "filtered": 1, "in_flight": 2}
            writer.answer(Outcome.STORED)
        assert pipeline.page() == {"received": 3, "filtered": 1, "stored": 1, "repeated": 1}


async def test_a_round_that_is_cut_off_while_it_hands_over_leaves_nothing_claimed() -> None:
    """Its time was up while the writer's queue was full: the next round writes what this one could not hand over."""
    pipeline, writer = a_pipeline()
    pipeline.intake.take(WEB, "1", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(10)])

    async with background(pipeline.index.follow):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pipeline.intake.settle()
        async with background(writer.work):
            await pipeline.intake.settle()

    assert len(pipeline.store.objects) == 10
    assert pipeline.page() == {"received": 10, "stored": 10}


async def test_others_have_the_loop_while_thousands_of_names_are_looked_at() -> None:
    """After a restart all that is open is merged and compared, and nothing of it written: that alone must not hold the loop."""
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
