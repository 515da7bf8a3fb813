"""wire/smtp/data.py (RFC 5321 §4.5.2, RFC 3030 §2): dots, ends, and what makes a message unacceptable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutting import pieces_of
from posthouse.mail.status import Reply
from posthouse.wire.smtp.data import BARE_LINE_END, LINE_TOO_LONG, NUL_OCTET, TOO_LARGE, Content, DotReader, DotWriter

SIZE, LINE = 1_000, 100


def read(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """The content of a stream, and what came behind its end."""
    reader, content = DotReader(), b""
    for number, piece in enumerate(pieces):
        octets, behind = reader.take(piece)
        content += octets
        if behind is not None:
            return content, behind + b"".join(pieces[number + 1 :])
    return content, None


def octet_by_octet(octets: bytes) -> list[bytes]:
    return [octets[at : at + 1] for at in range(len(octets))]


def fault(pieces: list[bytes], *, complete: bool = True) -> Reply | None:
    content = Content(SIZE, LINE)
    for piece in pieces:
        content.add(piece)
    found = content.fault(complete=complete)
    assert not content.faulty or found
    return found


@pytest.mark.parametrize(
    ("stream", "content", "behind"),
    [
        (b".\r\n", b"", b""),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"...\r\n..a\r\n.b\r\n.\r\n", b"..\r\n.a\r\nb\r\n", b""),
        (b"a.\r\n.\r\n.\r\n", b"a.\r\n", b".\r\n"),
        (b".\r\r\n.\r\n", b"\r\r\n", b""),
    ],
)
def test_dots_and_the_end(stream: bytes, content: bytes, behind: bytes) -> None:
    """RFC 5321 §4.5.2."""
    assert read([stream]) == (content, behind)
    assert read(octet_by_octet(stream)) == (content, behind)


ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n. \r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\n",
    b"\n\r.\r\n",
    b"\n\n.\r\n",
    b"\n.\r",
]


@pytest.mark.parametrize("end", ENDS)
def test_no_other_end_is_taken_for_the_end(end: bytes) -> None:
    """SMTP smuggling (SEC Consult 2023): RFC 5321 §4.1.1.4 knows one end."""
    stream = b"a" + end + b"MAIL FROM:<evil@work.test>\r\n.\r\nNOOP\r\n"
    for pieces in ([stream], octet_by_octet(stream)):
        content, behind = read(pieces)
        assert behind == b"NOOP\r\n"
        assert b"MAIL FROM" in content
        if end != b"\r\n. \r\n":  # legal content
            assert fault([content]) in (BARE_LINE_END, NUL_OCTET)


def stuffed(content: bytes) -> bytes:
    """RFC 5321 §4.5.2, as a client does it."""
    lines = content.split(b"\r\n")
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)


TEXT = st.lists(st.sampled_from([b".", b"a", b"\r\n", b"\r", b"\n", b"..", b"\0"]), max_size=30).map(b"".join)


@given(TEXT, st.data())
def test_any_content_goes_round_however_it_is_cut(text: bytes, data: st.DataObject) -> None:
    content = text + b"\r\n"
    stream = stuffed(content) + b".\r\nbehind"
    assert read(pieces_of(stream, data)) == (content, b"behind")


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"", None),
        (b"a\r\nb\r\n", None),
        (b"no end of line", None),
        (b"\r\n\r\n", None),
        (b"a\nb\r\n", BARE_LINE_END),
        (b"\n", BARE_LINE_END),
        (b"a\rb\r\n", BARE_LINE_END),
        (b"a\r\r\n", BARE_LINE_END),
        (b"a\n\r\n", BARE_LINE_END),
        (b"\n\r", BARE_LINE_END),
        (b"a\r", BARE_LINE_END),
        (b"a\0b\r\n", NUL_OCTET),
        (b"\0\n", BARE_LINE_END),
        (b"x" * LINE + b"\r\n", None),
        (b"a\r\n" + b"x" * LINE + b"\r\nb\r\n", None),
        (b"x" * (LINE + 1) + b"\r\n", LINE_TOO_LONG),
        (b"a\r\n" + b"x" * (LINE + 1) + b"\r\nb\r\n", LINE_TOO_LONG),
        ((b"x" * 98 + b"\r\n") * 10, None),
        ((b"x" * 98 + b"\r\n") * 10 + b"y", TOO_LARGE),
        (b"\n\0" * 501, TOO_LARGE),
    ],
)
def test_faults(octets: bytes, expected: Reply | None) -> None:
    assert fault([octets]) == expected
    assert fault(octet_by_octet(octets)) == expected


def test_a_chunk_may_end_between_cr_and_lf() -> None:
    """RFC 3030 §2: chunks need not end with lines."""
    assert fault([b"a\r"], complete=False) is None
    assert fault([b"a\r", b"\n"]) is None
    assert fault([b"a\r", b"", b"\n"]) is None
    assert fault([b"a\r", b"b"], complete=False) == BARE_LINE_END


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x" * 40, b"\0"]), max_size=40).map(b"".join), st.data())
def test_the_fault_is_the_same_however_it_is_cut(octets: bytes, data: st.DataObject) -> None:
    assert fault(pieces_of(octets, data)) == fault([octets])


@given(st.lists(st.sampled_from((b"\r\n", b".", b"a", b"\r\n.", b"..")), max_size=12), st.integers(1, 5))
def test_what_the_dot_writer_puts_the_dot_reader_takes(pieces: list[bytes], size: int) -> None:
    """RFC 5321 §4.5.2; the content comes back with the CRLF that it lacked."""
    content, writer = b"".join(pieces), DotWriter()
    sent = b"".join(writer.put(content[at : at + size]) for at in range(0, len(content), size)) + writer.end()
    whole = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    assert DotReader().take(sent + b"QUIT") == (whole, b"QUIT")
