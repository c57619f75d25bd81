"""What a person changes in a record is mended by the next round, and costs one write a round."""

from typing import Any

import pytest

from tests.support.builders.findings import REPORTS, a_finding
from tests.support.pipelines.pull import Pipeline, running
from tests.support.tasks import until
from zenwatch.model.refs import ReportRef, Scope
from zenwatch.processing.pull.freshness import Freshness

SCOPE = Scope(REPORTS)
NGINX = ReportRef(REPORTS, "default", "pod-nginx")
EDITS: dict[str, tuple[str, dict[str, Any]]] = {
    "labels": ("metadata", {"labels": {"zen.kube-zen.io/cluster": "local"}}),
    "annotations": ("metadata", {"annotations": {}}),
    "report": ("metadata", {"annotations": {"zen.kube-zen.io/report": "x"}}),
    "title": ("spec", {"title": "junk"}),
    "details": ("spec", {"details": {}}),
    "phase": ("status", {"phase": "Resolved"}),
    "count": ("status", {"count": 0}),
}


async def _stored(pipeline: Pipeline) -> str:
    pipeline.intake.take(NGINX, "1", [a_finding()])
    pipeline.intake.replace_all(SCOPE, [NGINX])
    await pipeline.intake.settle()
    [name] = pipeline.store.objects
    return name


def _as_written(pipeline: Pipeline, name: str) -> tuple[Any, ...]:
    record = pipeline.store.objects[name]
    metadata, status = record["metadata"], record["status"]
    return metadata["labels"], metadata["annotations"], record["spec"], status["phase"], status["count"]


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
async def test_an_edit_is_mended_by_the_next_round(edit: tuple[str, dict[str, Any]]) -> None:
    """The report did not change, and no record was read for it."""
    part, fields = edit
    async with running(scopes=frozenset({SCOPE})) as pipeline:
        name = await _stored(pipeline)
        before = _as_written(pipeline, name)
        pipeline.store.edit(name, part, **fields)
        await until(lambda: pipeline.mirror._records[name].version == pipeline.store.stored(name).version)

        await pipeline.intake.settle()

        assert _as_written(pipeline, name) == before


async def test_somebody_who_edits_all_the_time_causes_one_write_a_round() -> None:
    """Two controllers that disagree must not keep the API server busy."""
    async with running(scopes=frozenset({SCOPE})) as pipeline:
        name = await _stored(pipeline)
        writes = len(pipeline.store.calls)
        for round_number in range(1, 4):
            for edit in range(5):
                pipeline.store.edit(name, "spec", title=f"junk {edit}")
            await until(lambda: pipeline.mirror._records[name].version == pipeline.store.stored(name).version)
            await pipeline.intake.settle()
            await pipeline.intake.settle()

            assert len(pipeline.store.calls) == writes + round_number


def test_a_report_of_a_kind_that_nobody_reads_may_be_any_report() -> None:
    """A person wrote its name: the record must not stay open for ever because nobody watches that kind."""
    freshness = Freshness([SCOPE], is_confined=False)
    freshness.mark_listed(SCOPE)

    assert freshness.is_watched(ReportRef("junk.example.test", "default", "x"))
    assert not Freshness([SCOPE], is_confined=True).is_watched(ReportRef("junk.example.test", "default", "x"))
