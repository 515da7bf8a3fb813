"""wire/smtp/server.py: events, order, limits (RFC 5321 §4.1.4, §4.5.3)."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutting import pieces_of
from posthouse.mail.status import Reply, reply
from posthouse.wire.smtp.command import (
    Auth,
    AuthLine,
    Bdat,
    ChunkEnded,
    Closed,
    Data,
    DataEnded,
    Ehlo,
    Event,
    Lhlo,
    Mail,
    Malformed,
    Noop,
    Octets,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unknown,
)
from posthouse.wire.smtp.data import BARE_LINE_END, LINE_TOO_LONG, NUL_OCTET, TOO_LARGE
from posthouse.wire.smtp.order import State
from posthouse.wire.smtp.reply import BAD_BASE64, challenge
from posthouse.wire.smtp.server import SmtpLimits, SmtpServer
from thorough import examples

GREETING = reply(220, "", "mx.test")
OK = reply(250, "2.0.0", "OK")
NO = reply(550, "5.7.1", "No")
GO_AHEAD = reply(354, "", "Go ahead")
READY = reply(220, "2.0.0", "Ready")
LOGGED_IN = reply(235, "2.7.0", "Logged in")
SMALL = SmtpLimits(command_line=64, auth_line=128, swallowed=256, text_line=100, message_size=500, discarded=1_000)
BEGIN = b"EHLO c\r\nMAIL FROM:<b@w.test>\r\nRCPT TO:<a@h.test>\r\n"


def greeted(*, lmtp: bool = False, tls: bool = False, limits: SmtpLimits = SMALL) -> SmtpServer:
    """An engine that has sent its greeting."""
    engine = SmtpServer(lmtp=lmtp, tls=tls, limits=limits)
    engine.send(GREETING)
    return engine


def fitting(event: Event) -> Reply:
    """What a session that likes everything would say."""
    match event:
        case Malformed():
            return event.reply
        case Unknown():
            return reply(500, "5.5.2", "What?")
        case DataEnded() | ChunkEnded():
            return event.fault or OK
        case Data():
            return GO_AHEAD
        case Auth():
            return challenge(b"")
        case AuthLine():
            return LOGGED_IN if event.octets else reply(501, "5.7.0", "Cancelled")
        case StartTls():
            return reply(454, "4.7.0", "Not now")
        case Quit():
            return reply(221, "2.0.0", "Bye", close=True)
    return OK


def converse(engine: SmtpServer, pieces: Iterable[bytes]) -> list[Event]:
    """All events of a session; Octets that follow each other are joined."""
    events: list[Event] = []
    for piece in pieces:
        engine.receive(piece)
        while (event := engine.next_event()) is not None:
            if isinstance(event, Octets) and events and isinstance(events[-1], Octets):
                events[-1] = Octets(events[-1].data + event.data)
            else:
                events.append(event)
            while engine.replies_owed:
                engine.send(fitting(event))
            if isinstance(event, Closed):
                return events
    return events


def talk(octets: bytes, *, lmtp: bool = False, limits: SmtpLimits = SMALL) -> list[Event]:
    """The events of these octets, which must be the same one by one."""
    together = converse(greeted(lmtp=lmtp, limits=limits), [octets])
    single = converse(greeted(lmtp=lmtp, limits=limits), (octets[at : at + 1] for at in range(len(octets))))
    assert kept(together) == kept(single)
    return together


def kept(events: list[Event]) -> list[Event]:
    """Without the octets of messages with a fault: how many are seen depends on the cuts, and nobody keeps them."""
    result: list[Event] = []
    for event in events:
        fault = isinstance(event, DataEnded | ChunkEnded) and event.fault
        if (fault or isinstance(event, Malformed)) and result and isinstance(result[-1], Octets):
            result.pop()
        result.append(event)
    return result


def refusals(events: list[Event]) -> list[tuple[int, str]]:
    return [(event.reply.code, str(event.reply.status)) for event in events if isinstance(event, Malformed)]


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


def test_one_message() -> None:
    events = talk(BEGIN + b"DATA\r\n..x\r\n.\r\nQUIT\r\n")
    assert kinds(events) == [Ehlo, Mail, Rcpt, Data, Octets, DataEnded, Quit, Closed]
    assert events[4:6] == [Octets(b".x\r\n"), DataEnded()]


def test_an_empty_message() -> None:
    assert talk(BEGIN + b"DATA\r\n.\r\nNOOP\r\n")[4:] == [DataEnded(), Noop()]


def test_two_messages_in_chunks() -> None:
    """RFC 3030 §2."""
    events = talk(BEGIN + b"BDAT 4\r\nab\r\nBDAT 3 LAST\r\nx\r\n" + BEGIN[8:] + b"BDAT 0 LAST\r\nQUIT\r\n")
    assert events[3:8] == [Bdat(4, False), Octets(b"ab\r\n"), ChunkEnded(), Bdat(3, True), Octets(b"x\r\n")]
    assert kinds(events[8:]) == [DataEnded, Mail, Rcpt, Bdat, DataEnded, Quit, Closed]


@pytest.mark.parametrize(
    ("octets", "texts"),
    [
        (b"MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\nAUTH PLAIN\r\nSTARTTLS\r\n", ["Say EHLO first"] * 5),
        (b"EHLO c\r\nRCPT TO:<a@b.test>\r\nDATA\r\n", ["Say MAIL first"] * 2),
        (b"EHLO c\r\nMAIL FROM:<>\r\nDATA\r\n", ["There is no valid recipient yet"]),
        (
            BEGIN + b"MAIL FROM:<>\r\nSTARTTLS\r\nAUTH PLAIN\r\n",
            ["A message has been begun already; RSET gives it up"] * 3,
        ),
        (b"EHLO c\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n", ["A message has been begun already; RSET gives it up"]),
        (b"HELO c\r\nAUTH PLAIN\r\nSTARTTLS\r\n", ["Say EHLO first"] * 2),
        (BEGIN + b"RSET\r\nDATA\r\n", ["Say MAIL first"]),
        (BEGIN + b"EHLO c\r\nDATA\r\n", ["Say MAIL first"]),
        (b"RSET\r\nMAIL FROM:<>\r\n", ["Say EHLO first"]),
        (BEGIN + b"DATA\r\n.\r\nDATA\r\n", ["Say MAIL first"]),
        (b"EHLO c\r\nAUTH PLAIN\r\nYQ==\r\nAUTH PLAIN\r\nSTARTTLS\r\n", ["You are logged in already"] * 2),
        (b"LHLO c\r\n", ["This is SMTP: say EHLO"]),
    ],
)
def test_order(octets: bytes, texts: list[str]) -> None:
    """RFC 5321 §4.1.4, RFC 3207 §4, RFC 4954 §4: 503, or 500 for the other protocol's greeting."""
    refused = [event.reply for event in talk(octets) if isinstance(event, Malformed)]
    assert [answer.text for answer in refused] == texts
    assert {answer.code for answer in refused} <= {503, 500}
    assert {str(answer.status) for answer in refused} == {"5.5.1"}


def test_refused_commands_change_nothing() -> None:
    engine = greeted()
    engine.receive(BEGIN + b"RCPT TO:<c@h.test>\r\nDATA\r\nDATA\r\n.\r\n")
    for answer, state in ((OK, State.READY), (NO, State.READY)):
        engine.next_event()
        engine.send(answer)
        assert engine.state is state
    event = engine.next_event()
    assert isinstance(event, Malformed)
    assert event.reply.text == "Say MAIL first"


def test_a_refusal_moves_nothing() -> None:
    """EHLO, MAIL, RCPT, RSET, DATA, STARTTLS refused by the session: all is as before."""
    engine = greeted()
    for state, line in (
        (State.START, b"EHLO c\r\n"),
        (State.READY, b"MAIL FROM:<b@w.test>\r\n"),
        (State.READY, b"STARTTLS\r\n"),
        (State.READY, b"AUTH PLAIN\r\n"),
        (State.MAIL, b"RCPT TO:<a@h.test>\r\n"),
        (State.RCPT, b"DATA\r\n"),
        (State.RCPT, b"RSET\r\n"),
        (State.RCPT, b"EHLO c\r\n"),
    ):
        while engine.state is not state:
            converse(
                engine, [{State.START: BEGIN[:8], State.READY: BEGIN[8:-20], State.MAIL: BEGIN[-20:]}[engine.state]]
            )
        engine.receive(line)
        engine.next_event()
        assert engine.replies_owed == 1
        engine.send(NO)
        assert engine.state is state


def test_recipients_are_counted() -> None:
    engine = greeted()
    converse(engine, [BEGIN + b"RCPT TO:<c@h.test>\r\n"])
    assert engine.recipients == 2
    converse(engine, [b"DATA\r\n.\r\n"])
    assert engine.recipients == 0


# --- limits: each with its exact answer (limits.md §1)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"NOOP " + b"x" * 57 + b"\r\n", []),
        (b"NOOP " + b"x" * 58 + b"\r\n", [(500, "5.5.2")]),
        (b"NOOP " + b"x" * 249 + b"\r\nNOOP\r\n", [(500, "5.5.2")]),
        (b"NOOP " + b"x" * 250 + b"\r\nNOOP\r\n", [(421, "4.7.0")]),
        (b"x" * 257, [(421, "4.7.0")]),
        (b"x" * 200, []),
        (b"AUTH PLAIN " + b"Y" * 112 + b"\r\n", [(503, "5.5.1")]),
        (b"AUTH PLAIN " + b"Y" * 116 + b"\r\n", [(500, "5.5.2")]),
        (b"EHLO c\r\nAUTH PLAIN\r\n" + b"Y" * 126 + b"\r\n", [(501, "5.5.2")]),
        (b"EHLO c\r\nAUTH PLAIN\r\n" + b"Y" * 127 + b"\r\n", [(500, "5.5.6")]),
        (b"EHLO c\r\nAUTH PLAIN\r\n" + b"Y" * 257, [(421, "4.7.0")]),
        (b"NOOP\n", [(500, "5.5.2")]),
        (b"GET / HTTP/1.1\r\nNOOP\r\n", [(421, "4.7.0")]),
        (b"POST / HTTP/1.1\r\nNOOP\r\n", [(421, "4.7.0")]),
        (b"CONNECT mx:25 HTTP/1.1\r\nNOOP\r\n", [(421, "4.7.0")]),
        (b"\x16\x03\x01\x02\x00NOOP\r\n", [(421, "4.7.0")]),
        (b"EHLO c\r\nMAIL FROM:<> SIZE=500\r\n", []),
        (b"EHLO c\r\nMAIL FROM:<> SIZE=501\r\n", []),
        (BEGIN + b"BDAT 1501\r\nNOOP\r\n", [(552, "5.3.4")]),
        (b"BDAT 1501\r\nNOOP\r\n", [(552, "5.3.4")]),
        (BEGIN + b"DATA\r\n" + b"x" * 2_000, [(552, "5.3.4")]),
    ],
)
def test_limits(octets: bytes, expected: list[tuple[int, str]]) -> None:
    events = talk(octets)
    assert refusals(events) == expected
    closing = any(isinstance(event, Malformed) and event.reply.close for event in events)
    assert isinstance(events[-1], Closed) is closing if events else not expected


def test_default_limits() -> None:
    """limits.md §1."""
    limits = SmtpLimits()
    assert (limits.command_line, limits.auth_line, limits.swallowed) == (4_096, 12_288, 65_536)
    assert (limits.text_line, limits.message_size) == (1_048_576, 52_428_800)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"x" * 98 + b"\r\n", None),
        ((b"x" * 98 + b"\r\n") * 5, None),
        ((b"x" * 98 + b"\r\n") * 5 + b"\r\n", TOO_LARGE),
        (b"x" * 101 + b"\r\n", LINE_TOO_LONG),
        (b"a\nb\r\n", BARE_LINE_END),
        (b"a\rb\r\n", BARE_LINE_END),
        (b"a\0b\r\n", NUL_OCTET),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_messages_that_are_refused_whole(content: bytes, fault: Reply | None, chunked: bool) -> None:
    """By DATA and by BDAT alike; the connection goes on."""
    octets = b"BDAT %d LAST\r\n%s" % (len(content), content) if chunked else b"DATA\r\n" + content + b".\r\n"
    events = talk(BEGIN + octets + b"NOOP\r\n")
    assert events[-2:] == [DataEnded(fault), Noop()]
    if fault is None:
        assert events[-3] == Octets(content)


def test_a_long_line_is_kept_as_it_is() -> None:
    """RFC 5321 §4.5.3.1.6 asks for 1,000 octets; up to 1 MiB are taken."""
    line = b"x" * 1_048_576 + b"\r\n"
    events = converse(greeted(limits=SmtpLimits()), [BEGIN + b"DATA\r\n" + line + b".\r\n"])
    assert events[-2:] == [Octets(line), DataEnded()]
    events = converse(greeted(limits=SmtpLimits()), [BEGIN + b"DATA\r\nx" + line + b".\r\n"])
    assert isinstance(events[-1], DataEnded)
    assert events[-1].fault is not None
    assert (events[-1].fault.code, str(events[-1].fault.status)) == (550, "5.6.0")


def test_what_is_thrown_away_is_not_kept() -> None:
    """A message that is too large costs no memory and no events."""
    engine = greeted(limits=SmtpLimits(message_size=1_000))
    converse(engine, [BEGIN + b"DATA\r\n"])
    for _ in range(100):
        engine.receive(b"x" * 65_536)
        event = engine.next_event()
        assert event is None or isinstance(event, Octets)
        assert not engine.pending
    engine.receive(b"\r\n.\r\n")
    assert engine.next_event() == DataEnded(TOO_LARGE)


def test_the_middle_of_a_long_line_is_not_its_beginning() -> None:
    """An octet that would begin TLS means nothing there, wherever the line is cut (Hypothesis found it)."""
    events = converse(greeted(), [b"y" * 70, b"\x16\x03", b"AUTH \r\n", b"NOOP\r\n"])
    assert kinds(events) == [Malformed, Noop]
    assert refusals(events) == [(500, "5.5.2")]


# --- chunks that are not wanted (RFC 3030 §2)


def test_the_octets_of_a_refused_chunk_are_no_commands() -> None:
    events = talk(b"EHLO c\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
    assert kinds(events) == [Ehlo, Malformed, Noop]
    assert refusals(events) == [(503, "5.5.1")]


def test_data_and_chunks_do_not_mix() -> None:
    events = talk(BEGIN + b"BDAT 2\r\n\r\nDATA\r\nRCPT TO:<c@h.test>\r\nMAIL FROM:<>\r\nRSET\r\nDATA\r\n")
    assert refusals(events) == [(503, "5.5.1")] * 4
    assert kinds(events)[-2:] == [Rset, Malformed]


def test_after_a_refused_chunk_only_rset_helps() -> None:
    events = talk(BEGIN + b"BDAT 2\r\na\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<>\r\nRSET\r\n" + BEGIN[8:])
    assert ChunkEnded(BARE_LINE_END) in events
    assert kinds(events)[-5:] == [Malformed, Malformed, Rset, Mail, Rcpt]


def test_a_chunk_without_a_size_closes() -> None:
    events = talk(BEGIN + b"BDAT x LAST\r\nQUIT\r\n")
    assert kinds(events)[-2:] == [Malformed, Closed]


# --- AUTH, STARTTLS, LMTP


def test_auth_exchange() -> None:
    """RFC 4954 §4."""
    events = talk(b"EHLO c\r\nAUTH LOGIN\r\n*\r\nAUTH LOGIN\r\n=\r\nAUTH LOGIN\r\nYQ==\r\nMAIL FROM:<>\r\n")
    assert events[1:3] == [Auth("LOGIN"), AuthLine(None)]
    assert events[3:5] == [Auth("LOGIN"), Malformed(BAD_BASE64)]
    assert events[5:7] == [Auth("LOGIN"), AuthLine(b"a")]
    assert isinstance(events[7], Mail)


def test_an_answer_may_be_empty_or_commands_in_disguise() -> None:
    assert talk(b"EHLO c\r\nAUTH LOGIN\r\n\r\n")[2] == AuthLine(b"")
    assert talk(b"EHLO c\r\nAUTH LOGIN\r\nQUIT\r\n")[2] == AuthLine(b"A\x42\x13")


def test_starttls_forgets_everything() -> None:
    """RFC 3207 §4.2; CVE-2011-0411."""
    engine = greeted()
    converse(engine, [b"EHLO c\r\n"])
    engine.receive(b"STARTTLS\r\nMAIL FROM:<evil@w.test>\r\n")
    assert engine.next_event() == StartTls()
    assert engine.pending
    engine.send(READY)
    assert engine.next_event() is None
    engine.receive(b"NOOP\r\n")
    assert engine.next_event() is None
    engine.starttls()
    assert engine.injected
    assert not engine.pending
    assert refusals(converse(engine, [b"MAIL FROM:<>\r\nEHLO c\r\nSTARTTLS\r\n"])) == [(503, "5.5.1")] * 2


def test_starttls_without_injection() -> None:
    engine = greeted()
    converse(engine, [b"EHLO c\r\n"])
    engine.receive(b"STARTTLS\r\n")
    assert engine.next_event() == StartTls()
    assert not engine.pending
    engine.send(READY)
    engine.starttls()
    assert not engine.injected
    assert kinds(converse(engine, [b"EHLO c\r\nMAIL FROM:<>\r\n"])) == [Ehlo, Mail]


def test_no_starttls_within_tls() -> None:
    engine = greeted(tls=True)
    assert refusals(converse(engine, [b"EHLO c\r\nSTARTTLS\r\n"])) == [(503, "5.5.1")]


def test_lmtp_owes_a_reply_for_each_recipient() -> None:
    """RFC 2033 §4.2."""
    engine = greeted(lmtp=True)
    events = converse(engine, [b"EHLO c\r\nHELO c\r\n" + b"L" + BEGIN[1:]])
    assert kinds(events) == [Malformed, Malformed, Lhlo, Mail, Rcpt]
    assert refusals(events) == [(500, "5.5.1")] * 2
    converse(engine, [b"RCPT TO:<c@h.test>\r\nDATA\r\n"])
    engine.receive(b".\r\nNOOP\r\n")
    assert engine.next_event() == DataEnded()
    assert engine.replies_owed == 2
    engine.send(OK)
    with pytest.raises(RuntimeError):
        engine.next_event()
    engine.send(NO)
    assert engine.next_event() == Noop()


# --- the session's own mistakes, and the end


def test_our_bugs_are_exceptions() -> None:
    engine = SmtpServer()
    with pytest.raises(RuntimeError, match="owed"):
        engine.next_event()
    engine.send(GREETING)
    with pytest.raises(RuntimeError, match="no reply is due"):
        engine.send(OK)


def test_a_faulty_message_cannot_be_accepted() -> None:
    engine = greeted()
    converse(engine, [BEGIN + b"DATA\r\n"])
    engine.receive(b"a\nb\r\n.\r\n")
    assert isinstance(engine.next_event(), Octets | DataEnded)
    if not engine.replies_owed:
        engine.next_event()
    with pytest.raises(RuntimeError, match="fault"):
        engine.send(OK)


def test_data_is_opened_by_354_only() -> None:
    engine = greeted()
    converse(engine, [BEGIN])
    engine.receive(b"DATA\r\n")
    assert engine.next_event() == Data()
    with pytest.raises(RuntimeError):
        engine.send(OK)


def test_a_last_word_may_come_at_any_time() -> None:
    engine = greeted()
    engine.receive(b"NOO")
    assert engine.send(reply(421, "4.4.2", "Too slow", close=True)) == b"421 4.4.2 Too slow\r\n"
    engine.receive(b"P\r\n")
    assert engine.next_event() == Closed()
    assert not engine.pending


def test_a_refusing_greeting_ends_it() -> None:
    engine = SmtpServer()
    engine.send(reply(554, "5.7.1", "Not you"))
    engine.receive(b"EHLO c\r\n")
    assert engine.next_event() == Closed()


def test_the_peer_closes() -> None:
    engine = greeted()
    engine.receive(b"NOOP\r\nNOO")
    engine.receive(b"")
    assert engine.next_event() == Noop()
    engine.send(OK)
    assert engine.next_event() == Closed()
    assert engine.next_event() == Closed()


def test_full_asks_the_reader_to_stop() -> None:
    engine = greeted()
    engine.receive(b"NOOP\r\n" * 200_000)
    assert engine.full
    engine.next_event()
    assert engine.replies_owed == 1


def test_early_data_after_helo() -> None:
    """S13 of limits.md: who was not told of PIPELINING may not send the message before 354."""
    engine = greeted()
    begin = BEGIN.replace(b"EHLO", b"HELO")
    assert kinds(converse(engine, [begin + b"DATA\r\n", b"x\r\n.\r\n"]))[-2:] == [Octets, DataEnded]
    events = converse(greeted(), [begin + b"DATA\r\nMAIL FROM:<evil@w.test>\r\n"])
    assert refusals(events) == [(550, "5.5.0")]
    assert isinstance(events[-1], Closed)


# --- anything at all

WORDS = [
    b"EHLO c\r\n",
    b"HELO c\r\n",
    b"MAIL FROM:<b@w.test>\r\n",
    b"RCPT TO:<a@h.test>\r\n",
    b"DATA\r\n",
    b"BDAT 3\r\n",
    b"BDAT 5 LAST\r\n",
    b"BDAT 2000\r\n",
    b"AUTH PLAIN\r\n",
    b"YQ==\r\n",
    b"*\r\n",
    b"RSET\r\n",
    b"STARTTLS\r\n",
    b"QUIT\r\n",
    b"NOOP\n",
    b"x",
    b"y" * 70,
    b"z" * 300,
    b"\r\n",
    b"\r",
    b"\n",
    b".",
    b"\r\n.\r\n",
    b"\0",
    b"\xff",
    b"FROB\r\n",
]


def early(events: list[Event]) -> bool:
    """Whether somebody spoke too early: that is a matter of time, so of cuts."""
    return any(isinstance(event, Malformed) and event.reply.code == 550 for event in events)


@settings(max_examples=examples(300))
@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=5), max_size=30), st.booleans(), st.data())
def test_any_octets_give_the_same_events_however_they_are_cut(
    words: list[bytes], begun: bool, data: st.DataObject
) -> None:
    octets = (BEGIN if begun else b"") + b"".join(words)
    together = converse(greeted(), [octets] if octets else [])
    apart = converse(greeted(), filter(None, pieces_of(octets, data)))
    if not early(together) and not early(apart):
        assert ending(together) == ending(apart)


def ending(events: list[Event]) -> list[Event]:
    """`kept`, and without content whose end has not come: what of it is held back depends on the cuts."""
    result = kept(events)
    return result[:-1] if result and isinstance(result[-1], Octets) else result


@given(st.lists(st.binary(max_size=40), max_size=10), st.booleans())
def test_garbage_is_never_an_exception(pieces: list[bytes], lmtp: bool) -> None:
    for event in converse(greeted(lmtp=lmtp), filter(None, pieces)):
        assert not isinstance(event, Octets | Mail)
