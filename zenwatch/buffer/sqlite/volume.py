"""The volume that the spool is on: how much of it the spool uses, and a reserve for the time when it is full.

In: the spool's folder.  Out: limits, and the bytes that are free.
Owns: the file `reserve`. It is given up while the volume is full, so that what is settled can be written and the log be checkpointed.
Stops: nothing to stop; the reserve stays, and the next start takes it over.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

MIB = 1024**2
# The write-ahead log is checkpointed at this size. On a small volume it is smaller, and so is the reserve.
LOG_BYTES = 4 * MIB
RESERVE_BYTES = 8 * MIB
# Of the database: for intents (at most one for each event in memory) and dead letters. They have to be written when events have no space.
OTHER_BYTES = 16 * MIB


class Volume:
    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Gives the reserve up: SQLite needs a few pages to open a database whose volume is full. max_bytes: of events."""
        self._folder = folder
        self._reserve = folder / "reserve"
        self.give_up_reserve()
        # Of all of it: what others use changes, and counts with every transaction (spare_bytes).
        space = self._blocks_bytes("f_blocks")
        # Pages are not filled completely: events of max_bytes need up to twice the space.
        self.database_bytes = min(2 * max_bytes + OTHER_BYTES, space * 5 // 8)
        self.events_bytes = self.database_bytes - min(OTHER_BYTES, self.database_bytes // 2)
        self.log_bytes = min(LOG_BYTES, space // 16)
        self.reserve_bytes = min(RESERVE_BYTES, space // 8)

    def spare_bytes(self) -> int:
        """How much new events may use: what is free, without the reserve."""
        return self._free_bytes() - self._missing_reserve_bytes()

    def give_up_reserve(self) -> None:
        with suppress(OSError):
            self._reserve.unlink(missing_ok=True)

    def take_reserve(self, *, leaves_bytes: int) -> None:
        """Take it back, or as much of it as there is space for. leaves_bytes: what stays free."""
        missing = min(self._missing_reserve_bytes(), self._free_bytes() - leaves_bytes)
        if missing > 0:
            # A file system that allows no file of that size: then there is no reserve.
            with suppress(OSError):
                file = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(file, os.fstat(file).st_size, missing)
                finally:
                    os.close(file)

    def _missing_reserve_bytes(self) -> int:
        try:
            return self.reserve_bytes - self._reserve.stat().st_size
        except OSError:
            return self.reserve_bytes

    def _free_bytes(self) -> int:
        return self._blocks_bytes("f_bavail")

    def _blocks_bytes(self, which: str) -> int:
        volume = os.statvfs(self._folder)
        # Some file systems in user space do not say how large they are.
        return int(getattr(volume, which)) * volume.f_frsize if volume.f_blocks else sys.maxsize
