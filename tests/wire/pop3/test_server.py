"""wire/pop3/server.py and command.py: octets to events, order, limits (RFC 1939, RFC 2449, RFC 2595, RFC 5034)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutting import pieces_of
from posthouse.wire.pop3 import command
from posthouse.wire.pop3.command import Closed, Event, Malformed
from posthouse.wire.pop3.reply import Pop3Reply, challenge, err, ok
from posthouse.wire.pop3.server import COMMAND_LINE, Pop3Server, State

OK = ok("yes")


def greeted(*, tls: bool = False) -> Pop3Server:
    engine = Pop3Server(tls=tls)
    assert engine.send(ok("hello")) == b"+OK hello\r\n"
    return engine


def logged_in() -> Pop3Server:
    engine = greeted()
    assert isinstance(said(engine, b"USER anna\r\n", OK), command.User)
    assert said(engine, b"PASS x\r\n", OK) == command.Pass(b"anna", b"x")
    assert engine.state is State.TRANSACTION
    return engine


def said(engine: Pop3Server, octets: bytes, answer: Pop3Reply = OK) -> Event | None:
    """The event of these octets, answered; with the reply of its own where it is a mistake."""
    engine.receive(octets)
    event = engine.next_event()
    if isinstance(event, Malformed):
        engine.send(event.reply)
    elif event is not None and not isinstance(event, Closed):
        engine.send(answer)
    return event


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"stat", command.Stat()),
        (b"STAT ", command.Stat()),
        (b"LIST", command.List(None)),
        (b"LIST 12", command.List(12)),
        (b"UIDL", command.Uidl(None)),
        (b"uidl 0", command.Uidl(0)),
        (b"RETR 007", command.Retr(7)),
        (b"TOP 1 0", command.Top(1, 0)),
        (b"top 3  10", command.Top(3, 10)),
        (b"DELE 1", command.Dele(1)),
        (b"NOOP", command.Noop()),
        (b"RSET", command.Rset()),
        (b"CAPA", command.Capa()),
        (b"LANG", command.Lang("")),
        (b"LANG *", command.Lang("*")),
        (b"QUIT", command.Quit()),
    ],
)
def test_commands_after_the_login(line: bytes, event: Event) -> None:
    assert said(logged_in(), line + b"\r\n") == event


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" STAT",
        b"XTND XMIT",
        b"STAT 1",
        b"LIST one",
        b"LIST -1",
        b"LIST 1 2",
        b"LIST 12345678901",
        b"RETR",
        b"RETR 1.5",
        b"TOP 1",
        b"TOP 1 -1",
        b"TOP 1 2 3",
        b"DELE \xd9\xa1",
        b"APOP anna 0123",
        b"USER anna",
        b"PASS x",
        b"AUTH PLAIN",
        b"STLS",
        b"UTF8",
        b"\0\0\0",
    ],
)
def test_mistakes_after_the_login(line: bytes) -> None:
    engine = logged_in()
    assert isinstance(said(engine, line + b"\r\n"), Malformed)
    assert said(engine, b"NOOP\r\n") == command.Noop()


@pytest.mark.parametrize("line", [b"STAT", b"LIST", b"RETR 1", b"DELE 1", b"NOOP", b"RSET", b"TOP 1 1", b"UIDL"])
def test_commands_that_want_a_login(line: bytes) -> None:
    """RFC 1939 §3."""
    assert isinstance(said(greeted(), line + b"\r\n"), Malformed)


def test_a_password_is_the_rest_of_the_line() -> None:
    """RFC 1939 §7: a space in it is no separator."""
    engine = greeted()
    said(engine, b"USER anna@home.test\r\n")
    assert said(engine, b"PASS  two  words \r\n", err("no")) == command.Pass(b"anna@home.test", b" two  words ")
    assert "words" not in repr(command.Pass(b"", b"two words"))


def test_pass_wants_a_user_just_named() -> None:
    engine = greeted()
    assert isinstance(said(engine, b"PASS x\r\n"), Malformed)
    said(engine, b"USER anna\r\n")
    said(engine, b"PASS wrong\r\n", err("no"))
    assert isinstance(said(engine, b"PASS right\r\n"), Malformed)
    said(engine, b"USER anna\r\n", err("not in the clear"))
    assert isinstance(said(engine, b"PASS right\r\n"), Malformed)


def test_stls_forgets_user_and_what_stands_behind_it() -> None:
    """RFC 2595 §4; S14."""
    engine = greeted()
    said(engine, b"USER anna\r\n")
    assert said(engine, b"STLS\r\nPASS x\r\nSTAT\r\n") == command.Stls()
    assert engine.pending
    assert engine.next_event() is None
    engine.starttls()
    assert engine.next_event() is None
    assert isinstance(said(engine, b"PASS x\r\n"), Malformed)
    assert isinstance(said(engine, b"STLS\r\n"), Malformed)


def test_no_stls_within_tls_nor_after_utf8() -> None:
    """RFC 6856 §2.1."""
    assert isinstance(said(greeted(tls=True), b"STLS\r\n"), Malformed)
    engine = greeted()
    assert said(engine, b"UTF8\r\n") == command.Utf8()
    assert engine.utf8
    assert isinstance(said(engine, b"STLS\r\n"), Malformed)


def test_auth_with_challenges() -> None:
    """RFC 5034 §4."""
    engine = greeted()
    assert said(engine, b"AUTH LOGIN\r\n", challenge(b"Username:")) == command.Auth("LOGIN", None)
    assert engine.state is State.SASL
    assert said(engine, b"YW5uYQ==\r\n", challenge(b"")) == command.AuthLine(b"anna")
    assert said(engine, b"*\r\n", err("given up")) == command.AuthLine(None)
    assert engine.state is State.AUTHORIZATION
    assert said(engine, b"AUTH PLAIN =\r\n", err("no")) == command.Auth("PLAIN", b"")
    assert said(engine, b"AUTH PLAIN AGFubmEAYW5uYQ==\r\n") == command.Auth("PLAIN", b"\0anna\0anna")
    assert engine.state is State.TRANSACTION


def test_auth_that_cannot_be_read() -> None:
    engine = greeted()
    assert isinstance(said(engine, b"AUTH PLAIN !\r\n"), Malformed)
    assert isinstance(said(engine, b"AUTH PLAIN a b\r\n"), Malformed)
    said(engine, b"AUTH PLAIN\r\n", challenge(b""))
    assert isinstance(said(engine, b"no base64\r\n"), Malformed)
    assert engine.state is State.AUTHORIZATION


def test_a_list_of_mechanisms_logs_nobody_in() -> None:
    engine = greeted()
    assert said(engine, b"AUTH\r\n", ok("these", lines=b"PLAIN\r\n")) == command.Auth("", None)
    assert engine.state is State.AUTHORIZATION


@pytest.mark.parametrize("ended", [True, False])
def test_a_line_too_long_ends_the_connection(ended: bool) -> None:
    engine = greeted()
    event = said(engine, b"USER " + b"a" * COMMAND_LINE + (b"\r\n" if ended else b""))
    assert isinstance(event, Malformed)
    assert event.reply.close
    assert isinstance(engine.next_event(), Closed)


def test_lines_of_the_longest_kind() -> None:
    engine = greeted()
    assert isinstance(said(engine, b"USER " + b"a" * (COMMAND_LINE - 7) + b"\r\n"), command.User)
    assert isinstance(said(engine, b"AUTH PLAIN " + b"QUFB" * 2_000 + b"\r\n", err("no")), command.Auth)
    said(engine, b"AUTH PLAIN\r\n", challenge(b""))
    event = said(engine, b"QUFB" * 4_000)
    assert isinstance(event, Malformed)
    assert event.reply.close


def test_lf_alone_ends_no_line() -> None:
    assert isinstance(said(logged_in(), b"NOOP\n"), Malformed)


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00"])
def test_http_and_tls_on_the_plain_port_are_shown_the_door(octets: bytes) -> None:
    event = said(greeted(), octets)
    assert isinstance(event, Malformed)
    assert event.reply.close


def test_pipelined_commands_and_the_end() -> None:
    """RFC 2449 §6.6."""
    engine = logged_in()
    engine.receive(b"STAT\r\nLIST\r\nQUIT\r\nNOOP\r\n")
    for event in (command.Stat(), command.List(None), command.Quit()):
        assert engine.next_event() == event
        engine.send(OK)
    assert isinstance(engine.next_event(), Closed)


def test_hanging_up() -> None:
    engine = logged_in()
    engine.receive(b"NOO")
    engine.receive(b"")
    assert isinstance(engine.next_event(), Closed)


def test_replies_are_owed_once() -> None:
    engine = Pop3Server()
    with pytest.raises(RuntimeError):
        engine.next_event()
    engine.send(ok("hello"))
    with pytest.raises(RuntimeError):
        engine.send(ok("again"))
    assert engine.send(err("closing", close=True)) == b"-ERR closing\r\n"


LINES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b"USER a", b"PASS b", b"AUTH PLAIN", b"AUTH LOGIN =", b"RETR 1", b"TOP 1 1", b"UTF8", b"STLS"]
        ),
        st.sampled_from([b"CAPA", b"STAT", b"LIST", b"UIDL 3", b"DELE 2", b"RSET", b"LANG en", b"*", b"QUIT", b"APOP"]),
    ),
    max_size=12,
)


@given(LINES, st.data())
def test_garbage_is_an_event_and_never_an_exception(lines: list[bytes], data: st.DataObject) -> None:
    """However it is cut, the same events come."""
    octets = b"\r\n".join([*lines, b""])
    assert events([octets]) == events(pieces_of(octets, data))


def events(pieces: list[bytes]) -> list[Event]:
    """All events, each answered: proofs by turns with a challenge, a refusal and a welcome."""
    engine, found, turn = greeted(), list[Event](), 0
    for piece in [*(one for one in pieces if one), b""]:
        engine.receive(piece)
        while (event := engine.next_event()) is not None:
            found.append(event)
            if isinstance(event, Closed):
                return found
            if isinstance(event, Malformed):
                engine.send(event.reply)
            elif isinstance(event, command.Stls):
                engine.send(err("not here"))
            elif isinstance(event, command.Auth | command.AuthLine | command.Pass):
                turn += 1
                engine.send((challenge(b"go on"), err("no"), OK)[turn % 3])
            else:
                engine.send(OK)
    raise AssertionError("no Closed")
