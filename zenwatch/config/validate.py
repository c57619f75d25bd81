"""Validate settings with pydantic, in a process of its own where its memory must not stay."""

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from zenwatch.errors import ConfigError

Result = TypeVar("Result")


class Declared(NamedTuple):
    """One field of a class of settings. type: with its Annotated parts. accepts: for a person. limits: of pydantic's Field, such as ge."""

    field: str
    variable: str
    type: Any
    default: Any
    accepts: str
    limits: Mapping[str, Any]


def validated(declared: Sequence[Declared], given: Mapping[str, Any]) -> dict[str, Any]:
    """given: values by variable; the rest have their defaults. Return values by field. ConfigError: one line per wrong variable."""
    from pydantic import ValidationError  # noqa: PLC0415  9 MB that only the validating process pays

    values = {each.variable: given.get(each.variable, each.default) for each in declared}
    try:
        model = _model(declared).model_validate(values)
    except ValidationError as exc:
        wrong = {error["loc"][0] for error in exc.errors()}
        sentences = [
            f"{each.variable} is {values[each.variable]!r}; expected {each.accepts}." for each in declared if each.variable in wrong
        ]
        raise ConfigError("\n".join(sentences)) from exc
    return {each.field: getattr(model, each.field) for each in declared}


def _model(declared: Sequence[Declared]) -> Any:
    from pydantic import Field, create_model  # noqa: PLC0415

    parts = {each.field: (each.type, Field(alias=each.variable, **each.limits)) for each in declared}
    return create_model("Settings", **parts)  # type: ignore[call-overload]


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
