"""The items of FETCH (RFC 9051 §6.4.5, RFC 3516)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.structure import Section, SectionText
from posthouse.wire.imap import fetch as f
from posthouse.wire.imap.condition import Fault

A = f.Attribute
WHOLE = Section((), SectionText.WHOLE, ())
FIELDS = Section((), SectionText.HEADER_FIELDS, (b"DATE", b"From"))


@pytest.mark.parametrize(
    ("octets", "items"),
    [
        (b"ALL", (A.FLAGS, A.INTERNALDATE, A.SIZE, A.ENVELOPE)),
        (b"fast", (A.FLAGS, A.INTERNALDATE, A.SIZE)),
        (b"FULL", (A.FLAGS, A.INTERNALDATE, A.SIZE, A.ENVELOPE, A.BODY)),
        (b"FLAGS", (A.FLAGS,)),
        (b"(uid flags UID)", (A.UID, A.FLAGS)),
        (b"BODY[]", (f.BodySection(WHOLE, None, False, b"BODY[]"),)),
        (b"body.peek[]<5.10>", (f.BodySection(WHOLE, f.Partial(5, 10), True, b"BODY[]<5>"),)),
        (
            b"(BODY[HEADER.FIELDS (DATE From)])",
            (f.BodySection(FIELDS, None, False, b"BODY[HEADER.FIELDS (DATE From)]"),),
        ),
        (
            b"BODY.PEEK[4.2.HEADER]",
            (f.BodySection(Section((4, 2), SectionText.HEADER, ()), None, True, b"BODY[4.2.HEADER]"),),
        ),
        (b"BODY[1.mime]", (f.BodySection(Section((1,), SectionText.MIME, ()), None, False, b"BODY[1.MIME]"),)),
        (
            b'BODY[3.HEADER.FIELDS.NOT ("a(b")]',
            (
                f.BodySection(
                    Section((3,), SectionText.HEADER_FIELDS_NOT, (b"a(b",)),
                    None,
                    False,
                    b'BODY[3.HEADER.FIELDS.NOT ("a(b")]',
                ),
            ),
        ),
        (b"BINARY[1.2]", (f.Binary((1, 2), None, False, b"BINARY[1.2]"),)),
        (b"BINARY.PEEK[]<0.7>", (f.Binary((), f.Partial(0, 7), True, b"BINARY[]<0>"),)),
        (b"BINARY.SIZE[3]", (f.BinarySize((3,), b"BINARY.SIZE[3]"),)),
        (b"RFC822.HEADER", (f.BodySection(Section((), SectionText.HEADER, ()), None, True, b"RFC822.HEADER"),)),
        (b"RFC822", (f.BodySection(WHOLE, None, False, b"RFC822"),)),
        (b"RFC822.TEXT", (f.BodySection(Section((), SectionText.TEXT, ()), None, False, b"RFC822.TEXT"),)),
        (b"BODYSTRUCTURE", (A.BODYSTRUCTURE,)),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_items(octets: bytes, items: tuple[f.FetchItem, ...]) -> None:
    assert f.parse_items(octets) == items


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"()",
        b"(ALL)",
        b"FLAGS UID",
        b"FROB",
        b"BODY[",
        b"BODY[0]",
        b"BODY[1.]",
        b"BODY[1.0]",
        b"BODY[MIME]",
        b"BODY[FROB]",
        b"BODY[HEADER.FIELDS]",
        b"BODY[HEADER.FIELDS ()]",
        b"BODY[HEADER.FIELDS (a:b)]",
        b'BODY[HEADER.FIELDS ("")]',
        b"BODY[]<1>",
        b"BODY[]<1.0>",
        b"BODY[]<.5>",
        b"BODY[]<1.2",
        b"BINARY[HEADER]",
        b"BINARY",
        b"BINARY.SIZE[1]<0.5>",
        b"BODY[4294967296]",
        b"FLAGS[]",
        b"ENVELOPE[1]",
        b"MODSEQ[]",
        b"(FLAGS  UID)",
        b"(FLAGS",
        b"FLAGS)",
    ],
)
def test_what_fetch_does_not_know_is_refused(octets: bytes) -> None:
    with pytest.raises(Fault):
        f.parse_items(octets)


@pytest.mark.parametrize(
    "octets", [b"BODY[" + b"1." * 60 + b"1]", b"(" + b" ".join(b"BODY[%d]" % n for n in range(1, 202)) + b")"]
)
def test_items_are_limited(octets: bytes) -> None:
    with pytest.raises(Fault) as refused:
        f.parse_items(octets)
    assert refused.value.code == b"LIMIT"


@given(st.binary(max_size=40))
def test_garbage_is_a_fault_and_nothing_else(octets: bytes) -> None:
    with pytest.raises(Fault):
        f.parse_items(b"(" + octets + b"\0")


def test_the_same_spelling_is_read_once() -> None:
    assert f.parse_items(b"(FLAGS UID)") is f.parse_items(b"(FLAGS UID)")


def test_only_items_without_peek_set_seen() -> None:
    def sets_seen(octets: bytes) -> bool:
        return f.Fetch(b"a", f.NumberSet(((1, 1),)), f.parse_items(octets)).sets_seen

    assert all(sets_seen(octets) for octets in (b"BODY[]", b"BINARY[1]", b"RFC822", b"RFC822.TEXT", b"(UID BODY[1])"))
    peeks = (b"BODY", b"BODY.PEEK[]", b"BINARY.PEEK[1]", b"BINARY.SIZE[1]", b"RFC822.HEADER", b"ALL")
    assert not any(sets_seen(octets) for octets in peeks)


def test_a_partial_cuts() -> None:
    assert f.Partial(2, 3).cut(b"abcdefg") == b"cde"
    assert f.Partial(9, 3).cut(b"abc") == b""
