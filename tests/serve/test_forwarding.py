"""Aliases that lead to other servers: SRS, the way back, circles, and who may use them (transport/forwarding.py)."""

from dataclasses import replace

import pytest

from caller import MESSAGE, call
from household import ANNA, BEN, NOW, inbox
from posthouse.mail.address import Address, Domain, ForwardPath
from posthouse.mail.envelope import Notify, OriginalRecipient, Recipient
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status, reply
from posthouse.serve.login import Door
from posthouse.store import aliases, queue
from posthouse.store.moment import Moment
from posthouse.store.queue import QueueItem
from posthouse.store.store import Store
from posthouse.transport.bounce import of_item, report
from posthouse.transport.house import House
from posthouse.transport.resolve import leads_of

CLUB = Address("club", Domain("home.test"))
MORE = Address("more", Domain("home.test"))
OUTSIDE = Address("Carl", Domain("elsewhere.test"))
STRANGER = Address("zoe", Domain("far.test"))


@pytest.fixture
async def house(store: Store) -> House:
    """With an alias that leads elsewhere, and one that leads there and to Anna. Its clocks stand still."""
    await store.run(aliases.add_alias, CLUB, (OUTSIDE,))
    await store.run(aliases.add_alias, MORE, (ANNA, CLUB))
    return House(
        store, "mail.home.test", lambda: NOW, moment=lambda now: Moment(now, Millis(0), "boot"), secret=b"s" * 32
    )


async def ready(store: Store) -> list[QueueItem]:
    taken = await store.run(queue.claim, Moment(NOW, Millis(0), "boot"), 7, 100, 1_000)
    return [claimed.item for claimed in taken.items]


async def send(house: House, door: Door, sender: str, to: str, octets: bytes = MESSAGE) -> str:
    """The last answer to somebody elsewhere who sends."""
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        assert (await caller.say(f"MAIL FROM:<{sender}>")).startswith("250")
        answer = await caller.say(f"RCPT TO:<{to}>")
        return await caller.message(octets) if answer.startswith("250") else answer


async def test_mail_is_sent_on_in_the_name_of_the_house(house: House, door: Door, store: Store) -> None:
    assert (await send(house, door, str(STRANGER), "club@home.test")).startswith("250")
    [item] = await ready(store)
    assert item.destination == OUTSIDE.domain
    assert item.account is None
    assert item.envelope.recipients == (
        Recipient(ForwardPath(OUTSIDE), None, OriginalRecipient("rfc822", "club@home.test")),
    )
    sender = item.envelope.sender.address
    assert sender is not None
    assert sender.domain == CLUB.domain
    assert sender.local.startswith("SRS0=")
    assert (await leads_of(sender, house)).forwards == (STRANGER,)
    octets = await store.blobs.get(item.blob)
    assert octets.startswith(b"Received: ")
    assert octets.endswith(MESSAGE + b"\r\n")


async def test_a_bounce_finds_the_way_back(house: House, door: Door, store: Store) -> None:
    await send(house, door, str(STRANGER), "club@home.test")
    [item] = await ready(store)
    address = str(item.envelope.sender)
    assert (await send(house, door, "", address.lower())).startswith("250")
    [back] = await ready(store)
    assert [str(each.path) for each in back.envelope.recipients] == [str(STRANGER)]
    assert back.envelope.sender.address is None
    assert await send(house, door, str(STRANGER), address) == (
        "550 5.7.1 This address is only for notices of non-delivery, which have no sender"
    )
    forged = address.replace("=far.test", "=far.example")
    assert (await send(house, door, "", forged)).startswith("550 5.1.1")
    house = replace(house, clock=lambda: Millis(NOW + 22 * 86_400_000))
    assert (await send(house, door, "", address)).startswith("550 5.1.1")


async def test_what_we_say_ourselves_goes_back_too(house: House, door: Door, store: Store) -> None:
    """The letter of the queue is to the rewritten sender, and is led on."""
    await send(house, door, str(STRANGER), "club@home.test")
    [item] = await ready(store)
    outcome = Outcome(
        item.envelope.recipients[0], Action.FAILED, Status(5, 1, 1), "", NOW, "mx", answer=reply(550, "5.1.1", "no")
    )
    letter = report(of_item(item, MESSAGE), [outcome], house.hostname, NOW)
    assert letter is not None
    assert (await leads_of(letter.envelope.recipients[0].path.address, house)).forwards == (STRANGER,)


@pytest.mark.parametrize("sender", ["ben@work.test", "", "x" * 60 + "@far.test"])
async def test_senders_that_stay_as_they_are(house: House, door: Door, store: Store, sender: str) -> None:
    """Those of the house, none at all, and one whose address would become too long."""
    assert (await send(house, door, sender, "club@home.test")).startswith("250")
    [item] = await ready(store)
    assert str(item.envelope.sender) == sender


async def test_two_aliases_that_lead_to_one(house: House, door: Door, store: Store) -> None:
    async with call(house, door) as caller:
        await caller.begin("ben@work.test", ["club@home.test", "more@home.test"])
        assert (await caller.message(MESSAGE)).startswith("250")
    [item] = await ready(store)
    assert [each.path.address for each in item.envelope.recipients] == [OUTSIDE]


async def test_who_is_here_gets_it_too(house: House, door: Door, store: Store) -> None:
    assert (await send(house, door, "ben@work.test", "more@home.test")).startswith("250")
    assert len(await inbox(store, ANNA)) == 1
    [item] = await ready(store)
    assert item.envelope.recipients[0].path.address == OUTSIDE
    octets = await store.blobs.get(item.blob)
    assert octets.startswith(b"Return-Path: ")  # of the copy that is here; the queue leaves it out
    assert item.size < len(octets)


@pytest.mark.parametrize(
    ("field", "looping"),
    [
        (b"Received: from x by mail.home.test (Posthouse) with ESMTP id 1\r\n\tfor <club@home.test>; today\r\n", True),
        (b"Delivered-To: Club@home.test\r\n", True),
        (b"Received: from x by mail.home.test (Posthouse) with ESMTP id 1\r\n\tfor <anna@home.test>; today\r\n", False),
        (b"Received: from x by other.test (Posthouse) with ESMTP id 1\r\n\tfor <club@home.test>; today\r\n", False),
        (b"Delivered-To: club@home.test.example\r\n", False),
        (b"X-Delivered-To: club@home.test\r\n", False),
    ],
)
async def test_circles(house: House, door: Door, store: Store, field: bytes, looping: bool) -> None:
    """RFC 5321 §6.3, before fifty servers have seen it."""
    answer = await send(house, door, "ben@work.test", "club@home.test", field + MESSAGE)
    assert answer.startswith("554 5.4.6" if looping else "250")
    assert len(await ready(store)) == (not looping)
    assert (await send(house, door, "ben@work.test", "anna@home.test", field + MESSAGE)).startswith("250")


async def test_nothing_leaves_where_it_must_not(house: House, door: Door, store: Store) -> None:
    house = replace(house, leave=False)
    assert (await send(house, door, "ben@work.test", "club@home.test")).startswith("550")
    assert await inbox(store, BEN) == []


async def test_success_of_one_who_is_elsewhere_is_asked_of_the_next(house: House, door: Door, store: Store) -> None:
    """RFC 3461 §5.2.7.2."""
    async with call(house, door) as caller:
        await caller.say("EHLO client.test")
        await caller.say("MAIL FROM:<ben@work.test>")
        await caller.say("RCPT TO:<club@home.test> NOTIFY=SUCCESS")
        assert (await caller.message(MESSAGE)).startswith("250")
    [item] = await ready(store)
    assert item.envelope.recipients[0].notify == {Notify.SUCCESS}
    assert await inbox(store, BEN) == []
