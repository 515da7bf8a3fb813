"""Canonicalization of header fields and bodies (RFC 6376 §3.4)."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.trust import canonical
from posthouse.trust.canonical import Canon, body_hashes, canonical_body, canonical_field

SIMPLE, RELAXED = Canon.SIMPLE, Canon.RELAXED

# RFC 6376 §3.4.5
FIELDS = [b"A: X\r\n", b"B : Y\t\r\n\tZ  \r\n"]
BODY = b" C \r\nD \t E\r\n\r\n\r\n"


def body(octets: bytes, canon: Canon) -> bytes:
    return b"".join(canonical_body(octets, 0, canon))


def test_the_examples() -> None:
    """RFC 6376 §3.4.5."""
    relaxed = [canonical_field(field, field.index(b":"), RELAXED) for field in FIELDS]
    assert relaxed == [b"a:X\r\n", b"b:Y Z\r\n"]
    assert [canonical_field(field, field.index(b":"), SIMPLE) for field in FIELDS] == FIELDS
    assert body(BODY, RELAXED) == b" C\r\nD E\r\n"
    assert body(BODY, SIMPLE) == b" C \r\nD \t E\r\n"


@pytest.mark.parametrize(
    ("canon", "digest"),
    [
        (SIMPLE, b"frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        (RELAXED, b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ],
)
@pytest.mark.parametrize("octets", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_the_hash_of_an_empty_body(canon: Canon, digest: bytes, octets: bytes) -> None:
    """RFC 6376 §3.4.3, §3.4.4."""
    hashes, size = body_hashes(octets, 0, canon)
    assert b64encode(hashes[None]) == digest
    assert size == (2 if canon is SIMPLE else 0)


@pytest.mark.parametrize(
    ("field", "relaxed"),
    [
        (b"Subject:\r\n", b"subject:\r\n"),
        (b"Subject:   \r\n", b"subject:\r\n"),
        (b"SUBJect \t: AbC\r\n", b"subject:AbC\r\n"),
        (b"A: b\r\n \r\n c\r\n", b"a:b c\r\n"),
        (b"A: b\n c\n", b"a:b c\r\n"),
        (b"A: b", b"a:b\r\n"),
        (b"A: b\r\r\n", b"a:b\r\r\n"),
        (b"A: x : y\r\n", b"a:x : y\r\n"),
        (b"A: \xe4\xa0\r\n", b"a:\xe4\xa0\r\n"),
    ],
)
def test_relaxed_fields(field: bytes, relaxed: bytes) -> None:
    """RFC 6376 §3.4.2."""
    assert canonical_field(field, field.index(b":"), RELAXED) == relaxed


@pytest.mark.parametrize(
    ("octets", "simple", "relaxed"),
    [
        (b"x", b"x\r\n", b"x\r\n"),
        (b"x ", b"x \r\n", b"x\r\n"),
        (b" ", b" \r\n", b""),
        (b" \r\n\t\r\n", b" \r\n\t\r\n", b""),
        (b"x\r\n \r\n\r\n", b"x\r\n \r\n", b"x\r\n"),
        (b"x\r\n\r\ny\r\n", b"x\r\n\r\ny\r\n", b"x\r\n\r\ny\r\n"),
        (b"x\r", b"x\r\r\n", b"x\r\r\n"),
        (b"x \r", b"x \r\r\n", b"x \r\r\n"),
        (b"x\n\n", b"x\n\n\r\n", b"x\n\n\r\n"),
    ],
)
def test_bodies(octets: bytes, simple: bytes, relaxed: bytes) -> None:
    assert body(octets, SIMPLE) == simple
    assert body(octets, RELAXED) == relaxed


def model(octets: bytes, canon: Canon) -> bytes:
    """The same as the RFC says it, line by line."""
    lines = octets.split(b"\r\n")
    if canon is RELAXED:
        lines = [re.sub(rb"[ \t]+", b" ", line.rstrip(b" \t")) for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return b"\r\n" if canon is SIMPLE else b""
    return b"".join(line + b"\r\n" for line in lines)


PIECES = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b"a", b"bc", b"  ", b"\r\n\r\n", b"\xff"]))


@pytest.mark.parametrize("canon", list(Canon))
@given(pieces=PIECES, size=st.sampled_from([2, 4, 6, 65_536]), limit=st.integers(0, 20))
def test_however_it_is_cut_a_body_is_what_the_rfc_says(
    canon: Canon, pieces: list[bytes], size: int, limit: int
) -> None:
    octets = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canonical, "PIECE", size)
        assert body(octets, canon) == model(octets, canon)
        assert b"".join(canonical_body(b"??" + octets, 2, canon)) == model(octets, canon)
        hashes, total = body_hashes(octets, 0, canon, (None, limit))
    assert total == len(model(octets, canon))
    assert hashes[limit] == sha256(model(octets, canon)[:limit]).digest()
    assert hashes[None] == sha256(model(octets, canon)).digest()


@given(st.binary(max_size=200))
def test_what_is_canonical_stays_as_it_is(octets: bytes) -> None:
    once = body(octets, RELAXED)
    assert body(once, RELAXED) == once
    assert body(body(octets, SIMPLE), SIMPLE) == body(octets, SIMPLE)


@pytest.mark.parametrize("octets", [b"\r\n", b" ", b" \r\n", b"\r", b"\n", b"a ", b" \r", b"\n\r"])
@pytest.mark.parametrize("canon", list(Canon))
def test_large_bodies_go_through_in_pieces(octets: bytes, canon: Canon) -> None:
    """Nothing of it takes more than its turn: 4 MiB of the worst octets, and one octet behind them."""
    whole = octets * (4_194_304 // len(octets)) + b"x"
    assert max(map(len, canonical_body(whole, 0, canon))) <= canonical.PIECE + 4
    assert body_hashes(whole, 0, canon)[1] == len(model(whole, canon))
