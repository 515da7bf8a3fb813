"""What comes back to a sender from the real program: bounces, notices, mail held back, limits over a restart."""

import email.policy
import smtplib
import time
from collections.abc import Sequence
from email import message_from_bytes
from email.message import EmailMessage, Message
from typing import cast

import pytest

from system.running import Person
from system.test_queue import PATIENCE, Make, SinkThread, empty, leaving, template  # noqa: F401 - fixtures

HEAD = "From: person1@home.test\r\nSubject: lunch\r\nMessage-ID: <lunch@home.test>\r\nBcc: x@y.test\r\n\r\nHello\r\n"
ANSWERS = {"<nobody": "550 5.1.1 No such user", "<full": "552 5.2.2 Over quota"}


def answer(line: str) -> str:
    return next((words for mark, words in ANSWERS.items() if mark in line), "250 2.1.5 ok")


def submit(anna: Person, recipients: Sequence[str], mail: Sequence[str] = (), rcpt: Sequence[str] = ()) -> None:
    with smtplib.SMTP("127.0.0.1", anna.home.ports.submission, timeout=60) as client:
        client.starttls(context=anna.home.trust())
        client.login(anna.address, anna.password)
        client.sendmail(anna.address, recipients, HEAD, mail, rcpt)


def came(person: Person, count: int) -> list[EmailMessage]:
    """Wait for so many messages in INBOX."""
    deadline = time.monotonic() + PATIENCE
    while len(found := person.messages()) < count:
        assert time.monotonic() < deadline, person.home.log.read_text()[-3000:]
        time.sleep(0.2)
    return [cast(EmailMessage, message_from_bytes(octets, policy=email.policy.default)) for octets in found]


def groups(report: EmailMessage) -> list[Message]:
    """The part for programs, as Python reads it."""
    _, machine, _ = report.iter_parts()
    return cast(list[Message], machine.get_payload())


def test_all_that_failed_at_once_comes_back_in_one_bounce(leaving: Make) -> None:  # noqa: F811
    with SinkThread({"rcpt": answer}) as far:
        running, anna = leaving(far.server.port)
        running.start()
        submit(anna, ["nobody@far.test", "good@far.test", "full@far.test"], ["ENVID=abc"])
        [bounce] = came(anna, 1)
        empty(running)
        assert running.stop() == 0
    assert bounce["Subject"] == "Not delivered: lunch"
    assert bounce["In-Reply-To"] == "<lunch@home.test>"
    about, *recipients = groups(bounce)
    assert about["Original-Envelope-Id"] == "abc"
    found = {each["Final-Recipient"].split(";")[1]: (each["Action"], each["Status"]) for each in recipients}
    assert found == {"nobody@far.test": ("failed", "5.1.1"), "full@far.test": ("failed", "5.2.2")}
    text = next(bounce.iter_parts()).get_content()
    assert "There is no mailbox called nobody@far.test." in text
    assert "The mailbox of full@far.test is full." in text
    assert "x@y.test" not in bounce.as_string(), "Bcc does not come back either"


@pytest.mark.parametrize(("offers", "told"), [(("PIPELINING", "DSN"), 0), (("PIPELINING",), 1)])
def test_success_is_told_by_whoever_knows_it(leaving: Make, offers: tuple[str, ...], told: int) -> None:  # noqa: F811
    """RFC 3461 §5.2.1, §5.2.2: by the next server where it speaks DSN, else by us."""
    with SinkThread(offers=offers) as far:
        running, anna = leaving(far.server.port)
        running.start()
        submit(anna, ["good@far.test"], (), ["NOTIFY=SUCCESS"])
        empty(running)
        notices = came(anna, told)
        assert running.stop() == 0
        assert any("NOTIFY=SUCCESS" in line for line in far.server.heard) == (not told)
    assert [group["Action"] for notice in notices for group in groups(notice)[1:]] == ["relayed"] * told


def test_what_was_held_back_comes_when_it_is_time(leaving: Make) -> None:  # noqa: F811
    """RFC 4865 §4: also to people here, and not twice."""
    with SinkThread() as far:
        running, anna = leaving(far.server.port, workers=2)
        running.start()
        began = time.monotonic()
        submit(anna, [anna.address, "x@far.test"], ["HOLDFOR=3"])
        early = anna.messages()
        assert early == [] or time.monotonic() - began >= 3
        [message] = came(anna, 1)
        assert time.monotonic() - began >= 3
        empty(running)
        assert len(anna.messages()) == len(far.taken()) == 1
        assert running.stop() == 0
    assert message["Return-Path"] == "<person1@home.test>"


def test_limits_of_users_outlast_a_restart(leaving: Make) -> None:  # noqa: F811
    with SinkThread() as far:
        running, anna = leaving(far.server.port, workers=2)
        text = running.settings.read_text().replace("exempt_loopback = true", "messages_hour = 2")
        running.settings.write_text(text)
        running.start()
        submit(anna, ["x@far.test"])
        assert running.stop() == 0
        running.start()
        submit(anna, ["x@far.test"])
        with pytest.raises(smtplib.SMTPDataError, match=r"451.*2 messages in an hour.*possible again in") as refused:
            submit(anna, ["x@far.test"])
        assert refused.value.smtp_code == 451
        empty(running)
        assert running.stop() == 0
        assert len(far.taken()) == 2
