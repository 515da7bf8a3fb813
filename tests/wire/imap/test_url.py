"""IMAP URLs of messages, both ways (RFC 5092, RFC 4467 §9)."""

from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from posthouse.mail.structure import Section, SectionText
from posthouse.wire.imap.fetch import Partial
from posthouse.wire.imap.grammar import canonical_mailbox
from posthouse.wire.imap.number_set import LARGEST
from posthouse.wire.imap.url import LONGEST, AccessKind, MessageUrl, parse_relative, parse_url, print_url

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)
PARTS = st.lists(st.integers(1, 99), max_size=4).map(tuple)
SECTIONS = st.one_of(
    st.builds(Section, PARTS, st.sampled_from([SectionText.WHOLE, SectionText.HEADER, SectionText.TEXT])),
    st.builds(Section, PARTS, st.just(SectionText.HEADER_FIELDS), st.just((b"Date", b'a"b', b"x%y"))),
    st.builds(Section, st.just((1, 2)), st.just(SectionText.MIME)),
)
URLS = st.builds(
    MessageUrl,
    user=st.just("") | TEXTS,
    host=st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True),
    mailbox=TEXTS.map(canonical_mailbox),
    uidvalidity=st.none() | st.integers(1, LARGEST),
    uid=st.integers(1, LARGEST),
    section=SECTIONS,
    partial=st.none() | st.builds(Partial, st.integers(0, 2**40), st.integers(1, 2**40)),
)


@given(URLS)
def test_what_is_printed_is_read_again(url):
    assert parse_url(print_url(url)) == url


@given(URLS)
def test_what_is_printed_without_its_server_is_read_again(url):
    """RFC 5092 §7."""
    relative = b"/" + print_url(url).split(b"/", 3)[3]
    assume(not url.mailbox.startswith("/") and not {".", ".."} & set(url.mailbox.split("/")))
    expected = replace(url, user="", host="")
    assert parse_relative(relative, "") == parse_relative(relative, "a/b") == expected


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda octets: octets + b"/;UID=1"), TEXTS)
@example(b"../../;UID=1", "a/b")
@example(b"%ff/;UID=1", "a")
def test_garbage_is_no_relative_url_and_no_exception(octets, base):
    parse_relative(octets, base)


@pytest.mark.parametrize(
    ("octets", "base", "mailbox"),
    [
        (b"/Drafts/;UID=20", "", "Drafts"),
        (b"/inbox;UIDVALIDITY=7/;UID=20", "a", "INBOX"),
        (b"/a/b/;UID=20", "x/y", "a/b"),
        (b";UID=20", "a/b", ""),
        (b";uid=20/;section=HEADER/;partial=1.2", "a", ""),
        (b"Drafts/;UID=20", "", "Drafts"),
        (b"c/;UID=20", "a/b", "a/c"),
        (b"./c/;UID=20", "a/b", "a/c"),
        (b"../c/;UID=20", "a/b/d", "a/c"),
        (b"../../../c/;UID=20", "a/b", "c"),
        (b"c/./d/../e/;UID=20", "a/b", "a/c/e"),
        (b"/a/../b/;UID=20", "x", "b"),
        (b"%2E%2E/;UID=20", "x", ".."),
        (b"c/;UID=20", "ü%41/../b", "ü%41/../c"),
        (b"/Entw%C3%BCrfe/;UID=20", "", "Entwürfe"),
        (b"a%3Ab/;UID=20", "", "a:b"),
        (b"./a:b/;UID=20", "", "a:b"),
    ],
)
def test_relative_urls(octets, base, mailbox):
    """RFC 5092 §7, RFC 3986 §5.2, RFC 4469 §3."""
    url = parse_relative(octets, base)
    assert url is not None
    assert (url.mailbox, url.uid) == (mailbox, 20)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"/",
        b"/;UID=1",
        b"..;UID=1",
        b"../;UID=1",
        b"/INBOX",
        b"/INBOX;UIDVALIDITY=1",
        b"/INBOX;UID=1",
        b"/INBOX/;UID=0",
        b"/INBOX/;UID=4294967296",
        b"/INBOX/;SECTION=1",
        b";SECTION=1",
        b";PARTIAL=1.2",
        b"/INBOX?SUBJECT%20x",
        b"/INBOX/;UID=1;URLAUTH=anonymous",
        b"//example.com/INBOX/;UID=1",
        b"imap://example.com/INBOX/;UID=1",
        b"imap:/INBOX/;UID=1",
        b"imap:INBOX/;UID=1",
        b"/INBOX/;UID=1/;SECTION=NOWHERE",
        b"/INBOX/;UID=1\r\n",
        b"/IN%00BOX/;UID=1",
        b"/%FF/;UID=1",
        b"/" + b"a" * LONGEST + b"/;UID=1",
    ],
)
def test_what_names_no_message_relative_to_a_mailbox_is_none(octets):
    assert parse_relative(octets, "base") is None


def test_a_message_without_a_mailbox_needs_a_selected_one():
    """RFC 4469 §3."""
    assert parse_relative(b";UID=1", "") is None


@given(st.binary(max_size=200).map(lambda octets: b"imap://a@b/c/;UID=1" + octets) | st.binary(max_size=300))
@example(b"imap://a@b/%ff/;UID=1")
@example(b"imap://a@b/c/;UID=1/;SECTION=1%")
@example(b"imap://a@b/c/;UID=1;EXPIRE=9999-99-99T99:99:99Z;URLAUTH=anonymous")
def test_garbage_is_no_url_and_no_exception(octets):
    parse_url(octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"imap://joe@example.com/",
        b"imap://joe@example.com/INBOX",
        b"imap://joe@example.com/INBOX;UIDVALIDITY=1",
        b"imap://joe@example.com/INBOX?SUBJECT%20x",
        b"imap://joe@example.com/INBOX/;UID=0",
        b"imap://joe@example.com/INBOX/;UID=4294967296",
        b"imap://joe@example.com/INBOX/;UID=1/;SECTION=NOWHERE",
        b"imap://joe@example.com/INBOX/;UID=1/;SECTION=1.0",
        b"imap://joe@example.com/INBOX/;UID=1/;PARTIAL=0.0",
        b"imap://joe@example.com/INBOX/;UID=1;URLAUTH=somebody",
        b"imap://joe@example.com/INBOX/;UID=1;URLAUTH=anonymous:internal:1234",
        b"imap://joe@example.com/INBOX/;UID=1;URLAUTH=anonymous;EXPIRE=2030-01-01T00:00:00Z",
        b"imap://joe@example.com/IN%00BOX/;UID=1",
        b"imap://joe@example.com/IN BOX/;UID=1",
        b"http://joe@example.com/INBOX/;UID=1",
        b"imap://joe@example.com/INBOX/;UID=1\r\n",
        b"imap://joe@example.com/" + b"a" * LONGEST + b"/;UID=1",
    ],
)
def test_what_names_no_message_is_none(octets):
    assert parse_url(octets) is None


def test_what_urlauth_adds():
    rump = b"imap://joe%40home.test;AUTH=*@Example.COM:143/inbox;uidvalidity=7/;uid=20/;section=1.2/;partial=3"
    tail = b";expire=2007-02-13T14:30:00+01:30;urlauth=Submit+fred%40home.test"
    url = parse_url(rump + tail + b":internal:91354a473744909de610943775f92038")
    assert url is not None
    assert (url.user, url.host, url.mailbox, url.uidvalidity, url.uid) == (
        "joe@home.test", "example.com", "INBOX", 7, 20,
    )  # fmt: skip
    assert url.section == Section((1, 2))
    assert url.partial is not None
    assert url.partial.cut(b"abcdef") == b"def"
    auth = url.auth
    assert auth is not None
    assert (auth.kind, auth.who, auth.mechanism) == (AccessKind.SUBMIT, "fred@home.test", "INTERNAL")
    assert auth.expire == 1_171_371_600_000
    assert auth.token == b"91354a473744909de610943775f92038"
    assert auth.rump == rump + tail  # RFC 4467 §6: not one octet changed
