"""wire/smtp/request.py (RFC 5321 §4.1.1, RFC 3461 §4, RFC 6533 §3)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import BodyType, DeliverBy, DsnReturn, Envelope, Notify, OriginalRecipient, Recipient
from posthouse.wire.smtp import command, parameters
from posthouse.wire.smtp.grammar import parse_xtext, print_xtext
from posthouse.wire.smtp.parse import parse
from posthouse.wire.smtp.replied import Announced
from posthouse.wire.smtp.request import MailFrom, RcptTo, Request, outside_ascii, print_request

ANNA = ReversePath(Address("anna", Domain("home.test")))
BEN = Recipient(ForwardPath(Address("ben", Domain("work.test"))))
PLAIN = Announced()
RICH = Announced(
    size=0, eight_bit=True, utf8=True, dsn=True, require_tls=True, priority=True, deliver_by=0, pipelining=True
)
FULL = Envelope(
    ANNA,
    (BEN,),
    BodyType.EIGHT_BIT_MIME,
    utf8=True,
    ret=DsnReturn.HEADERS,
    envid="a=b+c",
    require_tls=True,
    priority=-3,
    deliver_by=DeliverBy(0, give_back=True, trace=True),
)


@pytest.mark.parametrize(
    ("asked", "octets"),
    [
        (command.Ehlo("us.test"), b"EHLO us.test\r\n"),
        (command.Helo("us.test"), b"HELO us.test\r\n"),
        (command.StartTls(), b"STARTTLS\r\n"),
        (command.Auth("PLAIN", b"\0a\0b"), b"AUTH PLAIN AGEAYg==\r\n"),
        (command.Auth("LOGIN"), b"AUTH LOGIN\r\n"),
        (command.Auth("X", b""), b"AUTH X =\r\n"),
        (command.AuthLine(b"a"), b"YQ==\r\n"),
        (command.AuthLine(None), b"*\r\n"),
        (command.Data(), b"DATA\r\n"),
        (command.Bdat(5, last=False), b"BDAT 5\r\n"),
        (command.Bdat(0, last=True), b"BDAT 0 LAST\r\n"),
        (command.Rset(), b"RSET\r\n"),
        (command.Noop(), b"NOOP\r\n"),
        (command.Quit(), b"QUIT\r\n"),
        (RcptTo(BEN), b"RCPT TO:<ben@work.test>\r\n"),
        (RcptTo(Recipient(ForwardPath(Address("Postmaster", Domain(""))))), b"RCPT TO:<Postmaster>\r\n"),
        (
            RcptTo(Recipient(ForwardPath(Address('a "b"', Domain("work.test"))))),
            b'RCPT TO:<"a \\"b\\""@work.test>\r\n',
        ),
        (MailFrom(Envelope(ReversePath(), (BEN,)), 1), b"MAIL FROM:<>\r\n"),
    ],
)
def test_plain_commands(asked: Request, octets: bytes) -> None:
    assert print_request(asked, PLAIN) == octets
    assert not isinstance(parse(octets[:-2]), command.Malformed)


def test_a_server_that_offers_nothing_gets_no_parameter() -> None:
    """RFC 3461 §5.2.1, RFC 6710 §4.2, RFC 2852 §4.1, RFC 1870 §3: only to who has offered it."""
    assert print_request(MailFrom(FULL, 10, eight_bit=True, by=5), PLAIN) == b"MAIL FROM:<anna@home.test>\r\n"
    wanted = Recipient(BEN.path, frozenset({Notify.DELAY}), OriginalRecipient("rfc822", "x@y.test"))
    assert print_request(RcptTo(wanted), PLAIN) == b"RCPT TO:<ben@work.test>\r\n"


def test_a_server_that_offers_all_gets_all() -> None:
    assert print_request(MailFrom(FULL, 10, eight_bit=True, by=5), RICH) == (
        b"MAIL FROM:<anna@home.test> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+3Db+2Bc REQUIRETLS MT-PRIORITY=-3"
        b" BY=5;RT\r\n"
    )


def test_only_what_the_envelope_asks_for() -> None:
    assert print_request(MailFrom(Envelope(ANNA, (BEN,)), 10), RICH) == b"MAIL FROM:<anna@home.test> SIZE=10\r\n"
    assert print_request(RcptTo(BEN), RICH) == b"RCPT TO:<ben@work.test>\r\n"


def test_by_time_has_nine_digits() -> None:
    """RFC 2852 §4."""
    late = replace(FULL, deliver_by=DeliverBy(0, give_back=False, trace=False))
    assert print_request(MailFrom(late, 10, by=10**12), RICH).endswith(b" BY=999999999;N\r\n")
    assert print_request(MailFrom(late, 10, by=-7), RICH).endswith(b" BY=-7;N\r\n")


@pytest.mark.parametrize(
    ("notify", "orcpt", "words"),
    [
        (frozenset[Notify](), None, b" NOTIFY=NEVER"),
        (frozenset({Notify.SUCCESS, Notify.DELAY}), None, b" NOTIFY=DELAY,SUCCESS"),
        (None, OriginalRecipient("rfc822", "a+b=c@x.test"), b" ORCPT=rfc822;a+2Bb+3Dc@x.test"),
        # RFC 6533 §3: utf-8-addr-xtext
        (None, OriginalRecipient("utf-8", "jürgen+\\@x.test"), b" ORCPT=utf-8;j\\x{FC}rgen\\x{2B}\\x{5C}@x.test"),
    ],
)
def test_dsn_of_a_recipient(notify: frozenset[Notify] | None, orcpt: OriginalRecipient | None, words: bytes) -> None:
    """RFC 3461 §4.1, §4.2."""
    asked = RcptTo(Recipient(BEN.path, notify, orcpt))
    assert print_request(asked, RICH) == b"RCPT TO:<ben@work.test>" + words + b"\r\n"


def test_addresses_outside_ascii_are_known() -> None:
    assert outside_ascii(ForwardPath(Address("jürgen", Domain("work.test"))))
    assert not outside_ascii(BEN.path)
    assert not outside_ascii(ReversePath())


@given(st.text())
def test_xtext_both_ways(text: str) -> None:
    """RFC 3461 §4."""
    if text.isprintable():
        assert parse_xtext(print_xtext(text)) == text


locals_ = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, blacklist_categories=("Cc", "Cs")), min_size=1)


@given(locals_, st.integers(0, 10**9), st.booleans())
def test_what_is_printed_the_server_reads(local: str, size: int, eight_bit: bool) -> None:
    address = Address(local[:12], Domain("home.test"))
    utf8 = not address.ascii
    sent = print_request(MailFrom(Envelope(ReversePath(address), (BEN,), utf8=utf8), size, eight_bit=eight_bit), RICH)
    body = BodyType.EIGHT_BIT_MIME if eight_bit else BodyType.SEVEN_BIT
    assert parse(sent[:-2]) == command.Mail(ReversePath(address), size, body, utf8)
    asked = print_request(RcptTo(Recipient(ForwardPath(address))), RICH)
    assert parse(asked[:-2]) == command.Rcpt(ForwardPath(address))


KNOWN = parameters.DSN | parameters.REQUIRETLS | parameters.MT_PRIORITY | parameters.DELIVERBY | parameters.ALWAYS
envelopes = st.builds(
    Envelope,
    st.just(ANNA),
    st.just((BEN,)),
    ret=st.none() | st.sampled_from(DsnReturn),
    envid=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30),
    require_tls=st.booleans(),
    priority=st.integers(-9, 9),
    deliver_by=st.none() | st.builds(DeliverBy, st.just(0), give_back=st.booleans(), trace=st.booleans()),
)
originals = st.builds(
    OriginalRecipient,
    st.sampled_from(("rfc822", "utf-8")),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30).map("x@{}".format),
)


@given(envelopes, st.integers(1, 10**9 - 1))
def test_our_server_reads_all_parameters(envelope: Envelope, by: int) -> None:
    """RFC 3461 §4, RFC 8689 §2, RFC 6710 §3, RFC 2852 §4: what the one side prints the other reads."""
    read = parse(print_request(MailFrom(envelope, 7, by=by), RICH)[:-2], KNOWN)
    assert isinstance(read, command.Mail), read
    assert (read.ret, read.envid, read.require_tls) == (envelope.ret, envelope.envid, envelope.require_tls)
    assert (read.priority or 0) == envelope.priority
    deliver_by = envelope.deliver_by
    wanted = None if deliver_by is None else command.By(by, deliver_by.give_back, deliver_by.trace)
    assert read.by == wanted


@given(st.none() | st.sets(st.sampled_from(Notify)).map(frozenset), st.none() | originals)
def test_our_server_reads_what_is_asked_of_a_recipient(
    notify: frozenset[Notify] | None, orcpt: OriginalRecipient | None
) -> None:
    """RFC 3461 §4.1, §4.2, RFC 6533 §3."""
    asked = RcptTo(Recipient(BEN.path, notify, orcpt))
    assert parse(print_request(asked, RICH)[:-2], KNOWN) == command.Rcpt(BEN.path, notify, orcpt)
