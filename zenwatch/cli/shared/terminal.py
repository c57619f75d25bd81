"""The only way to a terminal: nothing that a command prints moves a cursor, hides or pretends to be a line of its own.

Records of earlier versions, answers of other programs and settings may hold any character.
"""

import re
import sys

from zenwatch.model.text import clean

# The colours of `zenwatch doctor`. It cleans what stands between them itself.
_COLOUR = re.compile(r"(\033\[(?:0|3[1-6](?:;1)?)m)")


def show(*lines: str) -> None:
    """Print each as one line."""
    for line in lines:
        print(clean(line))


def show_coloured(line: str) -> None:
    """Print one line that has colours. Its texts must be clean already."""
    print("".join(part if _COLOUR.fullmatch(part) else clean(part) for part in _COLOUR.split(line)))


def show_text(text: str) -> None:
    """Print a document of several lines, such as YAML, in which each line break is meant."""
    if text:
        show(*text.removesuffix("\n").split("\n"))


def complain(*lines: str) -> None:
    """Print each as one line to stderr."""
    for line in lines:
        print(clean(line), file=sys.stderr)
