"""LIST: its options, and matching that never explodes (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154)."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.list import List, ListReturn, ListSelection, Lsub, StatusItem, matches
from posthouse.wire.imap.parse import parse_command

SUBSCRIBED, RECURSIVEMATCH = ListSelection.SUBSCRIBED, ListSelection.RECURSIVEMATCH


def listing(reference: str, *patterns: str, **options: object) -> List:
    return List(b"a", reference, patterns, **options)  # type: ignore[arg-type]


EXAMPLES = {
    b'a LIST "" *': listing("", "*"),
    b'a LIST "" ""': listing("", ""),
    b'a LIST ~/Mail/ "%"': listing("~/Mail/", "%"),
    b"a LIST {2}\r\na/ {1}\r\n*": listing("a/", "*"),
    b'a LIST "" (INBOX "Sent/%")': listing("", "INBOX", "Sent/%", extended=True),
    b'a LIST () "" %': listing("", "%", extended=True),
    b'a LIST (SUBSCRIBED) "" "*"': listing("", "*", selection=frozenset({SUBSCRIBED}), extended=True),
    b'a LIST (remote recursivematch subscribed) "" % RETURN (children)': listing(
        "",
        "%",
        selection=frozenset({SUBSCRIBED, RECURSIVEMATCH, ListSelection.REMOTE}),
        returns=frozenset({ListReturn.CHILDREN}),
        extended=True,
    ),
    b'a LIST (SPECIAL-USE) "" *': listing("", "*", selection=frozenset({ListSelection.SPECIAL_USE}), extended=True),
    b'a LIST "" % RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES UNSEEN))': listing(
        "",
        "%",
        returns=frozenset({ListReturn.SUBSCRIBED, ListReturn.SPECIAL_USE, ListReturn.STATUS}),
        status=(StatusItem.MESSAGES, StatusItem.UNSEEN),
        extended=True,
    ),
    b'a LIST "" % RETURN ()': listing("", "%", extended=True),
    b'a LIST "" &AOk-*': listing("", "é*"),
}


@pytest.mark.parametrize("octets", EXAMPLES, ids=lambda octets: octets.decode())
def test_examples(octets: bytes) -> None:
    assert parse_command(octets) == EXAMPLES[octets]


def test_lsub() -> None:
    assert parse_command(b'a LSUB "#news." "comp.mail.*"') == Lsub(b"a", "#news.", "comp.mail.*")


@pytest.mark.parametrize(
    "octets",
    [
        b"a LIST",
        b'a LIST ""',
        b'a LIST "" ()',
        b'a LIST (FROB) "" *',
        b'a LIST (RECURSIVEMATCH) "" *',
        b'a LIST (REMOTE RECURSIVEMATCH) "" *',
        b'a LIST "" * RETURN',
        b'a LIST "" * RETURN (FROB)',
        b'a LIST "" * RETURN (STATUS)',
        b'a LIST "" * RETURN (STATUS ())',
        b'a LIST "" * (SUBSCRIBED)',
        b'a LIST "" *(',
    ],
)
def test_what_list_does_not_know_is_refused(octets: bytes) -> None:
    with pytest.raises(Fault):
        parse_command(octets)


@pytest.mark.parametrize("octets", [b'a LIST "" (' + b"x " * 100 + b"x)", b'a LIST "" ' + b"x" * 1_001])
def test_patterns_are_limited(octets: bytes) -> None:
    with pytest.raises(Fault) as refused:
        parse_command(octets)
    assert refused.value.code == b"LIMIT"


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "a/b/c", True),
        ("%", "a", True),
        ("%", "a/b", False),
        ("a/%", "a/b", True),
        ("a/%", "a", False),
        ("a/%/c", "a/b/c", True),
        ("%/%", "a/b/c", False),
        ("*c", "a/b/c", True),
        ("%c", "a/b/c", False),
        ("a*%", "a/b", True),
        ("%*%", "a/b", True),
        ("", "", True),
        ("", "a", False),
        ("a", "A", False),
        ("inbox", "INBOX", True),
        ("InB%", "INBOX", True),
        ("inbox/%", "INBOX/a", True),
        ("a.b", "axb", False),
        ("*", "", True),
    ],
)
def test_matching(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@given(st.text("ab/*%", max_size=10), st.text("ab/", max_size=10))
def test_matching_is_what_a_regular_expression_would_say(pattern: str, name: str) -> None:
    expression = "".join({"*": ".*", "%": "[^/]*"}.get(letter, letter) for letter in pattern)
    assert matches(pattern, name) is bool(re.fullmatch(expression, name))


def test_a_hostile_pattern_takes_no_longer_than_any_other() -> None:
    """A backtracking matcher would need longer than the universe is old (limits.md, S5)."""
    begin = time.process_time()
    assert not matches("*a" * 500, "a" * 400 + "b")
    assert not matches("%a*" * 300, "a" * 250)
    assert time.process_time() - begin < 5
