"""Code and documents use the field's words; the words that the project invented before are gone.

A word is a part of an identifier, too: `told` is in `was_told` and in `WasTold`, and not in `untold`.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# The folders and files in which no retired word is left; "" stands for all. A name covers what is below it.
FOLDERS_DONE = {""}
# Files in these folders that are not done yet.
FILES_LEFT: set[str] = set()

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
FILES = sorted(
    path
    for path in (
        *(ROOT / name for name in DOCUMENTS),
        *(path for folder in ("zenwatch", "watchers", "tests") for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md"}),
    )
    if path != Path(__file__)
)

# Nowhere, neither in code nor in prose: each has a better word beside it, which says what it stands for.
RETIRED_WORDS = {
    "census": "object count",
    "fate": "outcome",
    "fates": "outcomes",
    "ghost": "tombstone",
    "ghosts": "tombstones",
    "habit": "usual pause",
    "habits": "usual pauses",
    "holdings": "report cache",
    "parcel": "queued event",
    "parcels": "queued events",
    "receipt": "write result",
    "receipts": "write results",
    "rhythm": "interval",
    "room": "component, or free records",
    "rooms": "components",
    "ticket": "message id",
    "tickets": "message ids",
    "trunk": "services",
    "upkeep": "housekeeping",
    "valve": "adaptive limiter",
    "vantage": "API server check",
    "voice": "source monitor",
    "voices": "source monitors",
}
# As names in code, where English prose may use the word.
RETIRED_NAMES = {
    *("Answer", "Case", "Circumstances", "Complete", "Door", "Doors", "Drift", "FindsOwners", "Follower", "Guard", "HasRoom"),
    *("KeptLetter", "LetterBox", "Listening", "Notice", "Notices", "Order", "Pace", "Past", "Pending", "Place", "ProcessDoor", "PushLine"),
    *("Quiet", "Removal", "Reports", "Round", "Signal", "Surroundings", "TellsFates", "Told", "Try", "Turn", "Turns", "View"),
    *("is_surprised", "left_out", "hear_post", "doors_of", "is_news", "has_landed", "is_said_by", "lose_sight"),
    *("regain_sight", "keep_only"),
}
# What users saw under another name.
RETIRED_FOR_USERS = re.compile(r"[A-Z]_QUIET\b|\bUnrolled\b|zenwatch_loop_held_seconds|events_left_out_total|zenwatch_reports_held")
# Words that users see and that stay: the reason of a deletion.
KEPT_FOR_USERS = re.compile(r"\bMadeRoom\b")
# Stand-ins for a noun: no identifier has them. In zenwatch/ and watchers/ the first two are not in prose, either.
STAND_INS = {"said", "told", "place", "places"}
STAND_INS_IN_PROSE = {"said", "told"}
# Verbs and adverbs, not a noun that stands for a scope, an index or a token.
PLACE_AS_A_VERB = re.compile(r"\b(?:in|in its|in their|takes?|took|first) place\b", re.IGNORECASE)
MOST_PLACES_IN_CODE = 5

# (file, word): why it stays.
ALLOWED: dict[tuple[str, str], str] = {
    ("zenwatch/wiring/housekeeping.py", "said"): 'the title of a record: a silent source "has said nothing since" a time',
    ("docs/severity.md", "Notice"): "a priority of Falco",
    ("watchers/audit/default_rules.py", "told"): "the sentence of a rule, which users see in the output of --explain",
}


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _is_done(path: Path) -> bool:
    name = _named(path)
    return name not in FILES_LEFT and any(done in (name, "") or name.startswith(f"{done}/") for done in FOLDERS_DONE)


def _words(text: str) -> list[str]:
    """Of prose and of identifiers, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", KEPT_FOR_USERS.sub("", text))]


def _names(path: Path) -> Iterator[str]:
    """The identifiers of a Python file; of a document, what stands in backticks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.string
    else:
        for quoted in re.findall(r"`([^`\n]+)`", text):
            yield from re.findall(r"\w+", quoted)


def _left(path: Path, found: set[str]) -> list[str]:
    return sorted(word for word in found if (_named(path), word) not in ALLOWED)


DONE = [path for path in FILES if _is_done(path)]
CODE_DONE = [path for path in DONE if path.suffix == ".py" and not _named(path).startswith("tests/")]


@pytest.mark.parametrize("path", DONE, ids=_named)
def test_no_retired_word_is_left(path: Path) -> None:
    """RETIRED_WORDS says what to write instead."""
    text = path.read_text(encoding="utf-8")

    assert _left(path, RETIRED_WORDS.keys() & set(_words(text))) == []
    assert RETIRED_FOR_USERS.findall(text) == []


@pytest.mark.parametrize("path", [path for path in DONE if not _named(path).startswith("tests/")], ids=_named)
def test_no_retired_name_is_left(path: Path) -> None:
    """A stranger who knows client-go, OpenTelemetry, SQS and Prometheus can guess the names that replace them."""
    assert _left(path, RETIRED_NAMES & set(_names(path))) == []


@pytest.mark.parametrize("path", [path for path in DONE if path.suffix == ".py"], ids=_named)
def test_a_name_says_what_it_holds(path: Path) -> None:
    """`said` and `told` hold anything; better: raw, text, fields, response, lines. `place` is a scope, an index or a token."""
    assert _left(path, STAND_INS & {word for name in _names(path) for word in _words(name)}) == []


@pytest.mark.parametrize("path", CODE_DONE, ids=_named)
def test_prose_names_who_does_what(path: Path) -> None:
    """Programs log, report, return and answer; they do not say or tell."""
    assert _left(path, STAND_INS_IN_PROSE & set(_words(path.read_text(encoding="utf-8")))) == []


def test_a_place_is_called_by_what_it_is() -> None:
    """A scope, an index, a token; "in place of" is English."""
    places = {_named(path): _words(PLACE_AS_A_VERB.sub("", path.read_text(encoding="utf-8"))).count("place") for path in CODE_DONE}

    assert sum(places.values()) <= MOST_PLACES_IN_CODE, {name: count for name, count in places.items() if count}


def test_what_is_allowed_is_needed() -> None:
    """An exception that nobody uses any more is removed."""
    needless = [(name, word) for name, word in ALLOWED if word not in (ROOT / name).read_text(encoding="utf-8")]

    assert needless == []
