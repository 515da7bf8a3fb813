"""Responses to FETCH (RFC 9051 §7.5.2, RFC 3516)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.dates import format_internaldate
from posthouse.mail.ids import Millis
from posthouse.mail.mime import Span
from posthouse.wire.imap import fetch as f
from posthouse.wire.imap import fetch_response as r

A = f.Attribute

LIST_VIEW = b"(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"


def test_rows_are_printed_in_bulk() -> None:
    plan = r.plan(f.parse_items(LIST_VIEW), uid=True)
    C = r.Column
    assert plan.columns == (C.UID, C.FLAGS, C.KEYWORDS, C.RECEIVED, C.SIZE, C.ENVELOPE, C.STRUCTURE)
    assert plan.contents == ()
    rows = [
        (101, 1, "", 837_596_665_000, 4_286, b"(env)", b"(str)"),
        (105, 16 | 8, "$forwarded work", 0, 1, b"(e)", b"(s)"),
    ]
    assert r.print_rows(plan, [7, 8], rows) == (
        b'* 7 FETCH (UID 101 FLAGS (\\Seen) INTERNALDATE "17-Jul-1996 09:44:25 +0000" RFC822.SIZE 4286 ENVELOPE (env)'
        b" BODYSTRUCTURE (str))\r\n"
        b'* 8 FETCH (UID 105 FLAGS (\\Deleted \\Draft $Forwarded work) INTERNALDATE " 1-Jan-1970 00:00:00 +0000"'
        b" RFC822.SIZE 1 ENVELOPE (e) BODYSTRUCTURE (s))\r\n"
    )
    assert r.print_rows(plan, [], []) == b""


def test_items_come_in_the_order_asked_for_and_uid_only_when_asked() -> None:
    plan = r.plan(f.parse_items(b"(RFC822.SIZE FLAGS)"))
    assert r.print_rows(plan, [1], [(9, 0, "", 5)]) == b"* 1 FETCH (RFC822.SIZE 5 FLAGS ())\r\n"
    plan = r.plan(f.parse_items(b"(FLAGS UID)"), uid=True)
    assert r.print_rows(plan, [1], [(9, 0, "")]) == b"* 1 FETCH (FLAGS () UID 9)\r\n"


def test_percent_signs_in_the_wire_text_stay() -> None:
    plan = r.plan(f.parse_items(b"ENVELOPE"))
    assert r.print_rows(plan, [1], [(9, b'("100 %d %b")')]) == b'* 1 FETCH (ENVELOPE ("100 %d %b"))\r\n'


def test_rows_that_do_not_fit_the_plan_are_our_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        r.print_rows(r.plan(f.parse_items(b"FLAGS")), [1, 2], [(9, 0, "")])


@given(st.integers(-62_000_000_000_000, 253_402_300_799_999))
def test_the_date_is_format_internaldates(received: int) -> None:
    plan = r.plan((A.INTERNALDATE,))
    line = r.print_rows(plan, [1], [(1, received)])
    assert line == b"* 1 FETCH (INTERNALDATE %b)\r\n" % format_internaldate(Millis(received))


def joined(pieces: list[r.Piece]) -> bytes:
    return b"".join(piece for piece in pieces if not isinstance(piece, Span))


def test_octets_too_many_to_hold_are_left_to_the_session() -> None:
    plan = r.plan(f.parse_items(b"(BODY.PEEK[] UID)"))
    span = Span(10, 5_000_010)
    pieces = r.print_message(plan, 1, (3,), [span])
    assert pieces[-2] is span
    assert joined(pieces) == b"* 1 FETCH (UID 3 BODY[] {5000000}\r\n)\r\n"


def test_body_is_bodystructure_without_its_extension_data() -> None:
    plan = r.plan(f.parse_items(b"(BODY BODYSTRUCTURE UID)"))
    assert plan.contents == ()
    structure = b'("text" "plain" NIL NIL NIL "7bit" 5 1 NIL NIL NIL NIL)'
    assert r.print_rows(plan, [1], [(9, structure)]) == (
        b'* 1 FETCH (BODY ("text" "plain" NIL NIL NIL "7bit" 5 1) BODYSTRUCTURE %b UID 9)\r\n' % structure
    )


def test_a_message_with_contents_is_printed_in_pieces() -> None:
    items = f.parse_items(b"(BODY[TEXT]<0.3> BINARY[1] BINARY.SIZE[1] BODY[9] BINARY.PEEK[2])")
    plan = r.plan(items, uid=True)
    assert plan.columns == (r.Column.UID,)
    assert plan.contents == items
    contents = [b"bod", b"a\0b", 3, None, b"xy"]
    pieces = r.print_message(plan, 1, (3,), contents)
    assert joined(pieces) == (
        b"* 1 FETCH (UID 3 BODY[TEXT]<0> {3}\r\nbod BINARY[1] ~{3}\r\na\0b BINARY.SIZE[1] 3"
        b" BODY[9] NIL BINARY[2] {2}\r\nxy)\r\n"
    )
    assert contents[0] is pieces[3], "literals are handed on uncopied"


def test_a_message_with_contents_and_nothing_else() -> None:
    plan = r.plan(f.parse_items(b"BODY[]"))
    assert joined(r.print_message(plan, 2, (3,), [b""])) == b"* 2 FETCH (BODY[] {0}\r\n)\r\n"


def test_a_message_with_contents_and_rows() -> None:
    plan = r.plan(f.parse_items(b"(FLAGS RFC822.HEADER INTERNALDATE)"))
    assert joined(r.print_message(plan, 2, (3, 1, "", 0), [b"A: b\r\n"])) == (
        b'* 2 FETCH (FLAGS (\\Seen) INTERNALDATE " 1-Jan-1970 00:00:00 +0000" RFC822.HEADER {6}\r\nA: b\r\n)\r\n'
    )


def test_changed_flags() -> None:
    assert r.print_flags(4, 1, "") == b"* 4 FETCH (FLAGS (\\Seen))\r\n"
    assert r.print_flags(4, 0, "$junk", uid=9) == b"* 4 FETCH (UID 9 FLAGS ($Junk))\r\n"


def test_long_item_lists_are_not_kept() -> None:
    before = f._cached_items.cache_info().currsize
    octets = b"(" + b" ".join(b"BODY.PEEK[%d.1]" % n for n in range(1, 100)) + b")"
    assert len(r.plan(f.parse_items(octets)).contents) == 99
    assert f._cached_items.cache_info().currsize == before
