"""`zenwatch crds`: print the CRDs, for `kubectl apply -f -`."""

import argparse
from importlib.resources import files
from pathlib import Path

from zenwatch.cli.shared.terminal import show_text


def define(command: argparse.ArgumentParser) -> None:
    command.description = "Print the CRDs of ZenAgentEvent and ZenAgentRemediation as YAML: zenwatch crds | kubectl apply -f -"
    command.set_defaults(call=_call)


def _call(_parsed: argparse.Namespace) -> int:
    show_text("---\n".join(path.read_text(encoding="utf-8") for path in crd_files()))
    return 0


def crd_files() -> list[Path]:
    """A wheel has them beside the code, a checkout in deployments/crds."""
    packaged = Path(str(files("zenwatch"))) / "crds"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "deployments" / "crds"
    return sorted(folder.glob("*.yaml"))
