"""Sets of numbers: merged, resolved, bounded, and printed the shortest way (RFC 9051 §4.1.1, §9)."""

from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.number_set import STAR, NumberSet, print_each, print_numbers, print_spans, runs
from wire.imap.client_form import parse_number_set, print_number_set
from wire.imap.strategies import NUMBER_SETS


@given(NUMBER_SETS)
def test_a_set_is_read_back_as_it_was_printed(numbers: NumberSet) -> None:
    assert parse_number_set(print_number_set(numbers)) == numbers


@pytest.mark.parametrize(
    ("text", "spans", "saved"),
    [
        (b"1", ((1, 1),), False),
        (b"2,4:7,9,12:*", ((2, 2), (4, 7), (9, 9), (12, STAR)), False),
        (b"*:4,5:7", ((4, STAR),), False),
        (b"4:2", ((2, 4),), False),
        (b"3,1,2", ((1, 3),), False),
        (b"1:5,3:8,9", ((1, 9),), False),
        (b"*", ((STAR, STAR),), False),
        (b"4294967295,*", ((4294967295, 4294967295), (STAR, STAR)), False),
        (b"$", (), True),
        (b"7,$", ((7, 7),), True),
    ],
)
def test_sets_are_merged(text: bytes, spans: tuple[tuple[int, int], ...], saved: bool) -> None:
    assert parse_number_set(text) == NumberSet(spans, saved)


@pytest.mark.parametrize("text", b"|0|01|1:|:1|1,|,1|1::2|a|4294967296|1 |-1|**".split(b"|"))
def test_what_is_no_set_is_refused(text: bytes) -> None:
    with pytest.raises(Fault):
        parse_number_set(text)


def test_a_set_may_have_ten_thousand_elements_when_merged() -> None:
    scattered = b",".join(b"%d" % number for number in range(1, 20_001, 2))
    assert len(parse_number_set(scattered).spans) == 10_000
    with pytest.raises(Fault) as refused:
        parse_number_set(scattered + b",30000")
    assert refused.value.code == b"LIMIT"
    assert parse_number_set(b",".join(b"%d" % number for number in range(1, 12_001))).spans == ((1, 12_000),)


@pytest.mark.parametrize(
    ("text", "maximum", "spans"),
    [
        (b"3291:*", 100, ((100, 3291),)),
        (b"3:*", 5, ((3, 5),)),
        (b"*", 5, ((5, 5),)),
        (b"1,*", 2, ((1, 2),)),
        (b"4,*:2", 9, ((2, 9),)),
        (b"1:3,9", 5, ((1, 3), (9, 9))),
    ],
)
def test_the_star_is_the_last_message(text: bytes, maximum: int, spans: tuple[tuple[int, int], ...]) -> None:
    assert parse_number_set(text).resolve(maximum) == spans


@given(NUMBER_SETS, st.integers(1, 60))
def test_resolving_means_what_the_set_says(numbers: NumberSet, maximum: int) -> None:
    """Against the plain reading, one number after the other."""
    plain = set()
    for first, last in numbers.spans:
        low, high = sorted((maximum if first == STAR else first, maximum if last == STAR else last))
        plain.update(number for number in range(1, 61) if low <= number <= high)
    resolved = numbers.resolve(maximum)
    assert {n for n in range(1, 61) if any(low <= n <= high for low, high in resolved)} == plain
    assert all(before[1] < after[0] for before, after in pairwise(resolved))


def test_whether_the_star_is_among_the_numbers() -> None:
    assert parse_number_set(b"5,*").star
    assert not parse_number_set(b"5").star


@given(st.frozensets(st.integers(1, 50)))
def test_runs_are_the_shortest_spans(numbers: frozenset[int]) -> None:
    spans = runs(array("I", sorted(numbers)))
    assert {n for first, last in spans for n in range(first, last + 1)} == numbers
    assert all(after[0] > before[1] + 1 for before, after in pairwise(spans))


def test_printing() -> None:
    assert print_numbers([]) == b""
    assert print_numbers(array("I", [1, 2, 3, 7, 9, 10])) == b"1:3,7,9:10"
    assert print_numbers(range(1, 100_001)) == b"1:100000"
    assert print_spans([(3, STAR)]) == b"3:*"
    assert print_spans([(STAR, STAR)]) == b"*"


@pytest.mark.parametrize("first", [1, 2, 998, 999, 1_000, 1_001, 1_999, 2_000, 65_000, 4_294_960_000])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 999, 1_000, 1_001, 3_456])
def test_each_number_of_a_run_is_printed(first, count):
    numbers = range(first, first + count)
    expected = b"".join(b" %d" % number for number in numbers)
    assert print_each(numbers) == print_each(list(numbers)) == expected
    assert print_each([*numbers, first + count + 1]) == expected + b" %d" % (first + count + 1)  # no run
