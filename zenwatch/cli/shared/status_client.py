"""The HTTP client with which a command asks the running zenwatch."""

import json
import ssl
import urllib.error
import urllib.request
from argparse import Namespace
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from zenwatch.doctor.process.status_api import StatusResponse
from zenwatch.errors import ConfigError, Transient, first_line
from zenwatch.wiring.settings import Settings

TIMEOUT_SECS = 10.0
MAX_BYTES = 16 * 1024 * 1024


def add_process_options(command: Any) -> None:
    command.add_argument("--url", help="where zenwatch listens (default: by LISTEN and TLS_CERT_FILE, on this machine)")
    command.add_argument("--ca-file", metavar="FILE", help="the authorities of its certificate (default: those of the system)")


class StatusClient:
    """doctor's StatusApi over HTTP."""

    def __init__(self, parsed: Namespace, settings: Settings) -> None:
        """ConfigError: --url is no address, or a file cannot be read."""
        self.is_named = bool(parsed.url)
        self.url = (parsed.url or _url_of(settings)).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"--url is {self.url!r}; expected an address such as http://127.0.0.1:8080.")
        self._token = _token_of(settings)
        self._tls = _tls_of(parsed.ca_file) if self.url.startswith("https:") else None

    @property
    def has_token(self) -> bool:
        return bool(self._token)

    def get_json(self, path: str, query: Mapping[str, str]) -> Any:
        """Blocks. Transient, with the reason, unless the response is 200 and JSON."""
        response = self.get(f"{path}?{urlencode(query, errors='replace')}")
        if response.status != 200:
            raise Transient(response.text[:300].strip())
        try:
            return json.loads(response.text)
        except ValueError as exc:
            raise Transient(first_line(exc)) from exc

    def get(self, path: str, *, with_token: bool = True) -> StatusResponse:
        """Blocks. Transient, with the reason, if there was no response at all."""
        request = urllib.request.Request(f"{self.url}{path}")  # noqa: S310  the user named it
        if with_token and self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            return self._send(request)
        except (OSError, ValueError, HTTPException) as exc:
            # urllib wraps the cause.
            cause = getattr(exc, "reason", exc)
            raise Transient(first_line(cause) if isinstance(cause, Exception) else str(cause)) from exc

    def _send(self, request: urllib.request.Request) -> StatusResponse:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECS, context=self._tls) as response:  # noqa: S310
                return _status_response(response.status, response)
        except urllib.error.HTTPError as exc:
            with exc:
                return _status_response(exc.code, exc)


def _status_response(status: int, response: Any) -> StatusResponse:
    text = response.read(MAX_BYTES).decode(errors="replace")
    try:
        return StatusResponse(status, text, parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC))
    except ValueError:
        return StatusResponse(status, text, None)


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
    """The first token of WEBHOOK_TOKEN_FILE; empty if there is none."""
    if not settings.webhook_token_file:
        return ""
    try:
        return next(
            (line.strip() for line in Path(settings.webhook_token_file).read_text(encoding="utf-8").splitlines() if line.strip()), ""
        )
    except OSError as exc:
        raise ConfigError(f"WEBHOOK_TOKEN_FILE is {settings.webhook_token_file!r}: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"WEBHOOK_TOKEN_FILE is {settings.webhook_token_file!r}: it is no text.") from exc
