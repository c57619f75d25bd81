"""`zenwatch deadletters`: events that the API server refuses for good, kept in the spool."""

import argparse
import os
import sys
from collections.abc import Callable

import orjson
import yaml

from zenwatch.buffer.sqlite.dead_letters import DeadLetterEntry, DeadLetterQueue
from zenwatch.errors import BadInput, ConfigError
from zenwatch.runtime.settings import Settings


def define(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Look at events that the API server refused for good (too large, against the schema), and try them again or drop them. They are "
        "kept in SPOOL_DIR, also while zenwatch runs on it; without a spool they are only told in the log (dead_letter)."
    )
    command.add_argument("--spool-dir", metavar="FOLDER", help="the spool (default: SPOOL_DIR)")
    actions = command.add_subparsers(metavar="ACTION", required=True)
    actions.add_parser("list", help="one line for each").set_defaults(call=_list)
    for name, purpose, call in (
        ("show", "all of one, as YAML", _show),
        ("retry", "put it back into the spool: a running zenwatch tries again within a second", _retry),
        ("drop", "give it up", _drop),
    ):
        action = actions.add_parser(name, help=purpose)
        action.add_argument("number", metavar="NUMBER", nargs="+" if name != "show" else 1, type=int, help="as `list` prints it")
        action.set_defaults(call=call)


def _box(parsed: argparse.Namespace) -> DeadLetterQueue:
    folder = parsed.spool_dir or Settings.read(os.environ).spool_dir
    if not folder:
        raise ConfigError("No spool was named. Use --spool-dir FOLDER or the environment variable SPOOL_DIR.")
    return DeadLetterQueue(folder)


def _list(parsed: argparse.Namespace) -> int:
    letters = _box(parsed).letters()
    rows = [("NUMBER", "REFUSED AT", "SOURCE", "NAME", "KEY", "REASON"), *(_row(kept) for kept in letters)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows if letters else ():
        print("   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]))
    if not letters:
        print("No dead letters.")
    return 0


def _row(kept: DeadLetterEntry) -> tuple[str, ...]:
    letter = kept.letter
    key = letter.event.key if len(letter.event.key) <= 60 else letter.event.key[:59] + "…"
    return str(kept.id), letter.refused_at, letter.event.source, letter.event.name, key, letter.reason


def _show(parsed: argparse.Namespace) -> int:
    return _each(parsed, lambda box, number: print(_as_yaml(box.letter(number)), end=""))


def _retry(parsed: argparse.Namespace) -> int:
    return _each(parsed, lambda box, number: print(f"{number}: {box.retry(number).letter.event.name} is back in the spool"))


def _drop(parsed: argparse.Namespace) -> int:
    return _each(parsed, lambda box, number: print(f"{number}: {box.drop(number).letter.event.name} is dropped"))


def _each(parsed: argparse.Namespace, work: Callable[[DeadLetterQueue, int], None]) -> int:
    """1 where one of the numbers is none; the others are done all the same."""
    box, code = _box(parsed), 0
    for number in parsed.number:
        try:
            work(box, number)
        except BadInput as exc:
            print(f"zenwatch: {exc}", file=sys.stderr)
            code = 1
    return code


def _as_yaml(kept: DeadLetterEntry) -> str:
    plain = orjson.loads(
        orjson.dumps({"number": kept.id, "refusedAt": kept.letter.refused_at, "reason": kept.letter.reason, "event": kept.letter.event})
    )
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
