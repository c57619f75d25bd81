"""Who sends a request: the bearer of a token of WEBHOOK_TOKEN_FILE, the owner of a client certificate, or nobody known."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import structlog

from zenwatch.contract.principal import Principal, PrincipalKind, Role
from zenwatch.errors import ConfigError

log = structlog.get_logger(component="auth")

# A secret volume is refreshed within a minute; a stat once a second costs nothing.
CHECK_FILE_SECS = 1.0
# As many as `openssl rand -hex 8` prints: shorter tokens can be guessed.
FEWEST_TOKEN_CHARS = 16
_TOKEN = re.compile(r"[!-~]+")


class TokenFile:
    """The tokens of a file, one per line: during a rotation the old and the new one are both valid. A changed file is read again."""

    def __init__(self, path: str) -> None:
        """ConfigError: the file cannot be read or holds no usable token."""
        self._path = Path(path)
        self._checked_at = monotonic()
        self._stamp = self._read_stamp()
        self._digests = self._read_digests()
        self._logged_error = ""

    def knows(self, token: str) -> bool:
        """In constant time: how long it takes reveals nothing about the tokens."""
        self._read_again_if_changed()
        digest = _digest(token)
        # All of them are compared, whichever matches.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0

    def _read_again_if_changed(self) -> None:
        if monotonic() - self._checked_at < CHECK_FILE_SECS:
            return
        self._checked_at = monotonic()
        try:
            stamp = self._read_stamp()
            if stamp == self._stamp:
                return
            self._digests, self._stamp = self._read_digests(), stamp
        except ConfigError as exc:
            # A rotation that is half done must not lock everybody out: the tokens that were read last stay valid.
            if str(exc) != self._logged_error:
                self._logged_error = str(exc)
                log.error("tokens_not_read", error=self._logged_error)  # noqa: TRY400  a sentence for a person
        else:
            self._logged_error = ""
            log.info("tokens_read_again", count=len(self._digests))

    def _read_stamp(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError as exc:
            raise ConfigError(f"WEBHOOK_TOKEN_FILE is {str(self._path)!r}: {exc.strerror}.") from exc
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _read_digests(self) -> Sequence[bytes]:
        try:
            lines = self._path.read_text(encoding="ascii").splitlines()
        except OSError as exc:
            raise ConfigError(f"WEBHOOK_TOKEN_FILE is {str(self._path)!r}: {exc.strerror}.") from exc
        except ValueError as exc:
            raise ConfigError(f"WEBHOOK_TOKEN_FILE is {str(self._path)!r}, which holds more than ASCII text.") from exc
        tokens = [line.strip() for line in lines if line.strip()]
        if not tokens or any(len(token) < FEWEST_TOKEN_CHARS or not _TOKEN.fullmatch(token) for token in tokens):
            raise ConfigError(
                f"WEBHOOK_TOKEN_FILE is {str(self._path)!r}; expected one token per line, each of at least "
                f"{FEWEST_TOKEN_CHARS} characters without spaces, such as `openssl rand -hex 32` prints."
            )
        return [_digest(token) for token in tokens]


@dataclass(frozen=True, slots=True)
class Grants:
    """Which roles a sender has, by how it shows who it is. Every sender has the roles of anonymous."""

    token: frozenset[Role]
    certificate: frozenset[Role]
    anonymous: frozenset[Role]


class Authenticator:
    """tokens: None if WEBHOOK_TOKEN_FILE is not set."""

    def __init__(self, tokens: TokenFile | None, grants: Grants) -> None:
        self._tokens = tokens
        self._grants = grants

    def authenticate(self, authorization: str, *, certificate: Mapping[str, Any] | None = None, path_token: str = "") -> Principal | None:
        """Return who sends the request. None: nobody known, where anonymous senders have no role.

        authorization: the header. certificate: the verified one, as ssl.SSLSocket.getpeercert() returns it. path_token: the token in the
        path; empty if there is none.
        """
        grants = self._grants
        if certificate:
            return Principal(_name_in(certificate), PrincipalKind.CERTIFICATE, grants.certificate | grants.anonymous)
        if self._is_token(path_token) or self._is_token(_token_in(authorization)):
            return Principal("the bearer of a token", PrincipalKind.TOKEN, grants.token | grants.anonymous)
        return Principal("anonymous", PrincipalKind.ANONYMOUS, grants.anonymous) if grants.anonymous else None

    def _is_token(self, text: str) -> bool:
        return bool(text) and self._tokens is not None and self._tokens.knows(text)


def _token_in(authorization: str) -> str:
    """RFC 6750 bearer, or the password of RFC 7617 basic; empty for any other scheme."""
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic":
            try:
                decoded = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "replace")
            except binascii.Error:
                return ""
            return decoded.partition(":")[2]
        case _:
            return ""


def _name_in(certificate: Mapping[str, Any]) -> str:
    """The common name of the subject, which Kubernetes takes as the user; else the first alternative name."""
    common_names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    alternative_names = [value for _, value in certificate.get("subjectAltName", ())]
    return next(iter([*common_names, *alternative_names]), "the owner of a certificate")


def _digest(token: str) -> bytes:
    # Digests are of equal length: compare_digest would reveal the length of a token.
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
