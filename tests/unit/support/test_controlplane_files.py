"""The files that the control plane writes: kubeconfigs, pod files, audit flags, kinds of tools."""

import base64
import json
from pathlib import Path

import pytest
import yaml

from tests.support.controlplane.audit import DEFAULT_POLICY, Webhook, audit_flags, read_audit_log
from tests.support.controlplane.binaries.recipe import HERE
from tests.support.controlplane.identity import Identity, kubeconfig_text, write_pod_files
from tests.support.controlplane.pki import Pki


def test_a_kubeconfig_needs_no_other_file() -> None:
    """It has no path in it, so a user can copy it."""
    identity = Identity("shop-web", namespace="shop", token="t0ken")  # noqa: S106 - not a secret
    config = yaml.safe_load(kubeconfig_text(identity, server="https://127.0.0.1:1", ca_pem=b"CA"))
    assert config["users"] == [{"name": "shop-web", "user": {"token": "t0ken"}}]
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:1",
        "certificate-authority-data": base64.b64encode(b"CA").decode(),
    }
    assert config["contexts"][0]["context"]["namespace"] == "shop"


def test_an_identity_does_not_print_its_secrets() -> None:
    """A failing test prints its variables, so an identity must not show its token."""
    assert "t0ken" not in repr(Identity("web", token="t0ken"))  # noqa: S106 - not a secret


def test_pod_files_are_those_that_the_kubelet_writes(tmp_path: Path) -> None:
    """Three files without a newline at the end, and the address in the environment."""
    identity = Identity("shop-web", namespace="shop", token="t0ken")  # noqa: S106 - not a secret
    pod = write_pod_files(tmp_path / "pod", identity, ca_pem=b"CA", port=6443)
    assert {path.name: path.read_text() for path in pod.folder.iterdir()} == {"token": "t0ken", "namespace": "shop", "ca.crt": "CA"}
    assert pod.env["KUBERNETES_SERVICE_HOST"] == "127.0.0.1"
    assert pod.env["KUBERNETES_SERVICE_PORT"] == "6443"


def test_client_certificates_and_front_proxies_have_different_authorities(tmp_path: Path) -> None:
    """With one authority, every client could act as a front proxy, and so as any user."""
    pki = Pki(tmp_path / "pki")
    assert pki.ca_file.read_bytes() == pki.ca_pem
    assert pki.front_proxy_ca_file.read_bytes() != pki.ca_pem
    assert pki.client("admin", "system:masters").key_pem.startswith(b"-----BEGIN")


def test_without_an_audit_sink_there_is_no_policy(tmp_path: Path) -> None:
    """With a policy and no sink, the API server would do work for nothing."""
    assert audit_flags(tmp_path, policy=DEFAULT_POLICY, webhook=None, log_file=None) == []
    assert list(tmp_path.iterdir()) == []


def test_the_audit_webhook_has_the_address_of_the_options(tmp_path: Path) -> None:
    """The API server reads it from a kubeconfig."""
    webhook = Webhook("https://127.0.0.1:8080/audit", "a-token", tmp_path / "ca.crt")
    flags = audit_flags(tmp_path, policy=DEFAULT_POLICY, webhook=webhook, log_file=None)
    file = next(flag.partition("=")[2] for flag in flags if flag.startswith("--audit-webhook-config-file="))
    config = yaml.safe_load(Path(file).read_text())
    assert config["clusters"][0]["cluster"] == {"server": "https://127.0.0.1:8080/audit", "certificate-authority": str(tmp_path / "ca.crt")}
    assert config["users"][0]["user"] == {"token": "a-token"}
    assert yaml.safe_load(DEFAULT_POLICY)["kind"] == "Policy"


def test_an_unfinished_audit_line_is_left_out(tmp_path: Path) -> None:
    """The API server may be writing while we read."""
    log_file = tmp_path / "audit.log"
    assert list(read_audit_log(log_file)) == []
    log_file.write_text(json.dumps({"verb": "get"}) + '\n{"verb": "li')
    assert list(read_audit_log(log_file)) == [{"verb": "get"}]


@pytest.mark.parametrize("path", sorted((HERE / "tool-crds").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_kinds_of_tools_keep_any_content(path: Path) -> None:
    """A real report must not lose a field in the API server."""
    for crd in yaml.safe_load_all(path.read_text()):
        assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"
        assert crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-preserve-unknown-fields"] is True
