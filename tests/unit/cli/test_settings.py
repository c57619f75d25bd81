"""`zenwatch settings`: every setting, its value now, and what it accepts."""

import pytest

from tests.support.terminal import Zenwatch
from zenwatch.wiring.plugins import installed_watchers, variables_of
from zenwatch.wiring.settings import Settings


def test_every_variable_is_printed_with_what_it_accepts(zenwatch: Zenwatch) -> None:
    """Also those of all watchers, each once."""
    variables = Settings.variables()
    for watcher in installed_watchers():
        variables |= variables_of(watcher)

    shown = zenwatch("settings")

    names = [line.partition("=")[0] for line in shown.out.splitlines() if not line.startswith(" ")]
    assert (shown.code, names) == (0, list(variables))
    for field in variables.values():
        assert f"    {field.meaning}\n    Accepts {field.accepts}.\n" in shown.out


def test_a_value_is_printed_as_it_was_set_with_its_default(zenwatch: Zenwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each watcher has its own defaults. A value that is the default is printed once."""
    for variable, value in {"WATCH_INTERVAL": "1m30s", "TRIVY_MIN_SEVERITY": "low", "WATCH_NAMESPACE": "shop,bank"}.items():
        monkeypatch.setenv(variable, value)

    lines = zenwatch("settings").out.splitlines()

    assert "WATCH_INTERVAL=1m30s   (default: 30s)" in lines
    assert "WATCH_NAMESPACE=shop,bank   (default: empty)" in lines
    assert "TRIVY_MIN_SEVERITY=low   (default: HIGH)" in lines
    assert "TRIVY_NAMESPACE=trivy-system" in lines
    assert "KYVERNO_MIN_SEVERITY=INFO" in lines


@pytest.mark.parametrize(("variable", "value"), [("WATCH_INTERVAL", "30"), ("KUBE_BENCH_ENABLED", "perhaps")])
def test_a_wrong_value_is_named(variable: str, value: str, zenwatch: Zenwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, as `zenwatch run` would end."""
    monkeypatch.setenv(variable, value)

    shown = zenwatch("settings")

    assert shown.code == 2
    assert f"zenwatch: {variable} is '{value}'; expected " in shown.err


def test_a_variable_that_has_no_effect_is_named(zenwatch: Zenwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, with the setting that was probably meant."""
    monkeypatch.setenv("TRIVY_MINSEVERITY", "LOW")

    shown = zenwatch("settings")

    assert shown.code == 0
    assert (
        shown.err
        == "zenwatch: TRIVY_MINSEVERITY has no effect: zenwatch reads no variable of this name; did you mean TRIVY_MIN_SEVERITY?\n"
    )
