"""zenwatch/cli/shared: what the commands have in common."""

import pytest

from zenwatch.cli.shared.cluster import settings_in
from zenwatch.cli.shared.records import read_records
from zenwatch.kube.access import Access
from zenwatch.store.crd.store import CrdStore
from zenwatch.wiring.settings import Settings


def a_pod_in(namespace: str | None) -> Access:
    return Access("http://127.0.0.1:9", tls=False, describe="a fake", read_authorization=lambda: None, own_namespace=namespace)


def test_every_command_knows_the_namespace_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod's, unless POD_NAMESPACE is set; outside a pod the default."""
    settings = Settings.read({})
    monkeypatch.delenv("POD_NAMESPACE", raising=False)

    assert settings_in(a_pod_in("security"), settings).own_namespace == "security"
    assert settings_in(a_pod_in(None), settings).own_namespace == "zenwatch"
    monkeypatch.setenv("POD_NAMESPACE", " ")
    assert settings_in(a_pod_in("security"), settings).own_namespace == "security"
    monkeypatch.setenv("POD_NAMESPACE", "zenwatch")
    assert settings_in(a_pod_in("security"), settings).own_namespace == "zenwatch"


def test_records_are_read_where_the_process_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those whose resource has no namespace: `top` and `explain` would not find them elsewhere."""
    monkeypatch.delenv("POD_NAMESPACE", raising=False)

    async def parts(store: CrdStore) -> list[str]:
        return list(store.parts)

    assert read_records(Settings.read({"WATCH_NAMESPACE": "shop"}), a_pod_in("security"), parts) == ["shop", "security"]
