"""zenwatch/api/top.py: open records in groups."""

import pytest

from tests.support.web.records import FakeRecords
from zenwatch.api.top import MOST_LINES, top
from zenwatch.errors import BadInput
from zenwatch.model.record import DIMENSIONS


async def test_the_answer_counts_the_groups_that_are_cut_off() -> None:
    """The command prints how many more there are."""
    records = FakeRecords(groups=[{"value": f"CVE-{number}"} for number in range(3)])

    answer = await top(records, {"by": "cve", "limit": "2"})

    assert answer == {"by": "cve", "groups": [{"value": "CVE-0"}, {"value": "CVE-1"}], "all": 3}


async def test_without_parameters_it_is_the_twenty_worst_cves() -> None:
    """As the command does."""
    records = FakeRecords()

    await top(records, {})

    assert records.asked == [("cve", 20)]


@pytest.mark.parametrize("query", [{"by": "colour"}, {"limit": "0"}, {"limit": str(MOST_LINES + 1)}, {"limit": "many"}, {"limit": "-1"}])
async def test_a_query_that_makes_no_sense_reads_what_does(query: dict[str, str]) -> None:
    """With the names and the range."""
    with pytest.raises(BadInput, match=r"expected (one of cve, |a whole number from 1 to 1000)"):
        await top(FakeRecords(), query)


@pytest.mark.parametrize("dimension", DIMENSIONS)
async def test_every_dimension_of_a_record_can_be_asked_for(dimension: str) -> None:
    """By its own name."""
    assert (await top(FakeRecords(), {"by": dimension}))["by"] == dimension
