"""Commands as values: each family printed in client form is read back the same; what is no command is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.keyword import Keyword
from posthouse.wire.imap import command as c
from posthouse.wire.imap.condition import Condition, Fault
from posthouse.wire.imap.grammar import FlagSet
from posthouse.wire.imap.list import Lsub, StatusItem
from posthouse.wire.imap.number_set import STAR, NumberSet
from posthouse.wire.imap.parse import parse_command
from wire.imap.client_form import PRINTERS, print_command
from wire.imap.strategies import FAMILIES, LSUBS


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data(), utf8=st.booleans())
def test_each_family_is_read_back_as_it_was_printed(family: str, data: st.DataObject, utf8: bool) -> None:
    command = data.draw(FAMILIES[family])
    assert parse_command(print_command(command, utf8), utf8) == command


@given(LSUBS)
def test_lsub_is_read_back_as_it_was_printed(command: Lsub) -> None:
    assert parse_command(print_command(command)) == command


def test_the_round_trips_know_every_command_but_those_that_stream() -> None:
    known = {
        kind for union in (c.CommandAny, c.CommandNonauth, c.CommandAuth, c.CommandSelect) for kind in union.__args__
    }
    assert known - set(PRINTERS) == {c.Append, c.Done}


@given(st.binary(max_size=200))
def test_garbage_is_a_fault_and_nothing_else(octets: bytes) -> None:
    with pytest.raises(Fault):
        parse_command(b"a1 " + octets + b"\0")


@given(st.sampled_from(sorted(FAMILIES)), st.data())
def test_a_damaged_command_is_a_command_or_a_fault(family: str, data: st.DataObject) -> None:
    octets = bytearray(print_command(data.draw(FAMILIES[family])))
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Fault):
        parse_command(bytes(octets))


# The commands of the examples in RFC 9051 §6 and RFC 3501 §6, and spellings seen from real clients.
EXAMPLES: dict[bytes, c.Command] = {
    b"abcd CAPABILITY": c.Capability(b"abcd"),
    b"a002 noop": c.Noop(b"a002"),
    b"A023 LOGOUT": c.Logout(b"A023"),
    b'a023 ID ("name" "sodr" "version" "19.34" "vendor" NIL)': c.Id(
        b"a023", ((b"name", b"sodr"), (b"version", b"19.34"), (b"vendor", None))
    ),
    b"a ID NIL": c.Id(b"a"),
    b"a ID ()": c.Id(b"a"),
    b"a AUTHENTICATE PLAIN": c.Authenticate(b"a", "PLAIN"),
    b"a authenticate plain AHRlc3QAdGVzdA==": c.Authenticate(b"a", "PLAIN", b"\0test\0test"),
    b"a AUTHENTICATE EXTERNAL =": c.Authenticate(b"a", "EXTERNAL", b""),
    b"a001 LOGIN SMITH SESAME": c.Login(b"a001", b"SMITH", b"SESAME"),
    b'a LOGIN "anna@home.test" "p \\"w\\\\"': c.Login(b"a", b"anna@home.test", b'p "w\\'),
    b"a LOGIN {4}\r\nanna {2}\r\n\xff\xfe": c.Login(b"a", b"anna", b"\xff\xfe"),
    b"a ENABLE imap4rev2 CONDSTORE": c.Enable(b"a", ("IMAP4REV2", "CONDSTORE")),
    b"a SELECT inbox": c.Select(b"a", "INBOX"),
    b'a EXAMINE "Sent Items"': c.Select(b"a", "Sent Items", True),
    b"a CREATE owatagusiam/": c.Create(b"a", "owatagusiam/"),
    b"a DELETE foo/bar": c.Delete(b"a", "foo/bar"),
    b"a RENAME blurdybloop sarasoop": c.Rename(b"a", "blurdybloop", "sarasoop"),
    b"a SUBSCRIBE #news.comp.mail.mime": c.Subscribe(b"a", "#news.comp.mail.mime"),
    b"a CREATE &ZeVnLIqe-": c.Create(b"a", "日本語"),
    b"a CREATE Entw&APw-rfe": c.Create(b"a", "Entwürfe"),
    b"a STATUS blurdybloop (uidnext MESSAGES UIDNEXT)": c.Status(
        b"a", "blurdybloop", (StatusItem.UIDNEXT, StatusItem.MESSAGES)
    ),
    b"a STORE 2:4 +FLAGS (\\Deleted)": c.StoreFlags(b"a", NumberSet(((2, 4),)), c.StoreMode.ADD, False, FlagSet(16)),
    b"a UID STORE * -flags.silent \\Seen $Forwarded $SEEN": c.StoreFlags(
        b"a", NumberSet(((STAR, STAR),)), c.StoreMode.REMOVE, True, FlagSet(1, (Keyword("$forwarded"),)), True
    ),
    b"a STORE 1 FLAGS ()": c.StoreFlags(b"a", NumberSet(((1, 1),)), c.StoreMode.REPLACE, False, FlagSet()),
    b"a STORE 1 FLAGS (\\Recent)": c.StoreFlags(b"a", NumberSet(((1, 1),)), c.StoreMode.REPLACE, False, FlagSet()),
    b"a COPY 2:4 MEETING": c.Copy(b"a", NumberSet(((2, 4),)), "MEETING"),
    b"a UID MOVE $ foo": c.Move(b"a", NumberSet((), True), "foo", True),
    b"a EXPUNGE": c.Expunge(b"a"),
    b"a UID EXPUNGE 3000:3002": c.Expunge(b"a", NumberSet(((3000, 3002),))),
}


@pytest.mark.parametrize("octets", EXAMPLES, ids=lambda octets: octets.decode("latin-1"))
def test_examples(octets: bytes) -> None:
    assert parse_command(octets) == EXAMPLES[octets]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"a1",
        b"a1 ",
        b" NOOP",
        b"+ NOOP",
        b"a1  NOOP",
        b"a1 NOOP x",
        b"a1 FROB",
        b"a1 UID NOOP",
        b"a1 UID",
        b"a1 LOGIN",
        b"a1 LOGIN anna",
        b"a1 LOGIN anna pw x",
        b"a1 LOGIN  anna pw",
        b"a1 LOGIN anna\tpw",
        b'a1 LOGIN "anna pw',
        b'a1 LOGIN "an\\na" pw',
        b"a1 LOGIN a\x80 pw",
        b"a1 AUTHENTICATE PLAIN !!!!",
        b"a1 AUTHENTICATE PLAIN AHRlc3QAdGVzdA",
        b"a1 ENABLE",
        b"a1 SELECT",
        b"a1 SELECT a b",
        b"a1 SELECT a (CONDSTORED)",
        b"a1 EXAMINE a (QRESYNC)",
        b"a1 CREATE a (USE (Drafts))",
        b"a1 FETCH 1 (FLAGS) (CHANGEDSINCE 5 VANISHED)",
        b"a1 STORE 1 (UNCHANGEDSINCE 5 UNCHANGEDSINCE 6) FLAGS (\\Seen)",
        b"a1 RENAME a",
        b"a1 STATUS a",
        b"a1 STATUS a ()",
        b"a1 STATUS a (FROBS)",
        b"a1 STORE 1 FLAGS",
        b"a1 STORE 1 ++FLAGS (\\Seen)",
        b"a1 STORE 1 FLAGS (\\Frob)",
        b"a1 STORE 0 FLAGS (\\Seen)",
        b"a1 STORE 1 FLAGS (\\Seen",
        b"a1 COPY 1,,2 b",
        b"a1 COPY 1: b",
        b"a1 COPY 4294967296 b",
        b"a1 MOVE 1",
        b"a1 UID EXPUNGE",
        b'a1 ID ("name")',
        b'a1 ID "name"',
        b"a1 ID (" + b'"a" "b" ' * 30 + b'"a" "b")',
        b"a1 SELECT {3}\r\nab",
        b"a1 SELECT ~{2}\r\nab",
    ],
    ids=lambda octets: octets.decode("latin-1")[:40],
)
def test_what_the_grammar_does_not_allow_is_refused(octets: bytes) -> None:
    with pytest.raises(Fault) as refused:
        parse_command(octets)
    assert refused.value.condition is Condition.BAD


def test_nul_in_login_is_refused_and_never_cut() -> None:
    """`anna` and a NUL is another user than `anna` (limits.md, S12)."""
    for octets in (
        b"a LOGIN {6}\r\nanna\0x pw",
        b"a LOGIN anna {3}\r\np\0w",
        b'a LOGIN "an\0na" pw',
        b"a LOGIN an\0na pw",
    ):
        with pytest.raises(Fault):
            parse_command(octets)


@pytest.mark.parametrize(
    "name", [b"R&D", b"&AOk", b"&AGE-", b"&-&", b"&AOk-&AOk-", b'"\xff"', b"a&AAA-b", b"{3}\r\na\nb", b"&IC-"]
)
def test_a_mailbox_name_in_no_known_spelling_gets_no_cannot(name: bytes) -> None:
    with pytest.raises(Fault) as refused:
        parse_command(b"a CREATE " + name)
    assert (refused.value.condition, refused.value.code) == (Condition.NO, b"CANNOT")


def test_an_imap4rev2_client_writes_utf8_and_the_ampersand_is_a_letter() -> None:
    """RFC 9051 §5.1."""
    assert parse_command(b"a CREATE R&D", utf8=True) == c.Create(b"a", "R&D")
    assert parse_command('a CREATE "Entwürfe"'.encode(), utf8=True) == c.Create(b"a", "Entwürfe")


@pytest.mark.parametrize("command", ['CREATE "Entwürfe"', 'LIST "" "Entw*ü"', 'LIST "ü" %'])
def test_utf8_of_a_client_that_did_not_ask_for_it_is_refused(command: str) -> None:
    """RFC 3501 §5.1.3. mbsync believed it had made that mailbox, did not find it in LIST, and made another."""
    with pytest.raises(Fault) as refused:
        parse_command(b"a " + command.encode())
    assert (refused.value.condition, refused.value.code) == (Condition.NO, b"CANNOT")
    parse_command(b"a " + command.encode(), utf8=True)


def test_the_number_of_names_of_enable_is_limited() -> None:
    with pytest.raises(Fault) as refused:
        parse_command(b"a ENABLE" + b" X" * 101)
    assert refused.value.code == b"LIMIT"


def test_keywords_are_limited() -> None:
    with pytest.raises(Fault) as refused:
        parse_command(b"a STORE 1 FLAGS (" + b"k" * 101 + b")")
    assert refused.value.code == b"LIMIT"
    many = b" ".join(b"k%d" % number for number in range(101))
    with pytest.raises(Fault) as refused:
        parse_command(b"a STORE 1 FLAGS (" + many + b")")
    assert refused.value.code == b"LIMIT"
