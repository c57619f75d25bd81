"""Requests to an API server: their URL, and the permission that each needs."""

from dataclasses import dataclass
from urllib.parse import quote

from zenwatch.errors import Invalid
from zenwatch.sdk.watcher import ApiResource

JSON = "application/json"
# Values of Accept: only the metadata of an object, or of each object of a list. What the objects contain is never sent.
ONE_METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
LIST_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

# By RBAC's verb.
METHODS = {"get": "GET", "list": "GET", "watch": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request about objects. verb is RBAC's word for it: it names the missing permission if the answer is 403."""

    verb: str
    resource: ApiResource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def path(self) -> str:
        """Names come from reports: one that would lead to another path is Invalid."""
        if {".", ".."} & {self.namespace, self.name, self.subresource}:
            raise Invalid(f"not a name: {self.namespace!r}, {self.name!r}")
        kind = self.resource
        parts = ["/apis", kind.group, kind.version] if kind.group else ["/api", kind.version]
        if self.namespace:
            parts += ["namespaces", quote(self.namespace, safe="")]
        parts.append(kind.plural)
        parts += [quote(part, safe="") for part in (self.name, self.subresource) if part]
        return "/".join(parts)

    @property
    def permission(self) -> str:
        """verb resource.group in namespace, as a Role would grant it."""
        plural = f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural
        full = f"{plural}.{self.resource.group}" if self.resource.group else plural
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.verb} {full} {where}"


@dataclass(frozen=True, slots=True)
class Discovery:
    """The request which kinds of a group and version the API server serves."""

    group: str
    version: str
    verb: str = "get"

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def permission(self) -> str:
        return f"get {self.path}"


Request = Call | Discovery
