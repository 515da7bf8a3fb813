"""Transfer encodings and charsets of parts (RFC 2045 §6)."""

import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import content
from posthouse.mail.content import charset_of, decoded, octets_of, text
from posthouse.mail.mime import parse


def message(encoding: bytes, body: bytes, kind: bytes = b"text/plain") -> bytes:
    return b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("encoding", "body", "expected"),
    [
        (b"7bit", b"a=41\r\n", b"a=41\r\n"),
        (b"8-bit", b"\xff", b"\xff"),
        (b"", b"x", b"x"),
        (b"base64", b"QUJD\r\nREVG", b"ABCDEF"),
        (b"BASE64", b"QUJD\n\n-----\nA list's footer", b"ABC"),
        (b"base64", b"QUJD\r\n\r\n____ footer", b"ABC"),
        (b"quoted-printable", b"caf=C3=A9 =\r\nx", b"caf\xc3\xa9 x"),
        (b"quoted-printable", b"pad \t\r\nnext \nsoft= \r\nend ", b"pad\r\nnext\nsoftend"),
        (b"quoted-printable", b"a=ZZ=4", b"a=ZZ=4"),
        (b"x-uuencode", b"text\r\nbegin 644 f\r\n#0V%T\r\n`\r\nend\r\n", b"Cat"),
        (b"uuencode", b"begin 644 f\n#0V%T\n\n!!!!!!!!!!!!!!\n\xff\xff\n#0V%Tzzzz\nend", b"Cat" + b"\x04" + b"Cat"),
        (b"x-unheard-of", b"x", None),
    ],
)
def test_decoded(encoding: bytes, body: bytes, expected: bytes | None) -> None:
    octets = message(encoding, body)
    assert decoded(octets, parse(octets)) == expected
    assert octets_of(octets, parse(octets)) == (body if expected is None else expected)


def test_multipart_is_not_decoded() -> None:
    octets = message(b"base64", b"--b\r\n\r\nx\r\n--b--", b"multipart/mixed; boundary=b")
    assert decoded(octets, parse(octets)) == b"--b\r\n\r\nx\r\n--b--"


@pytest.mark.parametrize(
    ("kind", "body", "value", "problem"),
    [
        (b"text/plain", b"a\r\nb\rc\n", "a\nb\rc\n", False),
        (b"text/plain; charset=utf-8", b"\xef\xbb\xbfcaf\xc3\xa9\0", "café", False),
        (b"text/plain; charset=nope", b"caf\xe9", "café", True),
        (b"text/html", b"<meta http-equiv=x content='text/html; charset=koi8-r'>\xc1", "koi8-r", False),
        (b"text/html", b"<p>\xc3\xa9", "<p>é", True),
        (b"text/html; charset=iso-8859-1", b"<meta charset=utf-8>\xe9", "é", False),
    ],
)
def test_text(kind: bytes, body: bytes, value: str, problem: bool) -> None:
    octets = message(b"8bit", body, kind)
    found = text(octets, parse(octets))
    assert (found.value == value or value in found.value, found.problem) == (True, problem)


def test_unknown_encoding_is_a_problem() -> None:
    octets = message(b"x-unheard-of", b"text")
    assert text(octets, parse(octets)) == ("text", True)


def test_charset_of() -> None:
    assert charset_of(parse(b"\r\n")) == "us-ascii"
    assert charset_of(parse(b"Content-Type: text/html; charset=UTF-8\r\n\r\n")) == "UTF-8"


@given(st.binary(max_size=300))
def test_what_others_encode_is_decoded(body: bytes) -> None:
    octets = message(b"base64", binascii.b2a_base64(body))
    assert decoded(octets, parse(octets)) == body
    octets = message(b"quoted-printable", quopri.encodestring(body, quotetabs=True))
    assert (decoded(octets, parse(octets)) or b"").replace(b"\r\n", b"\n") == body.replace(b"\r\n", b"\n")


@given(
    st.sampled_from([b"base64", b"quoted-printable", b"x-uuencode", b"8bit", b"x"]),
    st.binary(max_size=100) | st.text("begin 64x\r\n=#0V%T`- AQ", max_size=80).map(str.encode),
    st.sampled_from([b"text/plain", b"text/html; charset=utf-8", b"image/gif"]),
)
def test_garbage_is_read(encoding: bytes, body: bytes, kind: bytes) -> None:
    octets = message(encoding, b"begin 1\n" + body, kind)
    part = parse(octets)
    assert isinstance(octets_of(octets, part), bytes)
    text(octets, part).value.encode()


BODY_ALPHABET = st.sampled_from(
    [b"QUJD", b"R", b"=", b"==", b"\r\n", b"\n", b"\n\r\n----", b"\n\n___", b"--", b" ", b"=41", b"=\r\n", b"!", b"\0",
     b"begin 644 x\n", b"#86)C\n", b"end\n"]
)  # fmt: skip


@given(
    st.lists(BODY_ALPHABET, max_size=60).map(b"".join),
    st.integers(1, 40),
    st.sampled_from(["base64", "quoted-printable", "x-uuencode", "7bit"]),
)
def test_pieces_decode_as_the_whole(body: bytes, size: int, encoding: str) -> None:
    message = b"Content-Transfer-Encoding: %b\r\n\r\n%b" % (encoding.encode(), body)
    part = parse(message)
    raw = message[part.body.start : part.body.stop]
    pieces = content.decoded_pieces((raw[at : at + size] for at in range(0, len(raw), size)), part)
    assert pieces is not None
    assert b"".join(pieces) == content.decoded(message, part)


def test_a_line_without_end_is_decoded_in_pieces() -> None:
    part = parse(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
    pieces = list(content.decoded_pieces((b"=41bcd" * 20_000 for _ in range(50)), part) or ())
    assert b"".join(pieces) == b"Abcd" * 1_000_000
    assert max(map(len, pieces)) <= content.LONG_LINE + 120_000
