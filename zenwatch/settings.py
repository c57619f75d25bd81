"""Every setting: its environment variable, default, range and meaning. Read once at start-up; the first wrong one ends the process."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.fields import FieldInfo

from zenwatch.errors import ConfigError
from zenwatch.model.finding import Severity

_UNIT_SECS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
# What the API server accepts as a label value (at most 63) and as a namespace's name.
_LABEL_VALUE = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
_NAMESPACE = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_NAMESPACE_OR_NONE = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"


def seconds_of(duration: str) -> float:
    """45s, 2m, 1h30m, 500ms: the forms that Go and Kubernetes write. Raises ValueError."""
    if not _DURATION.fullmatch(duration.strip()):
        raise ValueError(f"not a duration: {duration!r}")
    return sum(float(number) * _UNIT_SECS[unit] for number, unit in _DURATION_PART.findall(duration))


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


def _setting(variable: str, default: Any, accepts: str, meaning: str, **limits: Any) -> Any:
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

    cluster_id: str = _setting(
        "CLUSTER_ID",
        "local",
        "a label value: at most 63 letters, digits, '-', '_' or '.'",
        "Which cluster the findings come from. Part of every record and every key: changing it makes every finding new.",
        pattern=_LABEL_VALUE,
    )
    own_namespace: str = _setting(
        "POD_NAMESPACE",
        "zenwatch",
        "the name of a namespace",
        "zenwatch's own namespace, for records whose resource has none. In a pod the default is the pod's.",
        pattern=_NAMESPACE,
    )
    watch_namespaces: Namespaces = _setting(
        "WATCH_NAMESPACE",
        "",
        "names of namespaces, separated by commas; empty for all",
        "Read only there. Roles in these namespaces and in zenwatch's own are then enough; kinds of the whole cluster are not read.",
    )
    watch_interval_secs: Duration = _setting(
        "WATCH_INTERVAL", "30s", "a duration such as 45s or 2m, from 100ms to 24h", "Time between two rounds.", ge=0.1, le=86_400
    )
    behavior_mode: Annotated[Literal["normal", "conservative", "aggressive"], BeforeValidator(_lower)] = _setting(
        "BEHAVIOR_MODE",
        "normal",
        "one of normal, conservative, aggressive",
        "conservative: interval x 4, write concurrency and API rate a quarter. aggressive: interval / 3.",
    )
    round_timeout_secs: Duration = _setting(
        "ROUND_TIMEOUT",
        "5m",
        "a duration such as 5m, from 1s to 24h",
        "The longest that a round of one watcher may take; what is not done by then is taken up by its next round.",
        ge=1,
        le=86_400,
    )
    write_concurrency: int = _setting(
        "WRITE_CONCURRENCY", "16", "a whole number from 1 to 256", "Writes to the API server at the same time.", ge=1, le=256
    )
    api_rate: int = _setting(
        "API_RATE", "2000", "a whole number from 1 to 100000", "The most requests to the API server per second.", ge=1, le=100_000
    )
    api_timeout_secs: Duration = _setting(
        "API_TIMEOUT", "30s", "a duration such as 10s, from 1s to 10m", "The longest that one API request may take.", ge=1, le=600
    )
    shutdown_timeout_secs: Duration = _setting(
        "SHUTDOWN_TIMEOUT",
        "20s",
        "a duration such as 20s, from 0s to 10m; in a pod less than terminationGracePeriodSeconds",
        "How long writes in flight may take after SIGTERM or SIGINT.",
        ge=0,
        le=600,
    )
    dedup_window_secs: WindowOrAll = _setting(
        "DEDUP_WINDOW",
        "",
        "a duration such as 24h; empty for all stored records",
        "After which time a repeat counts as new. No effect yet: all stored records count, the specification's default.",
    )
    falco_buffer_events: int = _setting(
        "FALCO_BUFFER_SIZE",
        "100",
        "a whole number from 1 to 1000000",
        "Falco alerts that wait to be stored. No effect yet: Falco is not read.",
        ge=1,
        le=1_000_000,
    )
    audit_buffer_events: int = _setting(
        "AUDIT_BUFFER_SIZE",
        "200",
        "a whole number from 1 to 1000000",
        "Audit events that wait to be stored. No effect yet: audit events are not read.",
        ge=1,
        le=1_000_000,
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = _setting(
        "LOG_LEVEL", "info", "one of debug, info, warning, error", "The least important log lines that are written."
    )
    log_format: Annotated[Literal["auto", "json", "text"], BeforeValidator(_lower)] = _setting(
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

    enabled: Annotated[bool, BeforeValidator(_lower)] = _setting(
        "ENABLED", "true", "true or false", "Whether what this tool says is read at all."
    )
    min_severity: Annotated[Severity, BeforeValidator(_upper)] = _setting(
        "MIN_SEVERITY",
        "INFO",
        "one of CRITICAL, HIGH, MEDIUM, LOW, INFO",
        "Findings of this tool below this severity are counted as filtered and not stored.",
    )
    namespace: str = _setting(
        "NAMESPACE",
        "",
        "the name of a namespace",
        "Where the tool runs; only to tell whether it is there. Its reports are found wherever they are.",
        pattern=_NAMESPACE_OR_NONE,
    )


# Specification 003 names them, so manifests may set them; what they steer does not exist yet.
NO_EFFECT_YET = ("DEDUP_WINDOW", "FALCO_BUFFER_SIZE", "AUDIT_BUFFER_SIZE")


def watcher_prefix(name: str) -> str:
    """kube-bench: KUBE_BENCH_."""
    return f"{name.upper().replace('-', '_')}_"


def accepted(field: FieldInfo) -> str:
    """What a setting accepts, in words."""
    extra = field.json_schema_extra
    return str(extra["accepts"]) if isinstance(extra, dict) else ""
