"""A selection cut by a field map is the one that reading the block gives."""

from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.fieldmap import LONGEST, MAPPED_FIELDS, Selection, field_map, field_map_of
from posthouse.mail.header import pairs, select_fields

NAMES = (b"From", b"to", b"SUBJECT", b"Received", b"X-Own", b"X-Other", b"Date")
LINES = st.sampled_from(
    [name + b": value\r\n" for name in NAMES]
    + [
        b"To: folded\r\n\tand so\r\n on\r\n",
        b"Cc:\r\n",
        b"Bcc : odd\r\n",
        b"no field\r\n",
        b"bare: lf\n",
        b" lone fold\r\n",
    ]
)
BLOCKS = st.builds(
    lambda lines, blank: b"".join(lines) + blank, st.lists(LINES, max_size=12), st.sampled_from([b"\r\n", b"\n", b""])
)
CHOSEN = st.frozensets(st.sampled_from([name.lower() for name in NAMES] + [b"cc", b"bcc", b"bare", b"none"]))


@given(BLOCKS, CHOSEN, st.booleans())
def test_the_map_changes_nothing(block: bytes, names: frozenset[bytes], matching: bool) -> None:
    selection = Selection(names, matching=matching)
    wanted = select_fields(block, names, matching=matching)
    assert selection.cut(block, field_map(block)) == wanted
    assert selection.cut(block, None) == wanted


@given(st.lists(st.tuples(BLOCKS, st.booleans()), max_size=6), CHOSEN, st.booleans())
def test_many_are_cut_as_one_by_one(some: list[tuple[bytes, bool]], names: frozenset[bytes], matching: bool) -> None:
    selection = Selection(names, matching=matching)
    blocks = [block for block, _ in some]
    maps = [field_map(block) if mapped else None for block, mapped in some]
    wanted = [select_fields(block, names, matching=matching) for block in blocks]
    assert selection.cut_many(blocks, maps) == wanted


@given(BLOCKS)
def test_a_block_that_was_cut_already_has_the_same_map(block: bytes) -> None:
    assert field_map_of(block, pairs(block)) == field_map(block)


@given(st.lists(st.sampled_from([b"A", b":", b" ", b"\r\n", b"\n", b"\r", b"b", b"\n\n", b"\t"]), max_size=14))
def test_what_is_hardly_a_block_too(pieces: list[bytes]) -> None:
    block = b"".join(pieces)
    assert field_map_of(block, pairs(block)) == field_map(block)


def test_what_has_no_map() -> None:
    assert field_map(b"From: a\r\nthis is no field\r\nTo: b\r\n\r\n") is None
    assert field_map(b"From: a\nx\nTo: b\r\n") is None  # what stands between is as long as the end
    assert field_map(b"From: a\r\n\r\nTo: b\r\n") is None
    assert field_map(b"X: " + b"a" * LONGEST + b"\r\n\r\n") is None
    assert field_map(b"X: a\r\n" * (MAPPED_FIELDS + 1) + b"\r\n") is None
    for block in (b"X: " + b"a" * LONGEST + b"\r\n\r\n", b"X: a\r\n" * (MAPPED_FIELDS + 1) + b"\r\n"):
        assert field_map_of(block, pairs(block)) is None


def test_two_spaces_before_a_colon_are_not_taken_for_the_blank_line() -> None:
    block = b"A  : x\r\n"
    assert field_map_of(block, pairs(block)) == field_map(block) == bytes([0, 0, 0, len(block), 0])


def test_a_map_is_small() -> None:
    block = b"From: a\r\nTo: b\r\n\r\n"
    assert len(field_map(block) or b"") == 2 + 3 * 2
