"""Take what looks like a credential out of free text, such as a command line or a user agent, and leave the rest readable.

redacted() promises that a value is gone whose name says that it is secret (password=, --token, AWS_SECRET_ACCESS_KEY=, "apiKey":), that
stands where well-known programs take one (mysql -p, curl -u, user:password@ in a URL), or that has a well-known form (JWT, PEM, AWS,
GitHub, Slack and others, 40 random characters); and that its time grows with the text's length and no faster. It is a stop-gap and no
guarantee: a password with no name beside it, one that was encoded, or split up by a shell, and a key of 64 hexadecimal digits, which is
what a container's id looks like, cannot be told from other text. In doubt it takes more: what follows `secret=` is gone even if it was
only the secret's name, and an open quotation is gone to its end.
"""

import re
from collections.abc import Iterable

MARK = "[redacted]"
_SAYS_NOTHING = frozenset({"", "<na", "<nil", "null", "nil", "none", "true", "false", "[redacted"})
# What ends the word that a value is in rather than the value.
_CLOSING = "])}>,;.\"'`\\"


def redacted(text: str) -> str:
    """The text with [redacted] for each credential-like part. Done twice, it is the same as once."""
    lower = text.lower()
    if "-----begin" in lower:
        text = _without_pem(text)
    if _holds_one(lower, _NAME_HINTS):
        text = _without_named(text)
    for hint, pattern in _COMMANDS:
        if hint in text:
            at = text.find(hint)
            text = text[:at] + pattern.sub(_hidden, text[at:])
    for hint, pattern in _PLACES:
        if hint in lower:
            text = pattern.sub(_hidden, text)
    if len(text) >= _RANDOM_CHARS and len(max(text.split(), key=len, default="")) >= _RANDOM_CHARS:
        text = _LONG.sub(_without_random, text)
    if _holds_one(text, _BEGINNINGS):
        text = _FORMS.sub(MARK, text)
    return text


def _holds_one(text: str, hints: Iterable[str]) -> bool:
    # A loop: any() with a generator takes three times as long, and a pattern ten times.
    for hint in hints:  # noqa: SIM110
        if hint in text:
            return True
    return False


def _hidden(found: re.Match[str]) -> str:
    """found[1] stays, found[2] is the value: its quotes and what closes behind it stay too."""
    value = found[2]
    quote = value[:1] if value[:1] in {'"', "'"} else ""
    said = value.rstrip(_CLOSING)
    if said[len(quote) :].lower() in _SAYS_NOTHING:
        return found[0]
    return f"{found[1]}{quote}{MARK}{value[len(said) :]}"


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
# For a text in lower case, and with what has to stand before a name behind it: so the pattern is ten times as fast.
_NAME = re.compile(
    r"""passwd | password | passphrase | passcode | pass(?<!bypass)(?<!compass)(?![a-z]) | pwd | psk(?![a-z]) | secret(?!ar) | token(?!iz)
    | (?:bindpw | rootpw | userpw | dbpw | pw(?<![a-z]pw))(?![a-z]) | credential | cookie | from-literal | amz-signature | identified[ ]by
    | (?:api|access|private|account|encrypt|encryption|signing|master|license|storage|subscription)[-_. ]?key | key-data
    | authorization(?:[-_]?code)?(?![\w.-]) | auth(?<![a-z]auth)(?:[-_](?:key|code|header|data|hash))?(?![\w.-]) | basicauth(?![\w.-])
    | sess(?:ion)?[-_.]?(?:id|key|data|hash)?(?![a-z]) | connection[-_]?string | [?&](?:sig|key|code)(?==)""",
    re.VERBOSE,
)
# Between a name and its value: = or : or =>, also where the name is quoted; {"name": "PASSWORD", "value": "..."}; a blank; a comma.
_AFTER_NAME = re.compile(
    r"""(?P<rest>[\w.-]{0,32}+) (?:
      \\{0,8}["'`]?\]?\s{0,3}(?P<sign>:=|[=:]{1,2}>?)(?P<gap>[ \t]{0,3})
    | \\{0,8}["'`]?\s{0,20},?\s{0,20}(?<=[\s,])\\{0,8}["'`]?value\\{0,8}["'`]?\s{0,3}:[ \t]{0,3}
    | (?P<blank>\s{1,3})(?!-)
    | (?P<comma>\\{0,8}["'],\s{0,3})(?=\\{0,8}["'](?!-))
    )(?=\S)""",
    re.IGNORECASE | re.VERBOSE,
)
# password_file, secretName, token_ttl: the value is no secret, it tells of one.
_TELLS_OF_IT = re.compile(
    r"(?:(?i:(?:^|[-_.])(?:stdin|file|path|dir|names?|ref|namespace|class|types?|ttl|policy|ur[il]|audiences?|expir\w*))"
    r"|(?:File|Path|Dir|Name|Ref|Namespace|Class|Type|Policy|Ur[il]|UR[IL]|Audiences?|Expir\w*))$"
)
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_NAME_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_MOST_NAME_CHARS = 64
_SCHEME = re.compile(
    r"(?:Bearer|Basic|Token|Digest|Negotiate|NTLM|OAuth|Api-?Key|AWS4-HMAC-SHA256|Splunk|SSWS|Hawk|GenieKey)\s{1,3}(?=\S)", re.IGNORECASE
)
_OTHER_SCHEME = re.compile(r"[A-Za-z][\w-]{1,30}\s{1,3}(?=[^\s=]{4})")
_QUOTE = re.compile(r"(\\{0,8})([\"'`])")
_FIELD = re.compile(r"[\w.%\[\]-]{1,64}+(?:=(?![=\s]|$)|:\s)|[\"'][\w.-]{1,64}+[\"']\s?[=:]")
# A word, up to what looks like the next field, or like the end of a quotation that began before the word.
_WORD = re.compile(
    r"(?:[^\s,;&\"'`]++|[,;&](?![\s{\[\"'\\]{0,8}[A-Za-z_][\w.-]{0,40}+\\{0,8}[\"']?\s?[=:])|[\"'`](?![\s,;:)}\]>]|$))++",
)
# Of a header or a connection: a=b; c=d is one value.
_OF_PAIRS = frozenset({"authorization", "cookie", "connectionstring", "connection-string", "connection_string"})
_PAIRS = re.compile(r"(?:[^\s\"'`]++|[\"'`](?![\s)}\]>]|$)|(?<=[,;])\s{1,3}(?=[\w.-]{1,64}+=))++")


def _without_named(text: str) -> str:
    # Few letters have a lower case of another length; as many characters as in the text are needed.
    lower = text.lower() if text.isascii() else text.translate(_LOWER)
    kept: list[str] = []
    done = 0
    for name in _NAME.finditer(lower):
        if name.start() >= done and (value := _value_of(text, name)):
            kept += (text[done : value[0]], MARK)
            done = value[1]
    return "".join((*kept, text[done:])) if kept else text


def _value_of(text: str, name: re.Match[str]) -> tuple[int, int] | None:
    """Where its value begins and ends. None: nothing follows that is one, or it says nothing."""
    after = _AFTER_NAME.match(text, name.end())
    if not after or _TELLS_OF_IT.search(after["rest"]):
        return None
    before = text[max(0, name.start() - _MOST_NAME_CHARS) : name.start()]
    outside = before.rstrip(_NAME_CHARS)
    whole_name = before[len(outside) :].lower() + name[0]
    if after["blank"] or after["comma"]:
        # --password hunter2, ["--password", "hunter2"], and SQL's PASSWORD 'hunter2'; else it is prose.
        is_quoted = text[after.end()] in "\"'" and after["blank"] and name[0] + after["rest"] in {"password", "identified by"}
        is_value = (is_quoted or whole_name.startswith("-")) and not _FIELD.match(text, after.end())
        return _value_at(text, after.end(), name[0]) if is_value else None
    sign, follows = after["sign"] or "", text[after.end()]
    # password= user=root says nothing; Cookie: user=root does.
    field = _FIELD.match(text, after.end()) if after["gap"] else None
    if field and not (name[0] in _OF_PAIRS and field[0].endswith("=") and follows not in "\"'"):
        return None
    # /etc/passwd:/etc/passwd is a path, and PWD is where a shell is.
    if (outside.endswith("/") and sign.startswith(":")) or (whole_name in {"pwd", "oldpwd"} and follows == "/"):
        return None
    return _value_at(text, after.end(), name[0], sign=sign, opened=outside[-1:])


def _value_at(text: str, at: int, name: str, *, sign: str = "", opened: str = "") -> tuple[int, int] | None:
    """opened: the character before the name, a quotation mark perhaps."""
    if (scheme := _SCHEME.match(text, at)) and (name in _OF_PAIRS or not _FIELD.match(text, scheme.end())):
        at = scheme.end()
    elif name == "authorization" and sign == ":" and (scheme := _OTHER_SCHEME.match(text, at)):
        said = _PAIRS.match(text, scheme.end())
        return (at, said.start() + len(said[0].rstrip(_CLOSING))) if said else None
    if quote := _QUOTE.match(text, at):
        # grep "password=" /etc: it closes what was opened before the name.
        if quote[2] == opened and text[quote.end() : quote.end() + 1] in {"", " ", "\t", "\n"}:
            return None
        return _quoted(text, quote)
    said = (_PAIRS if name in _OF_PAIRS else _WORD).match(text, at)
    value = said[0].rstrip(_CLOSING) if said else ""
    return None if value.lower() in _SAYS_NOTHING else (at, at + len(value))


def _quoted(text: str, quote: re.Match[str]) -> tuple[int, int] | None:
    """Up to the same mark with no more backslashes before it; what a shell would take as the same word belongs to it."""
    begin = quote.end()
    end, at = len(text), text.find(quote[2], begin)
    while at >= 0:
        end = at
        while end > begin and text[end - 1] == "\\":
            end -= 1
        if at - end <= len(quote[1]):
            break
        end, at = len(text), text.find(quote[2], at + 1)
    if text[begin:end].rstrip(_CLOSING).lower() in _SAYS_NOTHING:
        return None
    following = text[at + 1 : at + 2] if at >= 0 else ""
    if (following.isalnum() or following in {"$", "_", "'", '"'}) and (more := _WORD.match(text, at + 1)):
        return quote.start(), more.start() + len(more[0].rstrip(_CLOSING))
    return begin, end


# ---------------------------------------------------------------- values that stand where a program takes one

_ARGUMENT = r"(\"[^\"]*+\"?|'[^']*+'?|[^\s\"'-]\S*)"
_USER = r"(?<![^\s\"'])(?:-[A-Za-z]{0,8}[uU]\s{0,3}|--(?:proxy-)?user[=\s]\s{0,2})"
_ECHO = r"(?:echo|printf)\s{1,3}(?:-\w{1,4}\s{1,3})?"
_PIPED = re.compile(
    rf"({_ECHO})(\"[^\"|]{{1,256}}\"|'[^'|]{{1,256}}'|[^\s|\"']{{1,256}})"
    r"(?=\s{0,3}\|[^|]{0,80}?\s-(?:\w{0,8}S|-\w{0,9}-?stdin)\b)"
)
# Looked for behind the word that names the program.
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
# Looked for anywhere.
_PLACES: tuple[tuple[str, re.Pattern[str]], ...] = (
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
    """A block that was cut off ends with the text, if it is one and not what somebody searched for."""
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
_PIECE = re.compile(r"[A-Za-z0-9]+")
_SAME_KIND = re.compile(r"[A-Z]+|[a-z]+|[0-9]+")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_DIGEST = re.compile(r"sha-?\d{1,3}[:=~-]$", re.IGNORECASE)
# An image's tag is often the hash of a commit.
_COMMIT = re.compile(r"(?:[:@]|(?:tag|commit|sha|rev|revision)[\"']?\s{0,12}[=:]\s?[\"']?)$", re.IGNORECASE)


def _without_random(found: re.Match[str]) -> str:
    run, before = found[0], found.string[max(0, found.start() - 24) : found.start()]
    if _DIGEST.search(before) or run.startswith(("sha256-", "sha384-", "sha512-", "eyJ")):
        return run
    # Words, hashes and ids that are joined by - or / have few pieces of three kinds of characters; base64 has hardly any other.
    if sum(len(piece) for piece in _PIECE.findall(run) if _is_mixed(piece)) >= _MIXED_CHARS:
        return MARK
    if _COMMIT.search(before):
        return run
    return _PIECE.sub(lambda piece: MARK if _is_key(piece) else piece[0], run)


def _is_mixed(piece: str) -> bool:
    """Upper case, lower case and digits, and seldom two of a kind in a row."""
    kinds = _SAME_KIND.findall(piece)
    has_all = any(kind.isdigit() for kind in kinds) and any(kind.islower() for kind in kinds) and any(kind.isupper() for kind in kinds)
    in_words = sum(len(kind) for kind in kinds if len(kind) > 3 and kind.islower())
    return has_all and len(kinds) >= 0.3 * len(piece) and in_words <= 0.42 * len(piece)


def _is_key(piece: re.Match[str]) -> bool:
    """One case and digits, long; no part of a path, and no container's id."""
    said = piece[0]
    if len(said) < _RANDOM_CHARS or (len(said) == 64 and _HEX.fullmatch(said)) or piece.string[: piece.start()].endswith("/"):
        return False
    digits = sum(character.isdigit() for character in said)
    return min(digits, len(said) - digits) >= 6 and (said == said.lower() or said == said.upper())
