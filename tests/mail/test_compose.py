"""mail/compose.py: what it builds is read by our own parsers, and by Python's (RFC 5322 §2.2, RFC 2045 to 2047)."""

import email.policy
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import compose, content, header
from posthouse.mail.address import Address, Domain
from posthouse.mail.mime import parse

ANNA = Address("anna", Domain("home.test"))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def words(text: str) -> str:
    """As a reader sees it: control characters are blanks, blanks at the ends and in a row are one."""
    return "".join(" " if ord(letter) < 32 or ord(letter) == 127 else letter for letter in text)


@given(texts, st.booleans())
def test_a_field_says_what_it_was_given(text: str, utf8: bool) -> None:
    """RFC 2047 §5, RFC 5322 §2.1.1, §2.2.3."""
    octets = compose.field("Subject", text, utf8=utf8)
    assert octets.endswith(b"\r\n")
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert utf8 or octets.isascii()
    [(name, value)] = header.pairs(octets)
    assert name == b"Subject"
    assert " ".join(header.decode_words(header.unfold(value)).split()) == " ".join(words(text).split())


def test_lines_are_folded_at_78() -> None:
    octets = compose.field("Subject", "word " * 40)
    assert all(len(line) <= 78 for line in octets.split(b"\r\n"))
    assert octets.count(b"\r\n ") == 2


@pytest.mark.parametrize(
    ("display", "expected"),
    [
        ("", "<anna@home.test>"),
        ("Anna Home", "Anna Home <anna@home.test>"),
        ('Anna "the" Home, Ltd.', '"Anna \\"the\\" Home, Ltd." <anna@home.test>'),
        ("Änna", "=?utf-8?B?w4RubmE=?= <anna@home.test>"),
    ],
)
def test_mailbox(display: str, expected: str) -> None:
    """RFC 5322 §3.4."""
    assert compose.mailbox(ANNA, display) == expected


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=2_000))
def test_a_text_comes_back(text: str) -> None:
    """RFC 2045 §6.7."""
    octets = compose.text_part(text)
    assert octets.isascii()
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    part = parse(octets)
    assert content.text(octets, part).value == text


@given(st.lists(texts, min_size=1, max_size=4))
def test_parts_come_back(bodies: list[str]) -> None:
    """RFC 2046 §5.1: by our parser and by Python's."""
    octets = compose.multipart("mixed", [compose.text_part(body) for body in bodies])
    assert len(parse(octets).children) == len(bodies)
    assert len(list(message_from_bytes(octets, policy=email.policy.SMTP).iter_parts())) == len(bodies)


def test_a_boundary_stands_in_no_part() -> None:
    """Not even in one that was made to hold it: the second is then looked for, and the third."""
    first = compose.multipart("mixed", [b"x"])
    assert first == compose.multipart("mixed", [b"x"])
    line = first.split(b"\r\n")[-2]
    assert line == b"--" + line[2:-2] + b"--"
    for hostile in (b"=_" * 100, line, first):
        octets = compose.multipart("mixed", [compose.part("text/plain", hostile)])
        [part] = parse(octets).children
        assert octets[part.body.start : part.body.stop] == hostile
