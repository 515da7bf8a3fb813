"""wire/pop3/reply.py: replies, byte-stuffing and TOP (RFC 1939 §3, §7; RFC 2449 §8; RFC 3206 §4)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from cutting import pieces_of
from posthouse.wire.pop3.reply import Code, Stuffing, TopLines, challenge, err, ok, several, stuffed

MAIL = st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"..", b"a", b"\x80", b"\0"]), max_size=30).map(b"".join)


def test_replies() -> None:
    assert ok("2 320").octets == b"+OK 2 320\r\n"
    assert err("no", Code.AUTH).octets == b"-ERR [AUTH] no\r\n"
    assert err("later", Code.SYS_TEMP).octets == b"-ERR [SYS/TEMP] later\r\n"
    assert ok("two", lines=several(["1 120", "2 200"])).octets == b"+OK two\r\n1 120\r\n2 200\r\n.\r\n"
    assert ok("none", lines=b"").octets == b"+OK none\r\n.\r\n"
    assert challenge(b"").octets == b"+ \r\n"
    assert challenge(b"Password:").octets == b"+ UGFzc3dvcmQ6\r\n"


def sent(octets: bytes) -> bytes:
    return b"".join(stuffed(octets))


def test_dots_and_ends() -> None:
    assert sent(b"") == b".\r\n"
    assert sent(b"a") == b"a\r\n.\r\n"
    assert sent(b".\r\n..b\r\n") == b"..\r\n...b\r\n.\r\n"
    assert sent(b"a\r") == b"a\r\n.\r\n"
    assert sent(b"a\n.\r\nb\n") == b"a\r\n..\r\nb\r\n.\r\n"  # no client takes the middle for the end


@given(MAIL, st.data())
def test_however_a_message_is_cut_it_is_sent_the_same(octets: bytes, data: st.DataObject) -> None:
    stuffing = Stuffing()
    written = map(stuffing.write, pieces_of(octets, data))
    assert b"".join([*written, stuffing.end()]) == sent(octets)


@given(MAIL)
def test_a_client_gets_back_the_lines(octets: bytes) -> None:
    """Whether it ends lines at CRLF or at LF, the first dot alone is the end."""
    whole = sent(octets)
    assert re.search(rb"(?:\A|\n)\.\r?\n", whole).end() == len(whole)  # type: ignore[union-attr]
    got = re.sub(rb"(?m)^\.", b"", whole.removesuffix(b".\r\n"))
    wanted = re.sub(rb"(?<!\r)\n", b"\r\n", octets)
    assert got == wanted + (b"" if not wanted or wanted.endswith(b"\n") else b"\r\n"[wanted.endswith(b"\r") :])


@given(st.lists(st.sampled_from([b"a", b".", b""]), max_size=8), st.integers(0, 10), st.data())
def test_the_top_of_a_message(lines: list[bytes], count: int, data: st.DataObject) -> None:
    """RFC 1939 §7, TOP: the header, the empty line, and so many lines; all where there are fewer."""
    header, body = b"Subject: x\r\n\r\n", b"".join(line + b"\r\n" for line in lines)
    octets = header + body
    upper = TopLines(len(header), count)
    got = b"".join(map(upper.take, pieces_of(octets, data)))
    assert got == header + b"".join(line + b"\r\n" for line in lines[:count])
    assert upper.over == (count <= len(lines))
