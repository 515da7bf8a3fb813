"""The Part tree (RFC 2045, RFC 2046 §5)."""

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.mime import BOUNDARY, Part, parse

HEAD = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def bodies(octets: bytes) -> list[bytes]:
    return [octets[part.body.start : part.body.stop] for part in parse(octets).children]


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"preamble\r\n--b\r\n\r\none\r\n--b\r\nX: y\r\n\r\ntwo\r\n--b--\r\nepilogue", [b"one", b"two"]),
        (b"--b\n\none\n--b\n\ntwo\n--b--\n", [b"one", b"two"]),
        (b"--b\r\n\r\none\r\n\r\n--b--", [b"one\r\n"]),
        (b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n", [b"one", b"two\r\n"]),  # no close-delimiter
        (b"--b \t\r\n\r\none\r\n--b--\t\r\n", [b"one"]),
        (b"--b\r\n\r\none\r\n--bb\r\n--bx--\r\n--b--\r\n", [b"one\r\n--bb\r\n--bx--"]),
        (b"--b\r\n\r\none --b\r\n--b--\r\n", [b"one --b"]),
        (b"--b\r\n\r\n--b\r\n\r\n\r\n--b--", [b"", b""]),
        (b"--b\r\n--b\r\n--b--", [b"", b""]),
        (b"--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\ntwo\r\n--b--\r\n", [b"one"]),
        (b"--b\r\nno header\r\n--b--", [b"no header"]),
        (b"--b\r\nno header\r\n\r\nmore\r\n--b--", [b"no header\r\n\r\nmore"]),
        (b"--b", [b""]),
        (b"--b--", [b"--b--"]),  # no part at all: everything is shown
        (b"just text", [b"just text"]),
        (b"", [b""]),
    ],
)
def test_multipart(body: bytes, parts: list[bytes]) -> None:
    assert bodies(HEAD + body) == parts


@pytest.mark.parametrize("boundary", [b"", b'""', b"x" * (BOUNDARY + 1)])
def test_no_usable_boundary(boundary: bytes) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n--\r\n\r\nx\r\n----"
    [only] = parse(octets).children
    assert (only.type, only.subtype, only.parameters) == ("text", "plain", {b"charset": b"us-ascii"})
    assert bodies(octets) == [b"--\r\n\r\nx\r\n----"]


def test_boundary_in_pieces_and_encoded() -> None:
    assert bodies(b"Content-Type: multipart/x; boundary*0=a; boundary*1=b\n\n--ab\n\nx\n--ab--") == [b"x"]
    assert bodies(b"Content-Type: multipart/x; boundary*=utf-8''a%62\n\n--ab\n\nx\n--ab--") == [b"x"]


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (b"", "text/plain"),
        (b"Content-Type: nonsense\r\n", "text/plain"),
        (b"Content-Type: Image/GIF\r\n", "image/gif"),
        (b"Content-Type: text/html\r\nContent-Type: image/gif\r\n", "text/html"),
    ],
)
def test_types(header: bytes, kind: str) -> None:
    part = parse(header + b"\r\nx")
    assert f"{part.type}/{part.subtype}" == kind


def test_fields_of_a_part() -> None:
    part = parse(b"Content-Transfer-Encoding: Base64 (c)\r\nContent-Disposition: inline; filename=x\r\n\r\n")
    assert part.encoding == "base64"
    assert part.disposition == ("inline", {b"filename": b"x"})
    bare = parse(b"\r\n")
    assert bare.encoding == "7bit"
    assert bare.disposition is None
    assert parse(b"Content-Transfer-Encoding: \r\n\r\n").encoding == "7bit"
    assert parse(b"Content-Disposition: \r\n\r\n").disposition is None


def test_digest_holds_messages() -> None:
    head = b"Content-Type: multipart/digest; boundary=b\r\n\r\n"
    octets = head + b"--b\r\n\r\nSubject: in\r\n\r\nx\r\n--b\r\nContent-Type: bad\r\n\r\ny"
    first, second = parse(octets).children
    assert (first.type, first.subtype) == ("message", "rfc822")
    assert first.message is not None
    assert first.message.fields[b"subject"] == b" in\r"
    assert (second.type, second.subtype) == ("text", "plain")


@pytest.mark.parametrize("subtype", [b"rfc822", b"global"])
def test_enclosed_message(subtype: bytes) -> None:
    octets = b"Content-Type: message/" + subtype + b"\r\n\r\nSubject: in\r\n\r\none\r\ntwo\r\n"
    part = parse(octets)
    assert part.message is not None
    assert part.lines == 4
    assert part.message.lines == 2
    assert [p.type for p in part.walk()] == ["message", "text"]


def test_encoded_message_is_not_opened() -> None:
    octets = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA=="
    message = parse(octets).message
    assert message is not None
    assert message.fields == {}
    assert message.header.size == 0
    assert message.body == parse(octets).body
    assert parse(octets.replace(b"base64", b"8bit")).message != message


def test_lines_of_large_messages() -> None:
    text = b"0123456789\r\n" * 60_000
    octets = b"Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\n" + text
    part = parse(octets)
    assert part.message is not None
    assert (part.lines, part.message.lines) == (60_002, 60_000)


def test_every_kind_of_buffer() -> None:
    octets = HEAD + b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    wanted = parse(octets)
    assert parse(memoryview(octets)) == wanted
    assert parse(memoryview(bytearray(octets))) == wanted
    with mmap.mmap(-1, len(octets)) as mapped:
        mapped.write(octets)
        assert parse(mapped) == wanted
        assert parse(memoryview(mapped)) == wanted


PIECES = [
    b"\r\n",
    b"\n",
    b"--b",
    b"--b--",
    b"--c",
    HEAD,
    HEAD.replace(b"=b", b"=c"),
    b"Content-Type: message/rfc822\r\n",
    b"x",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join) | st.binary(max_size=200))
def test_garbage_is_read(octets: bytes) -> None:
    check(parse(octets), 0, len(octets))
    assert parse(octets.replace(b"\r\n", b"\n")) is not None


def check(part: Part, start: int, stop: int) -> None:
    assert start <= part.header.start <= part.header.stop == part.body.start <= part.body.stop <= stop
    assert not (part.multipart and not part.children)
    for child in part.children:
        check(child, start, part.body.stop)
        start = child.body.stop
    if part.message is not None:
        check(part.message, *part.body)


def test_what_follows_a_boundary_on_its_line_is_no_matter_unless_it_makes_a_longer_one() -> None:
    """RFC 2046 §5.1.1: comparing the beginning of the line is enough."""
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    closed = parse(head + b"--b\r\n\r\none\r\n--b--</BODY></HTML>\r\n")
    assert [part.body.size for part in closed.children] == [3]
    opened = parse(head + b"--b<!-- x\r\n\r\none\r\n--b--\r\n")
    assert [part.body.size for part in opened.children] == [3]
    inner = b"Content-Type: multipart/mixed; boundary=b2\r\n\r\n--b2\r\n\r\ntwo\r\n--b2--\r\n"
    nested = parse(head + b"--b\r\n" + inner + b"--b--\r\n")
    assert [part.body.size for part in nested.children[0].children] == [3]
