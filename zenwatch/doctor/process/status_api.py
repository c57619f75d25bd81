"""How doctor asks a running zenwatch. A Protocol: the commands bring the HTTP client, the tests bring a fake."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StatusResponse:
    """status: the HTTP status code. date: the clock of the server, if it showed one."""

    status: int
    text: str
    date: datetime | None = None


NO_RESPONSE = StatusResponse(0, "")


class StatusApi(Protocol):
    """is_named: a person named the address. has_token: there is a token of WEBHOOK_TOKEN_FILE to send."""

    @property
    def url(self) -> str: ...

    @property
    def is_named(self) -> bool: ...

    @property
    def has_token(self) -> bool: ...

    def get(self, path: str, *, with_token: bool = True) -> StatusResponse:
        """Blocks for a bounded time. Raises Transient, with the reason, if there was no response at all."""
        ...
