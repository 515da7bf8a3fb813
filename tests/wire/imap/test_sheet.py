"""wire/imap/sheet.py: a sheet filled in says octet for octet what print_rows says (RFC 9051 §7.5.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.imap.fetch import parse_items
from posthouse.wire.imap.fetch_response import Column, FetchPlan, plan, print_rows
from posthouse.wire.imap.sheet import draw, fill_in, form_of
from posthouse.wire.imap.uidonly import uid_plan

KEPT = (
    b"(UID FLAGS ENVELOPE)",
    b"(BODYSTRUCTURE)",
    b"(BODY EMAILID)",
    b"(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To)])",
    b"(INTERNALDATE BODY.PEEK[HEADER.FIELDS (From)] BODY.PEEK[HEADER])",
    b'BODY.PEEK[HEADER.FIELDS ("X-100%d%b")]',
    b"RFC822.HEADER",
)
CHANGING = (b"(UID FLAGS)", b"(MODSEQ ENVELOPE)", b"(ENVELOPE PREVIEW)", b"(ENVELOPE SAVEDATE)", b"(ENVELOPE THREADID)")
CONTENTS = (
    b"BODY.PEEK[]",
    b"BODY.PEEK[TEXT]",
    b"BODY.PEEK[1]",
    b"BODY.PEEK[1.MIME]",
    b"BODY.PEEK[2.HEADER]",
    b"RFC822",
)
NOT_KEPT = (
    *CHANGING,
    *CONTENTS,
    b"BODY.PEEK[HEADER]<0.10>",
    b"(ENVELOPE BINARY.PEEK[1])",
    b"(UID INTERNALDATE RFC822.SIZE)",
)

octets = st.binary(max_size=20) | st.lists(st.sampled_from([b"%", b"%d", b"%b", b"%%", b"x"])).map(b"".join)
VALUES = {
    Column.UID: st.integers(1, 2**32 - 1),
    Column.FLAGS: st.integers(0, 31),
    Column.KEYWORDS: st.sampled_from(["", "$junk", "100% work"]),
    Column.RECEIVED: st.integers(0, 4_000_000_000_000),
    Column.SIZE: st.integers(0, 2**32),
    Column.ENVELOPE: octets,
    Column.STRUCTURE: st.sampled_from([b'("TEXT" "PLAIN" ("NAME" "100%d") NIL NIL "7BIT" 1 1 NIL NIL NIL NIL)']),
    Column.EMAIL: st.integers(1, 2**40),
}


@pytest.mark.parametrize("items", KEPT)
@given(data=st.data())
def test_filled_in_it_is_the_response(items: bytes, data: st.DataObject) -> None:
    asked = parse_items(items)
    for prepared in (plan(asked), plan(asked, uid=True), uid_plan(asked)):
        assert form_of(prepared) is not None
        rows = data.draw(
            st.lists(st.tuples(*(VALUES[column] for column in prepared.columns)), min_size=1, max_size=4), label="rows"
        )
        cut = st.lists(octets, min_size=len(rows), max_size=len(rows))
        contents = [data.draw(cut) for _ in prepared.contents]
        numbers = range(7, 7 + len(rows))
        sheet = draw(prepared, rows, contents)
        assert fill_in(prepared, sheet, numbers, [_flags(prepared, row) for row in rows]) == print_rows(
            prepared, numbers, rows, contents
        )


def _flags(prepared: FetchPlan, row: tuple[object, ...]) -> tuple[int, str]:
    named = dict(zip(prepared.columns, row, strict=True))
    flags, keywords = named.get(Column.FLAGS, 0), named.get(Column.KEYWORDS, "")
    assert isinstance(flags, int)
    assert isinstance(keywords, str)
    return flags, keywords


@pytest.mark.parametrize("items", NOT_KEPT)
def test_what_changes_or_is_short_is_not_kept(items: bytes) -> None:
    assert form_of(plan(parse_items(items))) is None


def test_each_way_to_ask_has_a_form_of_its_own() -> None:
    assert len({form_of(plan(parse_items(items))) for items in KEPT}) == len(KEPT)
    assert form_of(plan(parse_items(b"ENVELOPE"), uid=True)) == form_of(plan(parse_items(b"(UID ENVELOPE)")))
    assert form_of(plan(parse_items(KEPT[0]))) == form_of(plan(parse_items(KEPT[0])))
