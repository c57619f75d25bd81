"""Print rows as a table."""

from collections.abc import Container, Iterator, Sequence


def table(rows: Sequence[Sequence[str]], *, gap: str = "   ", right: Container[int] = ()) -> Iterator[str]:
    """One line per row, with aligned columns. right: the columns that are aligned to the right. The last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*(row[:-1] for row in rows), strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        yield gap.join([*cells, row[-1]])
