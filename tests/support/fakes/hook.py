"""contract.Hook that remembers what was posted."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from zenwatch.contract import HookResponse


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class FakeHook:
    """response: to the next posts. posted: every body with its media type. counted: the answers by status.

    gate: a body of more than `gated_bytes` stays in post() until the gate is set; in_progress: how many do now, most_in_progress: at once.
    """

    path: str = "/falco/webhook"
    media_types: Sequence[str] = ("application/json", "text/plain")
    max_body_bytes: int = 1024
    token_in_path: bool = True
    response: HookResponse = field(default_factory=lambda: HookResponse(200, "1 taken"))
    posted: list[tuple[bytes, str]] = field(default_factory=list)
    counted: Counter[int] = field(default_factory=Counter)
    senders: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=_open_gate)
    gated_bytes: int = 1024
    in_progress: int = 0
    most_in_progress: int = 0

    def count(self, status: int, *, sender: str = "") -> None:
        self.counted[status] += 1
        self.senders.append(sender)

    async def post(self, body: bytes, media_type: str) -> HookResponse:
        self.posted.append((body, media_type))
        if len(body) > self.gated_bytes:
            self.in_progress += 1
            self.most_in_progress = max(self.most_in_progress, self.in_progress)
            await self.gate.wait()
            self.in_progress -= 1
        return self.response
