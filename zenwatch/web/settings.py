"""Settings of the HTTP server."""

from typing import Annotated, Literal

from zenwatch.config.env import Address, Converted, Duration, EnvSettings, Matching, address_of, lower, setting

_HOST_NAME = r"^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$"


def _host_names(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(dict.fromkeys(part.strip().lower().removesuffix(".") for part in value.split(",") if part.strip()))


class WebSettings(EnvSettings):
    """Where the server listens, and who may ask it what."""

    listen: Annotated[Address | None, Converted(address_of)] = setting(
        "LISTEN",
        "",
        "an address such as :8080, 127.0.0.1:8080 or [::1]:8080",
        "Where webhooks, /healthz, /readyz and /metrics are served. Default: :8080 in a pod, 127.0.0.1:8080 outside.",
    )
    webhook_auth: Annotated[Literal["required", "none"], Converted(lower)] = setting(
        "WEBHOOK_AUTH",
        "required",
        "required or none",
        "required: a token or a client certificate; on loopback outside a pod only if one is configured. none: whoever reaches the "
        "port may post, and read /metrics.",
    )
    webhook_token_file: str = setting(
        "WEBHOOK_TOKEN_FILE",
        "",
        "the path of a file",
        "Tokens that may post, one per line: as bearer token or basic password; for Falco also as last segment of the path. Read again "
        "when it changes.",
    )
    tls_cert_file: str = setting(
        "TLS_CERT_FILE", "", "the path of a PEM file", "The server's certificate chain. With TLS_KEY_FILE: HTTPS. Read again on change."
    )
    tls_key_file: str = setting("TLS_KEY_FILE", "", "the path of a PEM file", "The key of TLS_CERT_FILE.")
    tls_client_ca_file: str = setting(
        "TLS_CLIENT_CA_FILE",
        "",
        "the path of a PEM file",
        "Who shows a certificate of these authorities may post, without a token. Needs TLS_CERT_FILE.",
    )
    metrics_auth: Annotated[Literal["required", "none"], Converted(lower)] = setting(
        "METRICS_AUTH",
        "required",
        "required or none",
        "required: /metrics asks for what the webhooks ask for. none: it is open.",
    )
    allowed_hosts: Annotated[tuple[Annotated[str, Matching(_HOST_NAME)], ...], Converted(_host_names)] = setting(
        "ALLOWED_HOSTS",
        "",
        "host names without a port, separated by commas",
        "Further names under which zenwatch is reached. On loopback, or where no token is asked for, a Host that is neither an address nor "
        "localhost nor one of these is refused (in a pod also names such as zenwatch.zenwatch.svc are taken); an Origin of another site "
        "is refused always.",
    )
    headers_timeout_secs: Duration = setting(
        "HEADERS_TIMEOUT",
        "10s",
        "a duration such as 10s, from 100ms to 10m",
        "How long the headers of a request may take from its first byte, and a TLS handshake.",
        ge=0.1,
        le=600,
    )
    idle_timeout_secs: Duration = setting(
        "IDLE_TIMEOUT",
        "2m",
        "a duration such as 2m, from 100ms to 24h",
        "How long a connection may stay open without a request. Longer than the API server's 90s, so that it is the one that closes.",
        ge=0.1,
        le=86_400,
    )
    max_connections: int = setting(
        "MAX_CONNECTIONS",
        512,
        "a whole number from 1 to 100000",
        "Connections at the same time, fewer where RLIMIT_NOFILE is low. A further one closes the one that has waited longest; where all "
        "have a request in progress, only probes are answered.",
        ge=1,
        le=100_000,
    )
    max_connections_per_address: int = setting(
        "MAX_CONNECTIONS_PER_ADDRESS",
        256,
        "a whole number from 1 to 100000",
        "Connections from one address at the same time.",
        ge=1,
        le=100_000,
    )
    webhook_timeout_secs: Duration = setting(
        "WEBHOOK_TIMEOUT",
        "20s",
        "a duration such as 20s, from 100ms to 10m",
        "The longest that a sender may take for one request.",
        ge=0.1,
        le=600,
    )
