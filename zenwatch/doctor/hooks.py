"""Whether a tool that posts can reach us, and when it last did.

In: what the running process told.  Out: checks, whose area is the source's name.
Owns: nothing.
Stops: nothing to stop.
"""

from zenwatch.contract import Clock
from zenwatch.doctor.check import Check, Level, since
from zenwatch.doctor.process import Told, buffer_check
from zenwatch.sdk.settings import watcher_prefix
from zenwatch.sdk.watcher import PushWatcher


def hook_checks(watcher: PushWatcher, told: Told, clock: Clock) -> list[Check]:
    if told.no_answer:
        text = f"nobody was found who takes posts to {watcher.path} (see process)"
        return [Check(watcher.name, "webhook", Level.UNKNOWN, text)]
    checks = [_path(watcher, told), _last_post(watcher, told, clock)]
    if fill := told.buffer(watcher.name):
        setting = f"{watcher_prefix(watcher.name)}BUFFER_SIZE" if fill.unit == "events" else "SPOOL_MAX_BYTES"
        checks.append(buffer_check(watcher.name, fill, setting))
    return checks


def _path(watcher: PushWatcher, told: Told) -> Check:
    code, where = told.hooks.get(watcher.path), f"{told.url}{watcher.path}"
    if code in (401, 405):
        return Check(watcher.name, "webhook", Level.OK, f"{where} takes posts")
    if code == 404:
        switch = f"{watcher_prefix(watcher.name)}ENABLED"
        lines = (f"Start zenwatch with {switch}=true, in the version that doctor is of; or name it itself with --url, not a proxy.",)
        return Check(watcher.name, "webhook", Level.FAIL, f"there is no {where}: what is posted there is lost", lines)
    lines = ("Name where zenwatch listens with --url; LISTEN says which port it takes.",)
    return Check(watcher.name, "webhook", Level.FAIL, f"{where} answers {code}, which zenwatch never does", lines)


def _last_post(watcher: PushWatcher, told: Told, clock: Clock) -> Check:
    """Whether the sender can reach us is not to be seen from here: its way is another one."""
    said = told.source(watcher.name)
    if said is None:
        text = "who posted last is unknown; that its sender reaches the webhook, only its posts show"
        return Check(watcher.name, "sender", Level.UNKNOWN, text)
    if said.last_post_at:
        sender = f" by {said.last_sender}" if said.last_sender else ""
        return Check(watcher.name, "sender", Level.OK, f"last post {since(said.last_post_at, clock.now())}{sender}")
    lines = (
        f"Make it post to {watcher.path} of an address that it reaches, with a token: see deployments/webhooks and README.md.",
        f"Where it is not used: {watcher_prefix(watcher.name)}ENABLED=false",
    )
    text = "nobody posted since the process started; that its sender reaches the webhook, only its posts show"
    return Check(watcher.name, "sender", Level.UNKNOWN, text, lines)
