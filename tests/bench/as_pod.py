"""`zenwatch run` as in a pod: python -m tests.bench.as_pod FOLDER, where FOLDER is laid out as Kubernetes mounts it.

A pod finds its account at a fixed path; here that path is moved, everything else is the command that a pod runs.
"""

import sys
from pathlib import Path

# structlog imports rich where it is installed. A development tool brought it here; an image does not have it.
sys.modules["rich"] = None  # type: ignore[assignment]

from zenwatch.cli import main  # noqa: E402
from zenwatch.kube import access  # noqa: E402

if __name__ == "__main__":
    access.in_pod.__defaults__ = (Path(sys.argv[1]),)
    sys.exit(main(["run"]))
