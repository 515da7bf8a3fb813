"""mail/downgrade.py (RFC 6152 §3, RFC 2045 §6, RFC 1847 §2.1)."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.content import decoded
from posthouse.mail.downgrade import LINE, Unfit, fit
from posthouse.mail.mime import Part, parse

HEAD = b"From: anna@home.test\r\nSubject: x\r\n"
MIME = HEAD + b"MIME-Version: 1.0\r\n"
LONG = b"long " * 300
BINARY = bytes(byte for byte in range(256) if byte not in b"\r\n\0") * 2


def leaves(octets: bytes) -> list[tuple[str, bytes | None]]:
    """The types and contents of all parts without parts."""

    def walk(part: Part) -> Iterator[tuple[str, bytes | None]]:
        if part.message is not None:
            yield from walk(part.message)
        elif part.children:
            for child in part.children:
                yield from walk(child)
        else:
            yield f"{part.type}/{part.subtype}", decoded(octets, part)

    return list(walk(parse(octets)))


def content(octets: bytes) -> list[tuple[str, bytes]]:
    """As `leaves`; the CRLF at the end of a message in base64 may stand inside or behind it."""
    return [(kind, (body or b"").removesuffix(b"\r\n")) for kind, body in leaves(octets)]


def mixed(*parts: bytes, kind: bytes = b"mixed", encoding: bytes = b"8bit") -> bytes:
    """A multipart message."""
    head = MIME + b'Content-Type: multipart/%s; boundary="b"\r\nContent-Transfer-Encoding: %s\r\n\r\n' % (
        kind,
        encoding,
    )
    return head + b"preamble\r\n" + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\nepilogue\r\n"


def inner(message: bytes) -> bytes:
    """The same as a part of another, with a boundary of its own."""
    return message.removeprefix(MIME).replace(b'"b"', b'"c"').replace(b"--b", b"--c")


def text(body: bytes, encoding: bytes = b"8bit", kind: bytes = b"text/plain; charset=utf-8") -> bytes:
    return b"Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (kind, encoding, body)


GRÜSSE = "Viele Grüße\r\nund mehr davon, damit es länger wird als ein Wort.  \r\n.\r\nFrom me".encode()


@pytest.mark.parametrize(
    "octets",
    [
        MIME + text(GRÜSSE) + b"\r\n",
        MIME + text(GRÜSSE),
        MIME + text("日本語".encode() * 50) + b"\r\n",
        MIME + text(BINARY, b"binary", b"application/pdf") + b"\r\n",
        MIME + text(LONG, b"7bit") + b"\r\n",
        MIME + text(LONG, b"7bit", b"application/json") + b"\r\n",
        MIME + text(b"QUJD" * 400, b"base64") + b"\r\n",
        MIME + text(b"=C3=BC" * 400, b"quoted-printable") + b"\r\n",
        MIME + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + GRÜSSE,
        mixed(text(GRÜSSE), text(b"plain"), text(BINARY, b"binary", b"image/png")),
        mixed(text(GRÜSSE), text(LONG, b"7bit", b"text/html")),
        mixed(inner(mixed(text(GRÜSSE), encoding=b"binary")), text(b"x")),
        mixed(text(MIME + text(GRÜSSE), b"8bit", b"message/rfc822"), text(b"x")),
        HEAD + b"\r\n" + GRÜSSE + b"\r\n",  # before MIME
        b"\r\n" + GRÜSSE + b"\r\n",
    ],
)
@pytest.mark.parametrize("eight_bit", [True, False])
def test_what_the_parts_hold_stays(octets: bytes, eight_bit: bool) -> None:
    done = fit(octets, eight_bit=eight_bit)
    assert isinstance(done, bytes)
    assert eight_bit or done.isascii()
    assert max(map(len, done.split(b"\r\n"))) <= LINE
    assert b"\n" not in done.replace(b"\r\n", b"")
    assert content(done) == content(octets)
    assert done.endswith(b"\r\n") == octets.endswith(b"\r\n")
    if eight_bit and LONG not in octets and max(map(len, octets.split(b"\r\n"))) <= LINE:
        assert done == octets


def test_a_line_that_would_look_like_a_boundary() -> None:
    """A soft line break would put the text at the start of a line: base64 then."""
    octets = mixed(text(b"x" * 75 + "--b und dann ü, in einem Satz, der noch etwas weiter geht".encode()))
    done = fit(octets, eight_bit=False)
    assert isinstance(done, bytes)
    assert b"base64" in done
    assert content(done) == content(octets)


def test_message_global_is_encoded_as_a_whole() -> None:
    """RFC 6532 §3.7: its header may hold UTF-8, which nothing else could carry."""
    done = fit(mixed(text("To: ü@x.test\r\n\r\nü".encode(), kind=b"message/global")), eight_bit=False)
    assert isinstance(done, bytes)
    assert b"message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nVG86IMO8QHgudGVzdA0KDQrDvA==\r\n--b--" in done


def test_only_what_needs_it_is_touched() -> None:
    octets = mixed(text(GRÜSSE), text(b"plain", b"7bit"), text(b"QUJD", b"base64", b"image/png"))
    done = fit(octets, eight_bit=False)
    assert isinstance(done, bytes)
    assert text(b"plain", b"7bit") in done
    assert text(b"QUJD", b"base64", b"image/png") in done
    assert done.count(b"quoted-printable") == 1
    assert b'boundary="b"\r\nContent-Transfer-Encoding: 7bit\r\n' in done
    assert b"8bit" not in done
    assert done.startswith(MIME)
    assert done.endswith(b"--b--\r\nepilogue\r\n")


def test_a_message_of_the_time_before_mime_says_that_nobody_knows() -> None:
    """RFC 1428 §3."""
    done = fit(HEAD + b"\r\n\xe4\r\n", eight_bit=False)
    assert done == (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        + HEAD
        + b"Content-Transfer-Encoding: base64\r\n\r\n5A0K\r\n"
    )


def test_several_labels_become_one() -> None:
    octets = MIME + b"content-transfer-encoding: 8bit\r\nContent-Transfer-Encoding:\r\n 8bit\r\nX: y\r\n\r\n" + GRÜSSE
    done = fit(octets, eight_bit=False)
    assert isinstance(done, bytes)
    assert done.lower().count(b"content-transfer-encoding") == 1
    assert b"X: y\r\n\r\n" in done


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (mixed(text(GRÜSSE), text(b"s"), kind=b"signed; protocol=x"), Unfit.SIGNED),
        (mixed(inner(mixed(text(GRÜSSE), kind=b"signed"))), Unfit.SIGNED),
        (mixed(text(GRÜSSE), kind=b"encrypted"), Unfit.SIGNED),
        (HEAD + "X: ü\r\n\r\nbody\r\n".encode(), Unfit.EIGHT_BIT),
        (HEAD + b"X: " + LONG + b"\r\n\r\nbody\r\n", Unfit.LONG),
        (mixed(text(b"plain")).replace(b"preamble", b"pr\xc3\xa4ambel"), Unfit.EIGHT_BIT),
        (mixed(text(b"plain")).replace(b"epilogue", LONG), Unfit.LONG),
        (mixed(text(b"\xc3\xbc", kind=b"message/partial")), Unfit.UNKNOWN),
        (mixed(text(b"\xc3\xbc")).replace(b'"b"', b'"z"'), Unfit.UNKNOWN),  # a boundary that never comes
        (mixed(text(b"\xc3\xbc", b"x-uuencode2")), Unfit.UNKNOWN),
    ],
)
def test_what_cannot_be_done_is_said(octets: bytes, why: Unfit) -> None:
    assert fit(octets, eight_bit=False) is why
    assert why.value


def test_a_signed_part_that_needs_nothing_hinders_nothing() -> None:
    signed = inner(mixed(text(b"plain", b"7bit"), text(b"s", b"7bit"), kind=b"signed", encoding=b"7bit"))
    done = fit(mixed(text(GRÜSSE), signed), eight_bit=False)
    assert isinstance(done, bytes)
    assert signed in done


pieces = st.sampled_from(
    [
        *(b"\r\n", b"--b\r\n", b"--b--\r\n", b"\xc3\xbc", b"a ", b"\t", b"=", b" y\r\n", b"x" * 1_200),
        *(b"Content-Type: text/plain\r\n", b"Content-Type: multipart/mixed; boundary=b\r\n"),
        *(b"Content-Transfer-Encoding: 8bit\r\n", b"Content-Transfer-Encoding: base64\r\n"),
        *(b"Content-Type: message/rfc822\r\n", b"MIME-Version: 1.0\r\n"),
    ]
)


@given(st.lists(pieces, max_size=25).map(b"".join), st.booleans())
def test_any_octets_end_fit_or_refused(octets: bytes, eight_bit: bool) -> None:
    done = fit(octets, eight_bit=eight_bit)
    if isinstance(done, bytes):
        assert eight_bit or done.isascii()
        assert max(map(len, done.split(b"\r\n"))) <= LINE
        assert b"\n" not in done.replace(b"\r\n", b"")
        assert content(done) == content(octets)
