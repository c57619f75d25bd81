"""What can go wrong with the control plane; each error's text is a sentence for the person at the terminal."""


class ControlPlaneError(Exception):
    """The commands print it and end with 1; in a test it is simply a failure."""


class BuildError(ControlPlaneError):
    """There are no binaries, and none could be built."""


class StartError(ControlPlaneError):
    """A process did not become ready, or ended by itself."""


class KubectlError(ControlPlaneError):
    """kubectl ended with another code than 0; `stderr` is what it said."""

    def __init__(self, message: str, stderr: str) -> None:
        super().__init__(message)
        self.stderr = stderr
