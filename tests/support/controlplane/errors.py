"""Errors of the control plane; the text of each is a sentence for the user at the terminal."""


class ControlPlaneError(Exception):
    """The commands print it and end with 1; in a test it is a failure."""


class BuildError(ControlPlaneError):
    """There are no binaries, and none could be built."""


class StartError(ControlPlaneError):
    """A process did not become ready, or ended by itself."""


class KubectlError(ControlPlaneError):
    """kubectl ended with another code than 0; `stderr` is its output there."""

    def __init__(self, message: str, stderr: str) -> None:
        super().__init__(message)
        self.stderr = stderr
