"""Remove what looks like a credential from free text, such as a command line or a user agent, and keep the rest readable.

redacted() removes three kinds of values:

- values with a name that marks them as secret: password=, --token, AWS_SECRET_ACCESS_KEY=, "apiKey":
- values where a well-known program takes a credential: mysql -p, curl -u, user:password@ in a URL
- values of a well-known form: JWT, PEM, AWS, GitHub, Slack and others, and 40 random characters

Its time grows with the length of the text, and no faster. It gives no guarantee. It cannot recognise a password without a name beside it,
an encoded or split password, or a key of 64 hexadecimal digits, which looks like the id of a container. In doubt it removes more: the
text after `secret=` even if that is only the name of a secret, and an open quotation to its end.
"""

import re
from collections.abc import Iterable

MARK = "[redacted]"
_EMPTY_VALUES = frozenset({"", "<na", "<nil", "null", "nil", "none", "true", "false", "[redacted"})
# Characters at the end of a word that do not belong to the value.
_CLOSING = "])}>,;.\"'`\\"


def redacted(text: str) -> str:
    """The text with [redacted] for each part that looks like a credential. Redacting the result again changes nothing."""
    if text in _CLEAN:
        return text
    left = _redacted(text, is_key=False)
    if left == text:
        _CLEAN.remember(text)
    return left


def credentials_in(texts: Iterable[str], *, keys: Iterable[str] = ()) -> dict[str, str]:
    """The texts and keys that hold a credential, each with what is left of it. Of one finding: to ask once for all of them is cheap.

    keys: names of objects, joined by slashes. A part that can be such a name is not searched for random characters.
    """
    texts, keys = [text for text in texts if text not in _CLEAN], [key for key in keys if key not in _CLEAN_KEYS]
    joined = "\n".join((*texts, *keys))
    lower = joined.lower()
    lower_hints = [hint for hint in _LOWER_HINTS if hint in lower]
    exact_hints = [hint for hint in _EXACT_HINTS if hint in joined]
    found: dict[str, str] = {}
    for some, known, is_key in ((texts, _CLEAN, False), (keys, _CLEAN_KEYS, True)):
        for text in some:
            left = text
            if (lower_hints and _contains_any(text.lower(), lower_hints)) or (exact_hints and _contains_any(text, exact_hints)):
                left = _redacted(text, is_key=is_key)
            elif len(text) >= _RANDOM_CHARS:
                left = _without_random_words(text, is_key=is_key)
            if left == text and not (is_key and "/" in text):
                # The key of a finding seldom comes again, the name of its resource often.
                known.remember(text)
            elif left != text:
                found[text] = left
    return found


class _Clean(set[str]):
    """Texts without credentials. Tools repeat themselves, and a pushed text is searched by its watcher and again with its finding."""

    chars = 0

    def remember(self, text: str) -> None:
        if self.chars > _MOST_REMEMBERED_CHARS:
            self.clear()
            self.chars = 0
        self.chars += len(text)
        self.add(text)


_MOST_REMEMBERED_CHARS = 128 * 1024
_CLEAN, _CLEAN_KEYS = _Clean(), _Clean()


def _redacted(text: str, *, is_key: bool) -> str:
    lower = text.lower()
    if "-----begin" in lower:
        text = _without_pem(text)
    if _contains_any(lower, _NAME_HINTS):
        text = _without_named(text)
    for hint, pattern in _COMMANDS:
        if hint in text:
            at = text.find(hint)
            text = text[:at] + pattern.sub(_hidden, text[at:])
    for hint, pattern in _ANYWHERE:
        if hint in lower:
            text = pattern.sub(_hidden, text)
    text = _without_random_words(text, is_key=is_key)
    if _contains_any(text, _BEGINNINGS):
        text = _FORMS.sub(MARK, text)
    return text


def _contains_any(text: str, hints: Iterable[str]) -> bool:
    # any() with a generator takes three times as long as this loop, and a pattern ten times.
    for hint in hints:  # noqa: SIM110
        if hint in text:
            return True
    return False


def _hidden(found: re.Match[str]) -> str:
    """Replaces found[2], the value. Keeps found[1], the quotation marks and the closing characters."""
    value = found[2]
    quote = value[:1] if value[:1] in {'"', "'"} else ""
    unclosed = value.rstrip(_CLOSING)
    if unclosed[len(quote) :].lower() in _EMPTY_VALUES:
        return found[0]
    return f"{found[1]}{quote}{MARK}{value[len(unclosed) :]}"


# ---------------------------------------------------------------- values that have a name

_NAME_HINTS = (
    "pass",
    "pw",
    "secret",
    "token",
    "cred",
    "cookie",
    "key",
    "auth",
    "sess",
    "connection",
    "psk",
    "sig",
    "code=",
    "literal",
    "tified",
)
# Expects lower-case text, and tests what precedes a name in a look-behind at its end. Both together make it ten times as fast.
_NAME = re.compile(
    r"""passwd | password | passphrase | passcode | pass(?<!bypass)(?<!compass)(?![a-z]) | pwd | psk(?![a-z]) | secret(?!ar) | token(?!iz)
    | (?:bindpw | rootpw | userpw | dbpw | pw(?<![a-z]pw))(?![a-z]) | credential | cookie | from-literal | amz-signature | identified[ ]by
    | (?:api|access|private|account|encrypt|encryption|signing|master|license|storage|subscription)[-_. ]?key | key-data
    | authorization(?:[-_]?code)?(?![\w.-]) | auth(?<![a-z]auth)(?:[-_](?:key|code|header|data|hash))?(?![\w.-]) | basicauth(?![\w.-])
    | sess(?:ion)?[-_.]?(?:id|key|data|hash)?(?![a-z]) | connection[-_]?string | [?&](?:sig|key|code)(?==)""",
    re.VERBOSE,
)
# Between a name and its value: = or : or =>, also after a quoted name; {"name": "PASSWORD", "value": "..."}; a blank; a comma.
_AFTER_NAME = re.compile(
    r"""(?P<rest>[\w.-]{0,32}+) (?:
      \\{0,8}["'`]?\]?\s{0,3}(?P<sign>:=|[=:]{1,2}>?)(?P<gap>[ \t]{0,3})
    | \\{0,8}["'`]?\s{0,20},?\s{0,20}(?<=[\s,])\\{0,8}["'`]?value\\{0,8}["'`]?\s{0,3}:[ \t]{0,3}
    | (?P<blank>\s{1,3})(?!-)
    | (?P<comma>\\{0,8}["'],\s{0,3})(?=\\{0,8}["'](?!-))
    )(?=\S)""",
    re.IGNORECASE | re.VERBOSE,
)
# The value of password_file, secretName or token_ttl is no secret itself.
_DESCRIBES_SECRET = re.compile(
    r"(?:(?i:(?:^|[-_.])(?:stdin|file|path|dir|names?|ref|namespace|class|types?|ttl|policy|ur[il]|audiences?|expir\w*))"
    r"|(?:File|Path|Dir|Name|Ref|Namespace|Class|Type|Policy|Ur[il]|UR[IL]|Audiences?|Expir\w*))$"
)
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_NAME_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_MOST_NAME_CHARS = 64
_SCHEME = re.compile(
    r"(?:Bearer|Basic|Token|Digest|Negotiate|NTLM|OAuth|Api-?Key|AWS4-HMAC-SHA256|Splunk|SSWS|Hawk|GenieKey)\s{1,3}(?=\S)", re.IGNORECASE
)
# "the --anonymous-auth argument is set to false", "to set authorization: mode to Webhook": instructions, not values.
_PROSE_AFTER_OPTION = re.compile(
    r"(?:arguments?|parameters?|flags?|options?|settings?|is|are|was|and|or|should|must|to)(?!\S)", re.IGNORECASE
)
_PROSE_AFTER_COLON = re.compile(r"[a-z]{1,12} (?:to|and|or|is)(?!\S)")
_OTHER_SCHEME = re.compile(r"[A-Za-z][\w-]{1,30}\s{1,3}(?=[^\s=]{4})")
_QUOTE = re.compile(r"(\\{0,8})([\"'`])")
_FIELD = re.compile(r"[\w.%\[\]-]{1,64}+(?:=(?![=\s]|$)|:\s)|[\"'][\w.-]{1,64}+[\"']\s?[=:]")
# A word: it ends before text that looks like the next field, and before a closing quotation mark.
_WORD = re.compile(
    r"(?:[^\s,;&\"'`]++|[,;&](?![\s{\[\"'\\]{0,8}[A-Za-z_][\w.-]{0,40}+\\{0,8}[\"']?\s?[=:])|[\"'`](?![\s,;:)}\]>]|$))++",
)
# In a header or a connection string, a=b; c=d is a single value.
_NAMES_OF_PAIRS = frozenset({"authorization", "cookie", "connectionstring", "connection-string", "connection_string"})
_PAIRS = re.compile(r"(?:[^\s\"'`]++|[\"'`](?![\s)}\]>]|$)|(?<=[,;])\s{1,3}(?=[\w.-]{1,64}+=))++")


def _without_named(text: str) -> str:
    # Positions in the lower-case text must be those in the text, but lower() changes the length of a few letters.
    lower = text.lower() if text.isascii() else text.translate(_LOWER)
    kept: list[str] = []
    done = 0
    for name in _NAME.finditer(lower):
        if name.start() >= done and (value := _value_of(text, name)):
            kept += (text[done : value[0]], MARK)
            done = value[1]
    return "".join((*kept, text[done:])) if kept else text


def _value_of(text: str, name: re.Match[str]) -> tuple[int, int] | None:
    """The start and the end of the value. None: no value follows the name, or an empty one."""
    after = _AFTER_NAME.match(text, name.end())
    if not after or _DESCRIBES_SECRET.search(after["rest"]):
        return None
    before = text[max(0, name.start() - _MOST_NAME_CHARS) : name.start()]
    outside = before.rstrip(_NAME_CHARS)
    whole_name = before[len(outside) :].lower() + name[0]
    if after["blank"] or after["comma"]:
        # --password hunter2, ["--password", "hunter2"], and SQL's PASSWORD 'hunter2'. Anything else is prose.
        is_quoted = text[after.end()] in "\"'" and after["blank"] and name[0] + after["rest"] in {"password", "identified by"}
        is_value = (is_quoted or whole_name.startswith("-")) and not _FIELD.match(text, after.end())
        is_prose = _PROSE_AFTER_OPTION.match(text, after.end())
        return _value_at(text, after.end(), name[0]) if is_value and not is_prose else None
    sign, follows = after["sign"] or "", text[after.end()]
    # In `password= user=root` the value is empty. In `Cookie: user=root` the value is user=root.
    field = _FIELD.match(text, after.end()) if after["gap"] else None
    if field and not (name[0] in _NAMES_OF_PAIRS and field[0].endswith("=") and follows not in "\"'"):
        return None
    if after["gap"] and name[0] == "authorization" and _PROSE_AFTER_COLON.match(text, after.end()):
        return None
    # /etc/passwd:/etc/passwd is a path, and PWD is the working directory of a shell.
    if (outside.endswith("/") and sign.startswith(":")) or (whole_name in {"pwd", "oldpwd"} and follows == "/"):
        return None
    return _value_at(text, after.end(), name[0], sign=sign, opened=outside[-1:])


def _value_at(text: str, at: int, name: str, *, sign: str = "", opened: str = "") -> tuple[int, int] | None:
    """`opened`: the character before the name, which may be a quotation mark."""
    if (scheme := _SCHEME.match(text, at)) and (name in _NAMES_OF_PAIRS or not _FIELD.match(text, scheme.end())):
        at = scheme.end()
    elif name == "authorization" and sign == ":" and (scheme := _OTHER_SCHEME.match(text, at)):
        pairs = _PAIRS.match(text, scheme.end())
        return (at, pairs.start() + len(pairs[0].rstrip(_CLOSING))) if pairs else None
    if quote := _QUOTE.match(text, at):
        # grep "password=" /etc: the mark closes the quotation that was opened before the name.
        if quote[2] == opened and text[quote.end() : quote.end() + 1] in {"", " ", "\t", "\n"}:
            return None
        return _quoted(text, quote)
    word = (_PAIRS if name in _NAMES_OF_PAIRS else _WORD).match(text, at)
    value = word[0].rstrip(_CLOSING) if word else ""
    return None if value.lower() in _EMPTY_VALUES else (at, at + len(value))


def _quoted(text: str, quote: re.Match[str]) -> tuple[int, int] | None:
    """The quoted value: it ends at the same mark with no more backslashes before it.

    Includes text that a shell reads as part of the same word.
    """
    begin = quote.end()
    end, at = len(text), text.find(quote[2], begin)
    while at >= 0:
        end = at
        while end > begin and text[end - 1] == "\\":
            end -= 1
        if at - end <= len(quote[1]):
            break
        end, at = len(text), text.find(quote[2], at + 1)
    if text[begin:end].rstrip(_CLOSING).lower() in _EMPTY_VALUES:
        return None
    following = text[at + 1 : at + 2] if at >= 0 else ""
    if (following.isalnum() or following in {"$", "_", "'", '"'}) and (more := _WORD.match(text, at + 1)):
        return quote.start(), more.start() + len(more[0].rstrip(_CLOSING))
    return begin, end


# ---------------------------------------------------------------- values where a program takes a credential

_ARGUMENT = r"(\"[^\"]*+\"?|'[^']*+'?|[^\s\"'-]\S*)"
_USER = r"(?<![^\s\"'])(?:-[A-Za-z]{0,8}[uU]\s{0,3}|--(?:proxy-)?user[=\s]\s{0,2})"
_ECHO = r"(?:echo|printf)\s{1,3}(?:-\w{1,4}\s{1,3})?"
_PIPED = re.compile(
    rf"({_ECHO})(\"[^\"|]{{1,256}}\"|'[^'|]{{1,256}}'|[^\s|\"']{{1,256}})"
    r"(?=\s{0,3}\|[^|]{0,80}?\s-(?:\w{0,8}S|-\w{0,9}-?stdin)\b)"
)
# Each pattern applies after the word that names the program.
_COMMANDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    *((program, re.compile(rf"(?<![^\s=,\[\"'])(-p){_ARGUMENT}")) for program in ("mysql", "mariadb")),
    ("sshpass", re.compile(rf"(sshpass\s{{1,3}}(?:-[vPe]\S{{0,64}}\s{{1,3}}){{0,3}}-p\s{{0,3}}){_ARGUMENT}")),
    *((program, re.compile(rf"(\s-p[\s=]{{1,3}}){_ARGUMENT}")) for program in ("mongo", " login ")),
    (" login ", re.compile(rf"(\spassword\s{{1,3}}){_ARGUMENT}")),
    ("redis-cli", re.compile(rf"(\s-a\s{{1,3}}){_ARGUMENT}")),
    ("ldap", re.compile(rf"(\s-w\s{{0,3}}){_ARGUMENT}")),
    ("curl", re.compile(rf"({_USER}\"[^\s:\"]{{0,128}}:)([^\"]+)")),
    ("curl", re.compile(rf"({_USER}'[^\s:']{{0,128}}:)([^']+)")),
    ("curl", re.compile(rf"({_USER}[^\s:\"']{{0,128}}:)([^\s\"']\S*)")),
)
# Each pattern applies anywhere in a text that contains its hint.
_ANYWHERE: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("://", re.compile(r"(://[^\s/:\"']{0,128}:)(?!\d{1,5}[/?#])([^\s/\"'<>]{1,512})(?=@)")),
    ("@tcp(", re.compile(r"(:)([^\s:@\"']{1,256})(?=@tcp\()")),
    ("@unix(", re.compile(r"(:)([^\s:@\"']{1,256})(?=@unix\()")),
    ("bearer", re.compile(r"(\bBearer\s{1,3})(?=[A-Za-z._~+/-]{0,64}[0-9=])([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)),
    ("basic", re.compile(r"(\bBasic\s{1,3})(?=[A-Za-z+/]{0,64}[0-9=])([A-Za-z0-9+/]{6,}={0,2})", re.IGNORECASE)),
    ("sudo", _PIPED),
    ("stdin", _PIPED),
    ("hooks.slack.com", re.compile(r"(hooks\.slack\.com/\w{1,20}/)([^\s\"'<>]+)")),
    ("/api/webhooks/", re.compile(r"(/api/webhooks/\d{1,24}/)([^\s\"'<>]+)")),
    ("chpasswd", re.compile(rf"((?:{_ECHO}|<<<\s{{0,3}})[\"']?[\w.-]{{1,32}}:)([^\s|\"']{{1,256}})")),
)

# ---------------------------------------------------------------- values of a known form

_BEGINNINGS = (
    *("eyJ", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "xapp-", "AIza", "ya29."),
    *("_live_", "_test_", "whsec_", "npm_", "pypi-", "dckr_", "hvs.", "hvb.", "sk-", "SG.", "hf_", "sha256~", "AGE-SECRET", "bot"),
)
# What credentials_in() asks for: in a text without any of them redacted() finds at most random characters.
# Nearly every text with an address has ://, but only those with an @ have a password in it.
_NEEDS_AT = {"://", "@tcp(", "@unix("}
_LOWER_HINTS = ("-----begin", *_NAME_HINTS, "@", *dict.fromkeys(hint for hint, _ in _ANYWHERE if hint not in _NEEDS_AT))
_EXACT_HINTS = (*dict.fromkeys(hint for hint, _ in _COMMANDS), *_BEGINNINGS)
_FORMS = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      eyJ[A-Za-z0-9_+/=-]{10,}+(?:\.(?:\[redacted\]|[A-Za-z0-9_=-]*+)){0,4}
    | (?:AKIA|ASIA)[A-Z0-9]{12,20}(?![A-Za-z0-9])
    | (?:gh[pousr]_|npm_|hf_)[A-Za-z0-9]{20,}+
    | (?:github_pat_|glpat-|[sprk]{2}_(?:live|test)_|whsec_|dckr_[a-z]{3}_|hv[sb]\.|sha256~|xapp-)[\w-]{12,}+
    | AGE-SECRET-KEY-1[A-Z0-9]{20,}+
    | xox[a-z]-[\w-]{8,}+ | AIza[\w-]{30,}+ | ya29\.[\w-]{16,}+ | SG\.[\w-]{16,}+(?:\.[\w-]{1,}+)? | bot\d{8,10}:[\w-]{30,}+
    | pypi-(?:Ag[\w-]{14,}+|[\w-]{50,}+)
    | sk-(?=[a-z0-9_-]{0,40}[A-Z])[\w-]{20,}+
    )""",
    re.VERBOSE,
)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}?PRIVATE KEY(?: BLOCK)?-{0,5}", re.IGNORECASE)
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}?PRIVATE KEY(?: BLOCK)?-{0,5}", re.IGNORECASE)
_PEM_BODY = re.compile(r"(?:\s|\\[nr]|[\"']){0,8}(?:[A-Za-z0-9+/]{16}|Proc-Type|Version|$)")


def _without_pem(text: str) -> str:
    """Removes private keys. A cut-off key ends with the text. A BEGIN line alone stays: somebody may have searched for it."""
    kept: list[str] = []
    done = 0
    begin = _PEM.search(text)
    end = _PEM_END.search(text, begin.end()) if begin else None
    while begin:
        if end and end.start() < begin.end():
            end = _PEM_END.search(text, begin.end())
        is_block = end is not None or _PEM_BODY.match(text, begin.end())
        following = end.end() if end else len(text) if is_block else begin.end()
        if is_block:
            kept += (text[done : begin.start()], MARK)
            done = following
        begin = _PEM.search(text, following)
    return "".join((*kept, text[done:]))


# ---------------------------------------------------------------- long random values

_RANDOM_CHARS = 40
_MIXED_CHARS = 18
_LONG = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,}+={0,2}")
# What Kubernetes accepts as the name of an object. Whoever may list the objects sees it, so that it is no secret.
_OBJECT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.:-]*[a-z0-9])?")
_PIECE = re.compile(r"[A-Za-z0-9]+")
_SAME_KIND = re.compile(r"[A-Z]+|[a-z]+|[0-9]+")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_DIGEST = re.compile(r"sha-?\d{1,3}[:=~-]$", re.IGNORECASE)
# The tag of an image is often the hash of a commit.
_COMMIT = re.compile(r"(?:[:@]|(?:tag|commit|sha|rev|revision)[\"']?\s{0,12}[=:]\s?[\"']?)$", re.IGNORECASE)


def _without_random_words(text: str, *, is_key: bool) -> str:
    if len(text) < _RANDOM_CHARS:
        return text
    words = text.split("/" if is_key else None)
    if len(max(words, key=len, default="")) < _RANDOM_CHARS:
        return text
    if not is_key:
        return _LONG.sub(_without_random, text)
    return "/".join(word if _OBJECT_NAME.fullmatch(word) else _LONG.sub(_without_random, word) for word in words)


def _without_random(found: re.Match[str]) -> str:
    run, before = found[0], found.string[max(0, found.start() - 24) : found.start()]
    if _DIGEST.search(before) or run.startswith(("sha256-", "sha384-", "sha512-", "eyJ")):
        return run
    # Most pieces of base64 mix three kinds of characters. Words, hashes and ids joined by - or / have few such pieces.
    if sum(len(piece) for piece in _PIECE.findall(run) if _is_mixed(piece)) >= _MIXED_CHARS:
        return MARK
    if _COMMIT.search(before):
        return run
    return _PIECE.sub(lambda piece: MARK if _is_key(piece) else piece[0], run)


def _is_mixed(piece: str) -> bool:
    """Whether the piece has upper case, lower case and digits, and seldom two of a kind in a row."""
    kinds = _SAME_KIND.findall(piece)
    has_all = any(kind.isdigit() for kind in kinds) and any(kind.islower() for kind in kinds) and any(kind.isupper() for kind in kinds)
    in_words = sum(len(kind) for kind in kinds if len(kind) > 3 and kind.islower())
    return has_all and len(kinds) >= 0.3 * len(piece) and in_words <= 0.42 * len(piece)


def _is_key(piece: re.Match[str]) -> bool:
    """Whether the piece is long and has a single case and digits. Excludes parts of a path and ids of containers."""
    text = piece[0]
    if len(text) < _RANDOM_CHARS or (len(text) == 64 and _HEX.fullmatch(text)) or piece.string[: piece.start()].endswith("/"):
        return False
    digits = sum(character.isdigit() for character in text)
    return min(digits, len(text) - digits) >= 6 and (text == text.lower() or text == text.upper())
