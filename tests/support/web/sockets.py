"""Plain connections to a server, as somebody opens them who wants it to have no more."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.tasks import patience

PART_OF_HEADERS = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True)
class Socket:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Nothing happens if the server has closed."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        received = b""
        async with patience():
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while part := await self.reader.read(65536):
                    received += part
        return received

    async def answer(self) -> bytes:
        """The head and the body of one answer."""
        async with patience():
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            return head + await self.reader.readexactly(length)

    async def drip(self, pause_secs: float = 0.02) -> bytes:
        """Send a byte now and then until the server closes; return what came."""
        received = asyncio.ensure_future(self.rest())
        while not received.done():
            await self.send(b"x")
            await asyncio.wait([received], timeout=pause_secs)
        return await received

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed, as far as this side knows."""
        return not self.reader.at_eof() and self.reader.exception() is None


@asynccontextmanager
async def sockets(
    address: tuple[str, int], count: int, *, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None, at_once: bool = False
) -> AsyncIterator[list[Socket]]:
    """So many connections, one after the other unless at_once. source: the address that they come from."""
    opened: list[Socket] = []
    try:
        if at_once:
            opened += await asyncio.gather(*(_open(address, source, tls) for _ in range(count)))
        else:
            for _ in range(count):
                opened.append(await _open(address, source, tls))
        yield opened
    finally:
        for one in opened:
            one.writer.transport.abort()
        # The transports tell their protocols in the loop's next turn.
        await asyncio.sleep(0)


async def _open(address: tuple[str, int], source: str, tls: ssl.SSLContext | None) -> Socket:
    name = "127.0.0.1" if tls else None
    return Socket(*await asyncio.open_connection(*address, local_addr=(source, 0), ssl=tls, server_hostname=name))
