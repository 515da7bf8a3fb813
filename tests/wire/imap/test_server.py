"""The engine: commands cut in any way give the same events, limits have their exact answers, states are kept."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.mail.ids import Millis
from posthouse.mail.keyword import Keyword
from posthouse.wire.imap import command as c
from posthouse.wire.imap.assembler import ImapLimits
from posthouse.wire.imap.condition import Condition
from posthouse.wire.imap.fetch import Fetch, parse_items
from posthouse.wire.imap.grammar import FlagSet
from posthouse.wire.imap.number_set import STAR, NumberSet
from posthouse.wire.imap.response import Challenge, ContinueRequest, Exists, StatusResponse, bad, bye, no, ok
from posthouse.wire.imap.server import (
    LEGAL,
    AuthLine,
    Catenate,
    Event,
    Fatal,
    GoOn,
    ImapServer,
    LiteralAnnounced,
    Malformed,
    Octets,
    State,
    UrlPart,
)
from wire.imap.client_form import print_command
from wire.imap.strategies import FAMILIES

GO_ON = GoOn(ContinueRequest("Ready for the literal."))
TOO_BIG = "The literal is too big, or there are too many of them."


def engine_in(state: State, limits: ImapLimits | None = None) -> ImapServer:
    engine = ImapServer(limits)
    engine.state = state
    return engine


def events_of(engine: ImapServer, chunks: list[bytes]) -> list[Event]:
    """All events; every message is accepted, its octets joined."""
    events: list[Event] = []
    for chunk in chunks:
        engine.receive(chunk)
        while (event := engine.next_event()) is not None:
            if isinstance(event, Octets) and events and isinstance(events[-1], Octets):
                events[-1] = Octets(events[-1].octets + event.octets)
                continue
            events.append(event)
            if isinstance(event, LiteralAnnounced):
                engine.accept()
            if isinstance(event, c.Login):
                engine.state = State.AUTHENTICATED
            if isinstance(event, c.Select):
                engine.state = State.SELECTED
            if isinstance(event, AuthLine):
                engine.send(ok(event.tag, "Welcome."))
                engine.state = State.AUTHENTICATED
    return events


def refusal(event: Event | None) -> StatusResponse:
    assert isinstance(event, Malformed | Fatal), event
    return event.response


# --- cutting

DIALOGUE = (
    b"a1 CAPABILITY\r\na2 LOGIN {4+}\r\nanna {6}\r\nse}{3}\r\n\r\na3 SELECT inbox\r\n"
    b"a4 FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (From {2+}\r\nTo)]<0.10>)\r\n"
    b'a5 APPEND {5+}\r\nINBOX (\\Seen $Work) "17-Jul-1996 02:44:25 -0700" {11}\r\nab{3}\r\n\0xyz'
    b" (\\Draft) ~{0+}\r\n\r\n"
    b"a6 APPEND x {3}\r\nabc trailing\r\na7 APPEND x (\\Frob) {5+}\r\n12345\r\na8 IDLE\r\nDoNe\r\n"
    b"a9 IDLE\r\nwhat\r\nb1 NOOP\nb2 SEARCH TEXT {70000}\r\nb3 FROB\r\nb4 SEARCH TEXT {70000+}\r\nb5 NOOP\r\n"
)
NOT_A_COMMAND = "A command begins with a tag, one space and its name."
EVENTS: list[Event] = [
    c.Capability(b"a1"),
    GO_ON,
    c.Login(b"a2", b"anna", b"se}{3}"),
    Malformed(bad(None, NOT_A_COMMAND)),
    c.Select(b"a3", "INBOX"),
    Fetch(b"a4", NumberSet(((1, STAR),)), parse_items(b"(FLAGS BODY.PEEK[HEADER.FIELDS (From To)]<0.10>)")),
    LiteralAnnounced(b"a5", "INBOX", FlagSet(1, (Keyword("$work"),)), Millis(837_596_665_000), 11, True, False, 0),
    Octets(b"ab{3}\r\n\0xyz"),
    LiteralAnnounced(b"a5", "INBOX", FlagSet(8), None, 0, False, True, 1),
    c.Append(
        b"a5",
        "INBOX",
        (
            c.AppendMessage(FlagSet(1, (Keyword("$work"),)), Millis(837_596_665_000), 11, has_nul=True),
            c.AppendMessage(FlagSet(8), None, 0, binary=True),
        ),
    ),
    LiteralAnnounced(b"a6", "x", FlagSet(), None, 3, True, False, 0),
    Octets(b"abc"),
    Malformed(bad(b"a6", "There is more behind the message than belongs to the command.")),
    Malformed(bad(b"a7", "There is no flag \\frob; own flags are spelled without the backslash.")),
    c.Idle(b"a8"),
    c.Done(b"a8"),
    c.Idle(b"a9"),
    Malformed(bad(b"a9", "IDLE ends with the line DONE.")),
    c.Noop(b"b1"),
    Malformed(no(b"b2", TOO_BIG, b"TOOBIG")),
    Malformed(bad(b"b3", "There is no command FROB.")),
    Fatal(bye("The literal is too big.", b"TOOBIG")),
]


def test_a_dialogue_gives_its_events() -> None:
    assert events_of(ImapServer(), [DIALOGUE]) == EVENTS


def test_every_cut_in_two_gives_the_same_events() -> None:
    for cut in range(len(DIALOGUE)):
        assert events_of(ImapServer(), [DIALOGUE[:cut], DIALOGUE[cut:]]) == EVENTS, DIALOGUE[:cut]


def test_octet_by_octet_gives_the_same_events() -> None:
    assert events_of(ImapServer(), [bytes([octet]) for octet in DIALOGUE]) == EVENTS


def chop(octets: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    chunks = []
    while octets:
        size = chance.choice((1, 2, 7, 100, 5_000, 70_000))
        chunks.append(octets[:size])
        octets = octets[size:]
    return chunks


LINES = st.lists(
    st.one_of(
        st.sampled_from(sorted(FAMILIES)).flatmap(lambda family: FAMILIES[family]).map(print_command),
        st.binary(max_size=60),
        st.sampled_from(
            [
                b"a APPEND INBOX {9+}\r\n\r\n.\0 {3}\r\n ~{4+}\r\n{1}\r",
                b"a APPEND INBOX {9}",
                b"a APPEND INBOX CATENATE (URL {9+}\r\n/x/;UID=1 TEXT {3+}\r\n.\0) URL {3}\r\nabc)",
                b"a APPEND INBOX CATENATE (URL x URL y) CATENATE (TEXT ~{3+}\r\nxyz",
                b"a LOGIN {3+}",
                b"a SEARCH TEXT " + b"x" * 70_000,
                b"a SEARCH TEXT " + b"x" * 70_000 + b" {10+}\r\n0123456789 x",
                b"a SEARCH TEXT {66000}",
                b"GET / HTTP/1.1",
                b"DONE",
            ]
        ),
    ),
    max_size=8,
).map(lambda lines: b"\r\n".join([*lines, b""]))


@settings(deadline=None)
@given(LINES, st.integers(0, 2**32), st.sampled_from([State.NOT_AUTHENTICATED, State.SELECTED]))
def test_commands_and_garbage_cut_at_random_give_the_same_events(octets: bytes, seed: int, state: State) -> None:
    whole = events_of(engine_in(state), [octets])
    assert events_of(engine_in(state), chop(octets, seed)) == whole


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80)), st.sampled_from([State.NOT_AUTHENTICATED, State.SELECTED]))
def test_garbage_gives_refusals_and_no_exception(chunks: list[bytes], state: State) -> None:
    for event in events_of(engine_in(state), [*chunks, b"\r\n", b""]):
        assert isinstance(event, c.Command | Malformed | Fatal | GoOn | LiteralAnnounced | Octets | Catenate | UrlPart)


def test_a_command_cut_off_by_the_end_of_the_connection_is_no_event() -> None:
    engine = ImapServer()
    engine.receive(b"a1 NOOP")
    engine.receive(b"")
    assert engine.next_event() is None


# --- limits (limits.md, S5)


def test_before_login_a_line_over_8_kib_ends_the_connection() -> None:
    for octets in (b"a LOGIN " + b"x" * 8_192, b"a LOGIN " + b"x" * 8_192 + b"\r\n"):
        engine = ImapServer()
        engine.receive(octets)
        assert engine.next_event() == Fatal(bye("The command line is too long.", b"LIMIT"))
        assert engine.state is State.LOGOUT
        engine.receive(b"a NOOP\r\n")
        assert engine.next_event() is None


def test_a_line_of_exactly_the_limit_is_read() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a DELETE " + b"x" * (65_536 - 11) + b"\r\n")
    assert isinstance(engine.next_event(), c.Delete)


@pytest.mark.parametrize("size", [65_537, 1_000_000])
def test_a_line_over_64_kib_is_swallowed_and_refused(size: int) -> None:
    events = events_of(engine_in(State.AUTHENTICATED), chop(b"a1 DELETE " + b"x" * (size - 12) + b"\r\nb NOOP\r\n", 1))
    assert events == [
        Malformed(bad(b"a1", "A command line may have at most 65536 octets.", b"LIMIT")),
        c.Noop(b"b"),
    ]


def test_the_limit_counts_all_lines_of_a_command() -> None:
    octets = b"a1 SEARCH TEXT {1+}\r\nx" + b" TEXT x" * 10_000 + b"\r\nb NOOP\r\n"
    events = events_of(engine_in(State.SELECTED), [octets])
    assert [refusal(events[0]).code, events[1]] == [b"LIMIT", c.Noop(b"b")]


def test_a_line_without_end_is_given_up_after_a_mebibyte() -> None:
    engine = engine_in(State.AUTHENTICATED)
    events = events_of(engine, [b"x" * 65_536] * 20)
    assert events == [Fatal(bye("The command is far too long.", b"TOOBIG"))]
    assert not engine.pending


def test_a_line_far_too_long_in_one_piece_is_given_up_too() -> None:
    engine = engine_in(State.AUTHENTICATED)
    assert events_of(engine, [b"x" * 1_100_000 + b"\r\n"]) == [Fatal(bye("The command is far too long.", b"TOOBIG"))]


def test_the_swallowed_line_is_not_kept_in_memory() -> None:
    engine = engine_in(State.AUTHENTICATED)
    for _ in range(12):
        engine.receive(b"x" * 65_536)
        assert engine.next_event() is None
        assert len(engine._buffer) <= 65_536


def test_before_login_a_literal_over_4_kib_is_refused_instead_of_the_plus() -> None:
    engine = ImapServer()
    engine.receive(b"a LOGIN {4097}\r\nb NOOP\r\n")
    assert engine.next_event() == Malformed(no(b"a", TOO_BIG, b"TOOBIG"))
    assert engine.next_event() == c.Noop(b"b")


def test_before_login_a_non_synchronizing_literal_over_4_kib_ends_the_connection() -> None:
    engine = ImapServer()
    engine.receive(b"a LOGIN {4097+}\r\n")
    assert engine.next_event() == Fatal(bye("The literal is too big.", b"TOOBIG"))


def test_a_literal_of_9_times_10_to_the_18_is_refused_at_once() -> None:
    engine = engine_in(State.SELECTED)
    engine.receive(b"a SEARCH TEXT {9223372036854775807}\r\n")
    assert refusal(engine.next_event()).code == b"TOOBIG"


def test_the_501st_literal_is_refused() -> None:
    """Small non-synchronizing ones are dropped to the end of the command, then BAD (limits.md)."""
    octets = b"a SEARCH" + b" TEXT {1+}\r\nx" * 502 + b"\r\nb NOOP\r\n"
    events = events_of(engine_in(State.SELECTED), chop(octets, 3))
    assert events == [Malformed(bad(b"a", TOO_BIG, b"TOOBIG")), c.Noop(b"b")]
    events = events_of(engine_in(State.SELECTED), [b"a SEARCH" + b" TEXT {1+}\r\nx" * 500 + b" TEXT {1}\r\n"])
    assert events == [Malformed(no(b"a", TOO_BIG, b"TOOBIG"))]


def test_a_command_of_more_than_a_mebibyte_is_refused() -> None:
    octets = b"a SEARCH" + (b" TEXT {60000+}\r\n" + b"x" * 60_000) * 17 + b" TEXT {60000}\r\n"
    events = events_of(engine_in(State.SELECTED), [octets])
    assert events == [Malformed(no(b"a", TOO_BIG, b"TOOBIG"))]


def test_endless_dropped_literals_end_the_connection() -> None:
    octets = b"a SEARCH" + (b" TEXT {4096+}\r\n" + b"x" * 4_096) * 1_000
    events = events_of(engine_in(State.SELECTED), [octets])
    assert [type(event) for event in events] == [Fatal]


@pytest.mark.parametrize("number", [10, 20_000])
def test_deep_parentheses_are_refused_not_followed(number: int) -> None:
    engine = engine_in(State.SELECTED)
    engine.receive(b"a SEARCH " + b"(" * number + b"\r\nb SEARCH " + b"NOT " * (number // 2) + b"\r\n")
    assert isinstance(engine.next_event(), Malformed)
    assert isinstance(engine.next_event(), Malformed)


def test_a_list_of_more_than_a_thousand_members_is_refused() -> None:
    engine = engine_in(State.SELECTED)
    engine.receive(b"a STORE 1 FLAGS (" + b"\\Seen " * 1_001 + b"\\Seen)\r\n")
    assert refusal(engine.next_event()) == bad(b"a", "A list may have at most 1000 members.", b"LIMIT")


def test_a_tag_too_long_to_echo_is_not_echoed() -> None:
    engine = ImapServer()
    engine.receive(b"x" * 256 + b" FROB\r\n")
    assert refusal(engine.next_event()).tag is None


# --- strangers (limits.md, S13)


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.0\r\n", b"CONNECT a:25 HTTP/1.1\r\n", b"\x16\x03"]
)
def test_http_and_tls_on_the_plain_port_are_shown_the_door(line: bytes) -> None:
    engine = ImapServer()
    engine.receive(line)
    assert isinstance(engine.next_event(), Fatal)
    assert engine.next_event() is None


# --- states (RFC 9051 §3)


@pytest.mark.parametrize(
    ("state", "line", "text"),
    [
        (State.NOT_AUTHENTICATED, b"a SELECT INBOX", "Log in first."),
        (State.NOT_AUTHENTICATED, b"a IDLE", "Log in first."),
        (State.AUTHENTICATED, b"a LOGIN x y", "You are logged in already."),
        (State.AUTHENTICATED, b"a STARTTLS", "You are logged in already."),
        (State.AUTHENTICATED, b"a FETCH 1 FLAGS", "No mailbox is selected; SELECT or EXAMINE one first."),
        (State.AUTHENTICATED, b"a CLOSE", "No mailbox is selected; SELECT or EXAMINE one first."),
        (State.SELECTED, b"a AUTHENTICATE PLAIN", "You are logged in already."),
    ],
)
def test_what_is_not_for_this_state_gets_bad(state: State, line: bytes, text: str) -> None:
    engine = engine_in(state)
    engine.receive(line + b"\r\n")
    assert engine.next_event() == Malformed(bad(b"a", text))


def test_every_command_is_legal_somewhere() -> None:
    assert frozenset().union(*LEGAL.values()) == frozenset(
        kind for union in (c.CommandAny, c.CommandNonauth, c.CommandAuth, c.CommandSelect) for kind in union.__args__
    )


def test_append_before_login_is_refused_before_the_plus() -> None:
    engine = ImapServer()
    engine.receive(b"a APPEND INBOX {3}\r\nb APPEND INBOX {3+}\r\nabc\r\nc APPEND INBOX {9999+}\r\n")
    assert engine.next_event() == Malformed(bad(b"a", "Log in first."))
    assert engine.next_event() == Malformed(bad(b"b", "Log in first."))
    assert isinstance(engine.next_event(), Fatal)


def test_after_logout_nothing_is_read() -> None:
    engine = ImapServer()
    engine.receive(b"a LOGOUT\r\nb NOOP\r\n")
    assert engine.next_event() == c.Logout(b"a")
    engine.state = State.LOGOUT
    assert engine.next_event() is None


# --- STARTTLS (limits.md, S2; RFC 9051 §6.2.1)


def test_what_came_behind_starttls_in_plain_text_is_forgotten() -> None:
    engine = ImapServer()
    engine.receive(b"a STARTTLS\r\nb LOGIN evil evil\r\nc LOGIN {4+}\r\nev")
    assert engine.next_event() == c.StartTls(b"a")
    engine.starttls()
    assert not engine.pending
    engine.receive(b"d NOOP\r\n")
    assert engine.next_event() == c.Noop(b"d")


# --- AUTHENTICATE (RFC 9051 §6.2.2)


def test_a_sasl_exchange_goes_line_by_line() -> None:
    engine = ImapServer()
    engine.receive(b"a AUTHENTICATE SCRAM-SHA-256\r\nYQ==\r\n\r\nb NOOP\r\n")
    assert engine.next_event() == c.Authenticate(b"a", "SCRAM-SHA-256")
    assert engine.send(Challenge(b"")) == b"+ \r\n"
    assert engine.next_event() == AuthLine(b"a", b"a")
    assert engine.send(Challenge(b"r=1")) == b"+ cj0x\r\n"
    assert engine.next_event() == AuthLine(b"a", b"")
    assert engine.send(no(b"a", "Wrong.", b"AUTHENTICATIONFAILED")) == b"a NO [AUTHENTICATIONFAILED] Wrong.\r\n"
    assert engine.next_event() == c.Noop(b"b")


def test_a_sasl_exchange_may_be_cancelled() -> None:
    engine = ImapServer()
    engine.receive(b"a AUTHENTICATE PLAIN\r\n*\r\n")
    engine.next_event()
    assert engine.next_event() == AuthLine(b"a", None)


def test_a_line_that_is_not_base64_ends_the_exchange() -> None:
    engine = ImapServer()
    engine.receive(b"a AUTHENTICATE PLAIN\r\nb NOOP\r\nc NOOP\r\n")
    engine.next_event()
    assert engine.next_event() == Malformed(bad(b"a", "The line is not base64."))
    assert engine.next_event() == c.Noop(b"c")


def test_a_sasl_line_too_long_ends_the_connection() -> None:
    engine = ImapServer()
    engine.receive(b"a AUTHENTICATE PLAIN\r\n" + b"A" * 12_300)
    engine.next_event()
    assert isinstance(engine.next_event(), Fatal)


def test_a_challenge_outside_authenticate_is_our_mistake() -> None:
    with pytest.raises(RuntimeError):
        ImapServer().send(Challenge(b""))


# --- IDLE (RFC 9051 §6.3.13)


def test_a_refused_idle_is_over() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a IDLE\r\n")
    assert engine.next_event() == c.Idle(b"a")
    engine.send(no(b"a", "Not now."))
    engine.receive(b"b NOOP\r\n")
    assert engine.next_event() == c.Noop(b"b")


def test_untagged_responses_do_not_end_idle() -> None:
    engine = engine_in(State.SELECTED)
    engine.receive(b"a IDLE\r\n")
    engine.next_event()
    assert engine.send(ContinueRequest("idling"), Exists(3)) == b"+ idling\r\n* 3 EXISTS\r\n"
    engine.receive(b"done\r\n")
    assert engine.next_event() == c.Done(b"a")


def test_an_idle_line_too_long_ends_the_connection() -> None:
    engine = engine_in(State.SELECTED)
    engine.receive(b"a IDLE\r\n" + b"x" * 1_100)
    engine.next_event()
    assert isinstance(engine.next_event(), Fatal)


# --- APPEND (RFC 9051 §6.3.12, RFC 3502)


def test_a_refused_synchronizing_message_ends_the_command() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a APPEND nowhere {3}\r\nb NOOP\r\n")
    assert isinstance(engine.next_event(), LiteralAnnounced)
    assert engine.refuse(no(b"a", "No such mailbox.", b"TRYCREATE")) == b"a NO [TRYCREATE] No such mailbox.\r\n"
    assert engine.next_event() == c.Noop(b"b")


def test_a_refused_non_synchronizing_message_is_dropped_in_silence() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a APPEND nowhere {300000+}\r\n")
    assert isinstance(engine.next_event(), LiteralAnnounced)
    assert engine.refuse(no(b"a", "No.")) == b"a NO No.\r\n"
    for _ in range(3):
        engine.receive(b"x\r\n" + b"y" * 99_997)
        assert engine.next_event() is None
        assert not engine.pending
    engine.receive(b" (\\Seen) {2+}\r\nzz\r\nb NOOP\r\n")
    assert engine.next_event() == c.Noop(b"b")


def test_a_refused_message_without_measure_ends_the_connection() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a APPEND nowhere {9999999999+}\r\n")
    assert isinstance(engine.next_event(), LiteralAnnounced)
    assert engine.refuse(no(b"a", "No.")) == b""
    assert engine.next_event() == Fatal(bye("The literal is too big.", b"TOOBIG"))
    assert engine.next_event() is None


def test_a_message_streams_in_chunks() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a APPEND INBOX {1000000}\r\n")
    assert isinstance(engine.next_event(), LiteralAnnounced)
    assert engine.accept() == b"+ Ready for the message.\r\n"
    assert engine.next_event() is None
    engine.receive(b"x" * 999_999)
    sizes = []
    while isinstance(event := engine.next_event(), Octets):
        sizes.append(len(event.octets))
    assert sum(sizes) == 999_999
    assert max(sizes) <= 262_144
    engine.receive(b"x\r\n")
    assert engine.next_event() == Octets(b"x")
    assert engine.next_event() == c.Append(b"a", "INBOX", (c.AppendMessage(FlagSet(), None, 1_000_000),))


def test_one_message_more_than_an_append_may_have_is_refused() -> None:
    engine = engine_in(State.AUTHENTICATED)
    events = events_of(engine, [b"a APPEND INBOX" + b" {0+}\r\n" * (ImapLimits().messages + 1) + b"\r\nb NOOP\r\n"])
    assert refusal(events[-2]) == bad(b"a", "APPEND takes at most 1000 messages.", b"LIMIT")
    assert events[-1] == c.Noop(b"b")


@pytest.mark.parametrize(
    "head",
    [
        b"a APPEND {3}",
        b"a APPEND INBOX  {3}",
        b"a APPEND INBOX (\\Frob) {3}",
        b'a APPEND INBOX "32-Jul-1996 02:44:25 -0700" {3}',
        b'a APPEND INBOX "17-Jul-1996" {3}',
        b"a APPEND INBOX CATENATE {3}",
        b"a APPEND INBOX CATENATE ({3}",
        b"a APPEND INBOX CATENATE ( TEXT {3}",
        b"a APPEND INBOX CATENATE (URL x {3}",
        b"a APPEND INBOX CATENATE (URL x){3}",
        b"a APPEND INBOX (\\Frob) CATENATE (TEXT {3}",
        b"a APPEND INBOX{3}",
    ],
)
def test_an_append_that_is_wrong_before_the_message_is_refused_before_the_plus(head: bytes) -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(head + b"\r\n")
    event = engine.next_event()
    if head == b"a APPEND {3}":
        assert event == GO_ON  # this literal is the mailbox
        engine.receive(b"abc\r\n")
        event = engine.next_event()
    assert refusal(event).condition is Condition.BAD


def test_append_without_a_message_is_refused() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a APPEND INBOX (\\Seen)\r\n")
    assert refusal(engine.next_event()).condition is Condition.BAD


def test_an_announced_message_must_be_answered() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a APPEND INBOX {3}\r\n")
    engine.next_event()
    with pytest.raises(RuntimeError):
        engine.next_event()
    engine.accept()
    with pytest.raises(RuntimeError):
        engine.accept()


# --- the other way


def test_names_and_texts_follow_the_client() -> None:
    engine = engine_in(State.AUTHENTICATED)
    assert engine.send(ok(b"a", "Entwürfe")) == b"a OK Entw?rfe\r\n"
    engine.utf8 = True
    assert engine.send(ok(b"a", "Entwürfe")) == "a OK Entwürfe\r\n".encode()
