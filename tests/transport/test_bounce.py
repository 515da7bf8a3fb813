"""transport/bounce.py: who is told what, and how it reads (RFC 3461 §5, §6; RFC 3464; RFC 8689 §5)."""

import email.policy
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from typing import cast

import pytest

from household import HOSTNAME, NOW
from posthouse.mail import dsn
from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath, parse_domain
from posthouse.mail.envelope import (
    BodyType,
    DeliverBy,
    DsnReturn,
    Envelope,
    Notify,
    OriginalRecipient,
    Recipient,
)
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Reply, Status, reply
from posthouse.transport import bounce
from posthouse.transport.bounce import HEADER, NAMED, WHOLE, Letter, Told, report
from posthouse.transport.words import Words

ANNA = ReversePath(Address("anna", Domain("home.test")))
MESSAGE = (
    b"From: anna@home.test\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= an Ben\r\nMessage-ID: <1@home.test>\r\n\r\n"
    b"Dear Ben,\r\n\r\nlunch?\r\n"
)
NO_USER = reply(550, "5.1.1", "<ben@work.test>: User unknown", "in virtual mailbox table")
EARLIER = Millis(NOW - 5 * 86_400_000)


def to(local: str = "ben", notify: frozenset[Notify] | None = None, orcpt: str = "") -> Recipient:
    original = OriginalRecipient("rfc822", orcpt) if orcpt else None
    return Recipient(ForwardPath(Address(local, Domain("work.test"))), notify, original)


def told(octets: bytes = MESSAGE, **more: object) -> Told:
    return Told(replace(Envelope(ANNA, ()), **more), octets, EARLIER, "f00.Q1", Millis(NOW + 86_400_000))  # type: ignore[arg-type]


def failed(recipient: Recipient, answer: Reply | None = NO_USER) -> Outcome:
    status = answer.status if answer and answer.status else Status(5, 4, 4)
    reason = "" if answer else "There is no server for work.test"
    return Outcome(recipient, Action.FAILED, status, reason, NOW, "mx.work.test", "192.0.2.1", answer, "rcpt")


def written(about: Told, *outcomes: Outcome) -> tuple[Letter, EmailMessage]:
    letter = report(about, outcomes, HOSTNAME, NOW)
    assert letter is not None
    return letter, cast(EmailMessage, message_from_bytes(letter.octets, policy=email.policy.default))


def test_a_bounce_as_a_person_reads_it() -> None:
    """Three parts: what happened, what you can do, the technical answer."""
    letter, message = written(told(), failed(to(orcpt="boss@work.test")))
    assert letter.envelope == Envelope(
        ReversePath(), (Recipient(ForwardPath(Address("anna", Domain("home.test"))), frozenset()),)
    )
    assert message["From"] == f"Mail delivery <postmaster@{HOSTNAME}>"
    assert message["To"] == "anna@home.test"
    assert message["Subject"] == "Not delivered: Grüße an Ben"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == message["References"] == "<1@home.test>"
    text, _, returned = message.iter_parts()
    assert text.get_content().replace("\r\n", "\n") == (
        "This is the mail server mail.home.test.\n\n"
        "Your message could not be delivered to:\n  boss@work.test (which leads to ben@work.test)\n\n"
        "What happened:\n  There is no mailbox called ben@work.test.\n\n"
        "What you can do:\n  Check the address, above all for typing mistakes, and ask them by another\n"
        "  way which one is right.\n\n"
        "The technical answer:\n  mx.work.test [192.0.2.1] answered to RCPT: 550 5.1.1 <ben@work.test>: User\n"
        "  unknown in virtual mailbox table\n\n"
        "Your message header is attached. Answers to this message reach the postmaster.\n"
    )
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "lunch" not in returned.as_string()
    assert all(len(line) <= 78 for line in letter.octets.split(b"\r\n"))


def test_a_bounce_as_a_program_reads_it() -> None:
    """RFC 3464 §2."""
    letter, _ = written(told(envid="QQ1"), failed(to(orcpt="boss@work.test")))
    found = dsn.read_report(letter.octets)
    assert found is not None
    [ben] = found.status.recipients
    assert (found.status.reporting_mta, found.status.envid, found.status.arrival) == (HOSTNAME, "QQ1", EARLIER)
    assert (ben.final.address, ben.original and ben.original.address) == ("ben@work.test", "boss@work.test")
    assert (ben.action, str(ben.status), ben.remote_mta) == (Action.FAILED, "5.1.1", "mx.work.test")
    assert ben.diagnostic == "550 5.1.1 <ben@work.test>: User unknown in virtual mailbox table"
    assert dsn.read_report(MESSAGE) is None
    assert b"<1@home.test>" in found.returned


@pytest.mark.parametrize(
    ("action", "notify", "expected"),
    [
        (Action.FAILED, None, True),
        (Action.FAILED, {Notify.FAILURE}, True),
        (Action.FAILED, {Notify.SUCCESS, Notify.DELAY}, False),
        (Action.FAILED, set(), False),
        (Action.DELAYED, None, True),
        (Action.DELAYED, {Notify.DELAY}, True),
        (Action.DELAYED, {Notify.FAILURE}, False),
        (Action.DELAYED, set(), False),
        (Action.DELIVERED, None, False),
        (Action.DELIVERED, {Notify.SUCCESS}, True),
        (Action.RELAYED, None, False),
        (Action.RELAYED, {Notify.SUCCESS}, True),
        (Action.EXPANDED, {Notify.SUCCESS}, True),
        (Action.RELAYED, set(), False),
    ],
)
def test_who_wants_to_hear_of_it(action: Action, notify: set[Notify] | None, expected: bool) -> None:
    """RFC 3461 §4.1, §5.2."""
    recipient = to(notify=None if notify is None else frozenset(notify))
    outcome = replace(failed(recipient), action=action)
    assert (report(told(), [outcome], HOSTNAME, NOW) is not None) == expected


def test_nobody_is_told_twice_of_success() -> None:
    """RFC 3461 §5.2.1: a server that speaks DSN tells of it itself."""
    relayed = replace(failed(to(notify=frozenset({Notify.SUCCESS}))), action=Action.RELAYED, dsn=True)
    assert report(told(), [relayed], HOSTNAME, NOW) is None
    by = DeliverBy(NOW, give_back=False, trace=True)
    letter, message = written(told(deliver_by=by), relayed)  # RFC 2852 §4: by-trace
    text = next(iter(message.iter_parts())).get_content()
    assert "Your message was handed over to the next server, for:" in text
    assert "will not report" not in text
    assert b"Action: relayed\r\n" in letter.octets
    assert b"Deliver-By-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n" in letter.octets
    never = replace(relayed, recipient=to(notify=frozenset()))
    assert report(told(deliver_by=by), [never], HOSTNAME, NOW) is None


def test_a_bounce_is_never_bounced() -> None:
    """RFC 5321 §4.5.5: the null reverse-path."""
    about = replace(told(), envelope=Envelope(ReversePath(), ()))
    assert report(about, [failed(to(notify=frozenset(Notify)))], HOSTNAME, NOW) is None


def test_all_that_happened_at_once_is_one_message() -> None:
    outcomes = [failed(to(f"user{number}"), reply(552, "5.2.2", "full")) for number in range(3)]
    outcomes.append(replace(failed(to("late")), action=Action.DELAYED, status=Status(4, 4, 1), answer=None))
    letter, message = written(told(), *outcomes)
    assert len(letter.envelope.recipients) == 1
    text = next(iter(message.iter_parts())).get_content()
    assert message["Subject"].startswith("Not delivered: ")
    assert text.index("could not be delivered to:") < text.index("could not be delivered yet to:")
    assert "is tried again and again until Wed, 15 Nov 2023 22:13:20 +0000" in " ".join(text.split())
    found = dsn.read_report(letter.octets)
    assert found is not None
    assert [each.retry_until for each in found.status.recipients] == [None, None, None, NOW + 86_400_000]


def test_the_same_is_said_once() -> None:
    outcomes = [failed(to(f"user{number}"), reply(554, "5.7.1", "We do not want this")) for number in range(NAMED + 10)]
    letter, message = written(told(), *outcomes)
    text = next(iter(message.iter_parts())).get_content()
    assert text.count("What happened:") == 1
    assert text.count("  user") == NAMED
    assert "names 10 more" in text
    found = dsn.read_report(letter.octets)
    assert found is not None
    assert len(found.status.recipients) == NAMED + 10


def test_given_up_after_days() -> None:
    """RFC 3463 §2: its status is still of class 4."""
    outcome = replace(failed(to(), None), status=Status(4, 4, 1), reason="Nobody answered")
    _, message = written(told(), outcome)
    text = " ".join(next(iter(message.iter_parts())).get_content().split())
    assert "Nobody answered. It was tried for 5 days, and is not tried any more." in text
    assert "The technical answer: mx.work.test [192.0.2.1]: 4.4.1 Nobody answered" in text


def test_given_back_because_its_time_is_over() -> None:
    """RFC 2852 §4: by-mode R."""
    outcome = replace(failed(to(), None), status=Status(4, 4, 1), reason="Nobody answered")
    for until, words in ((NOW, "wanted it back if it was not delivered in time"), (NOW + 1, "It was tried for")):
        by = DeliverBy(until, give_back=True, trace=False)
        _, message = written(told(deliver_by=by), outcome)
        text = " ".join(next(iter(message.iter_parts())).get_content().split())
        assert words in text


@pytest.mark.parametrize(
    ("ret", "more", "whole"),
    [
        (None, b"", False),
        (DsnReturn.HEADERS, b"", False),
        (DsnReturn.FULL, b"", True),
        (DsnReturn.FULL, b"x" * WHOLE, False),
    ],
)
def test_how_much_comes_back(ret: DsnReturn | None, more: bytes, whole: bool) -> None:
    """RFC 3461 §4.3."""
    letter, message = written(told(MESSAGE + more, ret=ret), failed(to()))
    returned = list(message.iter_parts())[2]
    assert returned.get_content_type() == ("message/rfc822" if whole else "text/rfc822-headers")
    assert (b"lunch" in letter.octets) == whole
    assert len(letter.octets) < WHOLE


def test_only_headers_come_back_of_what_did_not_fail() -> None:
    """RFC 3461 §4.3."""
    outcome = replace(
        failed(to(notify=frozenset({Notify.SUCCESS}))), action=Action.DELIVERED, status=Status(2, 0, 0), answer=None
    )
    letter, message = written(told(ret=DsnReturn.FULL), outcome)
    assert b"lunch" not in letter.octets
    assert message["Subject"] == "Delivered: Grüße an Ben"


def test_what_was_protected_stays_protected() -> None:
    """RFC 8689 §5; RFC 6710 §4.6."""
    letter, _ = written(told(ret=DsnReturn.FULL, require_tls=True, priority=4), failed(to()))
    assert (letter.envelope.require_tls, letter.envelope.priority) == (True, 4)
    assert b"lunch" not in letter.octets


def test_a_huge_header_is_cut_between_lines() -> None:
    octets = b"Subject: x\r\n" + b"X-Long: " + b"y" * 100 + b"\r\n"
    letter, _ = written(told(octets * 2_000 + b"\r\n"), failed(to()))
    assert HEADER - 200 < len(letter.octets) < HEADER + 4_000
    found = dsn.read_report(letter.octets)
    assert found is not None
    assert found.returned.endswith(b"\r\n")


def test_eight_bit_messages() -> None:
    """RFC 6152: what comes back whole is not re-encoded, so the transaction says so."""
    letter, _ = written(told(MESSAGE + "Grüße".encode(), ret=DsnReturn.FULL), failed(to()))
    assert letter.envelope.body is BodyType.EIGHT_BIT_MIME
    assert not letter.envelope.utf8


def test_a_domain_is_named_as_people_write_it() -> None:
    """RFC 5890 §2.3.2.1: the A-label stands behind it, and where programs read (RFC 3464 §2.3.2)."""
    domain = parse_domain("bücher.test")
    assert domain == Domain("xn--bcher-kva.test")
    for orcpt in ("x@xn--bcher-kva.test", "x@bücher.test"):
        ben = Recipient(ForwardPath(Address("x", domain)), None, OriginalRecipient("rfc822", orcpt))
        outcome = replace(failed(ben), answer=reply(550, "5.1.1", "<x@xn--bcher-kva.test>: no"))
        letter, message = written(told(), outcome)
        text = next(iter(message.iter_parts())).get_content()
        assert "\r\n  x@bücher.test (xn--bcher-kva.test)\r\n" in text
        assert "There is no mailbox called x@bücher.test." in text
        assert "<x@xn--bcher-kva.test>: no" in text
        assert b"Final-Recipient: rfc822;x@xn--bcher-kva.test\r\n" in letter.octets


def test_a_sender_outside_ascii() -> None:
    """RFC 6533 §4: the DSN is then one of SMTPUTF8, with addresses as they are."""
    jurgen = Envelope(ReversePath(Address("jürgen", Domain("home.test"))), (), utf8=True)
    about = replace(told(), envelope=jurgen)
    outcome = replace(failed(to()), recipient=Recipient(ForwardPath(Address("bän", Domain("work.test")))))
    letter = report(about, [outcome], HOSTNAME, NOW)
    assert letter is not None
    assert letter.envelope.utf8
    assert "Final-Recipient: utf-8;bän@work.test\r\n".encode() in letter.octets
    assert "To: <jürgen@home.test>\r\n".encode() in letter.octets
    plain, _ = written(told(), outcome)
    assert plain.octets.isascii()
    assert b"Final-Recipient: utf-8;b\\x{E4}n@work.test\r\n" in plain.octets


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"no header at all", b"Subject:\r\n\r\n", b"Message-ID: junk\r\n\r\n",
        b"Message-ID: <" + b"x" * 2_000 + b">\r\n\r\n",
        b"Subject: " + b"=?utf-8?Q?=0D=0ABcc:_x@y.test?=" + b"\r\n\r\n", b"Subject: \xff\xfe\r\n\r\n",
    ],
)  # fmt: skip
def test_odd_messages_and_no_forged_fields(octets: bytes) -> None:
    letter, message = written(told(octets), failed(to(), reply(550, "", "a\r\nBcc: x@y.test", "\x00\x1b[31m")))
    assert message["Bcc"] is None
    head = letter.octets.split(b"\r\n\r\n")[0]
    assert head.isascii()
    assert all(len(line) <= 998 for line in letter.octets.split(b"\r\n") if line not in octets)
    assert b"\x1b" not in letter.octets


def test_only_those_who_are_named_are_put_into_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand recipients with a page each must not hold up everybody else."""
    seen: list[Outcome] = []

    def explain(outcome: Outcome, house: str) -> Words:
        seen.append(outcome)
        return Words("It failed.", "")

    monkeypatch.setattr(bounce, "explain", explain)
    outcomes = [failed(to(f"user{number}"), reply(554, "5.0.0", "word " * 1_000)) for number in range(1_000)]
    letter, _ = written(told(), *outcomes)
    assert len(seen) == NAMED
    assert len(letter.octets) < 1_000_000
