"""The way from a command to the zenwatch that runs: its address, a token, and what it answers."""

import ssl
import urllib.error
import urllib.request
from argparse import Namespace
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

from zenwatch.doctor.process import Reply
from zenwatch.errors import ConfigError, Transient, first_line
from zenwatch.runtime.settings import Settings

PATIENCE_SECS = 10.0
MOST_BYTES = 16 * 1024 * 1024


def add_process_options(command: Any) -> None:
    command.add_argument("--url", help="where zenwatch listens (default: by LISTEN and TLS_CERT_FILE, on this machine)")
    command.add_argument("--ca-file", metavar="FILE", help="the authorities of its certificate (default: those of the system)")


class ProcessDoor:
    """doctor.process.Door over HTTP."""

    def __init__(self, parsed: Namespace, settings: Settings) -> None:
        """ConfigError: no address, or a file that cannot be read."""
        self.is_named = bool(parsed.url)
        self.url = (parsed.url or _url_of(settings)).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"--url is {self.url!r}; expected an address such as http://127.0.0.1:8080.")
        self._token = _token_of(settings)
        self._tls = _tls_of(parsed.ca_file) if self.url.startswith("https:") else None

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    def get(self, path: str, *, with_token: bool = True) -> Reply:
        """Blocks. Transient says why there was no answer at all."""
        request = urllib.request.Request(f"{self.url}{path}")  # noqa: S310  theirs
        if with_token and self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            return self._ask(request)
        except (OSError, ValueError, HTTPException) as exc:
            # urllib wraps what happened.
            cause = getattr(exc, "reason", exc)
            raise Transient(first_line(cause) if isinstance(cause, Exception) else str(cause)) from exc

    def _ask(self, request: urllib.request.Request) -> Reply:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECS, context=self._tls) as answer:  # noqa: S310
                return _reply(answer.status, answer)
        except urllib.error.HTTPError as exc:
            with exc:
                return _reply(exc.code, exc)


def _reply(status: int, answer: Any) -> Reply:
    text = answer.read(MOST_BYTES).decode(errors="replace")
    try:
        return Reply(status, text, parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC))
    except ValueError:
        return Reply(status, text, None)


def _tls_of(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise ConfigError(f"--ca-file is {ca_file!r}: {exc.strerror or exc}.") from exc


def _url_of(settings: Settings) -> str:
    port = settings.listen.port if settings.listen else 8080
    host = settings.listen.host if settings.listen and settings.listen.host else "127.0.0.1"
    scheme = "https" if settings.tls_cert_file else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _token_of(settings: Settings) -> str:
    if not settings.webhook_token_file:
        return ""
    try:
        return next((line.strip() for line in Path(settings.webhook_token_file).read_text().splitlines() if line.strip()), "")
    except OSError as exc:
        raise ConfigError(f"WEBHOOK_TOKEN_FILE is {settings.webhook_token_file!r}: {exc.strerror}.") from exc
