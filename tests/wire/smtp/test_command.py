"""wire/smtp/command.py and grammar.py (RFC 5321 §4.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath, parse_address
from posthouse.mail.envelope import BodyType
from posthouse.wire.smtp.command import (
    Auth,
    Bdat,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Malformed,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unknown,
    Vrfy,
)
from posthouse.wire.smtp.parse import parse

BEN = ReversePath(Address("ben", Domain("work.test")))
ANNA = ForwardPath(Address("anna", Domain("home.test")))


def refusal(line: bytes) -> tuple[int, str]:
    """Code and status of a Malformed."""
    event = parse(line)
    assert isinstance(event, Malformed), event
    assert event.reply.text
    return event.reply.code, str(event.reply.status)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"EHLO client.test", Ehlo("client.test")),
        (b"ehlo [IPv6:2001:db8::1]  ", Ehlo("[IPv6:2001:db8::1]")),
        (b"EHLO my_pc", Ehlo("my_pc")),
        (b"HELO x", Helo("x")),
        (b"LHLO x", Lhlo("x")),
        (b"DATA", Data()),
        (b"data ", Data()),
        (b"RSET", Rset()),
        (b"QUIT", Quit()),
        (b"STARTTLS", StartTls()),
        (b"NOOP", Noop()),
        (b"NOOP anything at all", Noop()),
        (b"HELP", Help()),
        (b"HELP MAIL", Help()),
        (b"VRFY anna", Vrfy()),
        (b"EXPN list", Expn()),
        (b"MAIL FROM:<ben@work.test>", Mail(BEN)),
        (b"mail from: <ben@WORK.test> ", Mail(BEN)),
        (b"MAIL FROM:<>", Mail(ReversePath(None))),
        (b"MAIL FROM:<ben@work.test> SIZE=77 BODY=8bitmime", Mail(BEN, size=77, body=BodyType.EIGHT_BIT_MIME)),
        (b"MAIL FROM:<ben@work.test> body=7BIT", Mail(BEN)),
        (b"MAIL FROM:<ben@work.test> AUTH=<>", Mail(BEN, auth="<>")),
        (b"MAIL FROM:<ben@work.test> AUTH=e+3Dmc2@example.com", Mail(BEN, auth="e=mc2@example.com")),
        (
            b"MAIL FROM:<j\xc3\xbcrgen@work.test> SMTPUTF8",
            Mail(ReversePath(Address("jürgen", BEN.address.domain)), utf8=True),
        ),
        (b"RCPT TO:<anna@home.test>", Rcpt(ANNA)),
        (b"RCPT TO:<@a.test:anna@home.test>", Rcpt(ANNA)),
        (b"RCPT TO:<@a.test,@[192.0.2.1]:anna@home.test>", Rcpt(ANNA)),
        (b"RCPT TO:<POSTMASTER>", Rcpt(ForwardPath(Address("POSTMASTER", Domain(""))))),
        (b'RCPT TO:<"anna"@home.test>', Rcpt(ANNA)),
        (b'RCPT TO:<"a >\\"b"@home.test>', Rcpt(ForwardPath(Address('a >"b', Domain("home.test"))))),
        (b"RCPT TO:<ben%work.test@home.test>", Rcpt(ForwardPath(Address("ben%work.test", Domain("home.test"))))),
        (b"RCPT TO:<work.test!ben@home.test>", Rcpt(ForwardPath(Address("work.test!ben", Domain("home.test"))))),
        (b'RCPT TO:<"ben@work.test"@home.test>', Rcpt(ForwardPath(Address("ben@work.test", Domain("home.test"))))),
        (b"BDAT 0", Bdat(0, False)),
        (b"bdat 86 last", Bdat(86, True)),
        (b"AUTH PLAIN", Auth("PLAIN")),
        (b"auth plain =", Auth("PLAIN", b"")),
        (b"AUTH scram-sha-256 YQ==", Auth("SCRAM-SHA-256", b"a")),
        (b"FROB x", Unknown("FROB")),
        (b"\xff\xfe", Unknown("\ufffd\ufffd")),
        (b"X" * 99, Unknown("X" * 32)),
        (b"TURN", Unknown("TURN")),
    ],
)
def test_commands(line: bytes, expected: Command) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "code", "status"),
    [
        (b"", 500, "5.5.2"),
        (b" NOOP", 500, "5.5.2"),
        (b"NO\0OP", 500, "5.5.2"),
        (b"NOOP a\tb", 500, "5.5.2"),
        (b"NOOP a\rb", 500, "5.5.2"),
        (b"NOOP \x7f", 500, "5.5.2"),
        (b"EHLO", 501, "5.5.4"),
        (b"EHLO two words", 501, "5.5.4"),
        (b"EHLO " + b"x" * 256, 501, "5.5.4"),
        (b"HELO \xc3\xa4", 501, "5.5.4"),
        (b"LHLO", 501, "5.5.4"),
        (b"DATA now", 501, "5.5.4"),
        (b"RSET x", 501, "5.5.4"),
        (b"QUIT x", 501, "5.5.4"),
        (b"STARTTLS x", 501, "5.5.4"),
        (b"VRFY", 501, "5.5.4"),
        (b"EXPN", 501, "5.5.4"),
        (b"MAIL", 501, "5.5.2"),
        (b"MAIL TO:<a@b.test>", 501, "5.5.2"),
        (b"MAIL FROM <a@b.test>", 501, "5.5.2"),
        (b"MAIL FROM:a@b.test", 501, "5.1.7"),
        (b"MAIL FROM:<a@b.test", 501, "5.1.7"),
        (b"MAIL FROM:<<a@b.test>>", 501, "5.1.7"),
        (b"MAIL FROM:<a@b.test>SIZE=1", 501, "5.1.7"),
        (b"MAIL FROM:<a>", 501, "5.1.7"),
        (b"MAIL FROM:<@b.test>", 501, "5.1.7"),
        (b"MAIL FROM:<a@>", 501, "5.1.7"),
        (b"MAIL FROM:<a b@c.test>", 501, "5.1.7"),
        (b"MAIL FROM:<a..b@c.test>", 501, "5.1.7"),
        (b"MAIL FROM:<a@b_-.test>", 501, "5.1.7"),
        (b"MAIL FROM:<a@[999.0.0.1]>", 501, "5.1.7"),
        (b"MAIL FROM:<@:a@b.test>", 501, "5.1.7"),
        (b"MAIL FROM:<@-:a@b.test>", 501, "5.1.7"),
        (b'MAIL FROM:<""@b.test>', 501, "5.1.7"),
        (b"MAIL FROM:<\xff@b.test>", 501, "5.1.7"),
        (b"MAIL FROM:<" + b"a" * 65 + b"@b.test>", 501, "5.1.7"),
        (b"MAIL FROM:<a@" + b"b." * 125 + b"test>", 501, "5.1.7"),
        (b"MAIL FROM:<j\xc3\xbcrgen@work.test>", 550, "5.6.7"),
        (b"MAIL FROM:<a@b.test> SIZE", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> SIZE=-1", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> SIZE=" + b"9" * 21, 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> SIZE=1 size=1", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> BODY", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> BODY=BINARYMIME", 555, "5.5.4"),
        (b"MAIL FROM:<a@b.test> SMTPUTF8=yes", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> AUTH", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> AUTH=a+3", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> AUTH=nobody", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> AUTH=+FF@b.test", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> =1", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> A=b=c", 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test>" + b"".join(b" X%d" % number for number in range(21)), 501, "5.5.4"),
        (b"MAIL FROM:<a@b.test> RET=FULL", 555, "5.5.4"),
        (b"MAIL FROM:<a@b.test> ENVID=x", 555, "5.5.4"),
        (b"MAIL FROM:<a@b.test> FROBNICATE", 555, "5.5.4"),
        (b"RCPT", 501, "5.5.2"),
        (b"RCPT FROM:<a@b.test>", 501, "5.5.2"),
        (b"RCPT TO:<>", 501, "5.1.3"),
        (b"RCPT TO:a@b.test", 501, "5.1.3"),
        (b"RCPT TO:<" + b"a" * 65 + b"@b.test>", 501, "5.1.3"),
        (b"RCPT TO:<a@" + b"b." * 125 + b"test>", 501, "5.1.7"),
        (b"RCPT TO:<a@b.test> NOTIFY=NEVER", 555, "5.5.4"),
        (b"RCPT TO:<a@b.test> ORCPT=rfc822;a@b.test", 555, "5.5.4"),
        (b"RCPT TO:<a@b.test> ORCPT=a=b", 501, "5.5.4"),
        (b"BDAT", 501, "5.5.4"),
        (b"BDAT x", 501, "5.5.4"),
        (b"BDAT 1 FIRST", 501, "5.5.4"),
        (b"BDAT -1", 501, "5.5.4"),
        (b"BDAT " + b"1" * 21, 501, "5.5.4"),
        (b"AUTH", 501, "5.5.4"),
        (b"AUTH PLAIN a b", 501, "5.5.4"),
        (b"AUTH PLAIN YQ", 501, "5.5.2"),
        (b"AUTH " + b"X" * 21, 501, "5.5.4"),
    ],
)
def test_refusals(line: bytes, code: int, status: str) -> None:
    assert refusal(line) == (code, status)


def test_paths_and_local_parts_at_their_limits() -> None:
    """RFC 5321 §4.5.3.1.1, §4.5.3.1.3."""
    longest = b"<" + b"a" * 64 + b"@" + b"b." * 92 + b"test1>"
    assert len(longest) == 256
    assert isinstance(parse(b"MAIL FROM:" + longest), Mail)
    assert refusal(b"MAIL FROM:" + longest.replace(b"test1", b"test12")) == (501, "5.1.7")
    # A source route counts as part of the path.
    assert refusal(b"RCPT TO:<@" + b"c." * 60 + b"d:" + longest[1:]) == (501, "5.1.7")
    assert refusal("MAIL FROM:<{}@b.test> SMTPUTF8".format("ü" * 33).encode()) == (501, "5.1.7")


def test_a_chunk_without_a_size_ends_the_connection() -> None:
    """What follows could not be told from commands."""
    event = parse(b"BDAT many LAST")
    assert isinstance(event, Malformed)
    assert event.reply.close


ATOM = st.text("abcXYZ019!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=12)
QUOTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)


@given(ATOM | QUOTED)
def test_addresses_go_round(local: str) -> None:
    address = Address(local, Domain("example.org"))
    assert parse(f"MAIL FROM:<{address}>".encode()) == Mail(ReversePath(address))
    assert parse(f"RCPT TO:<@relay.test:{address}>".encode()) == Rcpt(ForwardPath(address))
    assert parse_address(str(address)) == address


VERBS = [b"EHLO ", b"MAIL FROM:<", b"MAIL FROM:<a@b.c> ", b"RCPT TO:<", b"BDAT ", b"AUTH ", b"DATA", b"VRFY ", b""]
ALPHABET = b'<>@.,:"\\ =+[]aB1\xc3\xa4\x00\r\n'


@given(st.sampled_from(VERBS), st.binary(max_size=30) | st.lists(st.sampled_from(ALPHABET), max_size=30).map(bytes))
def test_garbage_is_never_an_exception(verb: bytes, rest: bytes) -> None:
    event = parse(verb + rest)
    if isinstance(event, Malformed):
        assert event.reply.code in (500, 501, 550, 555)
        assert event.reply.text.isascii()
