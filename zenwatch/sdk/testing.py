"""The test suite for pytest that every Watcher and PushWatcher passes.

A subclass of WatcherSuite provides the fixtures `watcher` and `reports`. `reports` is a list of valid samples: objects that the watcher
reads, or events that the tool posts.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from zenwatch.sdk import AnyWatcher, BadInput, Finding, PushWatcher, SelfIdentity, Severity, Watcher

# Values that the suite puts in the place of every value of a sample.
JUNK: tuple[Any, ...] = (None, "", "text", 0, -1, 1.5, True, [], [None], ["text"], [[]], {}, {"x": 1}, "\ud800", "\x00")
NAME_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?-")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class WatcherSuite:
    """What zenwatch relies on. Each test is a promise of the watcher."""

    def test_the_declaration_cannot_change(self, watcher: AnyWatcher) -> None:
        """Components may keep it and compare it."""
        assert hash(watcher) == hash(copy.copy(watcher))
        with pytest.raises(FrozenInstanceError):
            watcher.name = "other"  # type: ignore[misc]

    def test_the_name_is_a_word_for_labels_settings_and_logs(self, watcher: AnyWatcher) -> None:
        """It becomes the record's source, which must be a lower-case DNS label."""
        assert DNS_LABEL.fullmatch(watcher.name)

    def test_it_names_the_kinds_it_reads_each_once(self, watcher: AnyWatcher) -> None:
        """zenwatch lists and watches them, and RBAC grants rights by these names."""
        assert watcher.reads or isinstance(watcher, PushWatcher)
        assert len(set(watcher.reads)) == len(watcher.reads)
        for kind in watcher.reads:
            assert kind.plural == kind.plural.lower()
            assert kind.version
            assert kind.kind

    def test_a_kind_that_others_write_to_has_a_label_selector(self, watcher: AnyWatcher) -> None:
        """Otherwise zenwatch would read every ConfigMap of the cluster and reject most of them."""
        assert all(kind.label_selector for kind in watcher.reads if kind.plural in {"configmaps", "secrets"})

    def test_claims_returns_true_or_false_for_any_document(self, watcher: AnyWatcher) -> None:
        """zenwatch calls it with documents of all tools."""
        assert all(isinstance(watcher.claims(junk), bool) for junk in JUNK)

    def test_every_sample_has_a_finding(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """Otherwise the other tests of this suite prove nothing."""
        assert all(_parsed(watcher, report) for report in reports)

    def test_findings_have_the_watchers_name_as_their_source(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """zenwatch counts findings under the watcher's name, and names records by the finding's source."""
        for finding in _all(watcher, reports):
            assert finding.type.source == watcher.name
            assert NAME_PREFIX.fullmatch(finding.type.name_prefix)
            assert DNS_LABEL.fullmatch(finding.type.event_type)

    def test_every_finding_has_a_key_a_title_and_one_of_our_severities(
        self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]
    ) -> None:
        """The API server would refuse a record without them."""
        for finding in _all(watcher, reports):
            assert finding.key
            assert finding.title
            assert isinstance(finding.severity, Severity)
            assert finding.tool_score is None or 0 <= finding.tool_score <= 10

    def test_details_hold_scalars_text_and_collections_of_text(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """zenwatch unites and sorts the lists of findings with the same key, which needs text."""
        for finding in _all(watcher, reports):
            for value in finding.details.values():
                if not isinstance(value, str | int | float):
                    assert all(isinstance(entry, str) for entry in (value.values() if isinstance(value, Mapping) else value))

    def test_the_same_report_has_the_same_findings_again(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """parse() is pure: it has no state and no I/O."""
        for report in reports:
            assert _parsed(watcher, report) == _parsed(watcher, copy.deepcopy(report))

    def test_the_report_does_not_change(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """parse() is pure: others read the same object."""
        for report in reports:
            before = copy.deepcopy(report)
            _parsed(watcher, report)
            assert report == before

    def test_junk_anywhere_in_a_report_is_bad_input_at_worst(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """zenwatch logs another exception as a bug of the watcher, with a traceback, although it is the tool's fault.

        BadInput may be yielded in place of an entry, or raised.
        """
        for report in reports:
            for path in _paths(report):
                for junk in JUNK:
                    _try(watcher, _replaced(report, path, junk), path, junk)

    def test_a_missing_part_is_bad_input_at_worst(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """Older and newer versions of a tool omit fields."""
        for report in reports:
            for path in _paths(report):
                _try(watcher, _removed(report, path), path, "nothing")


def _try(watcher: AnyWatcher, report: Any, path: tuple[Any, ...], junk: Any) -> None:
    is_understood = False
    try:
        _parsed(watcher, report)
        is_understood = True
    except BadInput:
        is_understood = True
    finally:
        assert is_understood, f"{junk!r} at {path}"


def _parsed(watcher: AnyWatcher, report: Mapping[str, Any]) -> list[Finding]:
    if isinstance(watcher, Watcher):
        return [entry for entry in watcher.parse(report) if not isinstance(entry, BadInput)]
    verdict = watcher.prepare(watcher.settings.read({}), SelfIdentity())(report)
    assert re.fullmatch(r"[a-z][a-z0-9-]*", verdict.rule)
    assert verdict.why.endswith(".")
    return [verdict.finding] if verdict.finding is not None else []


def _all(watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> list[Finding]:
    return [finding for report in reports for finding in _parsed(watcher, report)]


def _paths(part: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of keys and indices to every value inside part."""
    steps = list(part.items()) if isinstance(part, Mapping) else list(enumerate(part)) if isinstance(part, list) else []
    return [path for step, value in steps for path in ((*before, step), *_paths(value, (*before, step)))]


def _replaced(report: Mapping[str, Any], path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(report)
    _holder(changed, path)[path[-1]] = value
    return changed


def _removed(report: Mapping[str, Any], path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(report)
    del _holder(changed, path)[path[-1]]
    return changed


def _holder(report: Any, path: tuple[Any, ...]) -> Any:
    for step in path[:-1]:
        report = report[step]
    return report
