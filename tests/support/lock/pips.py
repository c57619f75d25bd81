"""The oldest and the newest pip that must be able to install zenwatch, as wheels in a cache that survives `make clean`."""

import hashlib
import subprocess
import sys
from pathlib import Path

from tests.support.controlplane.binaries.compiler import PINNED
from tests.support.controlplane.binaries.recipe import cache_folder
from tests.support.lock.lock_file import pins

HERE = Path(__file__).parent
# `make constraints` writes both from the group `pip` of pyproject.toml.
LOCK_FILES = {"oldest": HERE / "pip-oldest.txt", "newest": HERE / "pip-newest.txt"}


class PipMissingError(Exception):
    """The package index did not give us the pip; the text is a sentence for the person at the terminal."""


def pip_wheel(age: str) -> Path:
    """`age` is "oldest" or "newest". From the cache, or from the package index the first time; the hash is checked in both cases."""
    lock_file = LOCK_FILES[age]
    text = lock_file.read_text()
    [pin] = [pin for pin in pins(text) if pin.marker is None or pin.marker.evaluate()]
    cache = cache_folder().parent / "pip"
    wheel = cache / f"pip-{pin.version}-py3-none-any.whl"
    if not (wheel.exists() and f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}" in text):
        command = [sys.executable, "-m", "pip", "download", "--quiet", *PINNED, "--dest", str(cache), "-r", str(lock_file)]
        download = subprocess.run(command, capture_output=True, text=True, check=False)
        if download.returncode != 0:
            raise PipMissingError(
                f"pip {pin.version} is neither in {cache} nor on the package index. Is PIP_INDEX_URL right?\n{download.stderr}"
            )
    return wheel
