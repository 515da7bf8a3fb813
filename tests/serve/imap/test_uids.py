"""A column of uids is a set like others."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from posthouse.serve.imap import uids
from posthouse.serve.imap.uids import Part, Uids, ascending

few = st.frozensets(st.integers(1, 60), max_size=12)
many = st.frozensets(st.integers(1, 60), max_size=60)


@given(st.one_of(few, many), st.one_of(few, many), st.booleans())
def test_operators_give_what_sets_give(own, other, made):
    column = Uids(array("I", sorted(own)))
    if made:
        column - {1}
    for one in (other, Uids(array("I", sorted(other))), dict.fromkeys(other).keys()):
        assert column & one == one & column == own & other
        assert column - one == own - other
        assert one - column == other - own
        assert column | one == one | column == own | other
    assert column & column == column - frozenset() == own
    assert list(column) == list(ascending(column)) == ascending(own) == sorted(own)
    assert [uid in column for uid in range(62)] == [uid in own for uid in range(62)]
    assert "1" not in column
    assert len(column) == len(own)


def test_few_are_looked_for_in_the_column():
    column = Uids(array("I", range(1, 1_000, 2)))
    assert column & {1, 2, 999, 1_001} == {1, 999}
    assert column & set(range(500)) == set(range(1, 500, 2))
    assert column._made is None
    assert len(column) > 4 * uids.FEW


@given(many, st.lists(st.integers(0, 59), unique=True), many)
def test_a_part_of_a_column_is_a_set_too(own, places, other):
    column = array("I", sorted(own))
    part = Part(column, sorted(place for place in places if place < len(column)))
    plain = frozenset(part)
    for one in (other, Uids(array("I", sorted(other))), Uids(column), Part(column, [*range(len(column))])):
        assert part & one == one & part == plain & frozenset(one)
        assert part - one == plain - frozenset(one)
        assert one - part == frozenset(one) - plain
        assert part | one == plain | frozenset(one)
    assert Uids(column) & part is part
    assert Uids(array("I", column)) & part is part
    assert ascending(part) == sorted(plain)
    assert [uid in part for uid in range(62)] == [uid in plain for uid in range(62)]
    assert len(part) == len(plain)
