"""`zenwatch top`: the open records, grouped."""

import asyncio
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from tests.support.fakes.api_server import FakeApiServer, body, watch
from tests.support.terminal import Zenwatch
from zenwatch.kube.records import object_of
from zenwatch.store.crd.top import TopGroups

RECORDS = "/apis/zen.kube-zen.io/v1/zenagentevents"
NO_PROCESS = "http://127.0.0.1:9"


def a_process(*cves: str) -> FakeApiServer:
    """Answers /top as a running zenwatch does."""
    groups = TopGroups()
    for number, cve in enumerate(cves):
        groups.replace(None, a_stored(name=f"r{number}", cve=cve, severity="CRITICAL" if number == 0 else "HIGH"))
    server = FakeApiServer()
    server.answers("GET", "/top", body({"by": "cve", "groups": groups.top("cve", 2), "all": groups.size("cve")}))
    return server


def a_record(number: int, **changes: Any) -> dict[str, Any]:
    made = object_of(an_event(key=f"k{number}", details={"vulnID": f"CVE-{number % 2}"}, **changes), namespace="shop", hash_of_spec="a")
    made["metadata"] |= {"resourceVersion": str(number + 1), "creationTimestamp": "2026-01-01T00:00:00Z"}
    plain: dict[str, Any] = orjson.loads(orjson.dumps(made))
    return plain


async def test_the_running_process_answers(zenwatch: Zenwatch) -> None:
    """A table whose last column is the dimension. The last line counts the groups that are not printed."""
    async with a_process("CVE-1", "CVE-1", "CVE-2", "CVE-3") as server:
        shown = await asyncio.to_thread(zenwatch, "top", "cve", "--limit", "2", "--url", server.url)

    assert (shown.code, shown.err) == (0, "")
    assert [line.split() for line in shown.out.splitlines()] == [
        ["WORST", "OPEN", "CRITICAL", "HIGH", "MEDIUM", "LOW", "INFO", "RESOLVED", "CVE"],
        ["CRITICAL", "2", "1", "1", "0", "0", "0", "0", "CVE-1"],
        ["HIGH", "1", "0", "1", "0", "0", "0", "0", "CVE-2"],
        ["...", "and", "1", "more", "(--limit)"],
    ]
    assert server.seen[0].query == {"by": "cve", "limit": "2"}


async def test_without_a_process_the_records_are_read(zenwatch: Zenwatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a cluster is named. JSON output is for programs."""
    async with FakeApiServer() as server:
        listed = {"metadata": {"resourceVersion": "9"}, "items": [a_record(number) for number in range(3)]}
        server.answers("GET", RECORDS, body(listed), watch())
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        kubeconfig = {"current-context": "c", "contexts": [context], "users": [{"name": "u", "user": {}}]}
        kubeconfig["clusters"] = [{"name": "c", "cluster": {"server": server.url}}]
        (tmp_path / "config").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config"} | kubeconfig))
        monkeypatch.setenv("LISTEN", "127.0.0.1:9")
        shown = await asyncio.to_thread(zenwatch, "top", "cve", "-o", "json", "--kubeconfig", str(tmp_path / "config"))

    assert (shown.code, shown.err) == (0, "")
    assert [(group["value"], group["open"]) for group in json.loads(shown.out)["groups"]] == [("CVE-0", 2), ("CVE-1", 1)]


def test_without_a_process_and_a_cluster_the_error_names_the_options(zenwatch: Zenwatch) -> None:
    """And the address that was asked."""
    shown = zenwatch("top", "--url", NO_PROCESS)

    assert (shown.code, shown.out) == (1, "")
    assert f"no answer from {NO_PROCESS}" in shown.err
    assert "--kubeconfig" in shown.err


@pytest.mark.parametrize("arguments", [("colour",), ("cve", "--limit", "0"), ("cve", "--limit", "many")])
def test_a_wrong_argument_is_refused_before_anything_is_asked(zenwatch: Zenwatch, arguments: tuple[str, ...]) -> None:
    """By argparse, with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        zenwatch("top", *arguments)

    assert ended.value.code == 2
