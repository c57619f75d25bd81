"""contract.Hook that remembers what was posted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from zenwatch.contract import HookResponse


@dataclass
class FakeHook:
    """answer: what the next posts are told. posted: every body with its media type. counted: the answers by status."""

    path: str = "/falco/webhook"
    media_types: Sequence[str] = ("application/json", "text/plain")
    max_body_bytes: int = 1024
    token_in_path: bool = True
    answer: HookResponse = field(default_factory=lambda: HookResponse(200, "1 taken"))
    posted: list[tuple[bytes, str]] = field(default_factory=list)
    counted: Counter[int] = field(default_factory=Counter)
    senders: list[str] = field(default_factory=list)

    def count(self, status: int, *, sender: str = "") -> None:
        self.counted[status] += 1
        self.senders.append(sender)

    async def post(self, body: bytes, media_type: str) -> HookResponse:
        self.posted.append((body, media_type))
        return self.answer
