"""SEARCH as a tree of keys (RFC 9051 §6.4.4, RFC 3501 §6.4.4)."""

from datetime import date

import pytest

from posthouse.mail.keyword import ANSWERED_BIT, DELETED_BIT, FLAGGED_BIT, SEEN_BIT, Keyword
from posthouse.wire.imap import search as s
from posthouse.wire.imap.condition import Condition, Fault
from posthouse.wire.imap.number_set import STAR, NumberSet
from posthouse.wire.imap.parse import parse_command
from posthouse.wire.imap.partial import PartialRange
from posthouse.wire.imap.search_return import ALL_OF_THEM, SearchReturns
from posthouse.wire.imap.search_return import SearchReturn as R

EXAMPLES = {
    b'SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"': s.Search(
        b"a",
        s.And(
            (
                s.HasFlags(FLAGGED_BIT),
                s.Received(s.Comparison.SINCE, date(1994, 2, 1)),
                s.Not(s.HeaderContains("from", "Smith")),
            )
        ),
    ),
    b"SEARCH RETURN (MIN COUNT) FLAGGED": s.Search(
        b"a", s.HasFlags(FLAGGED_BIT), SearchReturns(frozenset({R.MIN, R.COUNT}))
    ),
    b"SEARCH RETURN () ALL": s.Search(b"a", s.All(), ALL_OF_THEM),
    b"SEARCH RETURN (PARTIAL 500:1) ALL": s.Search(b"a", s.All(), SearchReturns(frozenset(), PartialRange(500, 1))),
    b"SEARCH return (count partial -1:-100) ALL": s.Search(
        b"a", s.All(), SearchReturns(frozenset({R.COUNT}), PartialRange(-1, -100))
    ),
    b"uid search return (save) uid 5:* $": s.Search(
        b"a",
        s.And((s.Numbers(NumberSet(((5, STAR),)), True), s.Numbers(NumberSet((), True), False))),
        SearchReturns(frozenset({R.SAVE})),
        True,
    ),
    b"SEARCH CHARSET UTF-8 TEXT {12}\r\n\xd0\xbc\xd0\xb0\xd1\x82\xd1\x8c\r\nxx": s.Search(
        b"a", s.TextContains("мать\r\nxx"), labelled=True
    ),
    b"SEARCH charset us-ascii SUBJECT x": s.Search(b"a", s.HeaderContains("subject", "x"), labelled=True),
    b'SEARCH OR (DELETED UNSEEN) HEADER "Message-ID" <x@y>': s.Search(
        b"a",
        s.Or(s.And((s.HasFlags(DELETED_BIT), s.Not(s.HasFlags(SEEN_BIT)))), s.HeaderContains("message-id", "<x@y>")),
    ),
    b'SEARCH HEADER X ""': s.Search(b"a", s.HeaderContains("x", "")),
    b'SEARCH SENTON "17-Jul-1996" LARGER 5000 SMALLER 0': s.Search(
        b"a", s.And((s.Sent(s.Comparison.ON, date(1996, 7, 17)), s.Larger(5_000), s.Smaller(0)))
    ),
    b"SEARCH KEYWORD $Forwarded UNKEYWORD $Answered": s.Search(
        b"a", s.And((s.HasKeyword(Keyword("$forwarded")), s.Not(s.HasFlags(ANSWERED_BIT))))
    ),
    b'SEARCH FUZZY (SUBJECT "IMAP break")': s.Search(b"a", s.Fuzzy(s.HeaderContains("subject", "IMAP break"))),
    b"SEARCH FUZZY SUBJECT work FROM x": s.Search(
        b"a", s.And((s.Fuzzy(s.HeaderContains("subject", "work")), s.HeaderContains("from", "x")))
    ),
    b"SEARCH RETURN (RELEVANCY ALL) FUZZY fuzzy NOT TEXT Helo": s.Search(
        b"a", s.Fuzzy(s.Not(s.TextContains("Helo"))), SearchReturns(frozenset({R.RELEVANCY, R.ALL}))
    ),
    b"SEARCH NEW": s.Search(b"a", s.Nothing()),
    b"SEARCH OLD": s.Search(b"a", s.All()),
    b"SEARCH RECENT": s.Search(b"a", s.Nothing()),
    b"SEARCH 1:3,*": s.Search(b"a", s.Numbers(NumberSet(((1, 3), (STAR, STAR))), False)),
    b"SEARCH (((ALL)))": s.Search(b"a", s.All()),
}


@pytest.mark.parametrize("octets", EXAMPLES, ids=lambda octets: octets.decode("latin-1"))
def test_examples(octets: bytes) -> None:
    assert parse_command(b"a " + octets) == EXAMPLES[octets]


@pytest.mark.parametrize(
    "octets",
    [
        b"SEARCH",
        b"SEARCH ",
        b"SEARCH FROB",
        b"SEARCH NOT",
        b"SEARCH OR ALL",
        b"SEARCH ()",
        b"SEARCH (ALL",
        b"SEARCH ALL)",
        b"SEARCH FROM",
        b"SEARCH ON 31-Feb-1994",
        b"SEARCH ON 1-Foo-1994",
        b"SEARCH ON 1-Feb-94",
        b'SEARCH ON "1-Feb-1994',
        b"SEARCH ON 1-Feb-0000",
        b"SEARCH LARGER x",
        b"SEARCH LARGER 9223372036854775808",
        b"SEARCH KEYWORD \\Seen",
        b"SEARCH TEXT {1}\r\n\xff",
        b"SEARCH CHARSET US-ASCII TEXT {2}\r\n\xc3\xa4",
        b"SEARCH RETURN (FROB) ALL",
        b"SEARCH RETURN ALL",
        b"SEARCH RETURN (PARTIAL) ALL",
        b"SEARCH RETURN (PARTIAL 1) ALL",
        b"SEARCH RETURN (PARTIAL 0:1) ALL",
        b"SEARCH RETURN (PARTIAL 1:*) ALL",
        b"SEARCH RETURN (PARTIAL 1:-1) ALL",
        b"SEARCH RETURN (PARTIAL 1:4294967296) ALL",
        b"SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL",
        b"SEARCH RETURN (PARTIAL 1:2 ALL) ALL",
        b"SEARCH UID",
        b"SEARCH HEADER X",
        b"SEARCH MODSEQ five",
    ],
)
def test_what_is_no_search_is_refused(octets: bytes) -> None:
    with pytest.raises(Fault) as refused:
        parse_command(b"a " + octets)
    assert refused.value.condition is Condition.BAD


@pytest.mark.parametrize("name", ["KLINGON", "base64", "unicode_escape", "idna", "rot13", "x" * 100])
def test_an_unknown_charset_leaves_the_keys_unread(name: str) -> None:
    """RFC 9051 §6.4.4; what a session does then: tests/transcripts/imap/search-charset.txt."""
    command = parse_command(f"a SEARCH RETURN (SAVE) CHARSET {name} TEXT x".encode())
    assert isinstance(command, s.Search)
    assert command.key == s.UnknownCharset()


@pytest.mark.parametrize("name", ["KOI8-R", "windows-1251", "iso-8859-5"])
def test_strings_are_read_in_the_charset(name: str) -> None:
    octets = "тест".encode(name)
    command = parse_command(b"a SEARCH CHARSET %b TEXT {%d}\r\n%b" % (name.encode(), len(octets), octets))
    assert isinstance(command, s.Search)
    assert command.key == s.TextContains("тест")


def test_a_string_that_is_not_in_the_charset_is_refused() -> None:
    with pytest.raises(Fault) as refused:
        parse_command(b"a SEARCH CHARSET US-ASCII TEXT {1}\r\n\xff")
    assert refused.value.condition is Condition.BAD


def test_depth_is_limited_to_50() -> None:
    assert parse_command(b"a SEARCH " + b"(" * 50 + b"ALL" + b")" * 50)
    assert parse_command(b"a SEARCH " + b"NOT " * 50 + b"ALL")
    for octets in (b"(" * 51 + b"ALL" + b")" * 51, b"NOT " * 51 + b"ALL", b"OR ALL " * 51 + b"ALL", b"(" * 60_000):
        with pytest.raises(Fault) as refused:
            parse_command(b"a SEARCH " + octets)
        assert refused.value.code == b"LIMIT"


def test_keys_are_limited_to_1000() -> None:
    assert parse_command(b"a SEARCH" + b" ALL" * 1_000)
    for octets in (b"ALL" + b" ALL" * 1_000, b"OR ALL ALL" + b" ALL" * 998, b"(ALL" + b" ALL" * 999 + b")"):
        with pytest.raises(Fault) as refused:
            parse_command(b"a SEARCH " + octets)
        assert refused.value.code == b"LIMIT"
