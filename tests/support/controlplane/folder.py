"""The temp folder of one cluster, and the removal of folders whose run was killed."""

import contextlib
import fcntl
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "zenwatch-controlplane-"
# A run needs a moment between creating its folder and locking it; after so long without a lock the run is dead.
GRACE_SECS = 60.0


class ClusterFolder:
    """Locked while this process lives: a folder without a lock is left over, whatever its age."""

    def __init__(self) -> None:
        _remove_leftovers()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = (self.path / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _remove_leftovers() -> None:
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*"):
        # It belongs to another user, or is being removed: leave it alone.
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < GRACE_SECS:
                continue
            with (folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
