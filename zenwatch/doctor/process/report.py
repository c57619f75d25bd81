"""Ask a running zenwatch everything that doctor needs, and keep the responses."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from zenwatch.contract import Clock
from zenwatch.doctor.clocks import skew_secs
from zenwatch.doctor.process.status_api import NO_RESPONSE, StatusApi, StatusResponse
from zenwatch.errors import Transient, first_line
from zenwatch.model.status import BufferStatus, ProcessStatus, SourceStatus

_BUFFER_LINE = re.compile(r"buffer/(\S+) \w+: (\d+) of (\d+) (\w+)")
_STATUS = TypeAdapter(ProcessStatus)


@dataclass
class ProcessReport:
    """What the process answered. no_answer: why nothing is known of it; empty if it answered.

    status: None if it was not given or not understood; then status_error names the field that was not understood.
    webhooks: the status code of GET, by path. ahead_secs: how far its clock is ahead of ours.
    requires_token, accepts_token: None if that is not known.
    """

    url: str
    is_named: bool = False
    no_answer: str = ""
    alive: StatusResponse = NO_RESPONSE
    ready: StatusResponse = NO_RESPONSE
    status_response: StatusResponse = NO_RESPONSE
    status: ProcessStatus | None = None
    status_error: str = ""
    webhooks: dict[str, int] = field(default_factory=dict)
    requires_token: bool | None = None
    accepts_token: bool | None = None
    ahead_secs: float | None = None

    def source(self, name: str) -> SourceStatus | None:
        return self.status.sources.get(name) if self.status else None

    def buffer(self, name: str) -> BufferStatus | None:
        """From /status, or from /readyz, which needs no token."""
        if (source := self.source(name)) and source.buffer:
            return source.buffer
        found = [line for line in _BUFFER_LINE.finditer(self.ready.text) if line[1] == name]
        return BufferStatus(int(found[0][2]), int(found[0][3]), found[0][4]) if found else None


async def ask_process(api: StatusApi, webhook_paths: Sequence[str], clock: Clock) -> ProcessReport:
    """Never raises: a process that does not answer is a report too."""
    return await asyncio.to_thread(_ask, api, webhook_paths, clock)


def _ask(api: StatusApi, webhook_paths: Sequence[str], clock: Clock) -> ProcessReport:
    report = ProcessReport(api.url, api.is_named)
    try:
        asked_at = clock.now()
        report.alive = api.get("/healthz")
        if not report.alive.text.startswith("loop "):
            # zenwatch itself answers 403 under a name that is not its own; its line names the setting.
            refusal = f": {report.alive.text.strip()[:200]}" if report.alive.status == 403 else ""
            report.no_answer = f"what answers there is none ({report.alive.status} for GET /healthz{refusal})"
            return report
        if report.alive.date:
            report.ahead_secs = -skew_secs(report.alive.date, asked_at, clock.now())
        report.ready = api.get("/readyz")
        report.status_response = api.get("/status")
        _read_status(report)
        # /explain without a query answers 400 to those who may ask, and 401 to others. The webhooks accept the same tokens.
        report.requires_token = {401: True, 400: False}.get(api.get("/explain", with_token=False).status)
        if report.requires_token and api.has_token:
            report.accepts_token = api.get("/explain").status == 400
        report.webhooks = {path: api.get(path).status for path in webhook_paths}
    except Transient as exc:
        report.no_answer = first_line(exc)
    return report


def _read_status(report: ProcessReport) -> None:
    """Unknown fields are ignored: they come from a newer version, whose other fields are still understood."""
    if report.status_response.status != 200:
        return
    try:
        report.status = _STATUS.validate_json(report.status_response.text, strict=True)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        report.status_error = f"{name}: {first['msg']}" if name else first["msg"]
