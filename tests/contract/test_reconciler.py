"""transform.reconcile.Reconciler, with the real writer and index, passes the suite of contract.Intake."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.intake_suite import IntakeSuite
from tests.support.pipelines.pull import Pipeline, running
from zenwatch.model.finding import Severity


class TestReconciler(IntakeSuite):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[Pipeline]:
        async with running(min_severity=Severity.LOW) as pipeline:
            yield pipeline
