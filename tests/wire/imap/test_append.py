"""APPEND with CATENATE: what is drawn comes out as events, however it is cut (RFC 4469 §5, RFC 3502, RFC 6855 §4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.wire.imap import code
from posthouse.wire.imap import command as c
from posthouse.wire.imap.append import CAT_PARTS
from posthouse.wire.imap.assembler import ImapLimits
from posthouse.wire.imap.grammar import FlagSet
from posthouse.wire.imap.response import bad, no
from posthouse.wire.imap.server import Catenate, GoOn, LiteralAnnounced, Octets, State, UrlPart
from wire.imap.strategies import APPENDS, Appended, Literal, Made, UrlOf
from wire.imap.test_server import chop, engine_in, events_of, refusal


def said(append: Appended) -> list[object]:
    """The events of an APPEND, without the `+` of URLs that come as literals."""
    events: list[object] = []
    messages = []
    for index, message in enumerate(append.messages):
        made = isinstance(message, Made)
        parts = message.parts if made else (message.literal,)
        flags = FlagSet(message.bits)
        if made:
            events.append(Catenate(b"a", append.mailbox, flags, None, index))
        for part in parts:
            if isinstance(part, UrlOf):
                events.append(UrlPart(b"a", part.url))
                continue
            head = (part.size, part.sync, part.binary, index, None, made)
            events.append(LiteralAnnounced(b"a", append.mailbox, flags, None, *head))
            events += [Octets(part.octets)] if part.octets else []
        texts = [part for part in parts if isinstance(part, Literal)]
        nul = any(b"\0" in text.octets for text in texts)
        binary = any(text.binary for text in texts)
        messages.append(c.AppendMessage(flags, None, sum(text.size for text in texts), binary, nul))
    return [*events, c.Append(b"a", append.mailbox, tuple(messages))]


@settings(deadline=None)
@given(APPENDS, st.integers(0, 2**32))
def test_what_is_drawn_comes_out_however_it_is_cut(append: Appended, seed: int) -> None:
    engine = engine_in(State.SELECTED)
    engine.utf8 = True
    events = events_of(engine, chop(append.printed + b"\r\nb NOOP\r\n", seed))
    assert [event for event in events if not isinstance(event, GoOn)] == [*said(append), c.Noop(b"b")]


@settings(deadline=None)
@given(APPENDS, st.data(), st.integers(0, 2**32))
def test_octets_lost_and_changed_raise_nothing(append: Appended, data: st.DataObject, seed: int) -> None:
    octets = bytearray(append.printed)
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    stream = bytes(octets) + b"\r\n\r\nb NOOP\r\n"
    assert events_of(engine_in(State.SELECTED), chop(stream, seed)) == events_of(engine_in(State.SELECTED), [stream])


@pytest.mark.parametrize("end", [b")", b") (\\Seen) {3+}\r\nabc"])
def test_parts_are_counted_over_all_messages(end: bytes) -> None:
    one = b" CATENATE (" + b" ".join([b"URL x"] * (CAT_PARTS // 2)) + b")"
    engine = engine_in(State.AUTHENTICATED)
    *_, last = events_of(engine, [b"a APPEND x" + one * 2 + b"\r\n"])
    assert isinstance(last, c.Append)
    many = b"a APPEND x {1+}\r\n." + one + one[:-1] + b" URL x" + end + b"\r\nb NOOP\r\n"
    *_, refused, after = events_of(engine, [many])
    assert refusal(refused) == bad(b"a", "APPEND takes at most 1000 parts of CATENATE.", b"LIMIT")
    assert after == c.Noop(b"b")


def test_messages_are_counted_however_they_are_made() -> None:
    engine = engine_in(State.AUTHENTICATED, ImapLimits(messages=2))
    *_, last = events_of(engine, [b"a APPEND x CATENATE (URL x) {1+}\r\n. CATENATE (URL x)\r\n"])
    assert refusal(last) == bad(b"a", "APPEND takes at most 2 messages.", b"LIMIT")


def test_before_login_nobody_catenates() -> None:
    engine = engine_in(State.NOT_AUTHENTICATED)
    assert refusal(events_of(engine, [b"a APPEND x CATENATE (URL x)\r\n"])[0]) == bad(b"a", "Log in first.")
    *_, last = events_of(engine, [b"a APPEND x CATENATE (URL {1+}\r\nx TEXT {3}\r\n"])
    assert refusal(last) == bad(b"a", "Log in first.")


def test_what_is_refused_is_forgotten() -> None:
    engine = engine_in(State.AUTHENTICATED)
    engine.receive(b"a APPEND x (\\Seen) CATENATE (URL 1 TEXT {1}\r\nb APPEND y CATENATE (URL 2)\r\n")
    assert isinstance(engine.next_event(), Catenate)
    assert engine.next_event() == UrlPart(b"a", b"1")
    assert isinstance(engine.next_event(), LiteralAnnounced)
    engine.refuse(no(b"a", "No."))
    message = c.AppendMessage(FlagSet(), None, 0)
    assert events_of(engine, [b""]) == [
        Catenate(b"b", "y", FlagSet(), None, 0),
        UrlPart(b"b", b"2"),
        c.Append(b"b", "y", (message,)),
    ]


def test_a_literal_too_many_within_an_append_is_refused_with_its_tag() -> None:
    engine = engine_in(State.AUTHENTICATED, ImapLimits(literals=2))
    urls = b" URL {1+}\r\nx" * 3
    *_, refused, after = events_of(engine, [b"a APPEND x CATENATE (TEXT {1+}\r\n." + urls + b")\r\nb NOOP\r\n"])
    assert refusal(refused) == bad(b"a", "The literal is too big, or there are too many of them.", b"TOOBIG")
    assert after == c.Noop(b"b")


def test_badurl_holds_what_a_response_code_may() -> None:
    """RFC 4469 §5."""
    assert code.badurl(b"/INBOX/;UID=1") == b'BADURL "/INBOX/;UID=1"'
    assert code.badurl(b'a]b"c\\d\r\n\xff\x00') == b'BADURL "a%5Db%22c%5Cd%0D%0A%FF%00"'
    assert len(code.badurl(b"x" * 60_000)) == len(b'BADURL ""') + code.URL_SHOWN
