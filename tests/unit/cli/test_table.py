"""zenwatch/cli/shared/table.py: aligned columns, to the byte."""

from zenwatch.cli.shared.table import table

ROWS = [("NAME", "OPEN", "VALUE"), ("a", "7", "x"), ("b-long", "1200", "")]


def test_columns_are_aligned_and_the_last_one_is_not_padded() -> None:
    """A line ends where its last cell ends."""
    assert list(table(ROWS)) == ["NAME     OPEN   VALUE", "a        7      x", "b-long   1200   "]


def test_numbers_are_aligned_to_the_right() -> None:
    """The caller names their columns, and how wide the gap is."""
    assert list(table(ROWS, gap="  ", right={1})) == ["NAME    OPEN  VALUE", "a          7  x", "b-long  1200  "]


def test_no_rows_are_no_lines() -> None:
    """Not even a head."""
    assert list(table([])) == []
