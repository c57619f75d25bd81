"""zenwatch/kube/access.py: who we are to which API server."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme

from zenwatch.errors import ConfigError, Transient
from zenwatch.kube.access import Access, from_kubeconfig, in_pod, is_in_pod

POD_ENVIRONMENT = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pod_folder(tmp_path: Path, authority: trustme.CA) -> Path:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "namespace").write_text("zenwatch-system\n")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    return tmp_path


# ---------------------------------------------------------------- in a pod


async def test_a_pod_uses_its_service_account(pod_folder: Path) -> None:
    """Token, authority and namespace as Kubernetes mounts them."""
    access = in_pod(POD_ENVIRONMENT, pod_folder)

    assert access.server == "https://10.0.0.1:6443"
    assert access.own_namespace == "zenwatch-system"
    assert await access.authorization() == "Bearer secret"
    assert isinstance(access.tls, ssl.SSLContext)
    assert access.tls.verify_mode is ssl.CERT_REQUIRED
    assert len(access.tls.get_ca_certs()) == 1


def test_an_address_of_version_6_stands_in_brackets(pod_folder: Path) -> None:
    """Otherwise its last part would be the port."""
    assert in_pod({"KUBERNETES_SERVICE_HOST": "fd00::1"}, pod_folder).server == "https://[fd00::1]:443"


@pytest.mark.parametrize("missing", ["token", "ca.crt"])
def test_a_missing_file_of_the_pod_is_named(missing: str, pod_folder: Path) -> None:
    """automountServiceAccountToken: false is the usual reason, and the sentence says so."""
    (pod_folder / missing).unlink()

    with pytest.raises(ConfigError, match="automountServiceAccountToken") as raised:
        in_pod(POD_ENVIRONMENT, pod_folder)

    assert str(pod_folder / missing) in str(raised.value)


def test_an_authority_that_is_no_certificate_is_named(pod_folder: Path) -> None:
    """A sentence, not a traceback."""
    (pod_folder / "ca.crt").write_text("nonsense")

    with pytest.raises(ConfigError) as raised:
        in_pod(POD_ENVIRONMENT, pod_folder)

    assert "ca.crt" in str(raised.value)


def test_a_pod_without_a_namespace_file_leaves_it_to_the_setting(pod_folder: Path) -> None:
    """It is a convenience, not a credential."""
    (pod_folder / "namespace").unlink()

    assert in_pod(POD_ENVIRONMENT, pod_folder).own_namespace is None


async def test_a_token_that_was_replaced_is_read_after_a_401(pod_folder: Path) -> None:
    """Projected tokens are replaced every 48 minutes."""
    access = in_pod(POD_ENVIRONMENT, pod_folder)
    await access.authorization()
    (pod_folder / "token").write_text("newer")

    assert await access.authorization() == "Bearer secret"
    assert await access.authorization(refused=True) == "Bearer newer"


async def test_a_token_that_cannot_be_read_any_more_is_a_passing_failure(pod_folder: Path) -> None:
    """Kubernetes swaps the folder while we run."""
    access = in_pod(POD_ENVIRONMENT, pod_folder)
    (pod_folder / "token").unlink()

    with pytest.raises(Transient, match="cannot read the credentials"):
        await access.authorization()


@pytest.mark.parametrize(("environment", "is_so"), [(POD_ENVIRONMENT, True), ({}, False), ({"KUBERNETES_SERVICE_HOST": ""}, False)])
def test_a_pod_is_known_by_the_address_of_its_api_server(environment: dict[str, str], is_so: bool) -> None:  # noqa: FBT001
    """Kubernetes sets it in every container."""
    assert is_in_pod(environment) is is_so


# ---------------------------------------------------------------- kubeconfig


def _kubeconfig(folder: Path, *, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in ("here", "there")],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.test:6443/", **(cluster or {})}} for name in ("here", "there")],
        "users": [{"name": "me", "user": user}],
    }
    file = folder / "config"
    file.write_bytes(orjson.dumps(config))
    return str(file)


async def test_a_kubeconfig_with_a_token(tmp_path: Path, authority: trustme.CA) -> None:
    """The current context, its server, its authority, its token."""
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    file = _kubeconfig(tmp_path, user={"token": "secret"}, cluster={"certificate-authority": str(tmp_path / "ca.crt")})

    access = from_kubeconfig(file, None)

    assert access.server == "https://here.test:6443"
    assert await access.authorization() == "Bearer secret"
    assert isinstance(access.tls, ssl.SSLContext)
    assert len(access.tls.get_ca_certs()) == 1
    assert file in access.describe
    assert "secret" not in access.describe


def test_a_named_context_is_used(tmp_path: Path) -> None:
    """--context says which cluster is meant."""
    access = from_kubeconfig(_kubeconfig(tmp_path, user={"token": "x"}), "there")

    assert access.server == "https://there.test:6443"
    assert "context there" in access.describe


async def test_a_kubeconfig_with_a_client_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    """The certificate speaks for us; no header is needed."""
    certificate = authority.issue_cert("me.test")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "me.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "me.key")
    user = {"client-certificate": str(tmp_path / "me.crt"), "client-key": str(tmp_path / "me.key")}

    access = from_kubeconfig(_kubeconfig(tmp_path, user=user), None)

    assert isinstance(access.tls, ssl.SSLContext)
    assert await access.authorization() is None


def test_a_cluster_that_is_not_verified_is_not_verified(tmp_path: Path) -> None:
    """insecure-skip-tls-verify is the user's own word, as with kubectl."""
    access = from_kubeconfig(_kubeconfig(tmp_path, user={"token": "x"}, cluster={"insecure-skip-tls-verify": True}), None)

    assert isinstance(access.tls, ssl.SSLContext)
    assert (access.tls.verify_mode, access.tls.check_hostname) == (ssl.CERT_NONE, False)


def test_a_kubeconfig_that_is_missing_is_named(tmp_path: Path) -> None:
    """The sentence names the file that was asked for."""
    missing = str(tmp_path / "missing")

    with pytest.raises(ConfigError) as raised:
        from_kubeconfig(missing, None)

    assert missing in str(raised.value)


def test_a_certificate_that_is_missing_is_named(tmp_path: Path) -> None:
    """Of the several files that a kubeconfig names, the one that is not there."""
    missing = str(tmp_path / "missing.crt")

    with pytest.raises(ConfigError) as raised:
        from_kubeconfig(_kubeconfig(tmp_path, user={"token": "x"}, cluster={"certificate-authority": missing}), None)

    assert missing in str(raised.value)


@pytest.mark.parametrize("content", ["", "[]", "{", "kind: Config\n", "a: b: c"])
def test_a_kubeconfig_that_cannot_be_read_is_a_sentence(content: str, tmp_path: Path) -> None:
    """Not a traceback of a library."""
    file = tmp_path / "config"
    file.write_text(content)

    with pytest.raises(ConfigError) as raised:
        from_kubeconfig(str(file), None)

    assert str(file) in str(raised.value)


def test_a_context_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A typing error is the usual reason."""
    with pytest.raises(ConfigError, match="nowhere"):
        from_kubeconfig(_kubeconfig(tmp_path, user={"token": "x"}), "nowhere")


# ---------------------------------------------------------------- reading again


async def test_credentials_are_read_off_the_loop() -> None:
    """An exec plug-in takes seconds."""
    loop = asyncio.get_running_loop()

    def read() -> str | None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return "Bearer x"
        raise AssertionError("read on the loop")

    assert loop.is_running()
    assert await Access("https://x.test", tls=False, describe="", read_authorization=read).authorization() == "Bearer x"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[1, 2]", "it is a list, and no mapping with clusters, users and contexts"),
        (b"text", "it is a single value, and no mapping with clusters, users and contexts"),
        (b"", "it is empty, and no mapping with clusters, users and contexts"),
        (b"# nothing", "it is empty, and no mapping with clusters, users and contexts"),
        (b"\xff\xfe\x00\x80", "it is no text"),
        (b"a: [", "while parsing a flow node"),
        (b"clusters: 5\ncontexts: [null]\ncurrent-context: x", "a part of it has another form than kubectl expects"),
        (b"contexts: [{name: c, context: 7}]\ncurrent-context: c", "a part of it has another form than kubectl expects"),
    ],
)
@pytest.mark.parametrize("named_by", ["option", "variable"])
def test_a_file_that_is_no_kubeconfig_is_a_sentence(
    content: bytes, reason: str, named_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what Python says of the code that reads it."""
    file = tmp_path / "config"
    file.write_bytes(content)
    monkeypatch.setenv("KUBECONFIG", str(file))

    with pytest.raises(ConfigError) as raised:
        from_kubeconfig(str(file) if named_by == "option" else None, None)

    assert str(raised.value).startswith(f"The kubeconfig {file} cannot be used: {reason}")
