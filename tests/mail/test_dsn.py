"""mail/dsn.py: reports are built and read, by us and by Python's own email package (RFC 3464, RFC 6522, RFC 6533)."""

import email.policy
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail import dsn
from posthouse.mail.dsn import DeliveryStatus, RecipientStatus
from posthouse.mail.envelope import OriginalRecipient
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action
from posthouse.mail.status import Reply, Status, reply

HEADER = b"From: anna@home.test\r\nMessage-ID: <1@home.test>\r\nSubject: Lunch\r\n\r\n"
FAILED = RecipientStatus(
    OriginalRecipient("rfc822", "ben@work.test"), Action.FAILED, Status(5, 1, 1),
    OriginalRecipient("rfc822", "info@work.test"), "mx.work.test", "550 5.1.1 No such user", Millis(1_700_000_000_000),
)  # fmt: skip
REPORT = DeliveryStatus("mail.home.test", (FAILED,), "QQ 314159", Millis(1_700_000_000_000))

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
seconds = st.integers(0, 4_000_000_000).map(lambda second: Millis(second * 1000))
addresses = st.one_of(
    printable.map(lambda text: OriginalRecipient("rfc822", text)),
    st.text(st.characters(min_codepoint=33, exclude_categories=["C", "Z"]), min_size=1, max_size=60).map(
        lambda text: OriginalRecipient("utf-8", text)
    ),
)
recipients = st.builds(
    RecipientStatus,
    addresses,
    st.sampled_from(Action),
    st.builds(Status, st.sampled_from([2, 4, 5]), st.integers(0, 999), st.integers(0, 999)),
    st.none() | addresses,
    st.just("") | printable,
    st.just("") | st.lists(printable, min_size=1, max_size=20).map(" ".join),
    st.none() | seconds,
    st.none() | seconds,
)
statuses = st.builds(
    DeliveryStatus,
    printable,
    st.lists(recipients, min_size=1, max_size=5).map(tuple),
    st.none() | printable,
    st.none() | seconds,
    st.none() | seconds,
)


@given(statuses, st.booleans())
def test_what_is_printed_is_read_again(status: DeliveryStatus, utf8: bool) -> None:
    """RFC 3464 §2, RFC 6533 §3."""
    octets = dsn.print_status(status, utf8=utf8)
    assert utf8 or octets.isascii()
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert dsn.parse_status(octets) == status


@pytest.mark.parametrize("letter", ["ü", "\u07ff", "日", "\U00010000"])
def test_the_longest_address_is_not_cut(letter: str) -> None:
    """RFC 5321 §4.5.3.1.3: a path of 256 octets, which RFC 6533 §3 makes far longer where a report is ASCII."""
    octets = len(letter.encode())
    address = OriginalRecipient("utf-8", letter * ((254 - len("@work.test")) // octets) + "@work.test")
    status = DeliveryStatus("us.test", (RecipientStatus(address, Action.FAILED, Status(5, 1, 1), address),))
    for utf8 in (False, True):
        printed = dsn.print_status(status, utf8=utf8)
        assert all(len(line) <= 998 for line in printed.split(b"\r\n"))
        assert dsn.parse_status(printed) == status


@given(statuses)
def test_python_reads_it_too(status: DeliveryStatus) -> None:
    """As message/delivery-status inside multipart/report."""
    octets = b"MIME-Version: 1.0\r\n" + dsn.print_report("Hello", status, HEADER, whole=False, utf8=False)
    message = message_from_bytes(octets, policy=email.policy.compat32)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    text, machine, returned = message.get_payload()
    assert text.get_payload() == "Hello"
    about, *groups = machine.get_payload()
    assert about["Reporting-MTA"].split("; ", 1)[1].split() == status.reporting_mta.split()
    assert [group["Action"] for group in groups] == [each.action.value for each in status.recipients]
    assert [group["Status"] for group in groups] == [str(each.status) for each in status.recipients]
    assert b"<1@home.test>" in returned.as_bytes()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("head", "kinds"),
    [
        (HEADER, ("rfc822", "rfc822-headers")),
        ("Subject: Grüße\r\n\r\n".encode(), ("global", "global-headers")),
        (b"Subject: Gr\xfc\xdfe\r\n\r\n", ("rfc822", "rfc822-headers")),
    ],
)
def test_the_message_comes_back(head: bytes, kinds: tuple[str, str], whole: bool) -> None:
    """RFC 6522 §3, RFC 6533 §5, §6."""
    octets = dsn.print_report("Hello", REPORT, head + b"text\r\n" * whole, whole=whole, utf8=False)
    assert b"/" + kinds[0 if whole else 1].encode() in octets
    assert octets.isascii() == head.isascii()
    assert (b"Content-Transfer-Encoding: 8bit" in octets) == (not head.isascii())
    report = dsn.read_report(octets)
    assert report is not None
    assert report.status == REPORT
    assert report.returned.startswith(head.rstrip(b"\r\n"))


def test_addresses_outside_ascii() -> None:
    """RFC 6533 §3: as they are, or embedded."""
    status = DeliveryStatus("m", (RecipientStatus(dsn.typed("jürgen+a@x.test"), Action.FAILED, Status(5, 0, 0)),))
    assert "Final-Recipient: utf-8;jürgen+a@x.test\r\n".encode() in dsn.print_status(status, utf8=True)
    assert b"Final-Recipient: utf-8;j\\x{FC}rgen\\x{2B}a@x.test\r\n" in dsn.print_status(status)
    octets = dsn.print_report("Hello", status, HEADER, whole=False, utf8=True)
    assert b"report-type=global-delivery-status" in octets
    report = dsn.read_report(octets)
    assert report is not None
    assert report.status == status


@pytest.mark.parametrize(
    ("octets", "final", "action", "status"),
    [
        # Postfix, Exim and Exchange, by what they publish; LF line ends, other blanks, comments.
        (
            b"Reporting-MTA: dns; mail.example.org\nX-Postfix-Queue-ID: 4A\n\nFinal-Recipient: rfc822; u@x.test\n"
            b"Original-Recipient: rfc822;u@x.test\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.x.test\n",
            "u@x.test", Action.FAILED, "5.1.1",
        ),
        (
            b"Reporting-MTA: dns;BY5.prod.example\r\n\r\nFinal-Recipient: RFC822;u@x.test\r\nAction: FAILED\r\n"
            b"Status: 5.7.1 (policy)\r\nDiagnostic-Code: smtp;550 5.7.1\r\n\tfolded\r\n",
            "u@x.test", Action.FAILED, "5.7.1",
        ),
        (b"\r\nFinal-Recipient: rfc822;u@x.test\r\nAction: delayed\r\n", "u@x.test", Action.DELAYED, "4.0.0"),
    ],
)  # fmt: skip
def test_reports_of_others(octets: bytes, final: str, action: Action, status: str) -> None:
    report = dsn.parse_status(octets)
    assert report is not None
    [recipient] = report.recipients
    assert (recipient.final.address, recipient.action, str(recipient.status)) == (final, action, status)


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"Subject: x\r\n\r\ntext", b"Content-Type: multipart/report; boundary=a\r\n\r\n--a--\r\n",
        b"Content-Type: multipart/report; boundary=a\r\n\r\n--a\r\nContent-Type: message/delivery-status\r\n\r\nx",
    ],
)  # fmt: skip
def test_what_is_no_report(octets: bytes) -> None:
    assert dsn.read_report(octets) is None


def test_a_report_of_ten_thousand_recipients_is_bounded() -> None:
    group = b"\r\nFinal-Recipient: rfc822;u@x.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    report = dsn.parse_status(b"Reporting-MTA: dns;x\r\n" + group * 10_000)
    assert report is not None
    assert len(report.recipients) == dsn.RECIPIENTS_READ


@given(st.binary(max_size=400))
def test_garbage_is_no_surprise(octets: bytes) -> None:
    dsn.parse_status(octets)
    dsn.read_report(b"Content-Type: multipart/report; boundary=a\r\n\r\n--a\r\n" + octets)


@pytest.mark.parametrize("answer", [reply(550, "5.1.1", "No such user"), reply(421, "", "Busy"), reply(550, "", "")])
def test_diagnostics_are_read_again(answer: Reply) -> None:
    """RFC 3464 §2.3.6."""
    assert dsn.parse_reply(dsn.diagnostic(answer)) == answer
    assert dsn.parse_reply("who knows") is None
