"""What every contract.Watcher and PushWatcher promises.

The subclass gives the fixtures `watcher` and `reports`: at least one valid payload, an object that is read or an event that is pushed.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from zenwatch.sdk import AnyWatcher, BadInput, Finding, PushWatcher, SelfIdentity, Severity, Watcher

# What can stand where a tool puts an object, a list or a text.
JUNK: tuple[Any, ...] = (None, "", "text", 0, -1, 1.5, True, [], [None], ["text"], [[]], {}, {"x": 1}, "\ud800", "\x00")
NAME_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?-")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class WatcherSuite:
    def test_the_declaration_cannot_change(self, watcher: AnyWatcher) -> None:
        """Rooms may keep and compare it."""
        assert hash(watcher) == hash(copy.copy(watcher))
        with pytest.raises(FrozenInstanceError):
            watcher.name = "other"  # type: ignore[misc]

    def test_the_name_is_a_word_for_labels_settings_and_logs(self, watcher: AnyWatcher) -> None:
        """It becomes the record's source, which the CRD holds to a lower-case DNS label."""
        assert DNS_LABEL.fullmatch(watcher.name)

    def test_it_names_the_kinds_it_reads_each_once(self, watcher: AnyWatcher) -> None:
        """They are listed and watched, and RBAC grants them by these names."""
        assert watcher.reads or isinstance(watcher, PushWatcher)
        assert len(set(watcher.reads)) == len(watcher.reads)
        for kind in watcher.reads:
            assert kind.plural == kind.plural.lower()
            assert kind.version
            assert kind.kind

    def test_a_kind_that_others_write_to_has_a_label_selector(self, watcher: AnyWatcher) -> None:
        """Otherwise every ConfigMap of the cluster would be read, and most rejected."""
        assert all(kind.label_selector for kind in watcher.reads if kind.plural in {"configmaps", "secrets"})

    def test_what_it_claims_is_a_matter_of_yes_or_no(self, watcher: AnyWatcher) -> None:
        """It is asked about every document, whatever stands in it."""
        assert all(isinstance(watcher.claims(junk), bool) for junk in JUNK)

    def test_it_finds_something(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """Otherwise the other tests of this suite prove nothing."""
        assert all(_parsed(watcher, report) for report in reports)

    def test_findings_are_of_this_source(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """The intake counts under the watcher's name and names records by the finding's."""
        for finding in _all(watcher, reports):
            assert finding.type.source == watcher.name
            assert NAME_PREFIX.fullmatch(finding.type.name_prefix)
            assert DNS_LABEL.fullmatch(finding.type.event_type)

    def test_every_finding_has_a_key_a_title_and_one_of_our_severities(
        self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]
    ) -> None:
        """A record without them could not be stored."""
        for finding in _all(watcher, reports):
            assert finding.key
            assert finding.title
            assert isinstance(finding.severity, Severity)
            assert finding.tool_score is None or 0 <= finding.tool_score <= 10

    def test_details_hold_scalars_text_and_collections_of_text(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """Lists of one key are united and sorted, which only text can be; mappings hold text."""
        for finding in _all(watcher, reports):
            for value in finding.details.values():
                if not isinstance(value, str | int | float):
                    assert all(isinstance(entry, str) for entry in (value.values() if isinstance(value, Mapping) else value))

    def test_the_same_report_says_the_same_twice(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """parse() is pure: it remembers nothing and asks nobody."""
        for report in reports:
            assert _parsed(watcher, report) == _parsed(watcher, copy.deepcopy(report))

    def test_the_report_is_left_as_it_was(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """parse() is pure: others may read the same object."""
        for report in reports:
            before = copy.deepcopy(report)
            _parsed(watcher, report)
            assert report == before

    def test_junk_anywhere_in_a_report_is_bad_input_at_worst(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """Another exception would be logged as a bug of the watcher, with a traceback, for what is the tool's fault."""
        for report in reports:
            for path in _paths(report):
                for junk in JUNK:
                    _try(watcher, _replaced(report, path, junk), path, junk)

    def test_a_missing_part_is_bad_input_at_worst(self, watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> None:
        """Older and newer versions of a tool leave things out."""
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
        return list(watcher.parse(report))
    verdict = watcher.prepare(watcher.settings.read({}), SelfIdentity())(report)
    assert re.fullmatch(r"[a-z][a-z0-9-]*", verdict.rule)
    assert verdict.why.endswith(".")
    return [verdict.finding] if verdict.finding is not None else []


def _all(watcher: AnyWatcher, reports: Sequence[Mapping[str, Any]]) -> list[Finding]:
    return [finding for report in reports for finding in _parsed(watcher, report)]


def _paths(part: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside part."""
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
