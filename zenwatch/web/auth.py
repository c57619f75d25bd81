"""Who may post: the bearer of a token, or who shows a client certificate.

In: the headers, the connection and the path of a request.  Out: yes or no.
Owns: the tokens, read again when their file changes.
Stops: nothing to stop.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import structlog

from zenwatch.errors import ConfigError
from zenwatch.log import OncePerMessage

log = structlog.get_logger(component="guard")

# A secret volume is refreshed within a minute; a stat a second costs nothing.
LOOK_AGAIN_SECS = 1.0
# As long as what `openssl rand -hex 8` gives: shorter ones can be guessed.
FEWEST_TOKEN_CHARS = 16
_TOKEN = re.compile(r"[!-~]+")


class TokenFile:
    """The tokens of a file, one per line, so that a new one can be let in before the old one is taken away."""

    def __init__(self, path: str) -> None:
        """ConfigError: the file cannot be read or holds no usable token."""
        self._path = Path(path)
        self._looked_at = monotonic()
        self._stamp = self._stamped()
        self._digests = self._read()
        self._logged = OncePerMessage()

    def knows(self, token: str) -> bool:
        """In constant time: nothing can be learned from how long it takes."""
        self._look_again()
        digest = _digest(token)
        # All of them are compared, whichever fits.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0

    def _look_again(self) -> None:
        if monotonic() - self._looked_at < LOOK_AGAIN_SECS:
            return
        self._looked_at = monotonic()
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return
            self._digests, self._stamp = self._read(), stamp
        except ConfigError as exc:
            # Half a rotation must not lock everybody out: the tokens of before stay good.
            if self._logged.is_new(str(exc)):
                log.error("tokens_not_read", error=str(exc))  # noqa: TRY400  a sentence for a person
        else:
            self._logged.clear()
            log.info("tokens_read_again", count=len(self._digests))

    def _stamped(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError as exc:
            raise ConfigError(f"WEBHOOK_TOKEN_FILE is {str(self._path)!r}: {exc.strerror}.") from exc
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _read(self) -> Sequence[bytes]:
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


class Authenticator:
    """is_open: nobody is asked who they are."""

    def __init__(self, tokens: TokenFile | None, *, is_open: bool) -> None:
        self._tokens = tokens
        self._is_open = is_open

    def authenticate(self, authorization: str, *, has_certificate: bool, tokens_elsewhere: Sequence[str] = ()) -> bool:
        """authorization: the header. has_certificate: of an authority in TLS_CLIENT_CA_FILE. tokens_elsewhere: found in the path."""
        if self._is_open or has_certificate:
            return True
        if self._tokens is None:
            return False
        return any(self._tokens.knows(token) for token in (*tokens_elsewhere, *_tokens_of(authorization)))


def _tokens_of(authorization: str) -> list[str]:
    """RFC 6750 bearer, or the password of RFC 7617 basic."""
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return [credentials.strip()]
        case "basic":
            try:
                decoded = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "replace")
            except binascii.Error:
                return []
            return [decoded.partition(":")[2]]
        case _:
            return []


def _digest(token: str) -> bytes:
    # Of equal length, whatever the token's: compare_digest would tell that.
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
