"""The texts of a finding as records may hold them: clean, in one line, without credentials (docs/records.md, "Clean text").

Every finding of every source passes here, whatever its watcher did before.
"""

import hashlib
from collections.abc import Mapping

from zenwatch.model.finding import Finding
from zenwatch.model.text import clean, flat, truncated
from zenwatch.sdk.redact import credentials_in

KEY_CHARS = 1024
# No field of a record holds more than 1,024 characters: a credential beyond these is cut off.
SEARCHED_CHARS = 4096
# Enough to keep any two keys apart.
_DIGEST_HEX = 20
# 8 bits. The digest covers the credential: with more of them, whoever reads the record could try all short passwords against it.
_SECRET_DIGEST_HEX = 2


class FreeText:
    """The texts of one finding, asked for by what the tool wrote."""

    def __init__(self, finding: Finding) -> None:
        key, resource = clean(finding.key), finding.resource
        parts = {part: flat(part) for part in (resource.api_version, resource.kind, resource.name, resource.namespace)}
        texts = {text: flat(text if len(text) <= SEARCHED_CHARS else text[:SEARCHED_CHARS]) for text in _texts_of(finding)}
        self._flat = texts | parts
        hidden = credentials_in([text for text in texts.values() if text not in parts.values()], keys=(key, *parts.values()))
        self.key = _key(finding.key, key, hidden.get(key, key))
        for text, line in self._flat.items() if hidden else ():
            self._flat[text] = hidden.get(line, line)

    def line(self, text: str, limit_chars: int) -> str:
        return truncated(self._flat[text], limit_chars)


def clean_key(raw: str) -> str:
    """The key as it is stored: that of the tool, or what is left of it with a digest of the whole, so that two keys stay different."""
    key = clean(raw)
    return _key(raw, key, credentials_in((), keys=(key,)).get(key, key))


def _key(raw: str, key: str, without_credentials: str) -> str:
    if without_credentials != key:
        key = f"{without_credentials}~{_digest(raw)[:_SECRET_DIGEST_HEX]}"
    elif key != raw:
        # Without line breaks and the like, two different keys may look the same.
        key = f"{key}~{_digest(raw)[:_DIGEST_HEX]}"
    if len(key) <= KEY_CHARS:
        return key
    return f"{key[: KEY_CHARS - _DIGEST_HEX - 1]}~{_digest(key)[:_DIGEST_HEX]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _texts_of(finding: Finding) -> list[str]:
    texts = [finding.title, finding.remediation, *finding.references]
    for value in finding.details.values():
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            texts += value
        elif not isinstance(value, int | float):
            texts += value.values() if isinstance(value, Mapping) else value
    return texts
