"""wire/smtp/client.py (RFC 5321 §3, §4.3.2, RFC 2920 §3.1, RFC 3030 §2, RFC 3207 §4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.status import reply
from posthouse.wire.smtp.client import Answered, ClientEvent, Garbled, Sent, SmtpClient, State, Unasked
from posthouse.wire.smtp.command import (
    Auth,
    AuthLine,
    Bdat,
    Closed,
    Data,
    DataEnded,
    Ehlo,
    Helo,
    Noop,
    Octets,
    Quit,
    Rset,
    StartTls,
)
from posthouse.wire.smtp.conversation import Conversation
from posthouse.wire.smtp.replied import Announced
from posthouse.wire.smtp.request import MailFrom, RcptTo
from thorough import examples

BEN = Recipient(ForwardPath(Address("ben", Domain("work.test"))))
ENVELOPE = Envelope(ReversePath(Address("anna", Domain("home.test"))), (BEN,))
MAIL, RCPT = MailFrom(ENVELOPE, 7), RcptTo(BEN)


def events(engine: SmtpClient, octets: bytes) -> list[ClientEvent]:
    """What comes of these octets."""
    engine.receive(octets)
    found = []
    while (event := engine.next_event()) is not None:
        found.append(event)
        if isinstance(event, Closed):
            break
    return found


def greeted(*offers: bytes) -> SmtpClient:
    """An engine behind EHLO."""
    engine = SmtpClient()
    assert events(engine, b"220 mx.test\r\n") == [Answered(None, reply(220, "", "mx.test"))]
    assert engine.send(Ehlo("us.test")) == b"EHLO us.test\r\n"
    events(engine, b"".join(b"250-%s\r\n" % line for line in (b"mx.test", *offers)) + b"250 HELP\r\n")
    assert engine.state is State.READY
    return engine


def codes(found: list[ClientEvent]) -> list[int]:
    return [event.reply.code for event in found if isinstance(event, Answered | Unasked)]


def test_one_message_without_pipelining() -> None:
    engine = greeted()
    for sent, octets, answer in [
        (MAIL, b"MAIL FROM:<anna@home.test>\r\n", b"250 ok\r\n"),
        (RCPT, b"RCPT TO:<ben@work.test>\r\n", b"250 ok\r\n"),
        (Data(), b"DATA\r\n", b"354 go\r\n"),
    ]:
        assert engine.send(sent) == octets
        with pytest.raises(RuntimeError):
            engine.send(RCPT if sent is not MAIL else Rset())
        assert events(engine, answer) == [Answered(sent, reply(int(answer[:3]), "", answer[4:-2].decode()))]
    assert engine.send(Octets(b".a\r\n.")) + engine.send(Octets(b"\r\n.b\r\n")) == b"..a\r\n..\r\n..b\r\n"
    assert engine.send(DataEnded()) == b".\r\n"
    assert events(engine, b"250 2.0.0 taken\r\n") == [Answered(DataEnded(), reply(250, "2.0.0", "taken"))]
    assert not engine.spoiled
    assert engine.send(Quit()) == b"QUIT\r\n"
    assert codes(events(engine, b"221 bye\r\n")) == [221]
    assert engine.state is State.CLOSED


def test_a_pipelined_group_and_its_order() -> None:
    """RFC 2920 §3.1: replies are matched by counting."""
    engine = greeted(b"PIPELINING")
    burst = b"".join(map(engine.send, (MAIL, RCPT, RCPT, Data())))
    assert burst.count(b"\r\n") == 4
    assert engine.waiting == 4
    with pytest.raises(RuntimeError):
        engine.send(RCPT)  # behind DATA nothing
    found = events(engine, b"250 a\r\n250 b\r\n550 c\r\n354 d\r\n")
    assert [(event.to, event.reply.code) for event in found if isinstance(event, Answered)] == [
        (MAIL, 250),
        (RCPT, 250),
        (RCPT, 550),
        (Data(), 354),
    ]
    assert engine.state is State.DATA


def test_all_recipients_refused_and_data_taken() -> None:
    """RFC 2920 §3.1: then a single dot is to be sent."""
    engine = greeted(b"PIPELINING")
    for sent in (MAIL, RCPT, Data()):
        engine.send(sent)
    events(engine, b"250 a\r\n550 b\r\n354 c\r\n")
    assert engine.send(DataEnded()) == b".\r\n"
    assert codes(events(engine, b"554 no recipients\r\n")) == [554]
    assert engine.send(MAIL)


def test_a_spoiled_transaction_must_be_reset() -> None:
    engine = greeted(b"PIPELINING")
    for sent in (MAIL, RCPT, Data()):
        engine.send(sent)
    events(engine, b"250 a\r\n550 b\r\n503 c\r\n")
    assert engine.spoiled
    with pytest.raises(RuntimeError):
        engine.send(MAIL)
    assert engine.send(Rset()) + engine.send(MAIL) == b"RSET\r\nMAIL FROM:<anna@home.test>\r\n"


def test_a_message_in_one_burst_by_bdat() -> None:
    """RFC 3030 §4.2."""
    engine = greeted(b"PIPELINING", b"CHUNKING")
    burst = b"".join(map(engine.send, (MAIL, RCPT, Bdat(5, last=True), Octets(b".a\r\n."))))
    assert burst.endswith(b"BDAT 5 LAST\r\n.a\r\n.")
    with pytest.raises(RuntimeError):
        engine.send(Bdat(1, last=True))
    events(engine, b"250 a\r\n250 b\r\n250 c\r\n")
    assert engine.state is State.READY
    assert not engine.spoiled


def test_chunks_one_after_the_other() -> None:
    engine = greeted(b"PIPELINING", b"CHUNKING")
    for sent in (MAIL, RCPT, Bdat(2, last=False), Octets(b"a"), Octets(b"b"), Bdat(1, last=True), Octets(b"c")):
        engine.send(sent)
    assert codes(events(engine, b"250 a\r\n250 b\r\n250 c\r\n")) == [250, 250, 250]
    assert engine.spoiled  # the last chunk has no answer yet
    events(engine, b"250 d\r\n")
    assert engine.send(MAIL)


def test_a_refused_chunk_spoils_the_transaction() -> None:
    """RFC 3030 §2."""
    engine = greeted(b"CHUNKING")
    for sent in (MAIL, RCPT, Bdat(0, last=True)):
        engine.send(sent)
        events(engine, b"552 full\r\n" if isinstance(sent, Bdat) else b"250 ok\r\n")
    assert engine.spoiled


def test_more_octets_than_announced_are_our_bug() -> None:
    engine = greeted(b"CHUNKING", b"PIPELINING")
    engine.send(MAIL), engine.send(RCPT), engine.send(Bdat(2, last=True))
    with pytest.raises(RuntimeError):
        engine.send(Octets(b"abc"))


def test_starttls_forgets_everything() -> None:
    """RFC 3207 §4.2: neither what was offered in plain text, nor what stands behind the 220."""
    engine = greeted(b"PIPELINING", b"STARTTLS", b"AUTH PLAIN")
    engine.send(StartTls())
    assert codes(events(engine, b"220 go\r\n250-evil.test\r\n250 AUTH PLAIN\r\n250-half")) == [220]
    assert engine.state is State.TLS
    with pytest.raises(RuntimeError):
        engine.send(Ehlo("us.test"))
    engine.starttls()
    assert engine.announced == Announced()
    engine.send(Ehlo("us.test"))
    assert events(engine, b"") == [Closed()]  # nothing of it was taken for the answer to EHLO


def test_starttls_refused() -> None:
    engine = greeted(b"STARTTLS")
    engine.send(StartTls())
    events(engine, b"454 4.7.0 TLS not available\r\n")
    assert engine.state is State.READY
    assert engine.announced.starttls


def test_ehlo_refused_then_helo() -> None:
    engine = SmtpClient()
    events(engine, b"220 mx.test\r\n")
    engine.send(Ehlo("us.test"))
    events(engine, b"502 what?\r\n")
    assert engine.send(Helo("us.test")) == b"HELO us.test\r\n"
    events(engine, b"250-mx.test\r\n250 PIPELINING\r\n")
    assert engine.announced == Announced()  # HELO offers nothing


def test_login() -> None:
    engine = greeted(b"AUTH LOGIN")
    engine.send(Auth("LOGIN"))
    events(engine, b"334 VXNlcm5hbWU6\r\n")
    assert engine.state is State.AUTH
    with pytest.raises(RuntimeError):
        engine.send(MAIL)
    engine.send(AuthLine(b"anna"))
    events(engine, b"334 UGFzc3dvcmQ6\r\n")
    engine.send(AuthLine(b"pw"))
    events(engine, b"235 2.7.0 welcome\r\n")
    assert engine.state is State.READY


def test_a_refusing_greeting_leaves_only_quit() -> None:
    engine = SmtpClient()
    assert codes(events(engine, b"554 5.7.1 not you\r\n")) == [554]
    with pytest.raises(RuntimeError):
        engine.send(Ehlo("us.test"))
    assert engine.send(Quit()) == b"QUIT\r\n"


def test_nothing_may_be_sent_before_the_greeting() -> None:
    with pytest.raises(RuntimeError):
        SmtpClient().send(Ehlo("us.test"))


@pytest.mark.parametrize("sent", [MAIL, RCPT, Data()])
def test_421_ends_the_connection_at_any_step(sent: Sent) -> None:
    """RFC 5321 §3.8: what else was asked gets no answer."""
    engine = greeted(b"PIPELINING")
    group = (MAIL, RCPT, Data())
    for one in group:
        engine.send(one)
    before = group.index(sent)
    found = events(engine, b"250 ok\r\n" * before + b"421 4.3.2 going down\r\n250 never read\r\n")
    assert codes(found) == [250] * before + [421]
    assert found[-1] == Closed()
    assert engine.waiting == 2 - before


def test_421_that_nothing_asked_for() -> None:
    found = events(greeted(), b"421 4.4.2 too slow\r\n")
    assert found == [Unasked(reply(421, "4.4.2", "too slow", close=True)), Closed()]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        ((MAIL,), b"354 go\r\n"),
        ((MAIL, RCPT), b"250 ok\r\n334 what\r\n"),
        ((MAIL, RCPT, Data()), b"250 ok\r\n250 ok\r\n250 ok\r\n"),  # a lie about DATA
        ((MAIL, RCPT, Data()), b"250 ok\r\n250 ok\r\n334 ok\r\n"),
        ((Noop(),), b"hello\r\n"),
        ((Noop(),), b"250-\r\n\r\n"),
    ],
)
def test_lies_end_the_connection(sent: tuple[Sent, ...], answer: bytes) -> None:
    engine = greeted(b"PIPELINING")
    for one in sent:
        engine.send(one)
    found = events(engine, answer)
    assert isinstance(found[-2], Garbled)
    assert found[-1] == Closed()
    assert engine.state is State.CLOSED


def test_a_conversation_is_kept_without_secrets() -> None:
    conversation = Conversation(lambda: 5)
    engine = SmtpClient(conversation)
    events(engine, b"220 mx.test\r\n")
    engine.send(Ehlo("us.test"))
    events(engine, b"250-mx.test\r\n250 AUTH PLAIN\r\n")
    engine.send(Auth("PLAIN", b"\0anna\0secret"))
    events(engine, b"334 \r\n")
    engine.send(AuthLine(b"\0anna\0secret"))
    events(engine, b"235 ok\r\n")
    for sent, answer in ((MAIL, b"250 a\r\n"), (RCPT, b"250 b\r\n"), (Data(), b"354 c\r\n")):
        engine.send(sent)
        events(engine, answer)
    engine.send(Octets(b"Subject: x\r\n"))
    engine.send(DataEnded())
    told = [(line.heard, line.text) for line in conversation.lines]
    assert told[4:] == [
        (False, "AUTH PLAIN ***"),
        (True, "334 "),
        (False, "***"),
        (True, "235 ok"),
        (False, "MAIL FROM:<anna@home.test>"),
        (True, "250 a"),
        (False, "RCPT TO:<ben@work.test>"),
        (True, "250 b"),
        (False, "DATA"),
        (True, "354 c"),
        (False, "(12 octets of the message)"),
    ]


WORDS = (
    b"220 hi\r\n",
    b"250 ok\r\n",
    b"250-PIPELINING\r\n",
    b"354 go\r\n",
    b"334 YQ==\r\n",
    b"421 x\r\n",
    b"550 5.1.1 n\r\n",
)
WAYS: tuple[Sent, ...] = (
    *(Ehlo("us.test"), Helo("us.test"), StartTls(), Auth("PLAIN", b"x"), AuthLine(b"y"), MAIL, RCPT, Data()),
    *(Bdat(3, last=True), Octets(b"a\r\n"), DataEnded(), Rset(), Noop(), Quit()),
)


@settings(max_examples=examples(300))
@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=20) | st.sampled_from(WAYS), max_size=30))
def test_garbage_gives_events_and_never_exceptions(steps: list[bytes | Sent]) -> None:
    """Whatever a server says at whatever time; only `send` at a wrong time raises, and nothing but RuntimeError."""
    engine = SmtpClient()
    for step in steps:
        if isinstance(step, bytes):
            closed = events(engine, step)[-1:] == [Closed()]
            assert closed == (engine.state is State.CLOSED or not step)
            if closed:
                return
            continue
        try:
            engine.send(step)
        except RuntimeError:
            continue
