"""Text that comes from outside, without what moves a cursor, reverses a line or cannot be seen (docs/records.md, "Clean text")."""

import re

# Unicode's control characters (Cc) and separators of lines and paragraphs (Zl, Zp).
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Unicode's format characters (Cf): zero-width ones, those that change the direction of the text, tags. U+2065 is reserved for one.
_FORMATS = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]+"
)


def clean(text: str) -> str:
    """Each run of control characters becomes a space, format characters disappear, a lone surrogate becomes a question mark."""
    if text.isprintable():
        return text
    if not text.isascii():
        # A lone surrogate is no text in any encoding; the API server would refuse the whole record.
        text = _FORMATS.sub("", text.encode("utf-8", "replace").decode())
    return _CONTROLS.sub(" ", text)


def flat(text: str) -> str:
    """Clean text in one line: white space becomes one space, and none is left at the ends."""
    if text.isprintable() and "  " not in text:
        return text.strip(" ")
    return " ".join(clean(text).split())


def truncated(text: str, limit_chars: int) -> str:
    """A text that is too long ends in an ellipsis."""
    return text if len(text) <= limit_chars else text[: limit_chars - 1] + "…"


def one_line(text: str, limit_chars: int) -> str:
    """Clean text in one line of at most so many characters."""
    return truncated(flat(text), limit_chars)
