"""Find the rule that decides about a request: the first one that matches.

In: rules, in order; then requests.  Out: for each request one rule.
Owns: for each sort of request (verb, kind, code, stage) the rules that may match; at most MOST_SORTS of them, in memory.
Stops: nothing to stop.
"""

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from watchers.audit.request import TESTS, Request, Test
from zenwatch.sdk import SelfIdentity, Severity

# A cluster has some hundred. What a sender makes up is forgotten with the rest when it is full, and long names are not kept at all.
MOST_SORTS = 4096
_LONGEST_SORT_CHARS = 512
# As much of a path or a name as a pattern is held against.
_LONGEST_TEXT_CHARS = 2048

_Sort = tuple[str, str, str, str, str, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. All conditions must hold; an empty one always does.

    name: kebab-case, a metric's label. sentence: what it takes or leaves, and why, for a person.
    take: False leaves the event out, and event_type and severity mean nothing.
    resources: as kubectl writes them, secrets or clusterroles.rbac.authorization.k8s.io; a request for no resource matches none.
    subresources: "" for a request that names none.
    users: who acts, the impersonated one where there is one. groups: one of them must match.
    paths: the URI's without its query. codes: 403, or 4xx for all of them; a panic and a missing code count as 200.
    when: names of TESTS, all of which must say yes.
    Names of verbs, resources, subresources, users, groups, namespaces and paths may hold `*`, `?` and `[…]` as a shell's do.
    """

    name: str
    sentence: str
    take: bool
    event_type: str = ""
    severity: Severity = Severity.INFO
    verbs: Sequence[str] = ()
    resources: Sequence[str] = ()
    subresources: Sequence[str] = ()
    users: Sequence[str] = ()
    groups: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    paths: Sequence[str] = ()
    codes: Sequence[str] = ()
    stages: Sequence[str] = ()
    when: Sequence[str] = ()


class Rules:
    """The rules as they are asked. The last one must have no conditions."""

    def __init__(self, rules: Sequence[Rule], self_identity: SelfIdentity) -> None:
        self._circumstances = self_identity
        self._rules = [_Compiled(rule) for rule in rules]
        self._by_sort: dict[_Sort, Sequence[_Compiled]] = {}

    def decide(self, request: Request) -> Rule:
        code = request.effective_code
        sort = (request.verb, request.resource, request.api_group, request.subresource, request.stage, code)
        candidates = self._by_sort.get(sort)
        if candidates is None:
            candidates = self._candidates(sort)
        self_identity = self._circumstances
        for candidate in candidates:
            for test in candidate.tests:
                if not test(request, self_identity):
                    break
            else:
                return candidate.rule
        return self._rules[-1].rule

    def _candidates(self, sort: _Sort) -> Sequence["_Compiled"]:
        found = tuple(compiled for compiled in self._rules if compiled.may_match(sort))
        if sum(len(part) for part in sort[:5]) <= _LONGEST_SORT_CHARS:
            if len(self._by_sort) >= MOST_SORTS:
                self._by_sort.clear()
            self._by_sort[sort] = found
        return found


class _Compiled:
    """A rule, with what is the same for all requests of a sort apart from what has to be asked of each."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.tests: tuple[Test, ...] = (*_tests_of(rule), *(TESTS[name] for name in rule.when))
        self._verb, self._resource, self._subresource, self._stage = (
            matcher(patterns) for patterns in (rule.verbs, rule.resources, rule.subresources, rule.stages)
        )
        self._codes = frozenset(rule.codes)

    def may_match(self, sort: _Sort) -> bool:
        verb, resource, api_group, subresource, stage, code = sort
        full_name = f"{resource}.{api_group}" if api_group else resource
        return (
            self._verb(verb)
            and (not self.rule.resources or (bool(resource) and self._resource(full_name)))
            and self._subresource(subresource)
            and self._stage(stage)
            and (not self._codes or str(code) in self._codes or f"{code // 100}xx" in self._codes)
        )


def _tests_of(rule: Rule) -> Iterator[Test]:
    """Of users, groups, namespaces and paths; there are too many different ones to remember."""
    if rule.users:
        is_user = matcher(rule.users)
        yield lambda request, _: is_user(request.user)
    if rule.groups:
        is_group = matcher(rule.groups)
        yield lambda request, _: any(is_group(group) for group in request.groups)
    if rule.namespaces:
        is_namespace = matcher(rule.namespaces)
        yield lambda request, _: is_namespace(request.namespace)
    if rule.paths:
        is_path = matcher(rule.paths)
        yield lambda request, _: is_path(request.path)


def matcher(patterns: Collection[str]) -> Callable[[str], bool]:
    """Whether a text is one of these, or matches one with `*`, `?` or `[`. No patterns match everything."""
    if not patterns:
        return lambda _text: True
    exact = frozenset(pattern for pattern in patterns if not set(pattern) & set("*?["))
    if len(exact) == len(patterns):
        return exact.__contains__
    wild = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns if pattern not in exact))
    return lambda text: text in exact or wild.match(text[:_LONGEST_TEXT_CHARS]) is not None
