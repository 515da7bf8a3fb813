"""wire/smtp/parameters.py: what the extensions of MAIL and RCPT say, and what they may not say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import DsnReturn, Notify, OriginalRecipient
from posthouse.wire.smtp import parameters
from posthouse.wire.smtp.command import Burl, By, Mail, Malformed, Rcpt, Unknown
from posthouse.wire.smtp.parse import parse
from posthouse.wire.smtp.reply import Extensions, greeting_reply

BEN = Mail(ReversePath(Address("ben", Domain("work.test"))))
ANNA = Rcpt(ForwardPath(Address("anna", Domain("home.test"))))
ALL = Extensions(
    size=100, dsn=True, require_tls=True, priority=True, deliver_by=60, future_release=(600, "2030-01-01T00:00:00Z"),
    burl=("imap",),
)  # fmt: skip
UNTIL = 1_893_484_800_000  # 2030-01-01T08:00:00Z


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (b"RET=full", replace(BEN, ret=DsnReturn.FULL)),
        (b"RET=HDRS ENVID=QQ314159", replace(BEN, ret=DsnReturn.HEADERS, envid="QQ314159")),
        (b"ENVID=a+2Bb+20c+3Dd", replace(BEN, envid="a+b c=d")),
        (b"REQUIRETLS SIZE=9", replace(BEN, require_tls=True, size=9)),
        (b"MT-PRIORITY=-9", replace(BEN, priority=-9)),
        (b"MT-PRIORITY=0", replace(BEN, priority=0)),
        (b"BY=600;R", replace(BEN, by=By(600, give_back=True, trace=False))),
        (b"by=-5;nt", replace(BEN, by=By(-5, give_back=False, trace=True))),
        (b"BY=+000000120;RT", replace(BEN, by=By(120, give_back=True, trace=True))),
        (b"HOLDFOR=1", replace(BEN, hold_for=1)),
        (b"HOLDUNTIL=2030-01-01T08:00:00Z", replace(BEN, hold_until=UNTIL)),
        (b"HOLDUNTIL=2030-01-01t09:30:00.5+01:30", replace(BEN, hold_until=UNTIL)),
    ],
)
def test_mail(words: bytes, expected: Mail) -> None:
    """RFC 3461 §4, RFC 8689 §2, RFC 6710 §7, RFC 2852 §4, RFC 4865 §4."""
    assert parse(b"MAIL FROM:<ben@work.test> " + words, ALL.parameters) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (b"NOTIFY=never", replace(ANNA, notify=frozenset())),
        (b"NOTIFY=SUCCESS,delay", replace(ANNA, notify=frozenset({Notify.SUCCESS, Notify.DELAY}))),
        (b"NOTIFY=FAILURE,FAILURE", replace(ANNA, notify=frozenset({Notify.FAILURE}))),
        (b"ORCPT=rfc822;Bob+2Btag@x.test", replace(ANNA, orcpt=OriginalRecipient("rfc822", "Bob+tag@x.test"))),
        (b"ORCPT=X400;/G+3DA/S+3DB+20C/", replace(ANNA, orcpt=OriginalRecipient("X400", "/G=A/S=B C/"))),
        (
            b"ORCPT=utf-8;j\\x{FC}rgen\\x{2B}a@x.test",
            replace(ANNA, orcpt=OriginalRecipient("utf-8", "jürgen+a@x.test")),
        ),
        ("ORCPT=UTF-8;jürgen@x.test".encode(), replace(ANNA, orcpt=OriginalRecipient("UTF-8", "jürgen@x.test"))),
    ],
)
def test_rcpt(words: bytes, expected: Rcpt) -> None:
    """RFC 3461 §4.1, §4.2, RFC 6533 §3."""
    assert parse(b"RCPT TO:<anna@home.test> " + words, ALL.parameters) == expected


@pytest.mark.parametrize(
    "words",
    [
        b"RET", b"RET=ALL", b"RET=FULL RET=FULL", b"ENVID", b"ENVID=+2", b"ENVID=+0A", b"ENVID=a=b", b"ENVID=+C3+BC",
        b"ENVID=" + b"x" * 101, b"REQUIRETLS=yes", b"MT-PRIORITY", b"MT-PRIORITY=10", b"MT-PRIORITY=-0",
        b"MT-PRIORITY=+3", b"BY=", b"BY=60", b"BY=60;X", b"BY=0;R", b"BY=-1;R", b"BY=1234567890;N", b"BY=60;NTT",
        b"HOLDFOR=0", b"HOLDFOR=-1", b"HOLDFOR=1234567890", b"HOLDFOR", b"HOLDUNTIL=tomorrow",
        b"HOLDUNTIL=2030-02-30T00:00:00Z",
        b"HOLDUNTIL=2030-01-01T00:00:00", b"HOLDUNTIL=2030-13-01T00:00:00Z", b"HOLDUNTIL=2030-01-01T00:00:00+25:00",
        b"HOLDFOR=9 HOLDUNTIL=2030-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_mail_refused(words: bytes) -> None:
    """RFC 3461 §5.1: 501 where a value is not valid, or comes twice."""
    event = parse(b"MAIL FROM:<ben@work.test> " + words, ALL.parameters)
    assert isinstance(event, Malformed)
    assert event.reply.code == 501


@pytest.mark.parametrize(
    "words",
    [
        b"NOTIFY", b"NOTIFY=", b"NOTIFY=NEVER,SUCCESS", b"NOTIFY=SOMETIMES", b"NOTIFY=SUCCESS,",
        b"NOTIFY=NEVER NOTIFY=NEVER",
        b"ORCPT", b"ORCPT=anna@home.test", b"ORCPT=rfc822;", b"ORCPT=rfc822;+0Aanna", b"ORCPT=rfc822;+ZZ",
        b"ORCPT=rfc822;" + b"x" * 494, "ORCPT=rfc822;jürgen@x.test".encode(), b"ORCPT=utf-8;\\x{D800}",
        b"ORCPT=utf-8;\\x{0A}",
        b"ORCPT=utf-8;\\x{FFFFFF}", b"ORCPT=utf-8;\xff",
    ],
)  # fmt: skip
def test_rcpt_refused(words: bytes) -> None:
    """RFC 3461 §5.1."""
    event = parse(b"RCPT TO:<anna@home.test> " + words, ALL.parameters)
    assert isinstance(event, Malformed)
    assert event.reply.code == 501


@pytest.mark.parametrize("keyword", sorted(ALL.parameters - parameters.ALWAYS - parameters.BURL))
def test_what_was_not_announced_is_unknown(keyword: bytes) -> None:
    """RFC 5321 §4.1.1.11: 555."""
    for command in (b"MAIL FROM:<ben@work.test> ", b"RCPT TO:<anna@home.test> "):
        event = parse(command + keyword + b"=1", Extensions(size=1).parameters)
        assert isinstance(event, Malformed)
        assert event.reply.code == 555


def test_burl() -> None:
    """RFC 4468 §3.5."""
    assert parse(b"BURL imap://x/y;uid=1 LAST", ALL.parameters) == Burl(b"imap://x/y;uid=1", last=True)
    assert parse(b"burl imap://x/y;uid=1", ALL.parameters) == Burl(b"imap://x/y;uid=1", last=False)
    for line in (b"BURL", b"BURL a b", b"BURL a LAST b", "BURL imap://ü".encode()):
        assert isinstance(parse(line, ALL.parameters), Malformed)
    assert parse(b"BURL imap://x/y LAST") == Unknown("BURL")


def test_what_is_offered_is_what_ehlo_says() -> None:
    """RFC 5321 §4.1.1.1."""
    lines = greeting_reply("mail.test", "hello", ALL).lines
    said = ["DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY 60", "FUTURERELEASE 600 2030-01-01T00:00:00Z", "BURL imap"]
    assert [line for line in lines if line in said] == said
    assert greeting_reply("m", "h", Extensions(size=1, burl=())).lines[-1] == "BURL"
    assert Extensions(size=1).parameters == parameters.ALWAYS


@given(st.binary(max_size=600), st.sampled_from(sorted(ALL.parameters)))
def test_garbage_is_a_mistake_and_no_surprise(value: bytes, keyword: bytes) -> None:
    """HACKING.md: nothing a peer sends raises."""
    for command in (b"MAIL FROM:<ben@work.test> ", b"RCPT TO:<anna@home.test> "):
        parse(command + keyword + b"=" + value, ALL.parameters)
