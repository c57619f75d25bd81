"""The Kubernetes kinds that zenwatch itself reads or writes, beside those that watchers declare."""

from zenwatch.model.record import GROUP, KIND, PLURAL, VERSION
from zenwatch.sdk.watcher import ApiResource

RECORDS = ApiResource(GROUP, VERSION, PLURAL, KIND)
PODS = ApiResource("", "v1", "pods", "Pod")
REPLICA_SETS = ApiResource("apps", "v1", "replicasets", "ReplicaSet")
JOBS = ApiResource("batch", "v1", "jobs", "Job")
EVENTS = ApiResource("", "v1", "events", "Event")
SELF_SUBJECT_REVIEWS = ApiResource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
