"""The server's certificate, read again when its files change.

In: settings.  Out: an SSL context.
Owns: the context; connections that are open keep what they began with.
Stops: with the task that runs watch().
"""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import structlog

from zenwatch.contract import Clock
from zenwatch.errors import ConfigError, first_line

log = structlog.get_logger(component="tls")

LOOK_AGAIN_SECS = 5.0


class Certificate:
    def __init__(
        self, cert_file: str, key_file: str, client_ca_file: str, *, clock: Clock, look_again_secs: float = LOOK_AGAIN_SECS
    ) -> None:
        """ConfigError names the setting that cannot be used."""
        self._cert_file, self._key_file = cert_file, key_file
        self._clock = clock
        self._look_again_secs = look_again_secs
        self._never = asyncio.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._stamps = self._stamped()
        self._load()
        if client_ca_file:
            try:
                self.context.load_verify_locations(cafile=client_ca_file)
            except OSError as exc:
                raise ConfigError(f"TLS_CLIENT_CA_FILE is {client_ca_file!r}: {_reason(exc)}.") from exc
            # Optional, because probes show none; guard.py asks for one where it is needed.
            self.context.verify_mode = ssl.CERT_OPTIONAL

    async def watch(self) -> None:
        """Run for ever."""
        while True:
            await self._clock.wait(self._never, timeout_secs=self._look_again_secs)
            try:
                stamps = self._stamped()
                if stamps == self._stamps:
                    continue
                # A context that failed to load half of a pair is of no use: try on another one first.
                self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                self._load()
            except ConfigError as exc:
                log.error("certificate_not_read", error=first_line(exc))  # noqa: TRY400  a sentence for a person
            else:
                self._stamps = stamps
                log.info("certificate_read_again")

    def _load(self, context: ssl.SSLContext | None = None) -> None:
        try:
            (context or self.context).load_cert_chain(self._cert_file, self._key_file)
        except OSError as exc:
            raise ConfigError(f"TLS_CERT_FILE is {self._cert_file!r} and TLS_KEY_FILE {self._key_file!r}: {_reason(exc)}.") from exc

    def _stamped(self) -> Sequence[tuple[int, int]]:
        stamps: list[tuple[int, int]] = []
        for setting, path in (("TLS_CERT_FILE", self._cert_file), ("TLS_KEY_FILE", self._key_file)):
            try:
                stat = Path(path).stat()
            except OSError as exc:
                raise ConfigError(f"{setting} is {path!r}: {_reason(exc)}.") from exc
            stamps.append((stat.st_mtime_ns, stat.st_ino))
        return stamps


def _reason(error: OSError) -> str:
    return "it holds no such PEM" if isinstance(error, ssl.SSLError) else (error.strerror or str(error))
