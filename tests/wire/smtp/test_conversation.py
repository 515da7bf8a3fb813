"""wire/smtp/conversation.py: what is kept of what was said."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.status import reply
from posthouse.wire.smtp.command import Closed
from posthouse.wire.smtp.conversation import FIRST, LAST, LINE, Conversation
from posthouse.wire.smtp.server import SmtpServer


def conversation() -> Conversation:
    ticks = itertools.count(1_000)
    return Conversation(lambda: next(ticks))


def texts(kept: Conversation) -> list[str]:
    return [("C: " if line.heard else "S: ") + line.text for line in kept.lines]


def talk(kept: Conversation, *turns: bytes, answers: tuple[int, ...]) -> None:
    """An engine that hears these octets and answers with these codes, as they are due."""
    engine = SmtpServer(conversation=kept)
    codes = iter(answers)
    engine.send(reply(next(codes), "", "hello"))
    for turn in turns:
        engine.receive(turn)
        while not isinstance(engine.next_event(), Closed | None):
            while engine.replies_owed:
                engine.send(reply(next(codes), "", "said"))


def test_both_sides_in_order_and_the_size_of_the_message() -> None:
    kept = conversation()
    talk(
        kept,
        b"EHLO there\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n",
        b"Subject: secret\r\n\r\ntext\r\n.\r\nQUIT\r\n",
        answers=(220, 250, 250, 250, 354, 250, 221),
    )
    assert texts(kept) == [
        "S: 220 hello",
        "C: EHLO there",
        "S: 250 said",
        "C: MAIL FROM:<a@b.test>",
        "S: 250 said",
        "C: RCPT TO:<c@d.test>",
        "S: 250 said",
        "C: DATA",
        "S: 354 said",
        "C: (25 octets of the message)",
        "S: 250 said",
        "C: QUIT",
        "S: 221 said",
    ]
    assert [line.at for line in kept.lines] == list(range(1_000, 1_013))


def test_credentials_are_masked() -> None:
    """RFC 4954 §9: whoever reads the conversation must not learn a password."""
    kept = conversation()
    talk(
        kept,
        b"EHLO there\r\nSTARTTLS\r\nAUTH PLAIN AGFubmEAc2VjcmV0\r\nAUTH LOGIN\r\n",
        b"YW5uYQ==\r\n",
        b"c2VjcmV0IQ==\r\nc2VjcmV0IQ==\r\n",
        answers=(220, 250, 454, 535, 334, 334, 535, 500),
    )
    said = "\n".join(texts(kept))
    assert "C: STARTTLS" in said
    assert "C: AUTH PLAIN ***" in said
    assert "C: AUTH LOGIN" in said
    assert said.count("C: ***") == 3
    for secret in ("AGFubmEAc2VjcmV0", "YW5uYQ", "c2VjcmV0"):
        assert secret not in said


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"AUTH\r\n", "AUTH"),
        (b"AUTH LOGIN\r\n", "AUTH LOGIN"),
        (b"auth  SCRAM-SHA-256  c2VjcmV0\r\n", "auth  SCRAM-SHA-256 ***"),
        (b"AUTH PLAIN=AGFubmEAc2VjcmV0\r\n", "AUTH PLAIN ***"),
        (b"AUTHPLAIN AGFubmEAc2VjcmV0\r\n", "AUTH ***"),
        (b"AUTH AGFubmEAc2VjcmV0YW5kbW9yZQ==\r\n", "AUTH ***"),
        (b"PASS secret\r\n", "PASS ***"),
        (b"BURL imap://anna:secret@mail.test/INBOX LAST\r\n", "BURL imap://anna:***@mail.test/INBOX LAST"),
        (b"BURL imap://anna@mail.test/INBOX;UID=1 LAST\r\n", "BURL imap://anna@mail.test/INBOX;UID=1 LAST"),
        (b"250-AUTH PLAIN LOGIN\r\n", "250-AUTH PLAIN LOGIN"),
    ],
)
def test_passwords_in_the_wrong_place_are_masked(line: bytes, kept: str) -> None:
    conversing = conversation()
    conversing.heard(line)
    assert [each.text for each in conversing.lines] == [kept]


def test_of_a_talkative_peer_the_beginning_and_the_end_stay() -> None:
    kept = conversation()
    for number in range(1_000):
        kept.heard(b"NOOP %d" % number)
    assert len(kept.lines) == FIRST + LAST
    assert kept.dropped == 1_000 - FIRST - LAST
    assert (kept.lines[0].text, kept.lines[-1].text) == ("NOOP 0", "NOOP 999")


@given(st.binary(max_size=2_000))
def test_any_line_is_one_short_printable_line(octets: bytes) -> None:
    kept = conversation()
    kept.heard(octets)
    kept.said(octets)
    for line in kept.lines:
        assert len(line.text) <= LINE
        assert line.text.isprintable()
