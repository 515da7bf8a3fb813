"""ENVELOPE, BODYSTRUCTURE and sections (RFC 9051 §7.5.2, §6.4.5.1)."""

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.imap_text import check_body, check_envelope, read
from mail.sections import binary, section_octets
from posthouse.mail.header import unfold
from posthouse.mail.mime import Span, parse
from posthouse.mail.structure import (
    ENCLOSED_ADDRESSES,
    Section,
    SectionText,
    addresses,
    body_structure,
    describe,
    envelope,
    find_part,
    nstring,
    span,
    string,
)
from posthouse.wire.imap.body import without_extension


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r", b"\r\n ", b'"', b"\\", b"\0", b"\xff"]), max_size=8))
def test_a_field_of_the_envelope_is_its_unfolded_string(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    assert envelope({b"subject": value}).startswith(b"(NIL %b NIL " % string(unfold(value)))


@pytest.mark.parametrize("spelled", [b" base64", b"BASE64\r", b' "quoted-printable" (x)', b"8bit; x", b"", b"\xff"])
def test_an_encoding_is_read_alike_however_long_its_field(spelled: bytes) -> None:
    short, long = (parse(b"Content-Transfer-Encoding:" + spelled + more + b"\n\n") for more in (b"", b" " * 100))
    assert short.encoding == long.encoding


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (b"", b'""'),
        (b"plain\ttext", b'"plain\ttext"'),
        (b'a"b\\c', b'"a\\"b\\\\c"'),
        (b"a\rb", b"{3}\r\na\rb"),
        (b"a\nb", b"{3}\r\na\nb"),
        (b"caf\xc3\xa9", b"{5}\r\ncaf\xc3\xa9"),
        (b"a\0b", b'"ab"'),
        (b"\xff\0", b"{1}\r\n\xff"),
    ],
)
def test_strings(value: bytes, wire: bytes) -> None:
    assert string(value) == wire
    assert read(b"(" + wire + b")") == [value.replace(b"\0", b"")]


def test_nstring() -> None:
    assert nstring(None) == b"NIL"
    assert nstring(b"NIL") == b'"NIL"'


@given(st.binary(max_size=50))
def test_strings_come_back(value: bytes) -> None:
    assert read(b"(" + string(value) + b")") == [value.replace(b"\0", b"")]


ANNA = b'(("Anna" NIL "anna" "home.test"))'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # RFC 9051 §7.5.2's own example, without what is not in the envelope
        (
            b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n"
            b"Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
            b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
            b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n",
            b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
            b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
            b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
            b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
            b'"<B27397-0100000@cac.washington.edu>")',
        ),
        (b"", b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
        (b"Subject:\r\nDate: \r\n", b'("" "" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        (
            b"From: Anna <anna@home.test>\r\nSender: \r\nReply-To: <ben@work.test>\r\n",
            b"(NIL NIL " + ANNA + b" " + ANNA + b' ((NIL NIL "ben" "work.test")) NIL NIL NIL NIL NIL)',
        ),
        (b'Subject: a\r\n\tb "c"\r\n', b'(NIL "a\tb \\"c\\"" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        (b"Subject: =?utf-8?q?x?=\r\nSubject: second\r\n", b'(NIL "=?utf-8?q?x?=" NIL NIL NIL NIL NIL NIL NIL NIL)'),
        (b"Subject: \xe9\r\n", b"(NIL {1}\r\n\xe9 NIL NIL NIL NIL NIL NIL NIL NIL)"),
    ],
)
def test_envelope(header: bytes, expected: bytes) -> None:
    assert describe(header + b"\r\n").envelope == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, b"NIL"),
        (b"", b"NIL"),
        (b"<>", b"NIL"),
        (b"root", b'((NIL NIL "root" ""))'),
        (b"<@a,@b:c@d>", b'((NIL "@a,@b" "c" "d"))'),
        (b"G: a@b;, c@d", b'((NIL NIL "G" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL)(NIL NIL "c" "d"))'),
        (b"nobody:;", b'((NIL NIL "nobody" NIL)(NIL NIL NIL NIL))'),
    ],
)
def test_addresses(value: bytes | None, expected: bytes) -> None:
    assert addresses(value) == expected


MIXED = (
    b"Subject: outer\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
    b"--b\r\n\r\none\r\ntwo\r\n"
    b'--b\r\nContent-Type: image/gif; name="x y.gif"\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <i@d>\r\n'
    b"Content-Description: a picture\r\nContent-Disposition: attachment; filename=x.gif\r\nContent-MD5: Q2hlY2s=\r\n"
    b"Content-Language: en, de\r\nContent-Location: http://x.test/\r\n\r\nQUJD\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n"
    b"Content-Type: multipart/alternative; boundary=c\r\n\r\n"
    b"--c\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Language: en\r\n\r\nplain\r\n"
    b"--c\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    b"Content-ID: \r\n\r\n=41\r\n--c--\r\n\r\n"
    b"--b--\r\nepilogue"
)
IMAGE = b'"image" "gif" ("name" "x y.gif") "<i@d>" "a picture" "base64" 4'
ENVELOPE = b'(NIL "inner" NIL NIL NIL NIL NIL NIL NIL NIL)'


def test_body_structure() -> None:
    inner = parse(MIXED).children[2]
    assert inner.message is not None
    assert body_structure(parse(MIXED)) == (
        b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 8 1 NIL NIL NIL NIL)'
        b"(" + IMAGE + b' "Q2hlY2s=" ("attachment" ("filename" "x.gif")) ("en" "de") "http://x.test/")'
        b'("message" "rfc822" NIL NIL NIL "7bit" %d ' % inner.body.size + ENVELOPE + b" "
        b'(("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 5 0 NIL NIL "en" NIL)'
        b'("text" "html" NIL NIL NIL "quoted-printable" 3 0 NIL NIL NIL NIL)'
        b' "alternative" ("boundary" "c") NIL NIL NIL) %d NIL NIL NIL NIL)'
        % inner.lines
        + b' "mixed" ("boundary" "b") NIL NIL NIL)'
    )
    assert inner.lines == MIXED[inner.body.start : inner.body.stop].count(b"\n")


def test_body_without_extension() -> None:
    inner = parse(MIXED).children[2]
    assert without_extension(body_structure(parse(MIXED))) == (
        b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 8 1)(' + IMAGE + b")"
        b'("message" "rfc822" NIL NIL NIL "7bit" %d ' % inner.body.size + ENVELOPE + b" "
        b'(("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 5 0)("text" "html" NIL NIL NIL "quoted-printable" 3 0)'
        b' "alternative") %d) "mixed")' % inner.lines
    )


def test_sizes_are_those_of_the_sections() -> None:
    for numbers in [(1,), (2,), (3,), (3, 1), (3, 2)]:
        part = find_part(parse(MIXED), numbers)
        assert part is not None
        assert len(section_octets(MIXED, Section(numbers)) or b"") == part.body.size


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (Section(), MIXED),
        (Section((), SectionText.HEADER), MIXED[: MIXED.index(b"preamble")]),
        (Section((), SectionText.TEXT), MIXED[MIXED.index(b"preamble") :]),
        (Section((1,)), b"one\r\ntwo"),
        (Section((1,), SectionText.MIME), b"\r\n"),
        (Section((2,)), b"QUJD"),
        (Section((3,), SectionText.MIME), b"Content-Type: message/rfc822\r\n\r\n"),
        (Section((3, 1)), b"plain"),
        (Section((3, 2)), b"=41"),
        (Section((3, 1), SectionText.MIME), b"Content-Type: text/plain; charset=utf-8\r\nContent-Language: en\r\n\r\n"),
        (Section((), SectionText.HEADER_FIELDS, (b"SUBJECT", b"x")), b"Subject: outer\r\n\r\n"),
        (Section((3,), SectionText.HEADER_FIELDS, (b"subject",)), b"Subject: inner\r\n\r\n"),
        (
            Section((3,), SectionText.HEADER_FIELDS_NOT, (b"subject",)),
            b"Content-Type: multipart/alternative; boundary=c\r\n\r\n",
        ),
        # there is no such section
        (Section((0,)), None),
        (Section((4,)), None),
        (Section((1, 1)), None),
        (Section((3, 1, 1)), None),
        (Section((3, 3)), None),
        (Section((1,), SectionText.HEADER), None),
        (Section((1,), SectionText.TEXT), None),
        (Section((2,), SectionText.HEADER_FIELDS, (b"x",)), None),
        (Section((), SectionText.MIME), None),
    ],
)
def test_sections(section: Section, expected: bytes | None) -> None:
    assert section_octets(MIXED, section) == expected
    assert section_octets(memoryview(bytearray(MIXED)), section) == expected


def test_sections_of_an_enclosed_message() -> None:
    header = section_octets(MIXED, Section((3,), SectionText.HEADER))
    text = section_octets(MIXED, Section((3,), SectionText.TEXT))
    assert header is not None
    assert text is not None
    assert header.startswith(b"Subject: inner")
    assert header + text == section_octets(MIXED, Section((3,)))


def test_sections_of_a_plain_message() -> None:
    octets = b"Subject: s\r\n\r\nbody"
    assert section_octets(octets, Section((1,))) == b"body"
    assert section_octets(octets, Section((1,), SectionText.MIME)) == b"Subject: s\r\n\r\n"
    assert section_octets(octets, Section((2,))) is None
    assert section_octets(octets, Section((1, 1))) is None
    assert span(parse(octets), len(octets), Section((1,))) == Span(14, 18)


def test_message_that_is_a_message() -> None:
    octets = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody"
    assert section_octets(octets, Section((1,))) == b"Subject: in\r\n\r\nbody"
    assert section_octets(octets, Section((1,), SectionText.HEADER)) == b"Subject: in\r\n\r\n"
    assert section_octets(octets, Section((1, 1))) == b"body"
    assert section_octets(octets, Section((), SectionText.TEXT)) == b"Subject: in\r\n\r\nbody"


def test_binary() -> None:
    assert binary(MIXED, (2,)) == b"ABC"
    assert binary(MIXED, (3, 2)) == b"A"
    assert binary(MIXED, ()) == MIXED
    assert binary(MIXED, (9,)) == b""
    assert binary(b"Content-Transfer-Encoding: x-new\r\n\r\nx", (1,)) is None
    with mmap.mmap(-1, len(MIXED)) as mapped:
        mapped.write(MIXED)
        assert binary(mapped, (2,)) == b"ABC"
        assert binary(mapped, ()) == MIXED


def test_addresses_of_enclosed_messages_are_bounded() -> None:
    people = b"a@home.test, " * 15_000
    one = b"--b\r\nContent-Type: message/rfc822\r\n\r\nTo: " + people + b"\r\nSubject: s\r\n\r\nx\r\n"
    structure = body_structure(parse(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + one + one))
    assert len(people) < ENCLOSED_ADDRESSES < 2 * len(people)
    assert structure.count(b'(NIL "s" NIL NIL NIL ((NIL NIL "a" "home.test")') == 1
    assert structure.count(b'(NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL)') == 1


def test_header_size() -> None:
    assert describe(b"A: b\r\n\r\nx").header_size == 8
    assert describe(b"").header_size == 0


@pytest.mark.parametrize("value", [b",", b"", b" , ,"])
def test_no_language(value: bytes) -> None:
    assert body_structure(parse(b"Content-Language: " + value + b"\r\n\r\n")).endswith(b" NIL NIL NIL NIL)")


HEADERS = [b"Subject: ", b"From: ", b"To: ", b"Content-Type: ", b"Content-Disposition: ", b"Content-ID: "]
HEADERS += [b"Content-Type: message/rfc822\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n", b"\r\n--b\r\n"]
HEADERS += [b"Content-Language: ", b"\r\n", b"\n"]
SIGNS = st.text('a@b<>:;,"\\()=* ', max_size=10).map(str.encode)


@given(st.lists(st.sampled_from(HEADERS) | st.binary(max_size=10) | SIGNS, max_size=20))
def test_garbage_is_described_in_valid_text(pieces: list[bytes]) -> None:
    octets = b"".join(pieces)
    described = describe(octets)
    check_envelope(read(described.envelope))
    check_body(read(described.structure), extended=True)
    check_body(read(without_extension(described.structure)), extended=False)
    for text in SectionText:
        for part in ((), (1,), (1, 1), (2,)):
            section_octets(octets, Section(part, text, (b"subject", b"TO")))
