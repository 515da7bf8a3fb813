"""wire/smtp/reply.py (RFC 5321 §4.2, RFC 2034 §4)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.status import Reply, Status, reply
from posthouse.wire.smtp.reply import REPLY_LINE, Extensions, challenge, greeting_reply, print_reply


def test_one_line() -> None:
    assert print_reply(reply(250, "2.0.0", "OK")) == b"250 2.0.0 OK\r\n"
    assert print_reply(reply(354, "", "Go on")) == b"354 Go on\r\n"
    assert print_reply(Reply(250, None, ())) == b"250 \r\n"


def test_the_status_stands_on_every_line() -> None:
    """RFC 2034 §4."""
    assert (
        print_reply(reply(550, "5.1.1", "No", "such", "user"))
        == b"550-5.1.1 No\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n"
    )


def test_ehlo() -> None:
    """RFC 5321 §4.1.1.1."""
    everything = Extensions(size=1000, starttls=True, auth=("SCRAM-SHA-256", "PLAIN"))
    assert print_reply(greeting_reply("mx.test", "greets you", everything)) == (
        b"250-mx.test greets you\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
        b"250-SMTPUTF8\r\n250-CHUNKING\r\n250-STARTTLS\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n"
    )
    little = greeting_reply("mx.test", "greets you", Extensions(size=1000, chunking=False, smtputf8=False))
    assert little.lines[1:] == ("PIPELINING", "SIZE 1000", "8BITMIME", "ENHANCEDSTATUSCODES")


def test_challenge() -> None:
    """RFC 4954 §4."""
    assert print_reply(challenge(b"Username:")) == b"334 VXNlcm5hbWU6\r\n"
    assert print_reply(challenge(b"")) == b"334 \r\n"


def test_no_text_can_forge_a_line() -> None:
    assert print_reply(reply(550, "5.1.1", "a\r\n250 2.0.0 é\0")) == b"550 5.1.1 a??250 2.0.0 ??\r\n"


def test_long_texts_go_on_in_the_next_line() -> None:
    """RFC 5321 §4.5.3.1.5."""
    printed = print_reply(reply(550, "5.1.1", "word " * 200, "x" * 1200))
    lines = printed.splitlines(keepends=True)
    assert max(map(len, lines)) <= REPLY_LINE
    assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]
    assert b"".join(line[10:-2] for line in lines).count(b"x") == 1200


STATUS = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3}) ")


def read(octets: bytes) -> Reply:
    """A reply as a client reads it (RFC 5321 §4.2, RFC 2034 §4)."""
    *before, last = octets.decode("ascii").removesuffix("\r\n").split("\r\n")
    assert all(line[3] == "-" for line in before)
    assert last[3] == " "
    [code] = {line[:3] for line in (*before, last)}
    texts = [line[4:] for line in (*before, last)]
    found = STATUS.match(texts[0])
    if found is None:
        return Reply(int(code), None, tuple(texts))
    assert all(text.startswith(found[0]) for text in texts)
    status = Status(int(found[1]), int(found[2]), int(found[3]))
    return Reply(int(code), status, tuple(text.removeprefix(found[0]) for text in texts))


TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)


@given(st.integers(200, 559), st.booleans(), st.lists(TEXT, min_size=1, max_size=5))
def test_round_trip(code: int, with_status: bool, lines: list[str]) -> None:
    code = code - code % 100 + code % 60
    status = Status(code // 100, 7, 111) if with_status and code // 100 != 3 else None
    answer = Reply(code, status, tuple(lines))
    if status is None and lines[0][:2] in ("2.", "4.", "5."):
        return  # a text that looks like a status is read as one
    assert read(print_reply(answer)) == answer
