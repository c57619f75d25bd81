"""Check a tool that posts: whether its webhook is there, when it last posted, and how full its buffer is."""

from zenwatch.contract import Clock
from zenwatch.doctor.check import Check, Level, age_text
from zenwatch.doctor.process.report import ProcessReport
from zenwatch.model.status import BufferStatus
from zenwatch.model.timestamps import parse_rfc3339
from zenwatch.sdk.settings import watcher_prefix
from zenwatch.sdk.watcher import PushWatcher

# A guess: a buffer that is fuller than this will be full soon.
FULL_SOON_RATIO = 0.9


def webhook_checks(watcher: PushWatcher, process: ProcessReport, clock: Clock) -> list[Check]:
    if process.no_answer:
        text = f"nobody was found who takes posts to {watcher.path} (see process)"
        return [Check(watcher.name, "webhook", Level.UNKNOWN, text)]
    checks = [_path_check(watcher, process), _sender_check(watcher, process, clock)]
    if buffer := process.buffer(watcher.name):
        checks.append(_buffer_check(watcher.name, buffer))
    return checks


def _path_check(watcher: PushWatcher, process: ProcessReport) -> Check:
    """A webhook refuses GET, with 401 if it asks for a token first."""
    code, url = process.webhooks.get(watcher.path), f"{process.url}{watcher.path}"
    if code in (401, 405):
        return Check(watcher.name, "webhook", Level.OK, f"{url} takes posts")
    if code == 404:
        switch = f"{watcher_prefix(watcher.name)}ENABLED"
        lines = (f"Start zenwatch with {switch}=true, in the version that doctor is of; or name it itself with --url, not a proxy.",)
        return Check(watcher.name, "webhook", Level.FAIL, f"there is no {url}: what is posted there is lost", lines)
    lines = ("Name where zenwatch listens with --url; LISTEN says which port it takes.",)
    return Check(watcher.name, "webhook", Level.FAIL, f"{url} answers {code}, which zenwatch never does", lines)


def _sender_check(watcher: PushWatcher, process: ProcessReport, clock: Clock) -> Check:
    """Doctor cannot see whether the sender reaches the webhook, because the sender's network path is a different one."""
    status = process.source(watcher.name)
    if status is None:
        text = "who posted last is unknown; that its sender reaches the webhook, only its posts show"
        return Check(watcher.name, "sender", Level.UNKNOWN, text)
    if last_post_at := parse_rfc3339(status.last_post_at):
        sender = f" by {status.last_sender}" if status.last_sender else ""
        return Check(watcher.name, "sender", Level.OK, f"last post {age_text(last_post_at, clock.now())}{sender}")
    lines = (
        f"Make it post to {watcher.path} of an address that it reaches, with a token: see deployments/webhooks and README.md.",
        f"Where it is not used: {watcher_prefix(watcher.name)}ENABLED=false",
    )
    text = "nobody posted since the process started; that its sender reaches the webhook, only its posts show"
    return Check(watcher.name, "sender", Level.UNKNOWN, text, lines)


def _buffer_check(name: str, buffer: BufferStatus) -> Check:
    """A buffer in memory is limited by events, the spool by bytes."""
    setting = f"{watcher_prefix(name)}BUFFER_SIZE" if buffer.unit == "events" else "SPOOL_MAX_BYTES"
    text = f"{buffer.used} of {buffer.capacity} {buffer.unit} wait to be stored"
    advice = (f"See under cluster and store why they are not stored faster; raise {setting}, or give it a disk (SPOOL_DIR).",)
    if buffer.used >= buffer.capacity:
        return Check(name, "buffer", Level.FAIL, f"{text}: it is full, what comes is refused", advice)
    if buffer.used >= FULL_SOON_RATIO * buffer.capacity:
        return Check(name, "buffer", Level.WARN, f"{text}: nearly full", advice)
    return Check(name, "buffer", Level.OK, text)
