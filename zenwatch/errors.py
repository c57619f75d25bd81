"""Every error that one component may raise to another. Foreign exceptions become one of these at the edge (kube/, deliver/)."""

from zenwatch.model.text import flat


class ZenwatchError(Exception):
    """The root of the tree; never raised itself."""


class ConfigError(ZenwatchError):
    """A setting is wrong or a credential is missing. At start-up: print the sentence, exit with 2."""


class BadInput(ZenwatchError):  # noqa: N818  the architecture's word
    """A tool sent something that cannot be read. Count it as rejected, name the object, go on with the others."""


class Transient(ZenwatchError):  # noqa: N818
    """It may work later: retry with jitter. retry_after_secs: how long the server asked to wait; None: it did not say."""

    def __init__(self, message: str, *, retry_after_secs: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_secs = retry_after_secs


class Expired(Transient):
    """The resourceVersion or continue token is too old (410). Start with a fresh list, at once."""


class Permanent(ZenwatchError):  # noqa: N818
    """It will not work however often it is tried."""


class WebhookFailed(Transient):
    """An admission webhook of the cluster did not answer, and without its answer the object is not taken (500)."""


class NoNamespace(Transient):
    """Neither the namespace of the record nor zenwatch's own one takes records."""


class NotFound(Permanent):
    """The object does not exist; with missing_kind 'namespaces', its namespace does not (404)."""

    def __init__(self, message: str, *, missing_kind: str = "") -> None:
        super().__init__(message)
        self.missing_kind = missing_kind


class AlreadyExists(Permanent):
    """An object of that name exists (409 on a create)."""


class Conflict(Permanent):
    """The object changed since it was read (409 on a change). Read it again and decide anew."""


class Forbidden(Permanent):
    """The account may not do this (403). The message names the permission: verb resource.group in namespace."""


class Denied(Permanent):
    """A policy of the cluster refuses the object; the message is its own. What the policy looks at may change."""


class QuotaExceeded(Denied):
    """A ResourceQuota of the namespace is used up (403)."""


class NamespaceTerminating(Permanent):
    """Nothing can be created in a namespace that is being deleted (403 with that cause)."""


class Invalid(Permanent):
    """The store refuses this very object: too large, or against the schema (400, 413, 422)."""


class Closed(ZenwatchError):  # noqa: N818
    """The component accepts nothing more: the process is stopping."""


def first_line(error: BaseException, limit_chars: int = 300) -> str:
    """The error as one bounded line for the log's `error` key."""
    return flat(str(error))[:limit_chars] or type(error).__name__
