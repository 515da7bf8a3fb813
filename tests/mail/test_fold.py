"""mail/fold.py: lines of a header that are too long, broken where that changes nothing (RFC 5322 §2.1.1, §2.2.3)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import header
from posthouse.mail.fold import FOLD_AT, LINE, folded
from posthouse.mail.header import Field


def done(octets: bytes) -> bytes | Field:
    """The header with its long lines broken."""
    changes = folded(octets, header.split(octets))
    if isinstance(changes, Field):
        return changes
    pieces, at = [], 0
    for start, stop, new in changes:
        pieces += [octets[at:start], new]
        at = stop
    return b"".join([*pieces, octets[at:]])


MARKS = (b'"\\', b'\\"', b"(", b"<", b",", b", ", b" \t", b"><")


def lines(octets: bytes) -> list[bytes]:
    return octets.split(b"\r\n")


PEOPLE = [b"person%d@elsewhere.test" % number for number in range(100)]


@pytest.mark.parametrize("name", [b"To", b"CC", b"X-Words", b"Subject"])
def test_a_long_line_is_broken_at_its_blanks(name: bytes) -> None:
    """RFC 5322 §2.2.3: unfolded it is what it was."""
    octets = name + b": " + b", ".join(PEOPLE) + b"\r\nDate: x\r\n\r\n"
    found = done(octets)
    assert isinstance(found, bytes)
    assert max(map(len, lines(found))) <= FOLD_AT
    assert re.sub(rb"\r\n(?=[ \t])", b"", found) == octets


@pytest.mark.parametrize(("name", "mark"), [(b"To", b","), (b"References", b"")])
def test_a_list_without_blanks_gets_some(name: bytes, mark: bytes) -> None:
    octets = name + b": " + mark.join(b"<%b>" % one for one in PEOPLE) + b"\r\n\r\n"
    found = done(octets)
    assert isinstance(found, bytes)
    assert max(map(len, lines(found))) <= FOLD_AT
    assert found.replace(b"\r\n ", b"") == octets


def test_a_quoted_name_is_not_broken_where_another_place_is_near() -> None:
    name = b'"Office, of (many) words \\" and, more"'
    found = done(b"To: " + b",".join(name + b"<" + one + b">" for one in PEOPLE) + b"\r\n\r\n")
    assert isinstance(found, bytes)
    assert found.count(name) == len(PEOPLE)


def test_words_in_a_quoted_string_are_parted_where_nothing_else_helps() -> None:
    octets = b'To: "' + b"word " * 400 + b'" <a@b.test>\r\n\r\n'
    found = done(octets)
    assert isinstance(found, bytes)
    assert found.replace(b"\r\n", b"") == octets.replace(b"\r\n", b"")
    assert max(map(len, lines(found))) <= FOLD_AT


@pytest.mark.parametrize("value", [b"x" * 1_000, b"," * 1_000, b"'\"'" * 500, b" " * 1_000, b"a " + b"x" * 1_000])
def test_what_has_no_place_is_named(value: bytes) -> None:
    found = done(b"A: b\r\nX-Token: " + value + b"\r\n\r\n")
    assert isinstance(found, Field)
    assert found.name == b"X-Token"


def test_other_lines_stay_as_they_are() -> None:
    """Also the short ones of a field that has a long one; and a line of exactly as much as there may be."""
    octets = b"To: a,\r\n\t" + b"word " * 300 + b",\r\n  " + b"b " * 100 + b"\r\nX:  " + b"y " * 497 + b"\r\n\r\n"
    assert len(lines(octets)[3]) == LINE
    found = done(octets)
    assert isinstance(found, bytes)
    assert lines(found)[0] == b"To: a,"
    assert found.endswith(b",\r\n  " + b"b " * 100 + b"\r\nX:  " + b"y " * 497 + b"\r\n\r\n")
    assert found.replace(b"\r\n", b"") == octets.replace(b"\r\n", b"")


@given(
    st.sampled_from([b"To", b"References", b"X-Odd"]),
    st.lists(st.sampled_from([*MARKS, b" ", b"word", b"y" * 300, b"\r\n "]), max_size=60),
)
def test_no_line_is_emptied_and_nothing_is_lost(name: bytes, words: list[bytes]) -> None:
    octets = name + b":" + b"".join(words) + b"\r\nEnd: x\r\n\r\n"
    found = done(octets)
    if isinstance(found, Field):
        return
    assert re.sub(rb"\s", b"", found) == re.sub(rb"\s", b"", octets)
    before = [line for line in lines(octets)[:-2] if not line.strip()]
    assert [line for line in lines(found)[:-2] if not line.strip()] == before
    blank = any(not line.strip() for line in lines(octets)[:-3])  # obs-FWS: somebody's line of blanks
    assert blank or [field.name for field in header.split(found)] == [name, b"End"]
    assert all(len(line) <= LINE for line in lines(found))


def test_endless_marks_are_looked_at_once() -> None:
    """256 KiB, as large as a field may be, of what a careless pattern would begin at again and again."""
    for mark in MARKS:
        folded(octets := b"To: x" + mark * (131_072 // len(mark) * 2) + b"\r\n\r\n", header.split(octets))
