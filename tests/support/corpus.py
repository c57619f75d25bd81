"""Real output of the tools from the folder $ZENWATCH_CORPUS, which is not part of the project."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.payloads import a_config_map

CORPUS = Path(os.environ.get("ZENWATCH_CORPUS") or ROOT / ".." / "shared" / "fixtures")


def objects_of(tool: str) -> list[Any]:
    """Parameters of a test: the name of a file and a Kubernetes object in it. Without a corpus, a single skipped parameter."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = []
    for file in _files_of(tool):
        objects = list(_objects(list(yaml.load_all(file.read_bytes(), Loader=loader))))
        found += [pytest.param(file.name, content, id=f"{file.name}-{index}") for index, content in enumerate(objects)]
    return found or _nothing(tool)


def config_maps_of(tool: str) -> list[Any]:
    """Parameters of a test: the name of a file and a ConfigMap. Bare output is wrapped as `kubectl create configmap` does."""
    found = []
    for file in _files_of(tool):
        content = json.loads(file.read_bytes())
        is_config_map = isinstance(content, dict) and content.get("kind") == "ConfigMap"
        config_map = content if is_config_map else a_config_map({"results.json": file.read_text(encoding="utf-8")})
        found.append(pytest.param(file.name, config_map, id=file.name))
    return found or _nothing(tool)


def _files_of(tool: str) -> list[Path]:
    return [file for file in sorted((CORPUS / tool).glob("*")) if file.suffix in (".json", ".yaml")]


def _nothing(tool: str) -> list[Any]:
    return [pytest.param("", {}, marks=pytest.mark.skip(reason=f"no corpus: set ZENWATCH_CORPUS to a folder that holds {tool}/"))]


def _objects(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, list):
        for part in content:
            yield from _objects(part)
    elif isinstance(content, dict) and "items" in content:
        yield from _objects(content["items"])
    elif isinstance(content, dict):
        yield content
