"""watchers/falco: details, resources and times in every form that Falco posts; real alerts, any JSON, and planted credentials."""

import base64
import copy
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders.any_json import SETTINGS, changes, texts, values, with_changes
from tests.support.builders.falco_alerts import alerts_in, an_alert, found, judged
from tests.support.corpus import CORPUS
from tests.support.paths import ROOT
from tests.support.stored_fields import faults_of
from zenwatch.errors import BadInput
from zenwatch.model.finding import Resource
from zenwatch.sdk.watcher import Verdict

# hypothesis warns about long examples, and a failing example is printed in any case.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

# ---------------------------------------------------------------- details


@pytest.mark.parametrize(
    ("fields", "alert", "detail", "expected"),
    [
        ({"container.image.tag": None}, {}, "image", "docker.io/library/nginx"),
        ({"container.image.tag": "<NA>"}, {}, "image", "docker.io/library/nginx"),
        ({"container.image.repository": None}, {}, "image", None),
        ({"container.image.repository": None, "container.image": "nginx:1"}, {}, "image", "nginx:1"),
        ({"container.name": "<NA>"}, {}, "container", None),
        ({"container.id": "host"}, {}, "containerID", "host"),
        ({"proc.name": None, "proc.cmdline": "handler --fast"}, {}, "process", "handler"),
        ({"proc.name": KeyError, "proc.cmdline": 'PASSWORD="hun ter2" x'}, {}, "process", 'PASSWORD="[redacted]"'),
        ({"proc.name": None, "proc.cmdline": None}, {}, "process", None),
        ({"user.name": None, "ka.user.name": "alice"}, {}, "user", "alice"),
        ({"user.name": KeyError, "gcp.user": "bob"}, {}, "user", "bob"),
        ({"user.name": "<NA>", "ct.user": "carol"}, {}, "user", "carol"),
        ({"user.name": "", "github.user": 7, "okta.user.name": "dave"}, {}, "user", "dave"),
        ({"user.name": {}}, {}, "user", None),
        ({}, {"hostname": KeyError}, "node", None),
        ({"evt.hostname": "worker-2"}, {"hostname": None}, "node", "worker-2"),
        ({}, {"tags": None}, "tags", None),
        ({}, {"tags": "text"}, "tags", None),
        ({}, {"tags": ["b", 7, "", "a", "b"]}, "tags", ["b", "a"]),
        ({}, {"source": KeyError}, "falcoSource", None),
        ({}, {"output": KeyError, "message": "A shell"}, "samples", ["A shell"]),
        ({}, {"output": KeyError, "message": "A shell"}, "output", "A shell"),
        ({}, {"output": KeyError}, "samples", None),
        ({}, {"output": {"a": 1}}, "output", None),
        ({}, {"output": "x" * 600}, "samples", ["x" * 511 + "…"]),
        ({}, {"output": "10:00:00.1: Notice x token=hunter2"}, "samples", ["10:00:00.1: Notice x token=[redacted]"]),
    ],
)
def test_details_have_the_known_fields(fields: dict[str, Any], alert: dict[str, Any], detail: str, expected: Any) -> None:
    """A field that is absent, null, <NA> or of a wrong type is left out."""
    assert found(fields, **alert).details.get(detail) == expected


@pytest.mark.parametrize("fields", [None, KeyError, [], "text", 7])
def test_output_fields_may_be_missing(fields: Any) -> None:
    """Falco omits them with json_include_output_fields_property: false."""
    finding = found(output_fields=fields)

    assert list(finding.details) == ["rule", "priority", "output", "node", "falcoSource", "tags", "samples"]
    assert finding.resource == Resource()


# ---------------------------------------------------------------- resources

NO_POD: dict[str, Any] = {"k8s.pod.name": None, "k8s.ns.name": None}
HOST = NO_POD | {"container.id": "host", "container.name": "host", "container.image.repository": None}
NO_CONTAINER = {name: None for name in an_alert()["output_fields"] if name.startswith(("container.", "k8s."))}
NODE = Resource("v1", "Node", "worker-1")


def _target(**parts: str) -> dict[str, Any]:
    return NO_CONTAINER | {f"ka.target.{part}": value for part, value in parts.items()}


@pytest.mark.parametrize(
    ("fields", "alert", "resource"),
    [
        ({}, {}, Resource("v1", "Pod", "catalog-0", "shop")),
        ({"k8s.ns.name": None}, {}, Resource("v1", "Pod", "catalog-0")),
        ({"k8s.pod.name": None}, {}, Resource(namespace="shop")),
        (NO_POD, {}, Resource()),
        (HOST, {}, NODE),
        (HOST, {"source": KeyError}, NODE),
        (HOST, {"hostname": KeyError}, Resource()),
        (NO_CONTAINER, {}, NODE),
        (NO_CONTAINER, {"source": KeyError}, NODE),
        (NO_CONTAINER, {"source": "gcp_auditlog"}, Resource()),
        (NO_CONTAINER | {"container.name": "web"}, {}, Resource()),
        (NO_CONTAINER | {"ka.user.name": "alice"}, {"source": KeyError}, Resource()),
        (_target(resource="pods", name="web", namespace="shop"), {}, Resource("v1", "Pod", "web", "shop")),
        (_target(resource="pods/exec", name="web", namespace="shop"), {}, Resource("v1", "Pod", "web", "shop")),
        (_target(resource="networkpolicies", name="a", namespace="b"), {}, Resource("networking.k8s.io/v1", "NetworkPolicy", "a", "b")),
        (_target(resource="ingresses", name="a", namespace="b"), {}, Resource("networking.k8s.io/v1", "Ingress", "a", "b")),
        (_target(resource="storageclasses", name="a"), {}, Resource("storage.k8s.io/v1", "StorageClass", "a")),
        (_target(resource="endpoints", name="a", namespace="b"), {}, Resource("v1", "Endpoints", "a", "b")),
        (_target(resource="clusterroles", name="a", namespace="b"), {}, Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "a")),
        (_target(resource="namespaces", name="a", namespace="a"), {}, Resource("v1", "Namespace", "a")),
        (_target(resource="widgets", name="a", namespace="b"), {}, Resource("", "widgets", "a", "b")),
        (_target(resource="secrets", namespace="b"), {}, Resource("v1", "Secret", "", "b")),
        (_target(namespace="b"), {}, Resource(namespace="b")),
        (_target(name="<NA>", resource="<NA>", namespace="<NA>"), {"source": "k8s_audit"}, Resource()),
    ],
)
def test_the_resource_is_a_pod_an_object_or_a_node(fields: dict[str, Any], alert: dict[str, Any], resource: Resource) -> None:
    """The pod; else the object of a request; else the node if no container took part. Otherwise it is unknown."""
    assert found(fields, **alert).resource == resource


# ---------------------------------------------------------------- times

AT = datetime(2026, 1, 1, 10, 0, 0, 123456, tzinfo=UTC)
ISO = "2026-01-01T10:00:00.123456789+0000: Notice x"


@pytest.mark.parametrize(
    ("time", "evt_time", "output", "at"),
    [
        ("2026-01-01T10:00:00.123456789Z", None, "x", AT),
        ("2026-01-01T12:00:00.123456789+0200", None, "x", AT),
        ("2026-01-01T10:00:00.123456+00:00", 7, "x", AT),
        (KeyError, 1767261600123456789, "x", AT),
        (None, "1767261600123456789", "x", AT),
        ("yesterday", 1767261600123456789, "x", AT),
        (KeyError, KeyError, ISO, AT),
        (7, True, ISO, AT),
        (7, -1, ISO, AT),
        (7, 1.5e18, ISO, AT),
        (7, "1767261600123456789 ns", ISO, AT),
        (KeyError, KeyError, "10:00:00.123456789: Notice x", None),
        (KeyError, 10**4000, "x", None),
        (KeyError, 2**64 - 1, "x", datetime(2554, 7, 21, 23, 34, 33, 709551, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", 0, "2026-13-01T10:00:00Z: x", None),
    ],
)
def test_the_time_is_that_of_falco(time: Any, evt_time: Any, output: str, at: datetime | None) -> None:
    """evt.time is in nanoseconds. A time of day without a date does not count."""
    assert found({"evt.time": evt_time}, time=time, output=output).detected_at == at


# ---------------------------------------------------------------- real alerts

SHELL = "Terminal shell in container/{}/A shell was spawned in a container with an attache"
SENSITIVE = "Read sensitive file untrusted/hellofalco/Sensitive file opened for reading by non-trusted p"
# The key, severity and resource that a person read in some files. None: the alert is excluded.
KNOWN: dict[str, tuple[str, str, tuple[str, str, str]] | None] = {
    "cloud_gcp_bucket_public.json": (
        "GCP Bucket configured to be public//project=********** A GCP bucket access granted to ",
        "CRITICAL",
        ("", "", ""),
    ),
    "internal_metrics_snapshot.json": None,
    "internal_syscall_event_drop.json": None,
    "k8saudit_anonymous_request_jevt.json": (
        "Anonymous Request Allowed//Request by anonymous user allowed (user=system:ano",
        "MEDIUM",
        ("", "", ""),
    ),
    "k8saudit_eks_serviceaccount_created.json": (
        "K8s Serviceaccount Created//K8s Serviceaccount Created (user=system:node:ip-19",
        "INFO",
        ("default", "ServiceAccount", "default"),
    ),
    "k8saudit_ovh_disallowed_user_1.json": (
        "Disallowed K8s User//K8s Operation performed by user not in allowed lis",
        "MEDIUM",
        ("", "volumeattachments", "csi-6afb06dce281b86b7bab718b5d966dc261b2b1554941ae449519a128cb2e3fb3"),
    ),
    "legacy_2019_pod_without_namespace.json": (SHELL.format("falco-dnxsm"), "LOW", ("", "Pod", "falco-dnxsm")),
    "legacy_contact_k8s_api.json": (
        "Contact K8S API Server From Container/falco-pod-delete-7dc9f5fbb8-gbfk7/Unexpected connection to K8s API Server from conta",
        "LOW",
        ("openfaas-fn", "Pod", "falco-pod-delete-7dc9f5fbb8-gbfk7"),
    ),
    "legacy_no_hostname_no_source_no_tags.json": (SHELL.format("alpine"), "LOW", ("default", "Pod", "alpine")),
    "no_output_fields_property.json": (SHELL.format(""), "LOW", ("", "", "")),
    "readme_error_write_below_binary_dir.json": (
        "Write below binary dir//File below a known binary directory opened for wri",
        "HIGH",
        ("", "Node", "localhost"),
    ),
    "syscall_read_sensitive_file_aks_1.json": (SENSITIVE, "MEDIUM", ("default", "Pod", "hellofalco")),
    "syscall_read_sensitive_file_aks_2_same_rule_later.json": (SENSITIVE, "MEDIUM", ("default", "Pod", "hellofalco")),
    "syscall_terminal_shell_critical_docs.json": (SHELL.format("kubecon"), "CRITICAL", ("default", "Pod", "kubecon")),
    "syscall_terminal_shell_notice_aks.json": (SHELL.format("hellofalco"), "LOW", ("default", "Pod", "hellofalco")),
}
REAL = sorted((CORPUS / "falco").glob("*.json"))
NO_CORPUS = [pytest.param(None, marks=pytest.mark.skip(reason="no corpus: set ZENWATCH_CORPUS to a folder that holds falco/"))]


@pytest.mark.parametrize("file", REAL or NO_CORPUS, ids=lambda file: file.name if file else "")
def test_real_alerts_are_understood(file: Any) -> None:
    """The API server would accept every record, known files have the expected finding, and nothing is redacted."""
    [alert] = alerts_in(file.read_bytes())
    finding = judged(alert).finding

    if file.name in KNOWN:
        resource = finding.resource if finding else Resource()
        actual = finding and (finding.key, finding.severity, (resource.namespace, resource.kind, resource.name))
        assert actual == KNOWN[file.name]
    assert "[redacted]" not in repr(finding)
    assert faults_of([finding] if finding else []) == []


def test_repeated_alerts_of_a_rule_and_a_pod_have_the_same_key() -> None:
    """docs/specification.md, "Deduplication keys": the key has only the beginning of the output."""
    first = found(output="13:22:11.153390386: Warning Sensitive file opened for reading by non-trusted program | file=/etc/shadow")
    later = found(output="13:23:47.646127337: Warning Sensitive file opened for reading by non-trusted program | file=/etc/sudoers")

    assert first.key == later.key


def test_our_example_is_an_alert() -> None:
    """Its command line has a password, which is redacted."""
    [alert] = alerts_in((ROOT / "examples" / "pushed" / "falco-alert.json").read_bytes())
    finding = judged(alert).finding

    assert finding is not None
    assert (finding.resource, finding.severity) == (Resource("v1", "Pod", "ledger-0", "payments"), "LOW")
    assert "PGPASSWORD=[redacted] psql" in str(finding.details["output"])
    assert finding.detected_at == datetime(2026, 11, 18, 2, 47, 19, 318204, tzinfo=UTC)


# ---------------------------------------------------------------- credentials

PLANTED = "correct-horse-7Zq"
ENCODED = base64.b64encode(PLANTED.encode()).decode()
HIDDEN = [
    f"sh -c mysql -u root -p{PLANTED} -e x",
    f"curl -u admin:{PLANTED} https://example.test",
    f"curl -H Authorization: Bearer {PLANTED} https://example.test",
    f"curl -H 'Authorization: Basic {ENCODED}' https://example.test",
    f"psql postgres://app:{PLANTED}@db/app",
    f"env AWS_SECRET_ACCESS_KEY={PLANTED} aws s3 ls",
    f"deploy --token {PLANTED} --fast",
    f'{{"spec":{{"env":[{{"name":"DB_PASSWORD","value":"{PLANTED}"}}]}}}}',
    f"sshpass -p {PLANTED} ssh root@db",
]


@pytest.mark.parametrize("hidden", HIDDEN)
def test_no_credential_reaches_a_finding(hidden: str) -> None:
    """From any field of an alert, also not into the key."""
    everywhere = an_alert(
        {name: hidden for name in an_alert()["output_fields"] if name != "evt.time"},
        rule=hidden,
        hostname=hidden,
        priority=hidden,
        source=hidden,
        tags=[hidden, "container"],
        output=f"10:00:00.1: Notice {hidden}",
    )
    forms = [
        everywhere,
        everywhere | {"output": None, "message": hidden},
        {"output": hidden},
        everywhere | {"output": hidden + " x" * 5000},
    ]
    forms += [of_target(hidden), an_alert({"proc.name": None, "proc.cmdline": hidden, "user.name": None, "gcp.user": hidden})]
    for form in forms:
        finding = judged(form).finding
        assert finding is not None
        assert PLANTED not in repr(finding)
        assert ENCODED not in repr(finding)
        assert faults_of([finding]) == []


def of_target(hidden: str) -> dict[str, Any]:
    return an_alert(_target(resource=hidden, name=hidden, namespace=hidden) | {"ka.user.name": hidden})


def test_a_very_long_output_is_cut_between_words() -> None:
    """Half a credential does not look like a credential, so redaction would miss it."""
    by_name = found(output=f"A shell password={'x' * 9000} more")
    by_form = found(output=f"A shell {'y ' * 2042}ghp_{'x' * 40}")
    of_one_word = found(output=f"token={'x' * 9000}")

    assert by_name.key == "Terminal shell in container/catalog-0/A shell"
    assert of_one_word.key == "Terminal shell in container/catalog-0/token=[redacted]"
    assert not any("xxxx" in repr(finding) for finding in (by_name, by_form, of_one_word))


# ---------------------------------------------------------------- any JSON


def _verdict(event: Any) -> Verdict | None:
    """None: the judge raised BadInput."""
    try:
        return judged(event)
    except BadInput:
        return None


def _check(event: Any) -> bool:
    before = copy.deepcopy(event)
    verdict = _verdict(event)
    finding = verdict.finding if verdict else None

    assert verdict is None or verdict.rule in {"telemetry", "below-priority", "own-contact", "alert"}
    assert (finding is not None) == (verdict is not None and verdict.rule == "alert")
    assert faults_of([finding] if finding else []) == []
    assert all(finding.details.values()) if finding else True
    # Compared as text, because NaN does not equal itself.
    assert repr(event) == repr(before)
    assert repr(_verdict(before)) == repr(verdict)
    return finding is not None


def test_any_alert_is_bad_input_or_can_be_stored() -> None:
    """No other exception, no record that the API server would refuse, no state, and no change of the alert."""
    outcomes: Counter[bool] = Counter()
    samples = [an_alert(), of_target("pods"), an_alert(output=None, message="x"), {"output": ISO}]

    @SETTINGS
    @given(st.sampled_from(samples), changes)
    def check(sample: Any, wanted: list[tuple[int, Any]]) -> None:
        outcomes[_check(with_changes(sample, wanted))] += 1

    check()
    assert min(outcomes[True], outcomes[False]) > 10, "nearly all examples have the same outcome, so they prove little"


@SETTINGS
@given(
    st.dictionaries(st.sampled_from(["rule", "output", "message", "priority", "output_fields", "tags", "time"]) | texts, values) | values
)
def test_any_event_is_bad_input_or_can_be_stored(event: Any) -> None:
    """Whatever its type and the names of its fields."""
    _check(event)


@SETTINGS
@given(
    st.binary(max_size=60) | texts.map(lambda text: json.dumps({"output": text}).encode()),
    st.sampled_from(["application/json", "text/plain"]),
)
def test_any_body_is_bad_input_or_holds_alerts(body: bytes, media_type: str) -> None:
    """The body may be cut off, broken, or no JSON at all."""
    try:
        alerts = alerts_in(body, media_type)
    except BadInput:
        return
    for alert in alerts:
        _check(alert)
