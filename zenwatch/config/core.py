"""Every setting: its environment variable, default, range and meaning. Read once at start-up; the first wrong one ends the process."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from zenwatch.errors import ConfigError
from zenwatch.model.finding import Severity

_UNIT_SECS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_BYTES = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_SIZE = re.compile(r"(\d{1,15})(Ki|Mi|Gi|)")
# What the API server accepts as a label value (at most 63) and as a namespace's name.
_LABEL_VALUE = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
_NAMESPACE = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAMESPACE_OR_NONE = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"


def seconds_of(duration: str) -> float:
    """45s, 2m, 1h30m, 500ms: the forms that Go and Kubernetes write. Raises ValueError."""
    if not _DURATION.fullmatch(duration.strip()):
        raise ValueError(f"not a duration: {duration!r}")
    return sum(float(number) * _UNIT_SECS[unit] for number, unit in _DURATION_PART.findall(duration))


def bytes_of(size: str) -> int:
    """512Ki, 16Mi, 2Gi or plain bytes, as Kubernetes writes quantities. Raises ValueError."""
    if not (said := _SIZE.fullmatch(size.strip())):
        raise ValueError(f"not a size: {size!r}")
    return int(said[1]) * _UNIT_BYTES[said[2]]


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _duration(value: object) -> object:
    return seconds_of(value) if isinstance(value, str) else value


def _namespaces(value: object) -> object:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip())) if isinstance(value, str) else value


Namespaces = Annotated[tuple[Annotated[str, StringConstraints(pattern=_NAMESPACE)], ...], BeforeValidator(_namespaces)]


def _window(value: object) -> object:
    return None if value == "" else _duration(value)


WindowOrAll = Annotated[float | None, BeforeValidator(_window)]
Duration = Annotated[float, BeforeValidator(_duration)]


def _bytes(value: object) -> object:
    return bytes_of(value) if isinstance(value, str) else value


Bytes = Annotated[int, BeforeValidator(_bytes)]
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9.-]*):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """host empty: all addresses. port 0: a free one, which the log tells."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or self.host.startswith("127.") or self.host == "::1"


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    said = _ADDRESS.fullmatch(value.strip())
    if not said or int(said[2]) > 65_535:
        raise ValueError(f"not an address: {value!r}")
    return Address(said[1].strip("[]"), int(said[2]))


def setting(variable: str, default: Any, accepts: str, meaning: str, **limits: Any) -> Any:
    return Field(default, alias=variable, description=meaning, json_schema_extra={"accepts": accepts}, **limits)


class Described(BaseModel):
    """Settings that know their environment variables. Field names carry the unit, variables the name that users know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def variables(cls, prefix: str = "") -> dict[str, FieldInfo]:
        return {f"{prefix}{field.alias}": field for field in cls.model_fields.values()}

    @classmethod
    def read(cls, environment: Mapping[str, str], *, prefix: str = "", defaults: Mapping[str, Any] | None = None) -> Self:
        """Unset and empty variables mean the default. ConfigError: one line per wrong variable, each with what is accepted."""
        variables = cls.variables(prefix)
        given = {variable: environment[variable] for variable in variables if environment.get(variable, "").strip()}
        values = {variable: field.default for variable, field in variables.items()} | dict(defaults or {}) | given
        try:
            return cls.model_validate({variable.removeprefix(prefix): value for variable, value in values.items()})
        except ValidationError as exc:
            wrong = {f"{prefix}{error['loc'][0]}" for error in exc.errors()}
            sentences = [f"{name} is {values[name]!r}; expected {accepted(variables[name])}." for name in variables if name in wrong]
            raise ConfigError("\n".join(sentences)) from exc


class Settings(Described):
    """What is the same for all watchers."""

    cluster_id: str = setting(
        "CLUSTER_ID",
        "local",
        "a label value: at most 63 letters, digits, '-', '_' or '.'",
        "Which cluster the findings come from. Part of every record and every key: changing it makes every finding new.",
        pattern=_LABEL_VALUE,
    )
    own_namespace: str = setting(
        "POD_NAMESPACE",
        "zenwatch",
        "the name of a namespace",
        "zenwatch's own namespace, for records whose resource has none. In a pod the default is the pod's.",
        pattern=_NAMESPACE,
    )
    watch_namespaces: Namespaces = setting(
        "WATCH_NAMESPACE",
        "",
        "names of namespaces, separated by commas; empty for all",
        "Read only there. Roles in these namespaces and in zenwatch's own are then enough; kinds of the whole cluster are not read.",
    )
    watch_interval_secs: Duration = setting(
        "WATCH_INTERVAL", "30s", "a duration such as 45s or 2m, from 100ms to 24h", "Time between two rounds.", ge=0.1, le=86_400
    )
    behavior_mode: Annotated[Literal["normal", "conservative", "aggressive"], BeforeValidator(_lower)] = setting(
        "BEHAVIOR_MODE",
        "normal",
        "one of normal, conservative, aggressive",
        "conservative: interval x 4, write concurrency and API rate a quarter. aggressive: interval / 3.",
    )
    round_timeout_secs: Duration = setting(
        "ROUND_TIMEOUT",
        "5m",
        "a duration such as 5m, from 1s to 24h",
        "The longest that a round of one watcher may take; what is not done by then is taken up by its next round.",
        ge=1,
        le=86_400,
    )
    write_concurrency: int = setting(
        "WRITE_CONCURRENCY", "16", "a whole number from 1 to 256", "Writes to the API server at the same time.", ge=1, le=256
    )
    api_rate: int = setting(
        "API_RATE", "2000", "a whole number from 1 to 100000", "The most requests to the API server per second.", ge=1, le=100_000
    )
    api_timeout_secs: Duration = setting(
        "API_TIMEOUT", "30s", "a duration such as 10s, from 1s to 10m", "The longest that one API request may take.", ge=1, le=600
    )
    shutdown_timeout_secs: Duration = setting(
        "SHUTDOWN_TIMEOUT",
        "20s",
        "a duration such as 20s, from 0s to 10m; in a pod less than terminationGracePeriodSeconds",
        "How long writes in flight may take after SIGTERM or SIGINT.",
        ge=0,
        le=600,
    )
    listen: Annotated[Address | None, BeforeValidator(_address)] = setting(
        "LISTEN",
        "",
        "an address such as :8080, 127.0.0.1:8080 or [::1]:8080",
        "Where webhooks, /healthz, /readyz and /metrics are served. Default: :8080 in a pod, 127.0.0.1:8080 outside.",
    )
    webhook_auth: Annotated[Literal["required", "none"], BeforeValidator(_lower)] = setting(
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
    metrics_auth: Annotated[Literal["required", "none"], BeforeValidator(_lower)] = setting(
        "METRICS_AUTH",
        "required",
        "required or none",
        "required: /metrics asks for what the webhooks ask for. none: it is open.",
    )
    webhook_timeout_secs: Duration = setting(
        "WEBHOOK_TIMEOUT",
        "20s",
        "a duration such as 20s, from 100ms to 10m",
        "The longest that a sender may take for one request.",
        ge=0.1,
        le=600,
    )
    spool_dir: str = setting(
        "SPOOL_DIR",
        "",
        "the path of a folder; empty for none",
        "Pushed events are synced to disk there before they are acknowledged, and kept until they are stored. Empty: in memory only.",
    )
    spool_max_bytes: Bytes = setting(
        "SPOOL_MAX_BYTES",
        "512Mi",
        "a size such as 512Mi or 4Gi, from 1Mi to 1024Gi",
        "How many bytes of events the spool takes. A full one answers as a full buffer does.",
        ge=1024**2,
        le=1024**4,
    )
    coalesce_window_secs: Duration = setting(
        "COALESCE_WINDOW",
        "5s",
        "a duration such as 5s, from 0s to 10m",
        "After a write of a pushed record, how long its next sightings are collected before the next one.",
        ge=0,
        le=600,
    )
    dedup_window_secs: WindowOrAll = setting(
        "DEDUP_WINDOW",
        "",
        "a duration such as 24h; empty for all stored records",
        "A pushed event that repeats after that time without a sighting counts as reopened. Empty: it is one more sighting, however late.",
    )
    event_ttl_secs: WindowOrAll = setting(
        "EVENT_TTL",
        "168h",
        "a duration such as 168h; 0s for ever",
        "How long after their last sighting resolved records, and those of Falco and audit, are kept. A record may say its own: "
        "annotation zen.kube-zen.io/ttl.",
    )
    gc_rate: int = setting("GC_RATE", "20", "a whole number from 1 to 1000", "The most records that are deleted per second.", ge=1, le=1000)
    record_budget: int = setting(
        "RECORD_BUDGET",
        "20000",
        "a whole number from 10 to 10000000",
        "How many records may be stored. Beyond, the findings with the lowest scores are rolled up into one record per resource and tool; "
        "CRITICAL ones are stored all the same.",
        ge=10,
        le=10_000_000,
    )
    record_budget_bytes: Bytes = setting(
        "RECORD_BUDGET_BYTES",
        "200Mi",
        "a size such as 200Mi or 2Gi, from 1Mi to 1024Gi",
        "How many bytes of records may be stored, as JSON; beyond as RECORD_BUDGET.",
        ge=1024**2,
        le=1024**4,
    )
    resolve_grace_secs: Duration = setting(
        "RESOLVE_GRACE",
        "10m",
        "a duration such as 10m, from 0s to 24h",
        "How long a report may be gone before its findings are resolved: the Trivy Operator deletes each once a day and writes it again.",
        ge=0,
        le=86_400,
    )
    group_by_owner: Annotated[bool, BeforeValidator(_lower)] = setting(
        "GROUP_BY_OWNER",
        "true",
        "true or false",
        "true: findings of a Pod or ReplicaSet are those of the Deployment, StatefulSet, DaemonSet, CronJob or Job that owns it, and "
        "Kyverno's autogen rules are the rule itself. false: as the tool reports them.",
    )
    emit_events: Annotated[bool, BeforeValidator(_lower)] = setting(
        "EMIT_EVENTS",
        "false",
        "true or false",
        "true: a new CRITICAL finding is also a Kubernetes Event of its resource (kubectl describe). Needs deployments/events.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = setting(
        "LOG_LEVEL", "info", "one of debug, info, warning, error", "The least important log lines that are written."
    )
    log_format: Annotated[Literal["auto", "json", "text"], BeforeValidator(_lower)] = setting(
        "LOG_FORMAT", "auto", "one of auto, json, text", "auto: readable text on a terminal, JSON lines elsewhere."
    )

    def paced(self) -> "Settings":
        """As BEHAVIOR_MODE has it (specification 003: conservative where the API server is short of breath)."""
        match self.behavior_mode:
            case "conservative":
                slower = {"write_concurrency": max(1, self.write_concurrency // 4), "api_rate": max(1, self.api_rate // 4)}
                return self.model_copy(update={"watch_interval_secs": self.watch_interval_secs * 4, **slower})
            case "aggressive":
                return self.model_copy(update={"watch_interval_secs": self.watch_interval_secs / 3})
            case _:
                return self


class WatcherSettings(Described):
    """What every watcher has of its own; the variables begin with its name."""

    enabled: Annotated[bool, BeforeValidator(_lower)] = setting(
        "ENABLED", "true", "true or false", "Whether what this tool says is read at all."
    )
    min_severity: Annotated[Severity, BeforeValidator(_upper)] = setting(
        "MIN_SEVERITY",
        "INFO",
        "one of CRITICAL, HIGH, MEDIUM, LOW, INFO",
        "Findings of this tool below this severity are counted as filtered and not stored.",
    )
    namespace: str = setting(
        "NAMESPACE",
        "",
        "the name of a namespace",
        "Where the tool runs; only to tell whether it is there. Its reports are found wherever they are.",
        pattern=_NAMESPACE_OR_NONE,
    )
    silence_after_secs: Duration = setting(
        "SILENCE_AFTER",
        "26h",
        "a duration such as 26h, from 1s to 8760h",
        "An installed tool that said nothing for so long, and for far longer than it usually does, is reported as silent.",
        ge=1,
        le=31_536_000,
    )


class PushSettings(WatcherSettings):
    """What every watcher whose tool posts to us has of its own besides."""

    buffer_events: int = setting(
        "BUFFER_SIZE",
        "100",
        "a whole number from 1 to 1000000",
        "Events that passed the filter and wait to be stored. When it is full, a sender that retries is asked to; another's are lost.",
        ge=1,
        le=1_000_000,
    )
    max_body_bytes: Bytes = setting(
        "MAX_BODY",
        "1Mi",
        "a size such as 512Ki or 16Mi, from 1Ki to 256Mi",
        "The largest body that is taken, after unpacking.",
        ge=1024,
        le=256 * 1024 * 1024,
    )
    resolve_after_secs: Duration = setting(
        "RESOLVE_AFTER",
        "24h",
        "a duration such as 24h, from 1s to 8760h",
        "After so long without another sighting a record of this tool is resolved, with the reason NotSeenAgain.",
        ge=1,
        le=31_536_000,
    )


def watcher_prefix(name: str) -> str:
    """kube-bench: KUBE_BENCH_."""
    return f"{name.upper().replace('-', '_')}_"


def accepted(field: FieldInfo) -> str:
    """What a setting accepts, in words."""
    extra = field.json_schema_extra
    return str(extra["accepts"]) if isinstance(extra, dict) else ""
