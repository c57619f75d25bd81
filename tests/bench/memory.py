"""What a process under measurement holds: resident as /proc counts it, and the working set of its cgroup as Kubernetes counts a pod.

The working set is usage minus inactive_file, cAdvisor's formula; limits.memory and `kubectl top` mean it. It leaves out pages of files that
the kernel can drop, and includes what the kernel allocates for the process. The kernel charges a page of a file to the process that read it
first. The interpreter's files are read before; the first pod on a node reads them itself and has up to 1 MB more.
"""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figure import Figure, NotMeasured

_MB = 1024.0**2


@dataclass(frozen=True)
class Memory:
    """working_set_mb: None where it could not be measured, with the reason."""

    rss_mb: float
    working_set_mb: float | None
    reason: str = ""

    def rss(self, goal_mb: float) -> Figure:
        return Figure(self.rss_mb, "MB", goal_mb)

    def working_set(self, goal_mb: float) -> Figure | NotMeasured:
        if self.working_set_mb is None:
            return NotMeasured("MB", self.reason)
        return Figure(self.working_set_mb, "MB", goal_mb)


class Cgroup:
    """A memory cgroup for one process, of version 1 or 2. Where none can be made it stays empty: reason has why.

    remove() it once the process has ended.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._is_v1 = False
        self.reason = ""
        try:
            parent, self._is_v1 = _parent()
            folder = parent / f"zenwatch-bench-{uuid.uuid4().hex[:8]}"
            folder.mkdir()
            self._folder = folder
        except (OSError, LookupError) as exc:
            self.reason = f"no memory cgroup can be made here: {exc}"

    def command(self, command: list[str]) -> list[str]:
        """The same command, started in the cgroup: a process that moved later would leave behind what it had allocated."""
        if self._folder is None:
            return command
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self._folder / "cgroup.procs"), *command]

    def working_set_mb(self) -> float | None:
        if self._folder is None:
            return None
        usage, inactive = ("memory.usage_in_bytes", "total_inactive_file") if self._is_v1 else ("memory.current", "inactive_file")
        used_bytes = int((self._folder / usage).read_text())
        counts = dict(line.split() for line in (self._folder / "memory.stat").read_text().splitlines())
        return max(used_bytes - int(counts[inactive]), 0) / _MB

    def remove(self) -> None:
        if self._folder is not None:
            self._folder.rmdir()


def _parent() -> tuple[Path, bool]:
    """Where a memory cgroup can be made, and whether it is of version 1. LookupError: nowhere."""
    own = {controllers: path for _, controllers, path in (line.split(":", 2) for line in _lines("/proc/self/cgroup"))}
    mounts = {fields[fields.index("-") + 1]: Path(fields[4]) for fields in _mounts() if "memory" in fields[-1].split(",")}
    if "memory" in own and "cgroup" in mounts:
        return _below(mounts["cgroup"], own["memory"]), True
    unified = [Path(fields[4]) for fields in _mounts() if fields[fields.index("-") + 1] == "cgroup2"]
    if not unified or "" not in own:
        raise LookupError("none is mounted")
    here = _below(unified[0], own[""])
    # Version 2 allows no child with controllers beside processes: its own cgroup will not do, its parent does.
    for parent in (here.parent, here):
        control = parent / "cgroup.subtree_control"
        if parent.is_relative_to(unified[0]) and "memory" in control.read_text().split():
            return parent, False
    raise LookupError(f"{here} hands no memory controller on")


def _below(mount: Path, path: str) -> Path:
    """In a container the path may be the one that the host knows; then the mount is the cgroup itself."""
    below = mount / path.lstrip("/")
    return below if below.is_dir() else mount


def _mounts() -> list[list[str]]:
    return [line.split() for line in _lines("/proc/self/mountinfo") if " - cgroup" in line]


def _lines(path: str | os.PathLike[str]) -> list[str]:
    return Path(path).read_text().splitlines()
