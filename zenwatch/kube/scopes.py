"""Where a watcher's kinds are read: in the whole cluster, or in each namespace that zenwatch is confined to."""

from zenwatch.config.core import Settings
from zenwatch.sdk.watcher import ApiResource, Watcher


def scopes_of(watcher: Watcher, settings: Settings) -> list[tuple[ApiResource, str]]:
    """Each kind with a namespace; the namespace is empty for the whole cluster. Kinds without namespaces are not read where confined."""
    namespaces = settings.watch_namespaces
    kinds = [kind for kind in watcher.reads if kind.namespaced or not namespaces]
    return [(kind, namespace) for kind in kinds for namespace in namespaces or ("",)]
