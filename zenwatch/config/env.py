"""Read settings from environment variables. A component declares its own in a subclass of EnvSettings, beside itself.

The classes are plain dataclasses. Only config/validate.py imports pydantic, which costs 9 MB of memory: `zenwatch run` validates in a
process of its own.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Annotated, Any, Self, dataclass_transform, get_type_hints

from zenwatch.config.validate import Declared, validated

_UNIT_SECS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_BYTES = {"": 1, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_SIZE = re.compile(r"(\d{1,15})(Ki|Mi|Gi|)")
# What the API server accepts as a label value (at most 63) and as a namespace's name.
LABEL_VALUE = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
NAMESPACE = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
NAMESPACE_OR_NONE = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"


def seconds_of(duration: str) -> float:
    """45s, 2m, 1h30m, 500ms: the forms that Go and Kubernetes write. Raises ValueError."""
    if not _DURATION.fullmatch(duration.strip()):
        raise ValueError(f"not a duration: {duration!r}")
    return sum(float(number) * _UNIT_SECS[unit] for number, unit in _DURATION_PART.findall(duration))


def bytes_of(size: str) -> int:
    """512Ki, 16Mi, 2Gi or plain bytes, as Kubernetes writes quantities. Raises ValueError."""
    if not (match := _SIZE.fullmatch(size.strip())):
        raise ValueError(f"not a size: {size!r}")
    return int(match[1]) * _UNIT_BYTES[match[2]]


def upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _duration(value: object) -> object:
    return seconds_of(value) if isinstance(value, str) else value


def _namespaces(value: object) -> object:
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip())) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Converted:
    """In Annotated: what turns a setting's text into its value before pydantic validates it. ValueError: the text is not accepted."""

    convert: Callable[[object], object]

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415  only the validating process has it

        return core_schema.no_info_before_validator_function(self.convert, handler(source))


@dataclass(frozen=True, slots=True)
class Matching:
    """In Annotated: the pattern that a text matches."""

    pattern: str

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415  only the validating process has it

        return core_schema.str_schema(pattern=self.pattern)


Namespaces = Annotated[tuple[Annotated[str, Matching(NAMESPACE)], ...], Converted(_namespaces)]


def _window(value: object) -> object:
    return None if value == "" else _duration(value)


WindowOrAll = Annotated[float | None, Converted(_window)]
Duration = Annotated[float, Converted(_duration)]


def _bytes(value: object) -> object:
    return bytes_of(value) if isinstance(value, str) else value


Bytes = Annotated[int, Converted(_bytes)]
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


def address_of(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    match = _ADDRESS.fullmatch(value.strip())
    if not match or int(match[2]) > 65_535:
        raise ValueError(f"not an address: {value!r}")
    return Address(match[1].strip("[]"), int(match[2]))


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable. accepts, meaning: for a person. limits: of pydantic's Field, such as ge and le."""

    variable: str
    default: Any
    accepts: str
    meaning: str
    limits: Mapping[str, Any]


def setting(variable: str, default: Any, accepts: str, meaning: str, **limits: Any) -> Any:
    """Declare a field of an EnvSettings. variable: without the watcher's prefix. default: as a person would write it."""
    return field(default=default, metadata={"setting": Setting(variable, default, accepts, meaning, limits)})


def setting_of(declared: "Field[Any]") -> Setting:
    found: Setting = declared.metadata["setting"]
    return found


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting,))
@dataclass(frozen=True, kw_only=True)
class EnvSettings:
    """Settings of one component. Field names carry the unit, variables have the name that users know."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def variables(cls, prefix: str = "") -> dict[str, Setting]:
        """By variable, with the prefix."""
        found = (setting_of(declared) for declared in fields(cls))
        return {f"{prefix}{each.variable}": each for each in found}

    @classmethod
    def read(cls, environment: Mapping[str, str], *, prefix: str = "", defaults: Mapping[str, Any] | None = None) -> Self:
        """Unset and empty variables mean the default. ConfigError: one line per wrong variable, each with what is accepted."""
        given = {variable: environment[variable] for variable in cls.variables(prefix) if environment.get(variable, "").strip()}
        return cls(**validated(cls._declared(prefix), dict(defaults or {}) | given))

    @classmethod
    def _declared(cls, prefix: str) -> list[Declared]:
        types = get_type_hints(cls, include_extras=True)
        by_field = {each.name: setting_of(each) for each in fields(cls)}
        return [
            Declared(name, f"{prefix}{each.variable}", types[name], each.default, each.accepts, each.limits)
            for name, each in by_field.items()
        ]

    def with_changes(self, **changes: Any) -> Self:
        return replace(self, **changes)
