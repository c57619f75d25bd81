"""What the responses of the running zenwatch mean."""

import re

from zenwatch.contract import Clock
from zenwatch.doctor.check import Check, Level, duration_text
from zenwatch.doctor.clocks import skew_check
from zenwatch.doctor.process.budget import budget_check
from zenwatch.doctor.process.report import ProcessReport
from zenwatch.model.status import RefusedWrites, WriteStatus
from zenwatch.model.timestamps import parse_rfc3339

AREA = "process"


def process_checks(report: ProcessReport, clock: Clock, server_ahead_secs: float | None = None) -> list[Check]:
    """server_ahead_secs: how far the API server's clock is ahead of ours. None: not known."""
    if report.no_answer:
        return [_no_answer(report)]
    checks = [_answers(report, clock), _ready(report), _token(report)]
    if report.ahead_secs is not None and server_ahead_secs is not None:
        checks.append(skew_check(AREA, "the process's", report.ahead_secs - server_ahead_secs))
    if report.status is None:
        return [*checks, _no_status(report)]
    return [*checks, _writes(report.status.writes), *map(_refused, report.status.writes.refused), budget_check(AREA, report.status.budget)]


def _no_answer(report: ProcessReport) -> Check:
    text = f"no zenwatch was found at {report.url}: {report.no_answer}; what only it knows is unknown"
    advice = (
        "Name where it listens with --url (and --ca-file, where its certificate is not of a public authority).",
        "In a pod: kubectl port-forward -n zenwatch POD 8080, then --url http://127.0.0.1:8080 (or https:). Nowhere: zenwatch run",
    )
    return Check(AREA, "answers", Level.FAIL if report.is_named else Level.WARN, text, advice)


def _answers(report: ProcessReport, clock: Clock) -> Check:
    if report.alive.status != 200:
        advice = "Restart it, and keep its log: something held its loop for seconds (zenwatch_event_loop_lag_max_seconds)."
        return Check(AREA, "answers", Level.FAIL, f"{report.url} is alive, but stuck: {_line(report.alive.text)}", (advice,))
    version = f"zenwatch {report.status.version}" if report.status and report.status.version else "a zenwatch"
    started_at = parse_rfc3339(report.status.started_at) if report.status else None
    uptime = f", since {duration_text((clock.now() - started_at).total_seconds())}" if started_at else ""
    return Check(AREA, "answers", Level.OK, f"{version} runs at {report.url}{uptime}")


def _ready(report: ProcessReport) -> Check:
    if report.ready.status == 200:
        return Check(AREA, "ready", Level.OK, "its API server answers, the CRDs are served, no buffer is full")
    bad = [line for line in report.ready.text.splitlines() if re.match(r"\S+ (fails?|full)\b", line)]
    text = "; ".join(bad) or f"{report.ready.status} for GET /readyz: {_line(report.ready.text)}"
    advice = "Mend what is named under cluster and store; the process looks again every 5 s. Its log says more (level error)."
    return Check(AREA, "ready", Level.FAIL, text, (advice,))


def _token(report: ProcessReport) -> Check:
    match report.requires_token, report.accepts_token:
        case True, True:
            return Check(AREA, "token", Level.OK, "the webhooks ask for a token or certificate, and take the one of WEBHOOK_TOKEN_FILE")
        case True, False:
            text = "the token of WEBHOOK_TOKEN_FILE is not one of those that the process knows: senders that use it are refused"
            return Check(AREA, "token", Level.WARN, text, ("Give senders, doctor and the process the same file: see WEBHOOK_TOKEN_FILE.",))
        case True, None:
            text = "the webhooks ask for a token or certificate; whether senders have the right one, only their posts tell"
            return Check(AREA, "token", Level.OK, text)
        case False, _ if not re.match(r"https?://(127\.|localhost\b|\[::1\])", report.url):
            text = "whoever reaches the webhooks may post: no token is asked for"
            return Check(AREA, "token", Level.WARN, text, ("Set WEBHOOK_TOKEN_FILE (openssl rand -hex 32 > token) and restart it.",))
        case False, _:
            return Check(AREA, "token", Level.OK, "the webhooks ask for no token; on this machine none is needed")
        case _:
            return Check(AREA, "token", Level.UNKNOWN, "whether the webhooks ask for a token could not be seen")


def _no_status(report: ProcessReport) -> Check:
    code = report.status_response.status
    if code == 401:
        line = "Set WEBHOOK_TOKEN_FILE for doctor as it is set for the process: who may post may ask."
        return Check(AREA, "status", Level.UNKNOWN, "it tells its status only to those who have a token", (line,))
    text, advice = f"it answered {code} for GET /status", ""
    if code == 404:
        text, advice = "it has no /status", "Update it: newer versions show last data, budget and writes."
    elif report.status_error:
        text, advice = f"its /status is that of another version ({report.status_error})", "Run the doctor of the version that runs there."
    text = f"{text}: what it last heard, its budget and its writes are unknown"
    return Check(AREA, "status", Level.UNKNOWN, text, (advice,) if advice else ())


def _writes(writes: WriteStatus) -> Check:
    again = f", {writes.retries} were made again so far" if writes.retries else ""
    if not writes.failing:
        return Check(AREA, "writes", Level.OK, f"they reach the API server{again}")
    advice = "Mend what is named under cluster and store. The log names each cause (record_not_written, dead_letter)."
    return Check(AREA, "writes", Level.FAIL, f"they fail{again}", (advice,))


_MEND_REFUSAL = {
    "policy": "Change the policy, or except zenagentevents.zen.kube-zen.io from it.",
    "quota": "Raise the ResourceQuota, or take count/zenagentevents.zen.kube-zen.io out of it.",
    "webhook": "Mend what serves the webhook, or except zenagentevents.zen.kube-zen.io from it (rules, objectSelector).",
    "permission": "Grant it: the section cluster prints the rule.",
    "namespace": "Create zenwatch's own namespace, or name another with POD_NAMESPACE.",
    "slow": "See what answers slowly there: admission webhooks of that namespace first.",
}


def _refused(refused: RefusedWrites) -> Check:
    letters = f", {refused.dead_letters} events are dead letters that come back" if refused.dead_letters else ""
    text = f"namespace {refused.namespace} takes no records since {refused.since}: {refused.waiting} wait{letters}; {refused.error}"
    return Check(
        AREA,
        "writes",
        Level.FAIL,
        text,
        (
            _MEND_REFUSAL.get(refused.cause, "The log of the process says more (writes_refused)."),
            "What waits is stored by itself once that is done.",
        ),
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
