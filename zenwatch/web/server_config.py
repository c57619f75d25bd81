"""Who may come in where, from the settings.

In: settings, and whether this is a pod.  Out: Doors for the server, and the certificate that has to be watched.
Owns: nothing.
Stops: nothing to stop.
"""

from dataclasses import dataclass

import structlog

from zenwatch.config.env import Address
from zenwatch.contract import Clock
from zenwatch.errors import ConfigError
from zenwatch.runtime.settings import Settings
from zenwatch.web.auth import Authenticator, TokenFile
from zenwatch.web.tls import Certificate

log = structlog.get_logger(component="doors")

PORT = 8080


@dataclass(frozen=True)
class ServerConfig:
    """hooks, metrics: who may post, who may read. certificate: None for plain HTTP."""

    address: Address
    hooks: Authenticator
    metrics: Authenticator
    timeout_secs: float
    certificate: Certificate | None = None


def server_config(settings: Settings, *, is_in_pod: bool, clock: Clock) -> ServerConfig:
    """ConfigError: a file cannot be used, settings contradict each other, or anybody who reaches the port could post."""
    address = settings.listen or Address("" if is_in_pod else "127.0.0.1", PORT)
    certificate = _certificate_of(settings, clock)
    tokens = TokenFile(settings.webhook_token_file) if settings.webhook_token_file else None
    is_guarded = tokens is not None or bool(settings.tls_client_ca_file)
    is_private = address.is_loopback and not is_in_pod
    is_open = settings.webhook_auth == "none" or (is_private and not is_guarded)
    if not (is_open or is_guarded):
        raise ConfigError(
            f"Whoever reaches {address} could post to the webhooks. Set WEBHOOK_TOKEN_FILE, or TLS_CLIENT_CA_FILE with TLS_CERT_FILE and "
            "TLS_KEY_FILE; or WEBHOOK_AUTH=none if that is what you want."
        )
    if is_open and not is_private:
        log.warning("webhooks_open", reason="WEBHOOK_AUTH=none: whoever reaches the port may post, and read /metrics", address=str(address))
    return ServerConfig(
        address,
        hooks=Authenticator(tokens, is_open=is_open),
        metrics=Authenticator(tokens, is_open=is_open or settings.metrics_auth == "none"),
        timeout_secs=settings.webhook_timeout_secs,
        certificate=certificate,
    )


def _certificate_of(settings: Settings, clock: Clock) -> Certificate | None:
    cert_file, key_file, ca_file = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    if bool(cert_file) != bool(key_file):
        lacking, given = ("TLS_KEY_FILE", "TLS_CERT_FILE") if cert_file else ("TLS_CERT_FILE", "TLS_KEY_FILE")
        raise ConfigError(f"{lacking} is empty; expected the path of a PEM file, since {given} is set.")
    if ca_file and not cert_file:
        raise ConfigError("TLS_CERT_FILE is empty; expected the path of a PEM file, since TLS_CLIENT_CA_FILE is set.")
    return Certificate(cert_file, key_file, ca_file, clock=clock) if cert_file else None
