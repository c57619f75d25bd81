"""Start components downstream first, stop them upstream first; a group of them alone where leadership or a role changes.

In: components, in the order of the flow: whoever is handed something comes before whoever hands it on.  Out: nothing.
Owns: which components run.
Stops: stop() stops all that run.
"""

from collections.abc import Awaitable, Callable, Collection

from zenwatch.contract import Component, Group
from zenwatch.runtime.supervise import Supervisor

ALL_GROUPS = frozenset(Group)


class Components:
    def __init__(self) -> None:
        self._components: list[Component] = []
        self._running: list[Component] = []

    def add(self, *components: Component | None) -> None:
        """None: the settings leave this component out."""
        self._components += [component for component in components if component is not None]

    async def start(self, groups: Collection[Group] = ALL_GROUPS) -> None:
        """Start what does not run. ConfigError: a component cannot start; those before it run, and stop() stops them."""
        for component in self._components:
            if component.group in groups and component not in self._running:
                self._running.append(component)
                await component.start()

    async def stop(self, groups: Collection[Group] = ALL_GROUPS) -> None:
        for component in reversed(self._components):
            if component.group in groups and component in self._running:
                await component.stop()
                self._running.remove(component)


class Task:
    """A component that is a single task. may_end: it is done one day; otherwise it is endless."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        supervisor: Supervisor,
        *,
        group: Group = Group.ALWAYS,
        may_end: bool = False,
    ) -> None:
        self.group = group
        self._name = name
        self._work = work
        self._supervisor = supervisor
        self._may_end = may_end

    async def start(self) -> None:
        self._supervisor.start(self._name, self._work, may_end=self._may_end)

    async def stop(self) -> None:
        await self._supervisor.stop(self._name)
