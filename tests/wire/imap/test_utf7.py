"""Modified UTF-7 (RFC 3501 §5.1.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.imap.utf7 import decode_utf7, encode_utf7


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_comes_back(name: str) -> None:
    octets = encode_utf7(name)
    assert decode_utf7(octets) == name
    assert all(0x20 <= octet <= 0x7E for octet in octets)


@given(st.binary(max_size=30))
def test_one_name_has_one_spelling(octets: bytes) -> None:
    name = decode_utf7(octets)
    assert name is None or encode_utf7(name) == octets


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("Hello 😀", b"Hello &2D3eAA-"),
        ("A&B", b"A&-B"),
        ("Entwürfe", b"Entw&APw-rfe"),
    ],
)
def test_known_names(name: str, octets: bytes) -> None:
    assert encode_utf7(name) == octets
    assert decode_utf7(octets) == name


@pytest.mark.parametrize(
    "octets",
    [
        b"&",
        b"a&b",
        b"&Jjo",
        b"&Jjo!",
        b"&U,BTFw-&ZeVnLIqe-",
        b"&AGE-",
        b"&2D0-",
        b"\xc3\xa4",
        b"&Jj+-",
        b"&AA-",
        b"a\tb",
    ],
)
def test_other_spellings_are_none(octets: bytes) -> None:
    assert decode_utf7(octets) is None
