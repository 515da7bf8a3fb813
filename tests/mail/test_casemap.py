"""i;unicode-casemap (RFC 5051)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.casemap import casemap


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ("abc XYZ 1", "ABC XYZ 1"),
        ("ä", "A\u0308"),
        ("ß", "ß"),  # a special casing is no simple mapping
        ("ǆ", "D\u007a\u030c"),  # titlecase, not upper case, then decomposed twice
        ("\u01d6", "U\u0308\u0304"),
        ("ﬁ", "fi"),  # no titlecase of its own; what it decomposes into is not mapped again
        ("가", "가"),  # Hangul syllables have no mapping in UnicodeData.txt
        ("σς", "ΣΣ"),
        ("", ""),
    ],
)
def test_casemap(text: str, mapped: str) -> None:
    assert casemap(text) == mapped


@given(st.text())
def test_casemap_maps_each_character_alone(text: str) -> None:
    assert casemap(text) == "".join(casemap(one) for one in text)
    assert casemap(text.swapcase()) == casemap(text) or not text.isascii()
