"""How the server listens and who may ask it what, from the settings."""

from dataclasses import dataclass

import structlog

from zenwatch.config.env import Address
from zenwatch.contract import Clock
from zenwatch.contract.principal import ALL_ROLES, Role
from zenwatch.errors import ConfigError
from zenwatch.web.auth import Authenticator, Grants, TokenFile
from zenwatch.web.connections import ConnectionLimits
from zenwatch.web.own_site import OwnSite
from zenwatch.web.settings import WebSettings
from zenwatch.web.tls import Certificate

log = structlog.get_logger(component="web")

PORT = 8080


@dataclass(frozen=True)
class ServerConfig:
    """body_timeout_secs: how long the body of a request may take. certificate: None for plain HTTP."""

    address: Address
    authenticator: Authenticator
    own_site: OwnSite
    body_timeout_secs: float
    limits: ConnectionLimits
    certificate: Certificate | None = None


def server_config(settings: WebSettings, *, is_in_pod: bool, clock: Clock) -> ServerConfig:
    """ConfigError: a file cannot be used, settings contradict each other, or anybody who reaches the port could post."""
    address = settings.listen or Address("" if is_in_pod else "127.0.0.1", PORT)
    certificate = _certificate_of(settings, clock)
    tokens = TokenFile(settings.webhook_token_file) if settings.webhook_token_file else None
    has_credentials = tokens is not None or bool(settings.tls_client_ca_file)
    is_private = address.is_loopback and not is_in_pod
    is_open = settings.webhook_auth == "none" or (is_private and not has_credentials)
    if not (is_open or has_credentials):
        raise ConfigError(
            f"Whoever reaches {address} could post to the webhooks. Set WEBHOOK_TOKEN_FILE, or TLS_CLIENT_CA_FILE with TLS_CERT_FILE and "
            "TLS_KEY_FILE; or WEBHOOK_AUTH=none if that is what you want."
        )
    if is_open and not is_private:
        log.warning("webhooks_open", reason="WEBHOOK_AUTH=none: whoever reaches the port may post, and read /metrics", address=str(address))
    grants = _grants(is_open=is_open, is_metrics_open=settings.metrics_auth == "none")
    authenticator = Authenticator(tokens, grants)
    own_site = OwnSite(
        settings.allowed_hosts,
        authenticator,
        # With TLS the certificate does it: a browser ends the connection under a name that it does not have.
        checks_names=certificate is None and (is_private or bool(grants.anonymous)),
        is_in_pod=is_in_pod,
        bound=address.host,
    )
    return ServerConfig(address, authenticator, own_site, settings.webhook_timeout_secs, _limits_of(settings), certificate)


def _limits_of(settings: WebSettings) -> ConnectionLimits:
    return ConnectionLimits(
        headers_secs=settings.headers_timeout_secs,
        idle_secs=settings.idle_timeout_secs,
        connections=settings.max_connections,
        of_one_address=settings.max_connections_per_address,
    )


def _grants(*, is_open: bool, is_metrics_open: bool) -> Grants:
    """Roles are granted only here. A setting for a token that may only post is read here."""
    to_everybody = frozenset({Role.READ_METRICS}) if is_metrics_open else frozenset()
    return Grants(token=ALL_ROLES, certificate=ALL_ROLES, anonymous=ALL_ROLES if is_open else to_everybody)


def _certificate_of(settings: WebSettings, clock: Clock) -> Certificate | None:
    cert_file, key_file, ca_file = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    if bool(cert_file) != bool(key_file):
        missing, given = ("TLS_KEY_FILE", "TLS_CERT_FILE") if cert_file else ("TLS_CERT_FILE", "TLS_KEY_FILE")
        raise ConfigError(f"{missing} is empty; expected the path of a PEM file, since {given} is set.")
    if ca_file and not cert_file:
        raise ConfigError("TLS_CERT_FILE is empty; expected the path of a PEM file, since TLS_CLIENT_CA_FILE is set.")
    return Certificate(cert_file, key_file, ca_file, clock=clock) if cert_file else None
