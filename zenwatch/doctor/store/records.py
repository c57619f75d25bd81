"""Our own records: the kind, the namespaces they may be in, and how many of each source are open."""

from collections.abc import Mapping
from dataclasses import replace

from zenwatch.doctor.cluster.object_count import MetadataList, ObjectCount
from zenwatch.kube.client import KubeClient
from zenwatch.kube.kinds import RECORDS
from zenwatch.kube.records import CLUSTER_LABEL
from zenwatch.model.record import Phase
from zenwatch.wiring.settings import Settings


def store_namespaces(settings: Settings) -> tuple[str, ...]:
    """The namespaces of WATCH_NAMESPACE and our own; one empty string for the whole cluster."""
    return tuple(dict.fromkeys([*settings.watch_namespaces, settings.own_namespace])) if settings.watch_namespaces else ("",)


async def count_open_records(client: KubeClient, settings: Settings) -> Mapping[str, ObjectCount]:
    """Open records by source; a source without one is missing. Raises what KubeClient.send does."""
    counts: dict[str, ObjectCount] = {}
    ours = replace(RECORDS, label_selector=f"app.kubernetes.io/managed-by=zenwatch,{CLUSTER_LABEL}={settings.cluster_id}")
    is_cut = False
    for namespace in store_namespaces(settings):
        records = MetadataList(client, ours, namespace, field_selector=f"status.phase={Phase.OPEN}")
        async for metadata in records:
            counts.setdefault(str((metadata.get("labels") or {}).get("source")), ObjectCount()).add_object(metadata)
        is_cut = is_cut or records.is_cut
    for count in counts.values():
        count.is_cut = is_cut
    return counts
