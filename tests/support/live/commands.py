"""Commands of zenwatch as a user types them, in a process of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECS = 60.0


def run_command(*arguments: str, **settings: str) -> tuple[int, str]:
    """Return the exit code and all that was printed."""
    command = [sys.executable, "-m", "zenwatch", *arguments]
    ended = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=PATIENCE_SECS)
    return ended.returncode, ended.stdout + ended.stderr


@dataclass(frozen=True)
class DoctorReport:
    """What `zenwatch doctor -o json` printed. checks: by area and title."""

    code: int
    checks: Mapping[tuple[str, str], Mapping[str, Any]]
    account: str

    def level(self, area: str, title: str) -> str:
        return str(self.checks[area, title]["level"])

    def text(self, area: str, title: str) -> str:
        return str(self.checks[area, title]["text"])

    def advice(self, area: str, title: str) -> list[str]:
        return list(self.checks[area, title]["advice"])

    def bad(self) -> list[tuple[str, str]]:
        return [where for where, check in self.checks.items() if check["level"] in ("WARN", "FAIL")]


def doctor(kubeconfig: Path, *arguments: str, **settings: str) -> DoctorReport:
    code, printed = run_command("doctor", "--kubeconfig", str(kubeconfig), "-o", "json", *arguments, **settings)
    try:
        report = json.loads(printed)
    except ValueError:
        pytest.fail(f"{code}: {printed}")
    assert report["exitCode"] == code
    return DoctorReport(code, {(check["area"], check["title"]): check for check in report["checks"]}, report["account"])
