"""zenwatch/model/text.py: what is left of a text that moves a cursor, reverses a line or cannot be seen."""

import sys
import unicodedata

import pytest

from zenwatch.model.text import clean, flat, one_line

OSC_52 = "\x1b]52;c;cm0gLXJmIC8=\x07"


def test_no_control_or_format_character_of_unicode_is_left() -> None:
    """By the tables of this Python, over all of Unicode."""
    odd = {"Cc", "Cf", "Cs", "Zl", "Zp"}

    left = [
        code
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in odd and clean(f"a{chr(code)}b")[1:-1] not in ("", " ", "?")
    ]

    assert left == []


def test_every_letter_and_sign_stays() -> None:
    """Whatever the language. Only what a later version of Unicode assigns to the format characters is gone as well."""
    odd = {"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"}

    gone = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in odd and clean(chr(code)) != chr(code)]

    assert all(0x13430 <= code <= 0x1345F for code in gone)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        (f"a{OSC_52}b", "a ]52;c;cm0gLXJmIC8= b"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("\u2066a\u2069", "a"),
        ("pass\u200bword", "password"),
        ("one\r\ntwo", "one two"),
        ("two  spaces ", "two  spaces "),
        ("no\u00a0break", "no\u00a0break"),
        ("a\ud800b", "a?b"),
    ],
)
def test_clean_text_keeps_what_can_be_seen(raw: str, cleaned: str) -> None:
    """White space stays as it is: keys of Falco end with a space where the 50th character is one."""
    assert clean(raw) == cleaned
    assert clean(cleaned) == cleaned


def test_a_line_has_single_spaces_and_none_at_its_ends() -> None:
    """Also where what stood between the spaces is gone."""
    assert flat(" a \u200b b\u00a0\u2003c\t") == "a b c"
    assert one_line("a  b\u202ec", 3) == "a …"
