"""FETCH both ways (RFC 9051 §6.4.5, §7.5.2, RFC 3516)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.dates import format_internaldate
from posthouse.mail.ids import Millis
from posthouse.mail.mime import Span
from posthouse.mail.structure import Section, SectionText
from posthouse.wire.imap import fetch as f
from posthouse.wire.imap.condition import Fault

A = f.Attribute
WHOLE = Section((), SectionText.WHOLE, ())
FIELDS = Section((), SectionText.HEADER_FIELDS, (b"DATE", b"From"))


@pytest.mark.parametrize(
    ("octets", "items"),
    [
        (b"ALL", (A.FLAGS, A.INTERNALDATE, A.SIZE, A.ENVELOPE)),
        (b"fast", (A.FLAGS, A.INTERNALDATE, A.SIZE)),
        (b"FULL", (A.FLAGS, A.INTERNALDATE, A.SIZE, A.ENVELOPE, A.BODY)),
        (b"FLAGS", (A.FLAGS,)),
        (b"(uid flags UID)", (A.UID, A.FLAGS)),
        (b"BODY[]", (f.BodySection(WHOLE, None, False, b"BODY[]"),)),
        (b"body.peek[]<5.10>", (f.BodySection(WHOLE, f.Partial(5, 10), True, b"BODY[]<5>"),)),
        (
            b"(BODY[HEADER.FIELDS (DATE From)])",
            (f.BodySection(FIELDS, None, False, b"BODY[HEADER.FIELDS (DATE From)]"),),
        ),
        (
            b"BODY.PEEK[4.2.HEADER]",
            (f.BodySection(Section((4, 2), SectionText.HEADER, ()), None, True, b"BODY[4.2.HEADER]"),),
        ),
        (b"BODY[1.mime]", (f.BodySection(Section((1,), SectionText.MIME, ()), None, False, b"BODY[1.MIME]"),)),
        (
            b'BODY[3.HEADER.FIELDS.NOT ("a(b")]',
            (
                f.BodySection(
                    Section((3,), SectionText.HEADER_FIELDS_NOT, (b"a(b",)),
                    None,
                    False,
                    b'BODY[3.HEADER.FIELDS.NOT ("a(b")]',
                ),
            ),
        ),
        (b"BINARY[1.2]", (f.Binary((1, 2), None, False, b"BINARY[1.2]"),)),
        (b"BINARY.PEEK[]<0.7>", (f.Binary((), f.Partial(0, 7), True, b"BINARY[]<0>"),)),
        (b"BINARY.SIZE[3]", (f.BinarySize((3,), b"BINARY.SIZE[3]"),)),
        (b"RFC822.HEADER", (f.BodySection(Section((), SectionText.HEADER, ()), None, True, b"RFC822.HEADER"),)),
        (b"RFC822", (f.BodySection(WHOLE, None, False, b"RFC822"),)),
        (b"RFC822.TEXT", (f.BodySection(Section((), SectionText.TEXT, ()), None, False, b"RFC822.TEXT"),)),
        (b"BODYSTRUCTURE", (A.BODYSTRUCTURE,)),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_items(octets: bytes, items: tuple[f.FetchItem, ...]) -> None:
    assert f.parse_items(octets) == items


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"()",
        b"(ALL)",
        b"FLAGS UID",
        b"FROB",
        b"BODY[",
        b"BODY[0]",
        b"BODY[1.]",
        b"BODY[1.0]",
        b"BODY[MIME]",
        b"BODY[FROB]",
        b"BODY[HEADER.FIELDS]",
        b"BODY[HEADER.FIELDS ()]",
        b"BODY[HEADER.FIELDS (a:b)]",
        b'BODY[HEADER.FIELDS ("")]',
        b"BODY[]<1>",
        b"BODY[]<1.0>",
        b"BODY[]<.5>",
        b"BODY[]<1.2",
        b"BINARY[HEADER]",
        b"BINARY",
        b"BINARY.SIZE[1]<0.5>",
        b"BODY[4294967296]",
        b"FLAGS[]",
        b"ENVELOPE[1]",
        b"MODSEQ[]",
        b"(FLAGS  UID)",
        b"(FLAGS",
        b"FLAGS)",
    ],
)
def test_what_fetch_does_not_know_is_refused(octets: bytes) -> None:
    with pytest.raises(Fault):
        f.parse_items(octets)


@pytest.mark.parametrize(
    "octets", [b"BODY[" + b"1." * 60 + b"1]", b"(" + b" ".join(b"BODY[%d]" % n for n in range(1, 202)) + b")"]
)
def test_items_are_limited(octets: bytes) -> None:
    with pytest.raises(Fault) as refused:
        f.parse_items(octets)
    assert refused.value.code == b"LIMIT"


@given(st.binary(max_size=40))
def test_garbage_is_a_fault_and_nothing_else(octets: bytes) -> None:
    with pytest.raises(Fault):
        f.parse_items(b"(" + octets + b"\0")


def test_the_same_spelling_is_read_once() -> None:
    assert f.parse_items(b"(FLAGS UID)") is f.parse_items(b"(FLAGS UID)")


def test_only_items_without_peek_set_seen() -> None:
    def sets_seen(octets: bytes) -> bool:
        return f.Fetch(b"a", f.NumberSet(((1, 1),)), f.parse_items(octets)).sets_seen

    assert all(sets_seen(octets) for octets in (b"BODY[]", b"BINARY[1]", b"RFC822", b"RFC822.TEXT", b"(UID BODY[1])"))
    peeks = (b"BODY", b"BODY.PEEK[]", b"BINARY.PEEK[1]", b"BINARY.SIZE[1]", b"RFC822.HEADER", b"ALL")
    assert not any(sets_seen(octets) for octets in peeks)


def test_a_partial_cuts() -> None:
    assert f.Partial(2, 3).cut(b"abcdefg") == b"cde"
    assert f.Partial(9, 3).cut(b"abc") == b""


# --- printing

LIST_VIEW = b"(FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"


def test_rows_are_printed_in_bulk() -> None:
    plan = f.plan(f.parse_items(LIST_VIEW), uid=True)
    C = f.Column
    assert plan.columns == (C.UID, C.FLAGS, C.KEYWORDS, C.RECEIVED, C.SIZE, C.ENVELOPE, C.STRUCTURE)
    assert plan.contents == ()
    rows = [
        (101, 1, "", 837_596_665_000, 4_286, b"(env)", b"(str)"),
        (105, 16 | 8, "$forwarded work", 0, 1, b"(e)", b"(s)"),
    ]
    assert f.print_rows(plan, [7, 8], rows) == (
        b'* 7 FETCH (UID 101 FLAGS (\\Seen) INTERNALDATE "17-Jul-1996 09:44:25 +0000" RFC822.SIZE 4286 ENVELOPE (env)'
        b" BODYSTRUCTURE (str))\r\n"
        b'* 8 FETCH (UID 105 FLAGS (\\Deleted \\Draft $Forwarded work) INTERNALDATE " 1-Jan-1970 00:00:00 +0000"'
        b" RFC822.SIZE 1 ENVELOPE (e) BODYSTRUCTURE (s))\r\n"
    )
    assert f.print_rows(plan, [], []) == b""


def test_items_come_in_the_order_asked_for_and_uid_only_when_asked() -> None:
    plan = f.plan(f.parse_items(b"(RFC822.SIZE FLAGS)"))
    assert f.print_rows(plan, [1], [(9, 0, "", 5)]) == b"* 1 FETCH (RFC822.SIZE 5 FLAGS ())\r\n"
    plan = f.plan(f.parse_items(b"(FLAGS UID)"), uid=True)
    assert f.print_rows(plan, [1], [(9, 0, "")]) == b"* 1 FETCH (FLAGS () UID 9)\r\n"


def test_percent_signs_in_the_wire_text_stay() -> None:
    plan = f.plan(f.parse_items(b"ENVELOPE"))
    assert f.print_rows(plan, [1], [(9, b'("100 %d %b")')]) == b'* 1 FETCH (ENVELOPE ("100 %d %b"))\r\n'


def test_rows_that_do_not_fit_the_plan_are_our_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        f.print_rows(f.plan(f.parse_items(b"FLAGS")), [1, 2], [(9, 0, "")])


@given(st.integers(-62_000_000_000_000, 253_402_300_799_999))
def test_the_date_is_format_internaldates(received: int) -> None:
    plan = f.plan((A.INTERNALDATE,))
    line = f.print_rows(plan, [1], [(1, received)])
    assert line == b"* 1 FETCH (INTERNALDATE %b)\r\n" % format_internaldate(Millis(received))


def joined(pieces: list[f.Piece]) -> bytes:
    return b"".join(piece for piece in pieces if not isinstance(piece, Span))


def test_octets_too_many_to_hold_are_left_to_the_session() -> None:
    plan = f.plan(f.parse_items(b"(BODY.PEEK[] UID)"))
    span = Span(10, 5_000_010)
    pieces = f.print_message(plan, 1, (3,), [span])
    assert pieces[-2] is span
    assert joined(pieces) == b"* 1 FETCH (UID 3 BODY[] {5000000}\r\n)\r\n"


def test_body_is_bodystructure_without_its_extension_data() -> None:
    plan = f.plan(f.parse_items(b"(BODY BODYSTRUCTURE UID)"))
    assert plan.contents == ()
    structure = b'("text" "plain" NIL NIL NIL "7bit" 5 1 NIL NIL NIL NIL)'
    assert f.print_rows(plan, [1], [(9, structure)]) == (
        b'* 1 FETCH (BODY ("text" "plain" NIL NIL NIL "7bit" 5 1) BODYSTRUCTURE %b UID 9)\r\n' % structure
    )


def test_a_message_with_contents_is_printed_in_pieces() -> None:
    items = f.parse_items(b"(BODY[TEXT]<0.3> BINARY[1] BINARY.SIZE[1] BODY[9] BINARY.PEEK[2])")
    plan = f.plan(items, uid=True)
    assert plan.columns == (f.Column.UID,)
    assert plan.contents == items
    contents = [b"bod", b"a\0b", 3, None, b"xy"]
    pieces = f.print_message(plan, 1, (3,), contents)
    assert joined(pieces) == (
        b"* 1 FETCH (UID 3 BODY[TEXT]<0> {3}\r\nbod BINARY[1] ~{3}\r\na\0b BINARY.SIZE[1] 3"
        b" BODY[9] NIL BINARY[2] {2}\r\nxy)\r\n"
    )
    assert contents[0] is pieces[3], "literals are handed on uncopied"


def test_a_message_with_contents_and_nothing_else() -> None:
    plan = f.plan(f.parse_items(b"BODY[]"))
    assert joined(f.print_message(plan, 2, (3,), [b""])) == b"* 2 FETCH (BODY[] {0}\r\n)\r\n"


def test_a_message_with_contents_and_rows() -> None:
    plan = f.plan(f.parse_items(b"(FLAGS RFC822.HEADER INTERNALDATE)"))
    assert joined(f.print_message(plan, 2, (3, 1, "", 0), [b"A: b\r\n"])) == (
        b'* 2 FETCH (FLAGS (\\Seen) INTERNALDATE " 1-Jan-1970 00:00:00 +0000" RFC822.HEADER {6}\r\nA: b\r\n)\r\n'
    )


def test_changed_flags() -> None:
    assert f.print_flags(4, 1, "") == b"* 4 FETCH (FLAGS (\\Seen))\r\n"
    assert f.print_flags(4, 0, "$junk", uid=9) == b"* 4 FETCH (UID 9 FLAGS ($Junk))\r\n"


def test_long_item_lists_are_not_kept() -> None:
    before = f._cached_items.cache_info().currsize
    octets = b"(" + b" ".join(b"BODY.PEEK[%d.1]" % n for n in range(1, 100)) + b")"
    assert len(f.plan(f.parse_items(octets)).contents) == 99
    assert f._cached_items.cache_info().currsize == before
