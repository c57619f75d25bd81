"""What starts and stops, and starts again."""

from enum import StrEnum
from typing import Protocol


class Group(StrEnum):
    """When a component runs.

    ALWAYS: in every process. LEADER: in the process that leads. ROLE: in a process that was given this role.
    """

    ALWAYS = "always"
    LEADER = "leader"
    ROLE = "role"


class Component(Protocol):
    """It owns tasks, connections or files. Its constructor starts and registers nothing."""

    @property
    def group(self) -> Group: ...

    async def start(self) -> None:
        """Begin to work. May be called again after stop()."""
        ...

    async def stop(self) -> None:
        """End the work and return when it has ended. What is not finished is taken up by the next start()."""
        ...
