"""The Kubernetes kinds that zenwatch itself reads or writes, beside those that watchers declare."""

from zenwatch.sdk.watcher import ApiResource

RECORDS = ApiResource("zen.kube-zen.io", "v1", "zenagentevents", "ZenAgentEvent")
NAMESPACES = ApiResource("", "v1", "namespaces", "Namespace", namespaced=False)
PODS = ApiResource("", "v1", "pods", "Pod")
REPLICA_SETS = ApiResource("apps", "v1", "replicasets", "ReplicaSet")
JOBS = ApiResource("batch", "v1", "jobs", "Job")
LEASES = ApiResource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = ApiResource("", "v1", "events", "Event")
SELF_SUBJECT_REVIEWS = ApiResource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
