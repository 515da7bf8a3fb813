"""wire/smtp/replied.py (RFC 5321 §4.2, RFC 2034 §4, RFC 9422 §3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.status import Reply, Status, reply
from posthouse.wire.buffer import ReceiveBuffer
from posthouse.wire.smtp.replied import (
    LINE_TOO_LONG,
    MECHANISMS,
    NOT_A_REPLY,
    REPLY_LINE,
    REPLY_LINES,
    TOO_MANY_LINES,
    Announced,
    ReplyReader,
    read_ehlo,
)
from posthouse.wire.smtp.reply import print_reply


def read(octets: bytes, size: int = 65_536) -> list[Reply | str]:
    """All replies in these octets, which come in pieces."""
    buffer, reader, found = ReceiveBuffer(), ReplyReader(), list[Reply | str]()
    for at in range(0, len(octets), size):
        buffer.append(octets[at : at + size])
        while (one := reader.take(buffer)) is not None:
            found.append(one)
            if isinstance(one, str):
                return found
    return found


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"250 2.1.0 Sender ok\r\n", reply(250, "2.1.0", "Sender ok")),
        (b"250-a\r\n250 b\r\n", reply(250, "", "a", "b")),
        (b"250\r\n", reply(250, "", "")),
        (b"220 mx.test\n", reply(220, "", "mx.test")),  # LF alone
        (b"550-5.1.1 No such user\r\n550 5.1.1 here\r\n", reply(550, "5.1.1", "No such user", "here")),
        (b"550 4.7.1 later\r\n", reply(550, "", "4.7.1 later")),  # RFC 2034 §4: the class is that of the code
        (b"354 2.0.0 go\r\n", reply(354, "", "2.0.0 go")),
        (b"452 4.5.3\r\n", reply(452, "4.5.3", "")),
        (b"250-one\r\n550 two\r\n", reply(550, "", "one", "two")),  # the last counts
        (b"550 caf\xe9 \xc3\xa9\x1b[2J\r\n", reply(550, "", "caf\ufffd é?[2J")),
        (b"421 4.3.2 Shutting down\r\n", reply(421, "4.3.2", "Shutting down", close=True)),
        (b"HTTP/1.1 400 Bad Request\r\n", NOT_A_REPLY),
        (b"\r\n", NOT_A_REPLY),
        (b"25 0\r\n", NOT_A_REPLY),
        (b"150 no\r\n", NOT_A_REPLY),
        (b"650 no\r\n", NOT_A_REPLY),
        (b"250_no\r\n", NOT_A_REPLY),
        (b"2500 no\r\n", NOT_A_REPLY),
        (b"250-a\r\nb\r\n", NOT_A_REPLY),
        (b"250 " + b"x" * REPLY_LINE, LINE_TOO_LONG),
        (b"250 " + b"x" * REPLY_LINE + b"\r\n", LINE_TOO_LONG),
        (b"250-x\r\n" * REPLY_LINES, TOO_MANY_LINES),
        ((b"250-" + b"x" * 4_000 + b"\r\n") * 20, TOO_MANY_LINES),
    ],
)
def test_replies(octets: bytes, expected: Reply | str) -> None:
    assert read(octets) == [expected]
    assert read(octets, 1) == [expected]


def test_nothing_while_a_reply_is_not_whole() -> None:
    assert read(b"250-a\r\n250-b\r\n250") == []


def test_everything_that_a_server_may_offer() -> None:
    answer = read(
        b"250-mx.test at your service\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-smtputf8\r\n"
        b"250-CHUNKING\r\n250-DSN\r\n250-STARTTLS\r\n250-REQUIRETLS\r\n250-MT-PRIORITY MIXER\r\n250-DELIVERBY 60\r\n"
        b"250-AUTH PLAIN SCRAM-SHA-256\r\n250-AUTH=LOGIN PLAIN\r\n250 LIMITS RCPTMAX=20 MAILMAX=5 RCPTDOMAINMAX=1 X\r\n"
    )[0]
    assert isinstance(answer, Reply)
    assert read_ehlo(answer) == Announced(
        pipelining=True,
        size=1000,
        eight_bit=True,
        utf8=True,
        chunking=True,
        dsn=True,
        starttls=True,
        require_tls=True,
        priority=True,
        deliver_by=60,
        auth=("PLAIN", "SCRAM-SHA-256", "LOGIN"),
        mail_max=5,
        rcpt_max=20,
        rcpt_domain_max=1,
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SIZE", Announced(size=0)),
        ("SIZE many", Announced(size=0)),
        ("SIZE " + "9" * 30, Announced(size=0)),
        ("SIZE 0", Announced(size=0)),
        ("DELIVERBY", Announced(deliver_by=0)),
        ("DELIVERBY 30,x=y", Announced(deliver_by=30)),
        ("LIMITS", Announced()),
        ("LIMITS RCPTMAX=0 MAILMAX=-1 RCPTDOMAINMAX=1234567", Announced()),  # RFC 9422 §3: to be ignored
        ("AUTH", Announced()),
        ("", Announced()),
        ("X-ELSE", Announced()),
    ],
)
def test_odd_offers(line: str, expected: Announced) -> None:
    assert read_ehlo(Reply(250, None, ("mx.test PIPELINING", line))) == expected


def test_endless_offers() -> None:
    """No more is looked at than anybody needs."""
    lines = ("mx.test", "AUTH " + " ".join(f"M{n}" for n in range(1_000)), *(f"X-{n}" for n in range(150)), "DSN")
    found = read_ehlo(Reply(250, None, lines))
    assert len(found.auth) == MECHANISMS
    assert not found.dsn


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)
statuses = st.builds(Status, st.integers(2, 5), st.integers(0, 999), st.integers(0, 999))


@given(st.sampled_from((220, 250, 450, 550)), st.lists(texts, min_size=1, max_size=5), st.integers(1, 7))
def test_what_our_server_prints_is_read_again(code: int, lines: list[str], size: int) -> None:
    answer = Reply(code, Status(code // 100, 1, 5), tuple(lines))
    assert read(print_reply(answer), size) == [answer]


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from((b"250", b"-", b" ", b"\r\n", b"\n", b"5.1.1", b"x"))).map(b"".join)
)
def test_garbage_never_raises(octets: bytes) -> None:
    """And is the same, wherever it is cut."""
    found = read(octets)
    assert read(octets, 1) == found
    for one in found:
        if isinstance(one, Reply):
            read_ehlo(one)
