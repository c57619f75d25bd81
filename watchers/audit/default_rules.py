"""The built-in rules: which requests zenwatch stores, with which severity, and which it leaves out. The first rule that matches decides.

The order matters. Rules with a worse severity come first; before them come the rules that leave out frequent and harmless requests.
docs/severity.md, "Audit" has the source of each severity.
"""

from watchers.audit.request import DELETES, STREAMS, WRITES
from watchers.audit.rules import Rule
from zenwatch.sdk import Severity

_READS = ("get", "list", "watch")
_CHANGES = (*WRITES, *DELETES)
_SECRETS = ("secrets",)
_RBAC = ("*.rbac.authorization.k8s.io",)
_CLUSTER_ROLES = ("clusterroles.rbac.authorization.k8s.io",)
_DONE = ("1xx", "2xx", "3xx")
_AGGREGATOR = "system:serviceaccount:kube-system:clusterrole-aggregation-controller"


def _leave(name: str, sentence: str, **conditions: tuple[str, ...]) -> Rule:
    return Rule(name, sentence, take=False, event_type="", severity=Severity.INFO, **conditions)


def _take(name: str, severity: Severity, event_type: str, sentence: str, **conditions: tuple[str, ...]) -> Rule:
    """Matches only requests that succeeded, unless the conditions name other codes: a refused request is only an attempt."""
    return Rule(name, sentence, take=True, event_type=event_type, severity=severity, **({"codes": _DONE} | conditions))


# These come before all other rules, also before those of AUDIT_RULES_FILE.
FIRST_RULES = (
    _leave(
        "not-final-stage",
        "A request is told in up to three stages; only the last one says what came of it.",
        when=("not-final-stage",),
    ),
    _leave("dry-run", "A dry run changes nothing.", verbs=_CHANGES, when=("dry-run",)),
    _leave("own-write", "zenwatch wrote this record itself.", resources=("*.zen.kube-zen.io",), when=("own-write",)),
)

# AUDIT_RULES_FILE may replace these.
RULES = (
    _leave(
        "control-plane-read",
        "Reading is the work of the control plane, the nodes and the service accounts of kube-system.",
        verbs=_READS,
        when=("system-component", "not-stream"),
    ),
    _leave(
        "rbac-bootstrap",
        "The API server makes sure that the roles it comes with are there.",
        verbs=_CHANGES,
        resources=_RBAC,
        users=("system:apiserver",),
        when=("system-component",),
    ),
    _leave(
        "lease",
        "A lease is a heartbeat, written every few seconds by each that holds one.",
        resources=("leases.coordination.k8s.io",),
        when=("not-anonymous",),
    ),
    _leave(
        "cluster-event",
        "An Event object tells what happened elsewhere, and is deleted after an hour.",
        resources=("events", "events.events.k8s.io"),
        when=("not-anonymous",),
    ),
    _leave("discovery", "Health, version and what the API server serves are open to everybody.", when=("discovery-path",)),
    # ------------------------------------------------------------ CRITICAL
    _take(
        "system-role-deletion",
        Severity.CRITICAL,
        "resource-deletion",
        "A role or binding that Kubernetes itself relies on was deleted.",
        verbs=DELETES,
        resources=_RBAC,
        when=("system-role",),
    ),
    _take(
        "system-role-change",
        Severity.CRITICAL,
        "rbac-change",
        "A role or binding that Kubernetes itself relies on was changed: a quiet way to give rights to everybody.",
        verbs=WRITES,
        resources=_RBAC,
        when=("system-role",),
    ),
    _take(
        "secrets-of-all-namespaces",
        Severity.CRITICAL,
        "secret-access",
        "Somebody who is not the control plane read every secret of the cluster at once.",
        verbs=("list", "watch"),
        resources=_SECRETS,
        when=("all-namespaces", "not-system-component"),
    ),
    # ------------------------------------------------------------ HIGH, and one LOW rule that must precede role-escalation
    _take(
        "cluster-admin-binding",
        Severity.HIGH,
        "rbac-change",
        "Somebody was given the role cluster-admin: all rights there are, in the cluster or a namespace.",
        verbs=WRITES,
        resources=_RBAC,
        when=("cluster-admin-binding",),
    ),
    _take(
        "role-aggregation",
        Severity.LOW,
        "rbac-change",
        "The control plane united cluster roles; whoever wrote one of them has a record of that.",
        verbs=WRITES,
        resources=_CLUSTER_ROLES,
        users=(_AGGREGATOR,),
        when=("system-component",),
    ),
    _take(
        "role-escalation",
        Severity.HIGH,
        "rbac-change",
        "A role grants everything, a way into pods, or the right to grant oneself more.",
        verbs=WRITES,
        resources=_RBAC,
        when=("escalation",),
    ),
    _take(
        "privileged-pod",
        Severity.HIGH,
        "privileged-pod-creation",
        "A pod was created with a privileged container: root there is root on the node.",
        verbs=("create",),
        resources=("pods",),
        subresources=("",),
        when=("privileged-pod",),
    ),
    _take(
        "host-namespace-pod",
        Severity.HIGH,
        "privileged-pod-creation",
        "A pod was created that shares its node's network, processes or IPC: it sees what runs beside it.",
        verbs=("create",),
        resources=("pods",),
        subresources=("",),
        when=("host-namespace-pod",),
    ),
    _take(
        "privileged-ephemeral-container",
        Severity.HIGH,
        "privileged-pod-creation",
        "A privileged container was added to a running pod: root there is root on the node.",
        verbs=WRITES,
        resources=("pods",),
        subresources=("ephemeralcontainers",),
        when=("privileged-pod",),
    ),
    # ------------------------------------------------------------ MEDIUM
    _take(
        "pod-stream",
        Severity.MEDIUM,
        "pod-exec",
        "Somebody went into a running pod: a command, a terminal or a forwarded port.",
        resources=("pods",),
        subresources=STREAMS,
    ),
    _take(
        "ephemeral-container",
        Severity.MEDIUM,
        "pod-exec",
        "Somebody put a container of their own into a running pod.",
        verbs=WRITES,
        resources=("pods",),
        subresources=("ephemeralcontainers",),
    ),
    _take(
        "access-denied",
        Severity.MEDIUM,
        "access-denied",
        "Somebody was refused access to secrets or RBAC: a mistake, or a search for what is open.",
        resources=(*_SECRETS, *_RBAC),
        codes=("401", "403"),
    ),
    _take(
        "anonymous-deletion",
        Severity.MEDIUM,
        "resource-deletion",
        "Somebody deleted something without saying who they are.",
        verbs=DELETES,
        resources=("*",),
        subresources=("",),
        when=("anonymous",),
    ),
    _take(
        "anonymous-access",
        Severity.MEDIUM,
        "anonymous-access",
        "A request succeeded without saying whose it is, and not for what is open to everybody.",
        when=("anonymous",),
    ),
    _take(
        "token-for-another",
        Severity.MEDIUM,
        "secret-access",
        "Somebody made a token with which to act as a service account that is not their own.",
        verbs=("create",),
        resources=("serviceaccounts",),
        subresources=("token",),
        when=("token-for-another",),
    ),
    # ------------------------------------------------------------ LOW
    _take("secret-deletion", Severity.LOW, "resource-deletion", "A secret was deleted.", verbs=DELETES, resources=_SECRETS),
    _take("rbac-deletion", Severity.LOW, "resource-deletion", "A role or binding was deleted.", verbs=DELETES, resources=_RBAC),
    _take("secret-write", Severity.LOW, "secret-access", "A secret was written.", verbs=WRITES, resources=_SECRETS),
    _take(
        "secret-read",
        Severity.LOW,
        "secret-access",
        "Somebody who is not the control plane read a secret.",
        verbs=_READS,
        resources=_SECRETS,
        when=("not-system-component",),
    ),
    _take(
        "rbac-change",
        Severity.LOW,
        "rbac-change",
        "A role or binding was written; where bodies are not audited, what it grants cannot be seen.",
        verbs=WRITES,
        resources=_RBAC,
    ),
    # ------------------------------------------------------------ INFO
    _take(
        "deletion",
        Severity.INFO,
        "resource-deletion",
        "Something was deleted. A DELETE that is passed on to a pod or a service deletes nothing here.",
        verbs=DELETES,
        resources=("*",),
        subresources=("",),
    ),
)

# This one comes after all other rules.
LAST_RULE = _leave("unimportant", "No rule takes it.")
