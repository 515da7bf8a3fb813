"""Responses as octets (RFC 9051 §7, RFC 3501 §7, RFC 5530, RFC 4315)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.imap import code
from posthouse.wire.imap import response as r
from posthouse.wire.imap.grammar import Scanner
from posthouse.wire.imap.list import StatusItem
from posthouse.wire.imap.partial import PartialRange
from wire.imap.strategies import MAILBOX_TEXTS

EXAMPLES: list[tuple[r.Response, bytes]] = [
    (r.MetadataChanged("", ("/shared/comment", "/private/x")), b'* METADATA "" /shared/comment /private/x\r\n'),
    (
        r.Metadata("INBOX", (("/shared/comment", b"It's sunny"), ("/private/x", None), ("/private/y", b"\0"))),
        b'* METADATA INBOX (/shared/comment "It\'s sunny" /private/x NIL /private/y ~{1}\r\n\0)\r\n',
    ),
    (r.ok(b"a1", "NOOP completed."), b"a1 OK NOOP completed.\r\n"),
    (r.ok(None, "Still here."), b"* OK Still here.\r\n"),
    (r.no(b"a", "No.", code.TRYCREATE), b"a NO [TRYCREATE] No.\r\n"),
    (r.bad(None, "What?"), b"* BAD What?\r\n"),
    (r.bye("Good night.", code.UNAVAILABLE), b"* BYE [UNAVAILABLE] Good night.\r\n"),
    (r.ok(None, "x", code.capability(["IMAP4rev1", "IMAP4rev2"])), b"* OK [CAPABILITY IMAP4rev1 IMAP4rev2] x\r\n"),
    (
        r.ok(None, "x", code.permanentflags()),
        b"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] x\r\n",
    ),
    (
        r.ok(None, "x", code.permanentflags(("$mdnsent", "x"))),
        b"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $MDNSent x \\*)] x\r\n",
    ),
    (r.ok(None, "x", code.uidnext(7)), b"* OK [UIDNEXT 7] x\r\n"),
    (r.ok(None, "x", code.uidvalidity(9)), b"* OK [UIDVALIDITY 9] x\r\n"),
    (r.ok(b"a", "x", code.appenduid(38505, [3955])), b"a OK [APPENDUID 38505 3955] x\r\n"),
    (
        r.ok(b"a", "x", code.copyuid(5, [304, 319, 320], [3956, 3957, 3958])),
        b"a OK [COPYUID 5 304,319:320 3956:3958] x\r\n",
    ),
    (r.ContinueRequest("idling"), b"+ idling\r\n"),
    (r.Challenge(b"\0\xff"), b"+ AP8=\r\n"),
    (r.Printed(b"* 1 FETCH (UID 1)\r\n"), b"* 1 FETCH (UID 1)\r\n"),
    (r.Capabilities(("IMAP4rev1", "AUTH=PLAIN")), b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"),
    (r.Enabled(("IMAP4rev2",)), b"* ENABLED IMAP4rev2\r\n"),
    (r.Enabled(()), b"* ENABLED\r\n"),
    (r.Identification(), b"* ID NIL\r\n"),
    (r.Identification(((b"name", b"Posthouse"), (b"os", None))), b'* ID ("name" "Posthouse" "os" NIL)\r\n'),
    (r.Listed((b"\\HasNoChildren",), "INBOX"), b'* LIST (\\HasNoChildren) "/" INBOX\r\n'),
    (r.Listed((), "Sent Items"), b'* LIST () "/" "Sent Items"\r\n'),
    (r.Listed((), "nil"), b'* LIST () "/" "nil"\r\n'),
    (r.Listed((), "Entwürfe"), b'* LIST () "/" Entw&APw-rfe\r\n'),
    (r.Listed((b"\\Noselect", b"\\HasChildren"), "a%b"), b'* LIST (\\Noselect \\HasChildren) "/" "a%b"\r\n'),
    (r.Listed((), "Foo", childinfo=(b"SUBSCRIBED",)), b'* LIST () "/" Foo ("CHILDINFO" ("SUBSCRIBED"))\r\n'),
    (r.Listed((), "New", old_name="Old one"), b'* LIST () "/" New ("OLDNAME" ("Old one"))\r\n'),
    (r.Listed((), "x", lsub=True), b'* LSUB () "/" x\r\n'),
    (r.Delimiter(), b'* LIST (\\Noselect) "/" ""\r\n'),
    (r.Namespaces(), b'* NAMESPACE (("" "/")) NIL NIL\r\n'),
    (
        r.Namespaces(shared=(r.NamespacePrefix("Shared/"), r.NamespacePrefix("b/"))),
        b'* NAMESPACE (("" "/")) NIL (("Shared/" "/")("b/" "/"))\r\n',
    ),
    (
        r.MailboxStatus("b c", ((StatusItem.MESSAGES, 231), (StatusItem.UIDNEXT, 44292))),
        b'* STATUS "b c" (MESSAGES 231 UIDNEXT 44292)\r\n',
    ),
    (r.Flags(), b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"),
    (r.Flags(("$mdnsent", "x")), b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $MDNSent x)\r\n"),
    (r.SearchResult([2, 84, 882]), b"* SEARCH 2 84 882\r\n"),
    (r.SearchResult([]), b"* SEARCH\r\n"),
    (
        r.ExtendedSearchResult(b"A282", False, min=2, count=3, all=[2, 10, 11]),
        b'* ESEARCH (TAG "A282") MIN 2 ALL 2,10:11 COUNT 3\r\n',
    ),
    (r.ExtendedSearchResult(b"A", True, max=9), b'* ESEARCH (TAG "A") UID MAX 9\r\n'),
    (r.ExtendedSearchResult(b"A", True, all=[], count=0), b'* ESEARCH (TAG "A") UID COUNT 0\r\n'),
    (
        r.ResultChange(b"C01", True, ((0, [32768]),), ((1, [2731, 2732, 2733]), (5, [9, 8]))),
        b'* ESEARCH (TAG "C01") UID REMOVEFROM (0 32768) ADDTO (1 2731:2733 5 9,8)\r\n',
    ),
    (
        r.ExtendedSearchResult(b"A", True, partial=(PartialRange(-1, -100), [5, 6, 9])),
        b'* ESEARCH (TAG "A") UID PARTIAL (-1:-100 5:6,9)\r\n',
    ),
    (
        r.ExtendedSearchResult(b"A", True, partial=(PartialRange(24000, 24500), [])),
        b'* ESEARCH (TAG "A") UID PARTIAL (24000:24500 NIL)\r\n',
    ),
    (
        r.ExtendedSearchResult(b"E01", True, all=[9, 8, 3, 4, 5, 1, 2], ascending=False),
        b'* ESEARCH (TAG "E01") UID ALL 9,8,3:5,1:2\r\n',
    ),
    (r.Exists(23), b"* 23 EXISTS\r\n"),
    (r.Recent(), b"* 0 RECENT\r\n"),
    (r.SortResult((3, 1), 620162338), b"* SORT 3 1 (MODSEQ 620162338)\r\n"),  # RFC 7162 §3.1.9
    (r.Vanished((405, 407, 410)), b"* VANISHED 405,407,410\r\n"),  # RFC 7162 §3.2.7
    (r.Vanished((41, 43, 44), earlier=True), b"* VANISHED (EARLIER) 41,43:44\r\n"),
]


@pytest.mark.parametrize(
    ("response", "octets"), EXAMPLES, ids=lambda value: value.decode() if isinstance(value, bytes) else ""
)
def test_examples(response: r.Response, octets: bytes) -> None:
    assert r.print_response(response) == octets


def test_every_kind_of_response_has_an_example() -> None:
    assert {type(response) for response, _ in EXAMPLES} == set(r.Response.__args__)


@pytest.mark.parametrize(
    ("response", "octets"),
    [
        (r.Listed((), "Entwürfe"), '* LIST () "/" "Entwürfe"\r\n'),
        (r.Listed((), "R&D"), '* LIST () "/" R&D\r\n'),
        (r.no(b"a", "Kein Entwürfe"), "a NO Kein Entwürfe\r\n"),
        (r.Namespaces((r.NamespacePrefix("ä/"),)), '* NAMESPACE (("ä/" "/")) NIL NIL\r\n'),
    ],
)
def test_an_imap4rev2_client_gets_utf8(response: r.Response, octets: str) -> None:
    assert r.print_response(response, utf8=True) == octets.encode()


def test_a_text_can_never_end_its_line() -> None:
    """A mailbox name in a text must not become a response of its own."""
    assert r.print_response(r.no(b"a", "No x\r\n* BYE\0\x1b.")) == b"a NO No x * BYE .\r\n"


@given(st.binary().filter(lambda octets: b"\0" not in octets), st.booleans())
def test_an_astring_is_read_back_as_it_was_printed(octets: bytes, utf8: bool) -> None:
    scanner = Scanner(r.print_astring(octets, utf8))
    assert scanner.astring() == octets
    scanner.end()


@given(st.none() | st.binary().filter(lambda octets: b"\0" not in octets))
def test_an_nstring_is_read_back_as_it_was_printed(octets: bytes | None) -> None:
    scanner = Scanner(r.print_nstring(octets))
    assert scanner.nstring() == octets
    scanner.end()


@given(MAILBOX_TEXTS, st.booleans())
def test_a_mailbox_name_is_read_back_as_it_was_printed(name: str, utf8: bool) -> None:
    scanner = Scanner(r.print_mailbox(name, utf8), utf8=utf8)
    assert scanner.mailbox() == ("INBOX" if name.upper() == "INBOX" else name)
    scanner.end()


def test_long_strings_are_literals() -> None:
    assert r.print_string(b"x" * 1_001).startswith(b"{1001}\r\n")
    assert r.print_string("ä".encode()) == b"{2}\r\n\xc3\xa4"
    assert r.print_string("ä".encode(), utf8=True) == '"ä"'.encode()


def test_expunges_in_their_order():
    assert r.print_expunged([44, 3]) == b"* 44 EXPUNGE\r\n* 3 EXPUNGE\r\n"
    assert r.print_expunged([]) == b""
