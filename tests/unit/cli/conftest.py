"""Call a command as a terminal does, and get what it prints."""

from collections.abc import Iterator

import pytest
import structlog

from tests.support.terminal import Shown, Zenwatch
from zenwatch.cli import main
from zenwatch.wiring.plugins import installed_watchers, variables_of
from zenwatch.wiring.settings import Settings


@pytest.fixture
def zenwatch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenwatch]:
    """Call it with arguments. The settings of this machine are removed, and no cluster is named."""
    for variable in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", *Settings.variables()]:
        monkeypatch.delenv(variable, raising=False)
    for watcher in installed_watchers():
        for variable in variables_of(watcher):
            monkeypatch.delenv(variable, raising=False)

    def call(*arguments: str) -> Shown:
        capsys.readouterr()
        code = main(arguments)
        printed = capsys.readouterr()
        return Shown(code, printed.out, printed.err)

    yield call
    structlog.reset_defaults()
