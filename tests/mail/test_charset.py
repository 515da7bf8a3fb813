"""Charsets of mail (RFC 2045 §5.1)."""

import codecs
import encodings
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import charset


@pytest.mark.parametrize(
    ("name", "octets", "text", "problem"),
    [
        ("us-ascii", b"abc", "abc", False),
        ("us-ascii", b"\xc3\xa9", "é", True),
        ("us-ascii", b"\xe9", "é", True),
        ("utf-8", b"\xc3\xa9", "é", False),
        ("UTF8", b"\xc3\xa9", "é", False),
        ("utf-8", b"a\xffb", "a\ufffdb", True),
        ("iso-8859-1", b"\xe9\x93", "é“", False),
        ("iso-8859-1", b"\x81\xe9", "\x81é", True),
        ("windows-1252", b"\xe9", "é", False),
        ("iso-8859-15", b"\xa4", "€", False),
        ("gb2312", b"\xc4\xe3", "你", False),
        ("ks_c_5601-1987", b"\xb0\xa1", "가", False),
        ("iso-2022-jp", b'\x1b$B$"\x1b(B', "あ", False),
        ("utf-7", b"+AOk-", "é", False),
        ("utf-7", b"+2D0-", "\ufffd", False),
        ("utf-16", b"\xff\xfea\0", "a", False),
        ("koi8-r", b"\xc1", "а", False),
        ("big5", b"\xa7A", "你", False),
        ("no-such", b"abc", "abc", True),
        ("no-such", b"\xe9", "é", True),
        ("zip", b"\xe9", "é", True),
        ("x" * 100, b"abc", "abc", True),
        (' "utf-8" ', b"\xc3\xa9", "é", False),
        ("koi8-u.x", b"a", "a", True),
        ("utf-16", b"\xff", "\ufffd", True),
        ("euc-kr", b"\xb0\xa1\xff", "가\ufffd", True),
        ("gb2312", b"\xff", "\ufffd", True),
        ("hz", b"\xc3\xa9", "é", True),
    ],
)
def test_decode(name: str, octets: bytes, text: str, problem: bool) -> None:
    assert charset.decode(octets, name) == (text, problem)


def test_known() -> None:
    assert charset.known("UTF-8")
    assert not charset.known("rot13")
    assert not charset.known("unicode_escape")


def test_western_holes() -> None:
    assert charset.western(b"\x80\x81") == "\x80\x81"
    assert charset.western(b"\x80") == "€"


def test_every_name_of_the_table_is_a_codec() -> None:
    for codec in set(charset._CODECS.values()):
        codecs.lookup(codec)
        for octets in (b"", b"abc", bytes(range(256)), b"\xff" * 7, b"~{+AA-\x1b$B"):
            charset.decode(octets, codec)[0].encode()


def test_unknown_names_are_not_looked_up() -> None:
    before = len(encodings._cache)  # type: ignore[attr-defined]
    for letter in string.ascii_letters:
        charset.decode(b"\xff", f"x-{letter}")
    assert len(encodings._cache) == before  # type: ignore[attr-defined]


@given(st.binary(max_size=60), st.sampled_from(sorted(charset._CODECS)) | st.text(max_size=20))
def test_garbage_is_read(octets: bytes, name: str) -> None:
    text, problem = charset.decode(octets, name)
    text.encode()
    assert isinstance(problem, bool)
