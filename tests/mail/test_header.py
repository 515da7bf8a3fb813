"""Header fields and encoded-words (RFC 5322 §2.2, RFC 2047)."""

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import header
from posthouse.mail.header import (
    Field,
    body_start,
    decode_base64,
    decode_text,
    decode_words,
    first,
    firsts,
    header_end,
    message_ids,
    pairs,
    searchable,
    select_fields,
    split,
    unfold,
)


@pytest.mark.parametrize(
    ("octets", "end"),
    [
        (b"", 0),
        (b"\n", 1),
        (b"\r\n", 2),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"A: b", 4),
        (b"A: b\r\n", 6),
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\r\n\nbody\r\n\r\n", 7),
        (b"A: b\n\r\nbody\n\n", 7),
        (b"A: b\r\n \r\n\r\nbody", 11),
        (b"A: b\r\r\n\r\nx", 9),
    ],
)
def test_header_ends_at_the_blank_line(octets: bytes, end: int) -> None:
    assert header_end(octets) == end
    assert header_end(b"xx" + octets + b"\n\n", 2, 2 + len(octets)) == 2 + end


@pytest.mark.parametrize(
    ("octets", "body"),
    [
        (b"A: b\r\ntext\r\n\r\nbody", b"body"),
        (b"\r\nA: b", b"A: b"),
        (b"text", b"text"),
        (b"text\r\nA: b\r\n\r\nbody", b"text\r\nA: b\r\n\r\nbody"),
        (b" A: b\n\nbody", b" A: b\n\nbody"),
        (b"From a@b Mon Jan  1\nA: b\n\nbody", b"body"),
        (b">From a@b Mon Jan  1\nA: b\n\nbody", b"body"),
        (b"From me with love\n\nbody", b"From me with love\n\nbody"),
        (b"", b""),
    ],
)
def test_without_a_field_in_front_there_is_no_header(octets: bytes, body: bytes) -> None:
    assert octets[body_start(octets) :] == body
    assert body_start(b"x\n" + octets + b"\n\n", 2, 2 + len(octets)) == 2 + body_start(octets)


def test_split_gives_offsets() -> None:
    octets = b"Subject: one\r\n two\r\nno field\r\nX-Y :z\n\nBody: no\r\n"
    fields = split(octets)
    assert fields == [Field(b"Subject", 0, 8, 20), Field(b"X-Y", 30, 35, 37)]
    assert octets[fields[0].value_start : fields[0].stop] == b" one\r\n two\r\n"
    assert split(memoryview(octets)) == fields
    assert split(b"zz\n" + octets, 3) == [Field(n, a + 3, b + 3, c + 3) for n, a, b, c in fields]


def test_fields_are_bounded() -> None:
    many = b"X: y\r\n" * (header.FIELDS + 5)
    assert len(split(many)) == header.FIELDS
    assert len(pairs(many)) == header.FIELDS
    assert len(pairs(many * 20)) == header.FIELDS
    assert pairs(many * 20)[0] == (b"X", b" y\r")


def test_first_and_firsts() -> None:
    octets = b"to: a\r\nTo: b\r\nX: last"
    assert first(octets, b"TO") == b" a"
    assert first(octets, b"x") == b" last"
    assert first(octets, b"cc") is None
    assert firsts(octets) == {b"to": b" a\r", b"x": b" last"}


def test_memoryviews_are_not_copied_where_that_can_be() -> None:
    octets = b"abcdef"
    assert searchable(memoryview(octets)) is octets
    assert searchable(memoryview(octets)[1:3]) == b"bc"
    assert searchable(memoryview(octets)[::-1]) == b"fedcba"
    assert searchable(memoryview(bytearray(octets))) == octets
    with mmap.mmap(-1, 6) as mapped:
        assert searchable(memoryview(mapped)) is mapped


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b" a\r\n b ", b"a b"),
        (b" a\n\tb\r", b"a\tb"),
        (b"a\0b", b"ab"),
        (b"", b""),
    ],
)
def test_unfold(value: bytes, line: bytes) -> None:
    assert unfold(value) == line


@pytest.mark.parametrize(
    ("names", "matching", "expected"),
    [
        ({b"to"}, True, b"To: a\r\n\tb\r\nto: c\r\n\r\n"),
        ({b"to"}, False, b"Subject: s\r\n\r\n"),
        (set(), True, b"\r\n"),
        ({b"nothing"}, True, b"\r\n"),
    ],
)
def test_select_fields(names: set[bytes], matching: bool, expected: bytes) -> None:
    block = b"To: a\r\n\tb\r\nSubject: s\r\njunk\r\nto: c\r\n\r\n"
    assert select_fields(block, frozenset(names), matching=matching) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"To: a", b"To: a"),
        (b"To: a\r\n", b"To: a\r\n"),
        (b"To: a\nX: y", b"To: a\n"),
        (b"To: a\n\n", b"To: a\n\n"),
        (b"\n", b"\n"),
        (b"", b""),
    ],
)
def test_select_fields_keeps_line_ends(block: bytes, expected: bytes) -> None:
    assert select_fields(block, frozenset({b"to"}), matching=True) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b" plain", "plain"),
        (b"=?utf-8?q?caf=C3=A9?=", "café"),
        (b"=?UTF-8?B?Y2Fmw6k=?= x", "café x"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        (b"=?utf-8?q?a?= =?iso-8859-1?q?=E9?=", "aé"),
        (b"=?utf-8?q?caf=C3?= =?utf-8?q?=A9?=", "café"),  # a character cut in two
        (b"=?utf-8?b?Y2Fm?= =?utf-8?b?w6?= =?utf-8?b?k?=", "café"),  # and a group of base64
        (b"Re:=?utf-8?q?x?=y", "Re:xy"),
        (b"=?utf-8?q?a b_c?=", "a b c"),
        (b"=?utf-8*en-GB?q?x?=", "x"),
        (b"=?utf-8?q?why??=", "why?"),
        (b"=?utf-8?q??=", ""),
        (b"=?utf-8?q?=C3=A9?=", "é"),
        (b"=?utf-8?b?QQ==?= =?utf-8?b?QQ==?= =?utf-8?q?B?=", "AAB"),
        (b"=?nope?q?x?=", "=?nope?q?x?="),
        (b"=?zip?q?x?=", "=?zip?q?x?="),
        (b"=?utf-8?x?x?=", "=?utf-8?x?x?="),
        (b"=?utf-8?q?x", "=?utf-8?q?x"),
        (b"=?utf-8", "=?utf-8"),
        (b"=?utf-8?q?a =?utf-8?q?b?=", "=?utf-8?q?a b"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"=?utf-8?q?a=00=07=0Ab?=", "a b"),
        (b"=?utf-8?q?=FF?=", "\ufffd"),
    ],
)
def test_decode_words(value: bytes, text: str) -> None:
    assert decode_words(value) == text


def test_decoded_words_are_bounded() -> None:
    text = decode_words(b"=?utf-8?q?x?= " * (header.ENCODED_WORDS + 3))
    assert text.startswith("x" * header.ENCODED_WORDS + " =?utf-8?q?x?=")


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"=?", b"?=", b"utf-8", b"?q?", b"?b?", b" ", b"=C3"])).map(b"".join)
)
def test_garbage_is_read(value: bytes) -> None:
    decode_words(value).encode()
    for field in split(value):
        assert 0 <= field.start < field.value_start <= field.stop <= len(value)
    message_ids(value)
    both = select_fields(value, frozenset({b"a"}), matching=True) + select_fields(
        value, frozenset({b"a"}), matching=False
    )
    assert len(both) <= len(value) + 2


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (b" <a@b>", ["a@b"]),
        (b"<a@b>\r\n <c@ d>", ["a@b", "c@d"]),
        (b"Your message of Monday <a@b>", ["a@b"]),
        (b"a@b", ["a@b"]),
        (b"two words", []),
        (b"<unclosed", []),
        (b"", []),
    ],
)
def test_message_ids(value: bytes, ids: list[str]) -> None:
    assert message_ids(value) == ids


@pytest.mark.parametrize(
    ("encoded", "octets"),
    [
        (b"QUJD", b"ABC"),
        (b"QUI=", b"AB"),
        (b"QUI", b"AB"),
        (b"QUJDR", b"ABC"),
        (b"QQ==QQ==", b"AA"),
        (b"Q U\r\nJ*D", b"ABC"),
        (b"====", b""),
    ],
)
def test_decode_base64(encoded: bytes, octets: bytes) -> None:
    assert decode_base64(encoded) == octets


@given(
    st.lists(
        st.sampled_from([b"a", b" ", b"\t", b"\r", b"\n ", b"\0", b"\x7f", b"\xc3\xbc", b"=?utf-8?q?=41?=", b"=?"])
    )
)
def test_words_are_decoded_from_octets_as_from_their_text(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    assert decode_words(value) == decode_words(decode_text(unfold(value)))
