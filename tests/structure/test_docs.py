"""docs/records.md and docs/specification.md agree with the code and the CRDs, in both directions; links and citations lead somewhere.

A row that only the page or only the code has is a failure. test_docs_severity.py holds docs/severity.md to the code.
"""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.structure.pages import (
    DOCS,
    PAGES,
    RECORDS,
    SPECIFICATION,
    Row,
    finding_types,
    headings,
    name,
    names,
    nodes_in,
    section,
    self_findings,
    table,
    tables,
    watcher_modules,
)
from tests.support.fakes.crd import violations
from tests.support.paths import EXAMPLES, ROOT
from zenwatch.cli.settings import rows as settings_rows
from zenwatch.deliver.kube_events import REASON
from zenwatch.kube.records import TTL_ANNOTATION, object_of
from zenwatch.model.event import Event, record_name
from zenwatch.model.finding import Category, FindingType, Severity
from zenwatch.model.record import Phase, Reason, spec_hash
from zenwatch.model.refs import ReportRef
from zenwatch.processing import rollup
from zenwatch.processing.event import free_text, merge, normalise
from zenwatch.processing.event.score import score
from zenwatch.processing.self_findings import SelfFinding
from zenwatch.sdk.watcher import RECENT_ENTRIES

CODE = [file for folder in ("zenwatch", "watchers", "tests") for file in sorted((ROOT / folder).rglob("*.py"))]
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(#[^)\s]+)?\)")
CITATION = re.compile(r'docs/(\w+\.md)(?:,? "([^"\n]+)")?')
# Pages that the repository does not have, and the specification by a number that no reader can look up.
NOWHERE = re.compile(r"(?<![\w/])(?:records|facts|names|style)\.md|[Ss]pecification 0\d\d")

Json = dict[str, Any]


@cache
def definition(plural: str) -> Json:
    """The spec of a CRD, with the properties of its only version."""
    spec: Json = yaml.safe_load((ROOT / "deployments" / "crds" / f"{plural}.yaml").read_text(encoding="utf-8"))["spec"]
    return spec | dict(spec["versions"][0])


def schema_of(plural: str, part: str) -> Json:
    schema: Json = definition(plural)["schema"]["openAPIV3Schema"]["properties"][part]
    return schema


@cache
def example() -> Json:
    """The record that docs/records.md shows."""
    text = re.search(r"```yaml\n(.*?)```", section(RECORDS, "Example"), re.DOTALL)
    assert text
    record: Json = yaml.safe_load(text[1])
    return record


@cache
def example_event() -> Event:
    spec = example()["spec"]
    same = {
        field: spec[field] for field in ("source", "key", "category", "severity", "score", "title", "remediation", "references", "details")
    }
    renamed = {"cluster_id": spec["clusterID"], "event_type": spec["eventType"], "detected_at": spec["detectedAt"]}
    resource = {"api_version": spec["resource"]["apiVersion"], **{part: spec["resource"][part] for part in ("kind", "name", "namespace")}}
    return Event.from_json({"name": example()["metadata"]["name"], **same, **renamed, "resource": resource})


@cache
def previewed() -> list[Json]:
    """The records of everything in examples/, whatever their severity."""
    files = [*sorted(EXAMPLES.glob("*.yaml")), *sorted((EXAMPLES / "pushed").glob("*.json"))]
    command = [sys.executable, "-m", "zenwatch", "preview", "-o", "json", *map(str, files)]
    preview = subprocess.run(command, env=os.environ | {"TRIVY_MIN_SEVERITY": "INFO"}, capture_output=True, text=True, check=False)
    assert preview.stdout, preview.stderr
    return [json.loads(line) for line in preview.stdout.splitlines()]


def row_of(record: Json, heading: str) -> Row:
    """The row of a table of findings that describes a record."""
    source, event_type = record["spec"]["source"], record["spec"]["eventType"]
    rows = [row for row in table(RECORDS, "By source") if name(row["source"]) == source and event_type in names(row["eventType"])]
    [found] = [row for row in table(RECORDS, heading) if row["finding"] == rows[0]["finding"]]
    return found


def details_of(cell: str) -> dict[str, str]:
    """Details by name: [] for a list, {} for a mapping, else the empty text."""
    return {detail.rstrip("[]{}"): detail[len(detail.rstrip("[]{}")) :] for detail in names(cell)}


# ---------------------------------------------------------------- the kind


def test_the_kind_is_that_of_the_crd() -> None:
    """kubectl finds records by these names."""
    crd = definition("zenagentevents")

    assert {row["property"]: names(row["value"]) for row in table(RECORDS, "Kind")} == {
        "group": [crd["group"]],
        "version": [crd["name"]],
        "kind": [crd["names"]["kind"]],
        "plural": [crd["names"]["plural"]],
        "short names": crd["names"]["shortNames"],
        "categories": crd["names"]["categories"],
        "scope": [crd["scope"]],
    }


def test_the_example_is_what_zenwatch_writes() -> None:
    """The code computes the same name, hash, labels and score, and the CRD accepts the record."""
    event, spec, metadata = example_event(), example()["spec"], example()["metadata"]
    report = metadata["annotations"]["zen.kube-zen.io/report"]
    written = object_of(event, namespace=metadata["namespace"], hash_of_spec=spec_hash(event), report=report)

    assert json.loads(json.dumps(written)) == {part: value for part, value in example().items() if part != "status"}
    assert violations(spec) == []
    assert metadata["name"] == record_name("trivy-vuln-", cluster_id=event.cluster_id, source=event.source, key=event.key)
    assert spec["score"] == score(event.severity, tool_score=spec["details"]["cvss"], has_fix="fixedVersion" in spec["details"])
    assert example()["status"] == schema_of("zenagentevents", "status")["default"]


def test_labels_and_annotations_are_those_of_a_record() -> None:
    """Users select by them."""
    metadata = object_of(example_event(), namespace="default", hash_of_spec="0", report=ReportRef("a", "b", "c"))["metadata"]

    assert [name(row["label"]) for row in table(RECORDS, "Labels")] == list(metadata["labels"])
    assert [name(row["annotation"]) for row in table(RECORDS, "Annotations")] == [*metadata["annotations"], TTL_ANNOTATION]


def _limit(schema: Json) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    units = {"maxLength": "characters", "maxItems": "entries", "maxProperties": "fields"}
    return next((f"{schema[limit]:,} {unit}" for limit, unit in units.items() if limit in schema), "")


def _fields(schema: Json, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for field, below in schema["properties"].items():
        yield f"{prefix}{field}", "yes" if field in schema.get("required", ()) else "no", _limit(below)
        if "items" in below:
            yield f"{prefix}{field}[]", "no", _limit(below["items"])
        if "properties" in below:
            yield from _fields(below, f"{prefix}{field}.")


def test_the_spec_is_that_of_the_crd() -> None:
    """The page has every field, says whether the CRD requires it, and gives its limit."""
    rows = table(RECORDS, "Spec")

    assert [(name(row["field"]), row["required"], row["limit"]) for row in rows] == list(_fields(schema_of("zenagentevents", "spec")))


def test_the_status_is_that_of_the_crd() -> None:
    """The page has every field with its default, and every phase."""
    fields = schema_of("zenagentevents", "status")["properties"]
    defaults = {field: str(schema.get("default", "")) for field, schema in fields.items()}

    assert {name(row["field"]): name(row["default"]) for row in table(RECORDS, "Status")} == defaults
    assert [name(row["phase"]) for row in table(RECORDS, "Phases")] == fields["phase"]["enum"] == list(Phase)


def test_the_reasons_are_those_of_the_code() -> None:
    """Each reason leads to a phase."""
    rows = table(RECORDS, "Reasons")

    assert {name(row["reason"]) for row in rows} == {reason.value for reason in Reason}
    assert {name(row["phase"]) for row in rows} <= {phase.value for phase in Phase}


def test_selectable_fields_and_columns_are_those_of_the_crd() -> None:
    """Users type the fields after --field-selector, and kubectl prints the columns."""
    selectable, columns = tables(RECORDS, "Queries and columns")
    crd = definition("zenagentevents")

    assert [name(row["selectable field"]) for row in selectable] == [field["jsonPath"] for field in crd["selectableFields"]]
    assert [(row["column"], name(row["field"]), int(row["priority"])) for row in columns] == [
        (column["name"], column["jsonPath"], column.get("priority", 0)) for column in crd["additionalPrinterColumns"]
    ]


def test_the_remediation_is_that_of_its_crd() -> None:
    """The page has every field of the second kind, and every phase."""
    parts = {part: schema_of("zenagentremediations", part) for part in ("spec", "status")}
    fields = [(f"{part}.{field}", field in schema.get("required", ())) for part, schema in parts.items() for field in schema["properties"]]
    rows = {name(row["field"]): row for row in table(RECORDS, "ZenAgentRemediation")}

    assert [(field, row["required"] == "yes") for field, row in rows.items()] == fields
    assert names(rows["status.phase"]["meaning"]) == parts["status"]["properties"]["phase"]["enum"]


# ---------------------------------------------------------------- by source


def test_every_type_of_finding_has_its_row() -> None:
    """Watchers, findings about zenwatch itself, and rollups: source, prefix of the name, eventType and category."""
    *rows, of_rollup = table(RECORDS, "By source")
    documented = {
        FindingType(name(row["source"]), name(row["name prefix"]), event_type, Category(name(row["category"])))
        for row in rows
        for event_type in names(row["eventType"])
    }

    assert documented == finding_types() | {SelfFinding(topic, "", Severity.INFO, "", "").finding.type for topic in self_findings()}
    assert (name(of_rollup["name prefix"]), name(of_rollup["eventType"])) == (rollup.PREFIX, rollup.EVENT_TYPE)
    assert (of_rollup["key"], rollup.rolled_up(example_event()).key) == ("namespace/kind/name/*", "default/Pod/nginx/*")


def test_every_key_has_the_parts_of_its_row() -> None:
    """The records of examples/ show it. Only the key holds the text by which Checkov calls a resource."""
    for record in previewed():
        spec, pattern = record["spec"], row_of(record, "By source")["key"]
        resource, details = spec.get("resource", {}), spec["details"]
        parts = {**details, **{part: resource.get(part, "") for part in ("namespace", "kind", "name")}, "pod": resource.get("name", "")}
        parts |= {"output[:50]": details.get("output", "")[:50], "resource": spec["key"].partition("/")[2]}
        assert spec["key"] == "/".join(str(parts.get(part, "")) for part in pattern.split("/")), pattern


def test_the_specification_has_the_same_keys() -> None:
    """Both pages give the keys of the six tools."""
    documented = {row["key"] for row in table(RECORDS, "By source")}

    assert {name(row["key"]) for row in table(SPECIFICATION, "Deduplication keys")} <= documented


def test_no_record_has_a_detail_without_a_row() -> None:
    """The records of examples/ show it."""
    for record in previewed():
        documented = details_of(row_of(record, "Details")["details"])
        for detail, value in record["spec"]["details"].items():
            if not detail.endswith("Omitted"):
                form = "[]" if isinstance(value, list) else "{}" if isinstance(value, dict) else ""
                assert documented.get(detail) == form, f"{record['metadata']['name']}: {detail}"


def test_every_detail_of_a_row_is_in_the_code() -> None:
    """A watcher, a finding about zenwatch itself or a rollup uses the name."""
    *rows, of_zenwatch, of_rollup = table(RECORDS, "Details")
    texts_of_watchers = {node.value for node in nodes_in("watchers") if isinstance(node, ast.Constant)}
    of_rollups = rollup.tallied(example_event(), dict.fromkeys(Severity, 1)).details

    for row in rows:
        assert set(details_of(row["details"])) <= texts_of_watchers, row["finding"]
    assert set(details_of(of_zenwatch["details"])) == {"about"}.union(*(details for _, details in self_findings().values()))
    assert list(details_of(of_rollup["details"])) == list(of_rollups)


def test_findings_about_zenwatch_have_their_details() -> None:
    """`about` names the source; a finding about the whole process has none."""
    documented = {name(row["eventType"]): set(details_of(row["details"])) for row in table(RECORDS, "Records of zenwatch itself")}

    assert {topic: details - {"about"} for topic, details in documented.items()} == {
        topic: details for topic, (_, details) in self_findings().items()
    }


def test_the_limits_are_those_of_the_code() -> None:
    """The code shortens what exceeds them."""
    [falco] = [module for module in watcher_modules() if module.__name__ == "watchers.falco.finding"]

    assert {row["what"]: row["at most"] for row in table(RECORDS, "What zenwatch shortens")} == {
        "key": f"{free_text.KEY_CHARS:,} characters",
        "output in a key of Falco": f"{falco.KEY_OUTPUT_CHARS} characters",
        "title": f"{normalise.TITLE_CHARS} characters",
        "remediation": f"{normalise.REMEDIATION_CHARS:,} characters",
        "joined remediations, as JSON": f"{merge.REMEDIATION_BYTES:,} bytes",
        "references": f"{merge.REFERENCES} entries",
        "reference": f"{normalise.REFERENCE_CHARS} characters",
        "all references, as JSON": f"{merge.REFERENCES_BYTES:,} bytes",
        "text in details": f"{normalise.DETAIL_CHARS} characters",
        "list in details": f"{merge.LIST_ENTRIES} entries",
        "samples": f"{RECENT_ENTRIES} entries",
        "details, as JSON": f"{merge.DETAILS_BYTES:,} bytes",
        "event, as JSON": f"{merge.OBJECT_BYTES:,} bytes",
    }


def test_a_kubernetes_event_has_the_reason_of_the_page() -> None:
    """Users filter Events by it."""
    rows = {name(row["field"]): row for row in table(RECORDS, "Kubernetes Events")}

    assert name(rows["reason"]["value"]) == REASON


# ---------------------------------------------------------------- the specification


def test_the_defaults_are_those_of_the_settings() -> None:
    """The specification names these settings."""
    defaults = {variable: default for variable, _, default, _, _ in settings_rows()}

    for row in table(SPECIFICATION, "Settings"):
        assert defaults[name(row["setting"])] == name(row["zenwatch's default"]), row


# ---------------------------------------------------------------- links and citations


def _anchors(page: Path) -> set[str]:
    """GitHub makes these anchors of headings."""
    return {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """The file exists, and it has the heading."""
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), target
            assert not anchor or anchor in _anchors(file), f"{target}{anchor}"


def test_the_first_page_lists_all_others() -> None:
    """A reader of docs/ starts at README.md."""
    linked = {target for target, _ in LINK.findall((DOCS / "README.md").read_text(encoding="utf-8"))}

    assert linked == {page.name for page in PAGES} - {"README.md"}


def test_the_code_cites_only_what_the_repository_has() -> None:
    """A citation names a page and perhaps a section: docs/records.md, "By source"."""
    dead = []
    for file in (file for file in CODE if file != Path(__file__)):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            cited = CITATION.findall(line)
            missing = [page for page, heading in cited if not (DOCS / page).exists() or (heading and heading not in headings(DOCS / page))]
            dead += [f"{file.relative_to(ROOT)}:{number}: {citation}" for citation in (*NOWHERE.findall(line), *missing)]

    assert dead == []
