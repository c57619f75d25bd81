"""zenwatch/sdk/embedded_json.py: JSON documents that somebody put into a ConfigMap, together with other text."""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.parsed import whole
from tests.support.tasks import must_end
from zenwatch.errors import BadInput
from zenwatch.sdk import embedded_json
from zenwatch.sdk.embedded_json import Document, documents_of

REPORT = {"report": 1, "text": "ä [ {"}
LONG = {"report": 2, "entries": [{"number": number} for number in range(100)]}
TEXT = json.dumps(REPORT)
PRETTY = json.dumps(LONG, indent=2)
GLOG = 'W0612 08:14:02.113478   12345 util.go:495] \nUnable to detect running programs for component "apiserver"\n'
BANNER = r"""
   ___| |__   ___  ___| | _______   __
  / __| '_ \ / _ \/ __| |/ / _ \ \ / /
 | (__| | | |  __/ (__|   < (_) \ V /  [====>   ] { }
By somebody | version: 3.3.30
		5  | resource "aws_security_group" "open" {
		6  |   policy = {"Version": "2012-10-17", "Statement": []}
		7  |   cidr_blocks = ["0.0.0.0/0"]
"""


def claims(value: Any) -> bool:
    return isinstance(value, Mapping) and "report" in value


def packed(text: str | bytes) -> str:
    return base64.b64encode(gzip.compress(text.encode() if isinstance(text, str) else text)).decode()


def read(config_map: Mapping[str, Any]) -> list[Document]:
    return whole(documents_of(config_map, claims=claims))


def values(text: str) -> list[Any]:
    return [document.value for document in read({"data": {"results.json": text}})]


# ---------------------------------------------------------------- keys


def test_every_json_key_is_read_in_the_order_of_their_names() -> None:
    """Keys of data and of binaryData, compressed or not. Other keys may be notes."""
    config_map = {
        "data": {"d.json": "4", "a.JSON": "1", "readme.txt": "text", "json": "text"},
        "binaryData": {"c.json": base64.b64encode(b"3").decode(), "b.json.gz": packed("2"), "logo.png": "%"},
    }

    assert read(config_map) == [Document("a.JSON", 1), Document("b.json.gz", 2), Document("c.json", 3), Document("d.json", 4)]


@pytest.mark.parametrize("config_map", [{}, {"data": None, "binaryData": None}, {"data": {"results.yaml": "a: 1", "results.json.gz": "x"}}])
def test_without_such_a_key_the_error_states_what_was_expected(config_map: dict[str, Any]) -> None:
    """A person has to correct the ConfigMap."""
    with pytest.raises(BadInput, match=r"no key of data ends in \.json, and none of binaryData in \.json or \.json\.gz"):
        read(config_map)


@pytest.mark.parametrize(
    ("config_map", "where"),
    [
        ({"data": []}, "data is not an object"),
        ({"binaryData": "text"}, "binaryData is not an object"),
        ({"data": {"results.json": {}}}, r"data\.results\.json is not a text"),
        ({"binaryData": {"a.json": "%"}}, r"a\.json is not base64"),
        ({"binaryData": {"a.json": "ä"}}, r"a\.json is not base64"),
    ],
)
def test_an_object_that_is_no_config_map_is_bad_input(config_map: dict[str, Any], where: str) -> None:
    """The API server would refuse it too, but files may hold anything."""
    with pytest.raises(BadInput, match=where):
        read(config_map)


def test_one_unreadable_key_costs_only_itself() -> None:
    """Its error stands in place of its documents, because what it holds is unknown, and unknown is never empty."""
    data = {"a.json": TEXT, "b.json": "Killed", "d.json": TEXT}
    found = list(documents_of({"data": data, "binaryData": {"c.json.gz": "%"}}, claims=claims))

    assert [entry.key if isinstance(entry, Document) else str(entry).split()[0] for entry in found] == [
        "a.json",
        "b.json",
        "c.json.gz",
        "d.json",
    ]


# ---------------------------------------------------------------- compression and encodings


@pytest.mark.parametrize(
    "value",
    [
        packed(TEXT),
        base64.b64encode(gzip.compress(TEXT[:5].encode()) + gzip.compress(TEXT[5:].encode())).decode(),
        base64.b64encode(TEXT.encode("utf-16")).decode(),
        base64.b64encode(TEXT.encode("utf-8-sig")).decode(),
        packed(TEXT.encode("utf-16")),
    ],
    ids=["gzip", "two-members", "utf-16", "utf-8-with-mark", "utf-16-gzip"],
)
def test_bytes_are_unpacked_and_decoded(value: str) -> None:
    """kubectl puts text that is not UTF-8 into binaryData, such as text that PowerShell wrote."""
    assert read({"binaryData": {"results.json": value}}) == [Document("results.json", REPORT)]


@pytest.mark.parametrize(
    "raw", [gzip.compress(b"[]" * 500)[:-10], gzip.compress(b"[]")[:12] + b"xxxxxxxx", b"\x1f\x8b", b"\x1f\x8b\x08text"]
)
def test_broken_gzip_is_bad_input(raw: bytes) -> None:
    """The archive may be cut off."""
    with pytest.raises(BadInput, match=r"a\.json\.gz cannot be unpacked at byte"):
        read({"binaryData": {"a.json.gz": base64.b64encode(raw).decode()}})


def test_unpacked_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of zeros takes a kilobyte."""
    monkeypatch.setattr(embedded_json, "INFLATED_BYTES", 100)

    assert read({"binaryData": {"a.json.gz": packed("1" + " " * 99)}}) == [Document("a.json.gz", 1)]
    with pytest.raises(BadInput, match=r"a\.json\.gz is longer than 100 bytes"):
        read({"binaryData": {"a.json.gz": packed("1" + " " * 100)}})


# ---------------------------------------------------------------- text around documents


@pytest.mark.parametrize(
    "before", ["", "\ufeff", "\n \n", GLOG, BANNER, "time INFO result: ", "[pod/kube-bench-x/kube-bench] ", '{"level": "info"}\n', "[]\n"]
)
@pytest.mark.parametrize("after", ["", "\n", "\nDone [ok] {x}\n", BANNER, '\n{"level": "info"}\n'])
@pytest.mark.parametrize("report", [REPORT, LONG])
def test_text_around_a_document_is_skipped(before: str, after: str, report: Any) -> None:
    """Log lines, banners, other output, and JSON of other programs, such as log lines in JSON."""
    assert values(before + json.dumps(report, indent=2) + after) == [report]
    assert values(before + json.dumps(report) + after) == [report]


@pytest.mark.parametrize("between", ["", "\n", " ", "\n---\n", "\n" + GLOG])
def test_several_documents_are_read_in_order(between: str) -> None:
    """Old versions of kube-bench print one for each kind of node."""
    assert values(between.join([TEXT, PRETTY, TEXT])) == [REPORT, LONG, REPORT]


def test_a_document_without_other_text_is_returned_whatever_it_is() -> None:
    """The watcher then states what is wrong with it."""
    assert values('{"level": "info"}') == [{"level": "info"}]
    assert values("null") == [None]


def test_json_that_only_python_accepts_is_read() -> None:
    """Checkov is written in Python, which writes NaN and halves of characters."""
    assert values('{"report": 1, "text": "\\ud800", "number": Infinity}') == [{"report": 1, "text": "\ud800", "number": float("inf")}]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "is empty, at byte 0"),
        (" \n\t", "is empty, at byte 0"),
        ("Killed", "holds no JSON document of this tool, at byte 0"),
        (GLOG, "holds no JSON document"),
        (BANNER, "holds no JSON document"),
        ('{"level": "info"}\n{"level": "warn"}', "at byte 18"),
        ('{"ä": 1, ', "at byte 10"),
        (PRETTY[:-1], f"at byte {len(PRETTY) - 1}"),
        (GLOG + PRETTY[:-1], f"at byte {len(GLOG) + len(PRETTY) - 1}"),
        (PRETTY + "\n" + PRETTY[:-1], f"at byte {2 * len(PRETTY)}"),
        (PRETTY + '\n{"report": ', "at byte"),
        ('{"report": ' + "9" * 5000 + "}", "at byte"),
        ('{"report": ' + "[" * 5000 + "]" * 5000 + "}", "at byte"),
        ("log\n" + '{"report":' * 5000 + "1" + "}" * 5000, "at byte"),
    ],
)
def test_unreadable_text_is_bad_input_and_the_error_states_where(text: str, where: str) -> None:
    """The error names the key and the byte."""
    with pytest.raises(BadInput, match=rf"results\.json .*{where}"):
        values(text)


@pytest.mark.parametrize("noise", [GLOG, "log\n", ","])
@pytest.mark.parametrize("before", ["", GLOG])
@pytest.mark.parametrize("text", ["", "x" * 300])
@pytest.mark.parametrize("index", [1, 2])
def test_a_document_with_text_in_it_is_not_read_in_part(before: str, noise: str, text: str, index: int) -> None:
    """Its inner objects may look like documents, and half a report would resolve the findings of the other half."""
    reports = [{"report": number, "text": text} for number in range(4)]
    lines = [line + "\n" for line in json.dumps(reports).replace("}, {", "},\n{").splitlines()]
    lines.insert(index, noise)

    with pytest.raises(BadInput, match=r"results\.json cannot be read as JSON at byte"):
        values(before + "".join(lines))


# ---------------------------------------------------------------- bounds

MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "{",
        '{"',
        '{"\n',
        "[{",
        "[ ",
        "]",
        "] ",
        "]{",
        " ",
        "\n",
        '[{"a":',
        '{"a":\n',
        '{"a":1}\n',
        "[]\n",
        '{"a":1}x',
        '{"":',
        "{}x{\n",
        '"',
        "\\",
    ],
)
def test_a_mebibyte_of_brackets_is_refused_in_time_that_grows_with_it_and_no_faster(unit: str) -> None:
    """Whoever may write the ConfigMap could otherwise stop everything else. With the square of its length, it would take minutes."""
    with must_end(), pytest.raises(BadInput):
        values("x" + unit * (MEBIBYTE // len(unit)))
