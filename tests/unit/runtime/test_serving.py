"""zenwatch/runtime/serving.py: what the server asks the parts of the process."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import pytest

from zenwatch.errors import Transient
from zenwatch.runtime import serving
from zenwatch.runtime.serving import check_crd_store


def answering(served: Collection[str] | Exception) -> Callable[[], Awaitable[Collection[str]]]:
    async def served_kinds() -> Collection[str]:
        if isinstance(served, Exception):
            raise served
        return served

    return served_kinds


@pytest.mark.parametrize(
    ("served", "is_well", "lines"),
    [
        (("zenagentevents",), True, ["apiserver ok", "crds ok"]),
        ((), False, ["apiserver ok", "crds fail: zenagentevents is not served; apply them with `zenwatch crds | kubectl apply -f -`"]),
        (Transient("connection refused"), False, ["apiserver fails: connection refused", "crds unknown"]),
    ],
)
async def test_the_store_is_well_when_the_api_server_serves_the_records(
    served: Collection[str] | Exception, *, is_well: bool, lines: list[str]
) -> None:
    """Each part has a line of its own."""
    assert await check_crd_store(answering(served)) == (is_well, lines)


async def test_an_api_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe has a timeout of its own."""
    monkeypatch.setattr(serving, "API_TIMEOUT_SECS", 0.01)

    async def never() -> Collection[str]:
        await asyncio.Event().wait()
        return ()

    assert await check_crd_store(never) == (False, ["apiserver fails: no answer within 0.01 s", "crds unknown"])
