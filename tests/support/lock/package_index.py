"""A package index on loopback: each package of a lock file as a tiny wheel in the pinned version, and in one that came out since."""

import base64
import hashlib
import importlib.metadata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from packaging.version import Version

from tests.support.lock.lock_file import Pin, pins, with_hashes

# What pip asks of a build backend to install a project as editable (PEP 660): a wheel that only points to the sources.
BACKEND = """
import pathlib, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "zenwatch-0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("zenwatch.pth", str(pathlib.Path.cwd()))
        wheel.writestr("zenwatch-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: zenwatch\\nVersion: 0\\n")
        wheel.writestr("zenwatch-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("zenwatch-0.dist-info/RECORD", "")
    return name
"""


class PackageIndex:
    """`url` is for PIP_INDEX_URL; `lock_text` is the lock file for this index; `fetched` are the wheels that pip asked for."""

    def __init__(self, folder: Path, lock_text: str) -> None:
        self._folder = folder
        self.fetched: list[str] = []
        self.url = ""
        self.pins = pins(lock_text)
        self.lock_text = with_hashes(lock_text, self._add_package)

    def _add_package(self, pin: Pin) -> str:
        """Return the hash of the pinned wheel. The newer release is in no lock file, and it holds no code: hatchling's cannot build."""
        code = {"hatchling/build.py": BACKEND} if pin.name == "hatchling" else {}
        pinned = _write_wheel(self._folder, pin.name, pin.version, code)
        _write_wheel(self._folder, pin.name, newer_than(pin), {})
        return hashlib.sha256(pinned.read_bytes()).hexdigest()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A folder per package, listed by the standard library as HTML: pip reads it as a simple index."""
        index = self

        class Handler(SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body are two packets: with Nagle's algorithm the second waits 40 ms for pip's acknowledgement of the first.
            disable_nagle_algorithm = True

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                if self.path.endswith(".whl"):
                    index.fetched.append(self.path.rpartition("/")[2])

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(self._folder))) as server:
            self.url = f"http://127.0.0.1:{server.server_address[1]}/"
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            try:
                yield
            finally:
                server.shutdown()
                thread.join()


def newer_than(pin: Pin) -> str:
    """The smallest step, so that it stays below every upper bound that another package may put on it."""
    return f"{Version(pin.version).base_version}.1"


def wheel_name(name: str, version: str) -> str:
    return f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


def _write_wheel(folder: Path, name: str, version: str, code: dict[str, str]) -> Path:
    """It requires what the real package requires, with extras and markers; the code is left out."""
    dist_info = f"{name.replace('-', '_')}-{version}.dist-info"
    files = code | {
        f"{dist_info}/METADATA": "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *_requirements(name), ""]),
        f"{dist_info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_record_hash(text)},{len(text.encode())}\n" for path, text in files.items())
    path = folder / name / wheel_name(name, version)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in (files | {f"{dist_info}/RECORD": f"{record}{dist_info}/RECORD,,\n"}).items():
            wheel.writestr(file, text)
    return path


def _requirements(name: str) -> list[str]:
    """As the installed package states them; none for one that this platform does not install."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return []
    return [f"{field}: {value}" for field in ("Requires-Dist", "Provides-Extra") for value in metadata.get_all(field, [])]


def _record_hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
