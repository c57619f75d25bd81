"""Find the rule for a request: the first rule that matches.

Requests of the same sort (verb, resource, code, stage) have the same candidates, so Rules remembers the candidates of MOST_SORTS sorts.
"""

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from watchers.audit.request import QUESTIONS, Question, Request
from zenwatch.sdk import SelfIdentity, Severity

# A cluster has some hundred sorts. A sender can make up more: a full memory is cleared, and sorts with long names are never kept.
MOST_SORTS = 4096
_LONGEST_SORT_CHARS = 512
# Patterns see only so much of a path or a name.
_LONGEST_TEXT_CHARS = 2048

_Sort = tuple[str, str, str, str, str, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """Which requests match, and what happens to them. All conditions must hold; an empty condition always holds.

    Every condition but codes, stages and `when` may hold the patterns `*`, `?` and `[…]` of a shell.
    """

    # In kebab case. It is a label of a metric.
    name: str
    # For a person: which requests the rule stores or leaves out, and why.
    sentence: str
    # True: zenwatch stores the request. False: zenwatch leaves it out, and event_type and severity have no meaning.
    take: bool
    event_type: str = ""
    severity: Severity = Severity.INFO
    verbs: Sequence[str] = ()
    # As kubectl writes them: secrets, clusterroles.rbac.authorization.k8s.io. A request for a path without a resource never matches.
    resources: Sequence[str] = ()
    # "" for a request without a subresource.
    subresources: Sequence[str] = ()
    # The impersonated user if there is one.
    users: Sequence[str] = ()
    # One of the user's groups must match.
    groups: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    # Without the query.
    paths: Sequence[str] = ()
    # 403, or 4xx for all such codes. A panic and a missing code count as 200.
    codes: Sequence[str] = ()
    stages: Sequence[str] = ()
    # Names of QUESTIONS. The answer to each must be yes.
    when: Sequence[str] = ()


class Rules:
    """Rules in their order. The last rule must have no conditions."""

    def __init__(self, rules: Sequence[Rule], self_identity: SelfIdentity) -> None:
        self._self_identity = self_identity
        self._rules = [_Compiled(rule) for rule in rules]
        self._by_sort: dict[_Sort, Sequence[_Compiled]] = {}

    def decide(self, request: Request) -> Rule:
        code = request.effective_code
        sort = (request.verb, request.resource, request.api_group, request.subresource, request.stage, code)
        candidates = self._by_sort.get(sort)
        if candidates is None:
            candidates = self._candidates(sort)
        self_identity = self._self_identity
        for candidate in candidates:
            for question in candidate.questions:
                if not question(request, self_identity):
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
    """A rule in two parts: conditions on the sort of a request, and questions about the single request."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.questions: tuple[Question, ...] = (*_questions_of(rule), *(QUESTIONS[name] for name in rule.when))
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


def _questions_of(rule: Rule) -> Iterator[Question]:
    """The conditions on users, groups, namespaces and paths, which have too many values to be part of a sort."""
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
    """Returns a function that answers whether a text matches one of the patterns. Without patterns every text matches."""
    if not patterns:
        return lambda _text: True
    exact = frozenset(pattern for pattern in patterns if not set(pattern) & set("*?["))
    if len(exact) == len(patterns):
        return exact.__contains__
    wild = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns if pattern not in exact))
    return lambda text: text in exact or wild.match(text[:_LONGEST_TEXT_CHARS]) is not None
