"""Mail in the queue that is for people here: it was held back for a while (RFC 4865 §4), or their domain has moved here
since.

Where its recipients lead is looked up now. They get it in the transaction that settles the item: once, or not yet.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from mmap import mmap

from posthouse.mail.envelope import Recipient
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.store.queue import QueueItem
from posthouse.store.quota import Asked
from posthouse.transport import journey, room
from posthouse.transport.accept import Filing, prepare
from posthouse.transport.depart import Departures, departures
from posthouse.transport.forwarding import departing
from posthouse.transport.house import House
from posthouse.transport.keep import DELIVERED, action, edited
from posthouse.transport.letter import Ready
from posthouse.transport.queue import Attempt, Tried
from posthouse.transport.resolve import leads_of
from posthouse.transport.route import Leads
from posthouse.transport.submit import Edit
from posthouse.transport.trace import return_path

GONE = Status(5, 1, 1)  # RFC 3463 §3.2: bad destination mailbox address

#: Sends an item to another server: an Outcome for each of its recipients, in their order.
Send = Callable[[QueueItem, bytes | mmap], Awaitable[tuple[Outcome, ...]]]


def at_home_first(house: House, send: Send) -> Attempt:
    """What an attempt of the queue is: delivery, where the destination is here, otherwise `send`."""

    async def attempt(item: QueueItem, octets: bytes | mmap) -> Tried:
        here = not item.destination.name  # <Postmaster> alone
        if not here and not await house.routes.is_local(item.destination, house.store):
            return Tried(await send(item, octets))
        return await deliver(item, octets, house)

    return attempt


async def deliver(item: QueueItem, octets: bytes | mmap, house: House) -> Tried:
    """The message made ready for everyone of the item who is here. Raises Unavailable and OSError."""
    recipients = item.envelope.recipients
    found = [await leads_of(each.path.address, house) for each in recipients]  # few, and remembered for a second
    crowded = await room.crowded(found, len(octets), house)
    full = {place for place, way in enumerate(found) if room.is_direct(way) and not crowded.isdisjoint(way.accounts)}
    leads = [Leads() if place in full else way for place, way in enumerate(await room.postponed(found, crowded, house))]
    now = house.clock()
    accounts = {account for way in leads for account in way.accounts}
    ways = departures(item.envelope, leads, await departing(item.envelope, leads, item.account, item.trail, house))
    kept: Ready | None = None
    if accounts or ways:
        front = return_path(item.envelope) if accounts else b""
        whole = await edited(octets, Edit(front), house)
        message = await prepare(house.store, whole, now) if accounts else await house.store.blobs.put(whole)
        leaving = Departures(house.moment(now), tuple(replace(way, skip=len(front)) for way in ways))
        tell = partial(journey.came_home, now, item)
        filing = Filing(asked=Asked(house.quota.rules, promised=True))
        kept = Ready(message, tuple(sorted(accounts)), leaving if ways else None, tell, filing)
    pairs = enumerate(zip(recipients, leads, strict=True))
    outcomes = (_full(one, now, house) if place in full else _outcome(one, way, now) for place, (one, way) in pairs)
    return Tried(tuple(outcomes), kept)


def _outcome(recipient: Recipient, way: Leads, now: Millis) -> Outcome:
    if way == Leads():
        return Outcome(recipient, Action.FAILED, GONE, "There is no such user here", now)
    if way.accounts or len(way.onward) > 1:
        return Outcome(recipient, action(way), DELIVERED, "", now)
    # It goes on in an item of its own, which tells of everything that happens to it.
    return Outcome(recipient, Action.RELAYED, DELIVERED, "", now, dsn=True)


def _full(recipient: Recipient, now: Millis, house: House) -> Outcome:
    """It is tried again, or given up, as RCPT would say (RFC 3463 §3.3)."""
    answer = room.refusal(house)
    what = Action.FAILED if house.quota.permanent else Action.DELAYED
    status = Status(5, 2, 2) if house.quota.permanent else Status(4, 2, 2)
    return Outcome(recipient, what, status, "The mailbox is full", now, house.hostname, "", answer, "rcpt")
