"""Notices about mail that was never sent from here (transport/notices.py, decision 0087)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from caller import MESSAGE, call, log_in
from household import ANNA, BEN, NOW, inbox
from posthouse.mail import dsn
from posthouse.mail.address import Address
from posthouse.mail.dsn import DeliveryStatus, RecipientStatus
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action
from posthouse.mail.status import Status
from posthouse.serve.login import Door
from posthouse.store import accounts, emails, mailboxes, queue
from posthouse.store.emails import Column
from posthouse.store.mailboxes import Box
from posthouse.store.moment import Moment
from posthouse.store.store import Store
from posthouse.transport.house import ForgedNotices, House, SmtpRole

WEEK = 7 * 24 * 3_600_000
DRAFT = b"From: anna@home.test\r\nMessage-ID: <one@anna.test>\r\n\r\nHello"
FOREIGN = b"From: anna@home.test\r\nMessage-ID: <spam@bot.test>\r\nSubject: cheap\r\n\r\n"


@pytest.fixture
async def house(store: Store, door: Door) -> House:
    """Eight days ago Anna sent a message, and one came in from elsewhere."""
    house = House(
        store,
        "mail.home.test",
        lambda: Millis(NOW - WEEK - 1),
        allow_plaintext_login=True,
        moment=lambda now: Moment(now, Millis(0), "b"),
    )
    async with call(house, door, SmtpRole.SUBMISSION) as caller:
        await log_in(caller)
        await caller.say("MAIL FROM:<anna@home.test>")
        await caller.say("RCPT TO:<x@elsewhere.test>")
        assert (await caller.message(DRAFT)).startswith("250")
    async with call(house, door) as caller:
        await caller.begin("zoe@far.test", ["ben@work.test"])
        assert (await caller.message(b"Message-ID: <from@zoe.test>\r\n" + MESSAGE)).startswith("250")
    return replace(house, clock=lambda: NOW)


async def sent(store: Store) -> bytes:
    """The header of Anna's message, as it left."""
    taken = await store.run(queue.claim, Moment(NOW, Millis(0), "b"), 7, 100, 1_000)
    octets = await store.blobs.get(taken.items[0].item.blob)
    return octets[: octets.index(b"\r\n\r\n") + 4]


def notice(returned: bytes, arrived: Millis | None = None) -> bytes:
    failed = RecipientStatus(dsn.typed("x@elsewhere.test"), Action.FAILED, Status(5, 1, 1))
    status = DeliveryStatus("mx.elsewhere.test", (failed,), arrival=arrived)
    body = dsn.print_report("No such user", status, returned, whole=False, utf8=False)
    return b"From: <postmaster@elsewhere.test>\r\nSubject: failed\r\nMIME-Version: 1.0\r\n" + body


async def give(house: House, door: Door, octets: bytes, to: Address = ANNA, role: SmtpRole = SmtpRole.MX) -> str:
    async with call(house, door, role) as caller:
        await caller.say("LHLO client.test" if role is SmtpRole.LMTP else "EHLO client.test")
        await caller.say("MAIL FROM:<>")
        await caller.say(f"RCPT TO:<{to}>")
        return await caller.message(octets)


async def junk(store: Store, address: Address) -> list[bytes]:
    login = await store.read(accounts.find_login, address)
    assert login is not None
    row = await store.read(mailboxes.find_role, login.account, "junk")
    assert row is not None
    rows = await store.read(emails.fetch, Box(login.account, row.id), emails.ALL, (Column.BLOB,))
    return await store.blobs.get_many([blob for _, blob in rows])


def by_message_id(header: bytes) -> bytes:
    return b"".join(line + b"\r\n" for line in header.split(b"\r\n") if line.startswith(b"Message-ID"))


def by_trace(header: bytes) -> bytes:
    return header.replace(b"Message-ID", b"X-Other")


@pytest.mark.parametrize("some", [bytes, by_message_id, by_trace])
async def test_what_was_sent_from_here_comes_into_inbox(
    house: House, door: Door, store: Store, some: Callable[[bytes], bytes]
) -> None:
    """By its Message-ID, or by the id in our Received field."""
    assert (await give(house, door, notice(some(await sent(store))))).startswith("250")
    assert len(await inbox(store, ANNA)) == 1
    assert await junk(store, ANNA) == []


@pytest.mark.parametrize("role", [SmtpRole.MX, SmtpRole.LMTP])
async def test_what_was_not_is_junk(house: House, door: Door, store: Store, role: SmtpRole) -> None:
    assert (await give(house, door, notice(FOREIGN), role=role)).startswith("250")
    assert await inbox(store, ANNA) == []
    [kept] = await junk(store, ANNA)
    assert kept.startswith(b"Return-Path: <>\r\n")


async def test_or_it_is_refused_or_mail_as_any_other(house: House, door: Door, store: Store) -> None:
    refusing = replace(house, forged_notices=ForgedNotices.REFUSE)
    assert (
        await give(refusing, door, notice(FOREIGN))
        == "550 5.7.1 This notice is about a message that was not sent from here"
    )
    assert (await give(replace(house, forged_notices=ForgedNotices.ACCEPT), door, notice(FOREIGN))).startswith("250")
    assert len(await inbox(store, ANNA)) == 1
    assert await junk(store, ANNA) == []


@pytest.mark.parametrize("header", [b"Message-ID: <from@zoe.test>\r\n", b"Message-ID: <one@anna.test>\r\n"])
async def test_what_somebody_else_sent_proves_nothing(house: House, door: Door, store: Store, header: bytes) -> None:
    """What came in is known too, but not as Ben's."""
    before = len(await inbox(store, BEN))
    assert (await give(house, door, notice(header), to=BEN)).startswith("250")
    assert len(await junk(store, BEN)) == 1
    assert len(await inbox(store, BEN)) == before


@pytest.mark.parametrize(
    "octets",
    [
        notice(b"Subject: no id\r\n\r\n"),
        b"Subject: Mail failure\r\n\r\nin the old style\r\n",
        notice(FOREIGN, arrived=Millis(NOW - 3 * WEEK)),
    ],
)
async def test_what_cannot_be_judged_is_taken(house: House, door: Door, store: Store, octets: bytes) -> None:
    """No id, no report, or about something older than the journal."""
    assert (await give(replace(house, forged_notices=ForgedNotices.REFUSE), door, octets)).startswith("250")
    assert len(await inbox(store, ANNA)) == 1


async def test_a_young_journal_judges_nothing(house: House, door: Door, store: Store) -> None:
    assert (await give(replace(house, clock=lambda: Millis(NOW - 2)), door, notice(FOREIGN))).startswith("250")
    assert len(await inbox(store, ANNA)) == 1


async def test_mail_with_a_sender_is_no_notice(house: House, door: Door, store: Store) -> None:
    async with call(house, door) as caller:
        await caller.begin()
        assert (await caller.message(notice(FOREIGN))).startswith("250")
    assert len(await inbox(store, ANNA)) == 1
