"""wire/imap/flag_lines.py: the same octets as print_rows, whatever the numbers."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.imap.fetch import Attribute
from posthouse.wire.imap.fetch_response import plan, print_rows
from posthouse.wire.imap.flag_lines import flag_lines

KINDS = ((0, ""), (1, ""), (31, "$junk work"), (16, "100%"))


@given(st.sampled_from((1, 2, 998, 1_000, 1_001, 54_321, 999_999, 4_294_960_000)), st.integers(0, 2_100), st.randoms())
def test_lines_are_those_of_rows(first, count, chance):
    values = bytes(chance.randrange(len(KINDS)) for _ in range(count))
    uids = array("I", sorted(chance.sample(range(1, 4_000_000_000), count)))
    rows = [(uid, *KINDS[value]) for uid, value in zip(uids, values, strict=True)]
    numbers = range(first, first + count)
    assert flag_lines(first, values, KINDS) == print_rows(plan((Attribute.FLAGS,)), numbers, rows)
    assert flag_lines(first, values, KINDS, uids) == print_rows(plan((Attribute.FLAGS,), uid=True), numbers, rows)
