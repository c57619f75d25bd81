"""Print missing permissions: as a phrase, as RBAC rules in YAML, and as a check."""

from collections.abc import Iterable
from dataclasses import dataclass

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.cluster.permissions import REVIEWS, Permission
from zenwatch.errors import Forbidden, ZenwatchError, first_line


def phrase(missing: Iterable[Permission]) -> str:
    """list, watch policyreports.wgpolicyk8s.io; in namespace shop: ..."""
    return "; ".join(
        f"{', '.join(verbs)} {kinds}" + (f" in namespace {', '.join(namespaces)}" if namespaces != [""] else "")
        for namespaces, group in _by_namespaces(missing)
        for verbs, kinds in ((rule.verbs, ", ".join(rule.kinds)) for rule in _rules(group))
    )


def advice(missing: Iterable[Permission], account: str) -> tuple[str, ...]:
    """Which rules have to be added to which role. account: its name."""
    lines: list[str] = []
    for namespaces, group in _by_namespaces(missing):
        if namespaces == [""]:
            lines.append(f"Add this to the rules of a ClusterRole that {account} is bound to (kubectl edit clusterrole zenwatch):")
        else:
            command = f"kubectl edit role zenwatch -n {namespaces[0]}"
            lines.append(f"Add this to the rules of a Role that {account} is bound to, in {', '.join(namespaces)} ({command}):")
        lines += rules_yaml(group)
    return tuple(lines)


def rules_yaml(missing: Iterable[Permission]) -> list[str]:
    """Entries for the list `rules` of a ClusterRole or Role, as YAML, sorted by API group."""
    return [
        line
        for rule in _rules(missing)
        for line in (
            "  - apiGroups: [{}]".format(rule.group or '""'),
            f"    resources: [{', '.join(rule.plurals)}]",
            f"    verbs: [{', '.join(rule.verbs)}]",
        )
    ]


def unknown_access_check(area: str, title: str, exc: ZenwatchError) -> Check:
    """The check when the authorizer did not answer."""
    lines = _advice_when_forbidden(exc) if isinstance(exc, Forbidden) else ()
    return Check(area, title, Level.UNKNOWN, f"permissions could not be asked for: {first_line(exc)}", lines)


def _advice_when_forbidden(refusal: Forbidden) -> tuple[str, ...]:
    """One permission is needed to ask for the permissions of another account."""
    if REVIEWS.plural not in str(refusal):
        return ("Look at who the kubeconfig says you are: kubectl auth whoami",)
    return (
        "Run doctor as somebody who may ask for others (a cluster administrator), or as the account itself:",
        "kubectl create token NAME -n NAMESPACE, in a kubeconfig of its own. The rule that allows to ask:",
        *rules_yaml([Permission("create", REVIEWS)]),
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    group: str
    verbs: tuple[str, ...]
    plurals: tuple[str, ...]
    kinds: tuple[str, ...]


def _rules(missing: Iterable[Permission]) -> list[_Rule]:
    """As few rules as possible: kinds of one API group that lack the same verbs share a rule."""
    verbs: dict[tuple[str, str, str], dict[str, None]] = {}
    for need in missing:
        verbs.setdefault((need.resource.group, need.plural, need.kind), {})[need.verb] = None
    alike: dict[tuple[str, tuple[str, ...]], list[tuple[str, str]]] = {}
    for (group, plural, kind), lacking in verbs.items():
        alike.setdefault((group, tuple(lacking)), []).append((plural, kind))
    return [
        _Rule(group, lacking, tuple(plural for plural, _ in names), tuple(kind for _, kind in names))
        for (group, lacking), names in sorted(alike.items(), key=lambda entry: entry[0][0])
    ]


def _by_namespaces(missing: Iterable[Permission]) -> list[tuple[list[str], list[Permission]]]:
    """Namespaces that lack the same permissions, together with these permissions."""
    lacking: dict[str, list[Permission]] = {}
    for need in missing:
        lacking.setdefault(need.namespace, []).append(need)
    alike: dict[tuple[str, ...], tuple[list[str], list[Permission]]] = {}
    for namespace, needs in lacking.items():
        namespaces, _ = alike.setdefault(tuple(f"{need.verb} {need.kind}" for need in needs), ([], needs))
        namespaces.append(namespace)
    return list(alike.values())
