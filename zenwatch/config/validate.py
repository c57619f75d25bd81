"""Validate settings with pydantic, in a process of its own where its memory must not stay."""

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_type_hints

from zenwatch.config.env import EnvSettings, setting_of
from zenwatch.errors import ConfigError

Result = TypeVar("Result")


def validated(settings: type[EnvSettings], given: Mapping[str, Any], *, prefix: str) -> dict[str, Any]:
    """given: values by variable; the rest have their defaults. Return values by field. ConfigError: one line per wrong variable."""
    from pydantic import ValidationError  # noqa: PLC0415

    variables = settings.variables(prefix)
    values = {variable: each.default for variable, each in variables.items()} | dict(given)
    try:
        model = _model(settings).model_validate({variable.removeprefix(prefix): value for variable, value in values.items()})
    except ValidationError as exc:
        wrong = {f"{prefix}{error['loc'][0]}" for error in exc.errors()}
        sentences = [f"{name} is {values[name]!r}; expected {variables[name].accepts}." for name in variables if name in wrong]
        raise ConfigError("\n".join(sentences)) from exc
    return {name: getattr(model, name) for name in type(model).model_fields}


def _model(settings: type[EnvSettings]) -> Any:
    from pydantic import ConfigDict, Field, create_model  # noqa: PLC0415

    types = get_type_hints(settings, include_extras=True)
    declared = {each.name: setting_of(each) for each in fields(settings)}
    parts = {name: (types[name], Field(alias=each.variable, **each.limits)) for name, each in declared.items()}
    return create_model(settings.__name__, __config__=ConfigDict(extra="ignore"), **parts)  # type: ignore[call-overload]


def in_child_process(work: Callable[[], Result]) -> Result:
    """Run work() in a forked process, and return its result: what it imports goes with that process. ConfigError is passed on.

    Call it before any thread or event loop exists.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _work_and_exit(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        pickled = pipe.read()
    os.waitpid(child, 0)
    if not pickled:
        raise ConfigError("The settings could not be validated: the process that validates them ended.")
    result = pickle.loads(pickled)  # noqa: S301  our own child wrote it
    if isinstance(result, ConfigError):
        raise result
    return result  # type: ignore[no-any-return]


def _work_and_exit(work: Callable[[], Any], writer: int) -> None:
    status = 1
    try:
        try:
            result: Any = work()
        except ConfigError as exc:
            result = exc
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(result, pipe)
        status = 0
    finally:
        # Without the parent's clean-up: its files and handlers are not ours to close.
        os._exit(status)
