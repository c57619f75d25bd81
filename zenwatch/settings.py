"""Every setting: its environment variable, default, range and meaning. Read once at start-up; the first wrong one ends the process."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from zenwatch.errors import ConfigError
from zenwatch.model.finding import Severity

_UNIT_SECS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
# What the API server accepts as a label value (at most 63) and as a namespace's name.
_LABEL_VALUE = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
_NAMESPACE = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


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


Duration = Annotated[float, BeforeValidator(_duration)]


def _setting(variable: str, default: Any, accepts: str, meaning: str, **limits: Any) -> Any:
    return Field(default, alias=variable, description=meaning, json_schema_extra={"accepts": accepts}, **limits)


class Settings(BaseModel):
    """Field names carry the unit, environment variables the name that users know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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
    watch_interval_secs: Duration = _setting(
        "WATCH_INTERVAL", "30s", "a duration such as 45s or 2m, from 100ms to 24h", "Time between two rounds.", ge=0.1, le=86_400
    )
    trivy_min_severity: Annotated[Severity, BeforeValidator(_upper)] = _setting(
        "TRIVY_MIN_SEVERITY",
        "HIGH",
        "one of CRITICAL, HIGH, MEDIUM, LOW, INFO",
        "Findings of Trivy below this severity are counted as filtered and not stored.",
    )
    write_concurrency: int = _setting(
        "WRITE_CONCURRENCY", "16", "a whole number from 1 to 256", "Writes to the API server at the same time.", ge=1, le=256
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
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = _setting(
        "LOG_LEVEL", "info", "one of debug, info, warning, error", "The least important log lines that are written."
    )
    log_format: Annotated[Literal["auto", "json", "text"], BeforeValidator(_lower)] = _setting(
        "LOG_FORMAT", "auto", "one of auto, json, text", "auto: readable text on a terminal, JSON lines elsewhere."
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Unset and empty variables mean the default. ConfigError: one line per wrong variable, each with what is accepted."""
        given = {variable: environment[variable] for variable in VARIABLES if environment.get(variable, "").strip()}
        defaults = {variable: field.default for variable, field in VARIABLES.items()}
        try:
            return cls.model_validate(defaults | given)
        except ValidationError as exc:
            wrong = {str(error["loc"][0]) for error in exc.errors()}
            sentences = [f"{name} is {given[name]!r}; expected {accepted(VARIABLES[name])}." for name in VARIABLES if name in wrong]
            raise ConfigError("\n".join(sentences)) from exc


VARIABLES: dict[str, FieldInfo] = {str(field.alias): field for field in Settings.model_fields.values()}


def accepted(field: FieldInfo) -> str:
    """What a setting accepts, in words."""
    extra = field.json_schema_extra
    return str(extra["accepts"]) if isinstance(extra, dict) else ""
