"""mail/nulless.py: parts with NUL become base64, nothing else changes (RFC 3516 §4.4)."""

from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.content import decoded
from posthouse.mail.mime import parse
from posthouse.mail.nulless import without_nul

MIXED = (
    b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
    b"Content-Type: image/x\r\nContent-Transfer-Encoding:\r\n binary\r\nX: 1\r\n\r\n\x00\x01\r\n\x02\r\n--b--\r\n"
)


def changed(octets: bytes) -> bytes | None:
    pieces = without_nul(octets)
    return None if pieces is None else b"".join(pieces)


def test_a_part_with_nul_becomes_base64_and_its_field_is_rewritten():
    assert changed(MIXED) == (
        b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
        b"Content-Type: image/x\r\nX: 1\r\nContent-Transfer-Encoding: base64\r\n\r\nAAENCgI=\r\n--b--\r\n"
    )


def test_the_message_itself_may_be_the_part():
    assert changed(b"A: 1\r\n\r\n\x00") == b"A: 1\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n"
    assert changed(b"A: 1\n\n\x00") == b"A: 1\nContent-Transfer-Encoding: base64\n\nAA==\r\n"
    assert changed(b"\r\n\x00") == b"Content-Transfer-Encoding: base64\r\n\r\nAA==\r\n"


def test_what_cannot_be_encoded_is_left_to_be_refused():
    for octets in (
        b"A: \x00\r\n\r\nx",  # in a header
        b"\x00",  # no header
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n\x00",
        b"Content-Transfer-Encoding: base64\r\n\r\n\x00",
        b"Content-Type: message/partial\r\n\r\n\x00",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n\x00\r\n--b\r\n\r\nx\r\n--b--\r\n",  # before the parts
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n\x00",  # behind them
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n\x00 no part",
    ):
        assert changed(octets) is None


def test_a_message_in_a_message_is_walked_into():
    inner = b"Content-Type: message/rfc822\r\n\r\nA: 1\r\n\r\n\x00\x00"
    encoded = changed(inner)
    assert encoded is not None
    part = parse(encoded).message
    assert part is not None
    assert part.encoding == "base64"
    assert decoded(encoded, part) == b"\x00\x00"


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_no_octet_of_content_is_lost(bodies):
    parts = b"".join(b"--=b\r\nContent-Type: a/b\r\n\r\n%b\r\n" % body for body in bodies)
    message = b'Content-Type: multipart/mixed; boundary="=b"\r\n\r\n%b--=b--\r\n' % parts
    encoded = changed(message)
    if encoded is None:
        return
    assert b"\0" not in encoded
    before, after = parse(message), parse(encoded)
    assert [decoded(message, part) for part in before.children] == [decoded(encoded, part) for part in after.children]


@given(st.binary(max_size=200))
def test_any_octets_do_no_harm(octets):
    encoded = changed(octets)
    assert encoded is None or b"\0" not in encoded
