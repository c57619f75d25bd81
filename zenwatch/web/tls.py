"""The server's certificate, which is loaded again when its files change.

In: PEM files.  Out: an SSL context; connections that are open keep the certificate that they began with.
Owns: the context.
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

CHECK_FILES_SECS = 5.0


class Certificate:
    def __init__(self, cert_file: str, key_file: str, client_ca_file: str, *, clock: Clock) -> None:
        """client_ca_file: the authorities of client certificates; empty: none is asked for. ConfigError names the setting that is wrong."""
        self._cert_file, self._key_file = cert_file, key_file
        self._clock = clock
        self._never = asyncio.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._stamps = self._read_stamps()
        self._load_into(self.context)
        if client_ca_file:
            try:
                self.context.load_verify_locations(cafile=client_ca_file)
            except OSError as exc:
                raise ConfigError(f"TLS_CLIENT_CA_FILE is {client_ca_file!r}: {_reason(exc)}.") from exc
            # Optional, because probes have none; auth.py requires one where a route needs a role.
            self.context.verify_mode = ssl.CERT_OPTIONAL

    async def watch(self) -> None:
        """Load the files whenever they change; never returns."""
        while True:
            await self._clock.wait(self._never, timeout_secs=CHECK_FILES_SECS)
            try:
                stamps = self._read_stamps()
                if stamps == self._stamps:
                    continue
                # A context that fails to load half of a pair cannot be used any more: another one tries it first.
                self._load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
                self._load_into(self.context)
            except ConfigError as exc:
                log.error("certificate_not_read", error=first_line(exc))  # noqa: TRY400  a sentence for a person
            else:
                self._stamps = stamps
                log.info("certificate_read_again")

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._cert_file, self._key_file)
        except OSError as exc:
            raise ConfigError(f"TLS_CERT_FILE is {self._cert_file!r} and TLS_KEY_FILE {self._key_file!r}: {_reason(exc)}.") from exc

    def _read_stamps(self) -> Sequence[tuple[int, int]]:
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
