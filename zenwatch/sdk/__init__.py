"""Everything that the author of a watcher imports, together with three submodules.

zenwatch.sdk.fields reads untrusted JSON, zenwatch.sdk.input_files reads files that a user writes, and zenwatch.sdk.testing is the test
suite that every watcher passes.
"""

from zenwatch.config.env import Bytes, Converted, setting
from zenwatch.errors import BadInput, ConfigError, first_line
from zenwatch.model.finding import Category, Detail, Finding, FindingType, Resource, Scalar, Severity
from zenwatch.sdk.embedded_json import Document, documents_of
from zenwatch.sdk.redact import redacted
from zenwatch.sdk.settings import PushSettings
from zenwatch.sdk.watcher import RECENT_ENTRIES, AnyWatcher, ApiResource, PushWatcher, SelfIdentity, Verdict, Watcher

__all__ = [
    "RECENT_ENTRIES",
    "AnyWatcher",
    "ApiResource",
    "BadInput",
    "Bytes",
    "Category",
    "ConfigError",
    "Converted",
    "Detail",
    "Document",
    "Finding",
    "FindingType",
    "PushSettings",
    "PushWatcher",
    "Resource",
    "Scalar",
    "SelfIdentity",
    "Severity",
    "Verdict",
    "Watcher",
    "documents_of",
    "first_line",
    "redacted",
    "setting",
]
