"""All settings of the process: those of every component together. Those of the watchers are read one by one (plugins.py)."""

from typing import Self

from zenwatch.buffer.settings import SpoolSettings
from zenwatch.config.core import CoreSettings
from zenwatch.deliver.settings import DeliverSettings
from zenwatch.kube.settings import KubeSettings
from zenwatch.processing.settings import ProcessingSettings
from zenwatch.store.settings import StoreSettings
from zenwatch.web.settings import WebSettings


class Settings(DeliverSettings, StoreSettings, ProcessingSettings, SpoolSettings, WebSettings, KubeSettings, CoreSettings):
    """Read once at start-up; the first wrong one ends the process."""

    def paced(self) -> Self:
        """The settings as BEHAVIOR_MODE changes them (docs/specification.md "Settings")."""
        match self.behavior_mode:
            case "conservative":
                slower = {"write_concurrency": max(1, self.write_concurrency // 4), "api_rate": max(1, self.api_rate // 4)}
                return self.with_changes(watch_interval_secs=self.watch_interval_secs * 4, **slower)
            case "aggressive":
                return self.with_changes(watch_interval_secs=self.watch_interval_secs / 3)
            case _:
                return self
