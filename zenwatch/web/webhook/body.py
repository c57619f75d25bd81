"""Read the body of a request: bounded in size, also after unpacking, and in time."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError

from zenwatch.web.responses import Refused

# Inflating so much takes a few milliseconds; other requests have the loop between two steps.
INFLATE_STEP_BYTES = 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS


async def read_body(request: web.Request, *, max_bytes: int, timeout_secs: float) -> bytes:
    """Return the body, unpacked. Raises Refused if it is too large, too slow, broken off, or packed in a way that is not known."""
    too_large = Refused(413, f"the body is larger than {max_bytes} bytes")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise Refused(415, "the Content-Encoding is not known; expected gzip or none")
    if (request.content_length or 0) > max_bytes:
        raise too_large
    unpack = _Gzip() if encoding == "gzip" else None
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_secs):
            async for received in request.content.iter_any():
                async for piece in _plain(received) if unpack is None else unpack.feed(received):
                    size += len(piece)
                    if size > max_bytes:
                        raise too_large
                    pieces.append(piece)
    except TimeoutError as exc:
        raise Refused(408, "the body did not come in time (WEBHOOK_TIMEOUT)") from exc
    except (ConnectionError, web.RequestPayloadError, ClientPayloadError, HttpProcessingError) as exc:
        raise Refused(400, "the body broke off, or its chunks are malformed") from exc
    if unpack is not None and not unpack.is_whole:
        raise Refused(400, "the gzip body breaks off")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _plain(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


class _Gzip:
    """One or more gzip members (RFC 1952). Each step inflates INFLATE_STEP_BYTES at most, so the limit is exceeded by one step at most."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(_GZIP)
        self._has_begun = False

    @property
    def is_whole(self) -> bool:
        return self._has_begun and self._inflater.eof

    async def feed(self, packed: bytes) -> AsyncIterator[bytes]:
        piece = b""
        # A full step may leave output behind, even if it consumed all the input.
        while packed or len(piece) == INFLATE_STEP_BYTES:
            if self._inflater.eof:
                self._inflater = zlib.decompressobj(_GZIP)
            self._has_begun = True
            try:
                piece = self._inflater.decompress(packed, INFLATE_STEP_BYTES)
            except zlib.error as exc:
                raise Refused(400, "the body is not gzip, although its Content-Encoding says so") from exc
            packed = self._inflater.unconsumed_tail or self._inflater.unused_data
            yield piece
            await asyncio.sleep(0)
            if self._inflater.eof and not packed:
                return
