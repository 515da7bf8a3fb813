"""wire/imap/body.py: BODY out of BODYSTRUCTURE is the same without its extension data (RFC 9051 §7.5.2)."""

import time

import pytest

from mail import torture
from mail.corpus import corpus
from mail.imap_text import check_body, plain, read
from posthouse.mail.mime import parse
from posthouse.mail.structure import body_structure
from posthouse.wire.imap.body import without_extension

PART = b"Content-Type: %b\r\nContent-MD5: Q2hlY2s=\r\nContent-Language: de, en\r\nContent-Location: a\r\n"
DISPOSED = b'Content-Disposition: attachment; filename="a (b) \\"c\\".txt"\r\n'
UMLAUTS = b"Content-Description: Gr\xc3\xbc\xc3\x9fe (\r\nContent-ID: ((\r\n"
MULTIPART = b"Content-Type: multipart/mixed; boundary=b; name=\xfc\r\n\r\n--b\r\n%b\r\n--b\r\n%b\r\n--b--\r\n"


def check(structure: bytes) -> None:
    """BODY says what BODYSTRUCTURE says, and no more."""
    body = read(without_extension(structure))
    check_body(body, extended=False)
    assert body == plain(read(structure))


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="empty"),
        pytest.param(PART % b"text/plain" + b"\r\nx\r\n", id="text"),
        pytest.param(PART % b"TEXT/html; charset=x" + DISPOSED + b"\r\nx\r\n", id="text-in-upper-case"),
        pytest.param(PART % b"image/png" + DISPOSED + UMLAUTS + b"\r\nx\r\n", id="literals"),
        pytest.param(PART % b"application/x; a=\xff" + b"\r\n", id="literal-in-parameters"),
        pytest.param(PART % b"message/rfc822" + b"\r\nSubject: (\xfc\r\nFrom: (a) <b@c>\r\n\r\nx\r\n", id="message"),
        pytest.param(PART % b"message/rfc822" + b"\r\n" + PART % b"image/gif" + b"\r\nx", id="image-in-message"),
        pytest.param(PART % b"message/partial; id=x" + b"\r\nx\r\n", id="message-that-is-none"),
        pytest.param(MULTIPART % (PART % b"text/plain" + b"\r\nx", PART % b"image/png" + DISPOSED + b"\r\n"), id="two"),
        pytest.param(
            MULTIPART % (MULTIPART.replace(b"=b", b"=c").replace(b"--b", b"--c") % (b"", b""), b""), id="nest"
        ),
    ],
)
def test_it_is_what_the_message_gives(octets: bytes) -> None:
    check(body_structure(parse(octets)))


@pytest.mark.parametrize("octets", [pytest.param(octets, id=name) for name, octets in torture.small()])
def test_of_the_torture_set(octets: bytes) -> None:
    check(body_structure(parse(octets)))


def test_of_real_messages() -> None:
    for path in corpus():
        check(body_structure(parse(path.read_bytes())))


@pytest.mark.parametrize("name", torture.LARGE)
def test_of_large_messages_in_linear_time(name: str) -> None:
    structure = body_structure(parse(torture.LARGE[name]()))
    before = time.process_time()
    without_extension(structure)
    assert time.process_time() - before < 10
    check(structure)
