"""`zenwatch deadletters`: list, show, retry or drop the events in the spool that the API server refuses for good."""

import argparse
import os
from collections.abc import Callable

import orjson
import yaml

from zenwatch.buffer.sqlite.dead_letters import DeadLetterEntry, DeadLetterQueue
from zenwatch.cli.shared.table import table
from zenwatch.cli.shared.terminal import complain, show, show_text
from zenwatch.errors import BadInput, ConfigError
from zenwatch.wiring.settings import Settings


def define(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Look at events that the API server refused for good (too large, against the schema), and try them again or drop them. They are "
        "kept in SPOOL_DIR, also while zenwatch runs on it; without a spool they are only in the log (dead_letter)."
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


def _queue(parsed: argparse.Namespace) -> DeadLetterQueue:
    folder = parsed.spool_dir or Settings.read(os.environ).spool_dir
    if not folder:
        raise ConfigError("No spool was named. Use --spool-dir FOLDER or the environment variable SPOOL_DIR.")
    return DeadLetterQueue(folder)


def _list(parsed: argparse.Namespace) -> int:
    entries = _queue(parsed).letters()
    if not entries:
        show("No dead letters.")
        return 0
    show(*table([("NUMBER", "REFUSED AT", "SOURCE", "NAME", "KEY", "REASON"), *map(_row, entries)]))
    return 0


def _row(entry: DeadLetterEntry) -> tuple[str, ...]:
    letter = entry.letter
    key = letter.event.key if len(letter.event.key) <= 60 else letter.event.key[:59] + "…"
    return str(entry.id), letter.refused_at, letter.event.source, letter.event.name, key, letter.reason


def _show(parsed: argparse.Namespace) -> int:
    return _each(parsed, lambda queue, number: show_text(_as_yaml(queue.letter(number))))


def _retry(parsed: argparse.Namespace) -> int:
    return _each(parsed, lambda queue, number: show(f"{number}: {queue.retry(number).letter.event.name} is back in the spool"))


def _drop(parsed: argparse.Namespace) -> int:
    return _each(parsed, lambda queue, number: show(f"{number}: {queue.drop(number).letter.event.name} is dropped"))


def _each(parsed: argparse.Namespace, action: Callable[[DeadLetterQueue, int], None]) -> int:
    """Act on each number. Return 1 if one of them is no dead letter; the action is still done for the others."""
    queue, code = _queue(parsed), 0
    for number in parsed.number:
        try:
            action(queue, number)
        except BadInput as exc:
            complain(f"zenwatch: {exc}")
            code = 1
    return code


def _as_yaml(entry: DeadLetterEntry) -> str:
    letter = entry.letter
    fields = {"number": entry.id, "refusedAt": letter.refused_at, "reason": letter.reason, "event": letter.event}
    # Through JSON, because yaml knows no dataclasses.
    plain = orjson.loads(orjson.dumps(fields))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
