"""zenwatch/doctor/store: whether our kind is served, what its schema accepts, and whether our namespace exists."""

from typing import Any

import pytest

from tests.support.doctor_cluster import CRDS, FakeCluster, definition, diagnose
from zenwatch.doctor.store.schema import compare

APPLY = ("zenwatch crds | kubectl apply -f -",)


def schema() -> dict[str, Any]:
    found: dict[str, Any] = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


async def test_the_check_of_our_kind_names_the_version_in_which_it_is_stored() -> None:
    """zenwatch's own account may not read definitions: then only the version that is served is named."""
    async with FakeCluster() as cluster:
        known = await diagnose(cluster)
        cluster.answers[CRDS] = (403, {})
        unknown = await diagnose(cluster)

    assert known["store", "CRD"].text == "zenagentevents.zen.kube-zen.io is served as v1, stored as v1"
    assert unknown["store", "CRD"].text == "zenagentevents.zen.kube-zen.io is served as v1"
    assert unknown["store", "schema"].level == "OK"


async def test_without_our_kind_nothing_can_be_stored() -> None:
    """Not served at all, or in a version that is not written: a failure, with the command that mends it."""
    async with FakeCluster() as cluster:
        del cluster.served["zen.kube-zen.io/v1"]
        cluster.answers[CRDS] = (404, {})
        missing = (await diagnose(cluster))["store", "CRD"]
        cluster.served["zen.kube-zen.io/v2"] = ["zenagentevents"]
        newer = (await diagnose(cluster))["store", "CRD"]

    assert (missing.level, missing.advice) == (newer.level, newer.advice) == ("FAIL", APPLY)
    assert "served as v2, but written as v1" in newer.text


async def test_a_field_that_is_missing_warns_and_one_that_refuses_records_fails() -> None:
    """The API server throws unknown fields away; what breaks the schema it refuses."""
    async with FakeCluster() as cluster:
        spec = cluster.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        del spec["properties"]["remediation"], spec["properties"]["score"]
        lacking = (await diagnose(cluster))["store", "schema"]
        spec["properties"]["severity"]["enum"].remove("INFO")
        narrower = (await diagnose(cluster))["store", "schema"]

    assert (lacking.level, lacking.advice) == ("WARN", APPLY)
    assert lacking.text == "older than this zenwatch, fields are thrown away: spec.score, spec.remediation"
    assert (narrower.level, narrower.text) == (
        "FAIL",
        "older than this zenwatch, records may be refused: spec.severity (does not take INFO)",
    )


@pytest.mark.parametrize("answer", [(404, {}), (403, {}), (200, {}), (200, {"components": {"schemas": {}}})])
async def test_a_schema_that_the_api_server_does_not_show_is_unknown(answer: tuple[int, Any]) -> None:
    """The OpenAPI document appears a moment after the definition."""
    async with FakeCluster() as cluster:
        cluster.answers["/openapi/v3/apis/zen.kube-zen.io/v1"] = answer
        assert (await diagnose(cluster))["store", "schema"].level == "UNKNOWN"


def test_a_schema_is_no_different_from_itself() -> None:
    """Nor from a schema that is wider or has more fields."""
    wider = schema()
    wider["properties"]["spec"]["properties"]["title"]["maxLength"] = 1000
    wider["properties"]["spec"]["properties"]["more"] = {"type": "string"}
    wider["properties"]["spec"]["required"].remove("score")

    for served in (schema(), wider):
        found = compare(schema(), served)
        assert (found.missing, found.narrower) == ([], [])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"maxLength": 10}, "spec.title (maxLength is 10)"),
        ({"minLength": 2}, "spec.title (minLength is 2)"),
        ({"type": "integer"}, "spec.title (is integer, not string)"),
    ],
)
def test_a_tighter_limit_is_named(change: dict[str, Any], text: str) -> None:
    """With the limit of the served schema."""
    served = schema()
    served["properties"]["spec"]["properties"]["title"] |= change

    assert compare(schema(), served).narrower == [text]


def test_lists_and_objects_are_compared_in_depth() -> None:
    """A limit of a list's entries, and a field that only the served schema requires."""
    served = schema()
    spec = served["properties"]["spec"]["properties"]
    spec["references"]["items"]["maxLength"] = 5
    spec["resource"]["required"] = ["kind", "name"]
    del served["properties"]["status"]["properties"]["reopened"]

    found = compare(schema(), served)

    assert found.narrower == ["spec.references[] (maxLength is 5)", "spec.resource (requires name)"]
    assert found.missing == ["status.reopened"]


# ---------------------------------------------------------------- our namespace


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        ((404, {}), "FAIL", "does not exist"),
        ((200, {"metadata": {"deletionTimestamp": "2026-01-01T12:00:00Z"}}), "FAIL", "is being deleted"),
        ((403, {}), "UNKNOWN", "missing permission: get namespaces"),
    ],
)
async def test_our_own_namespace_must_exist(answer: tuple[int, Any], level: str, text: str) -> None:
    """Findings about nodes are stored there. Without the permission to read it the check is UNKNOWN, not FAIL."""
    async with FakeCluster() as cluster:
        cluster.answers["/api/v1/namespaces/zenwatch"] = answer
        found = (await diagnose(cluster))["store", "namespace"]

    assert (found.level, text in found.text) == (level, True)
