"""Keeping a message that is taken: for those who are here, for those elsewhere, and the DSN that tells of it, all in
one transaction (RFC 5321 §4.4, §6.1).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from mmap import mmap

from posthouse.mail.address_list import mailboxes
from posthouse.mail.envelope import Envelope, Notify
from posthouse.mail.header import body_start, first, message_ids
from posthouse.mail.ids import Millis, Trail
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.store import sending
from posthouse.store.blobs import NewBlob
from posthouse.store.crashpoint import crashpoint
from posthouse.store.emails import NewEmail
from posthouse.store.journal import Entry
from posthouse.store.quota import Asked
from posthouse.store.script import Script
from posthouse.store.sending import Charge, TooMuch
from posthouse.transport import journey
from posthouse.transport.accept import INBOX, JUNK, Delivered, Filing, Queued, prepare
from posthouse.transport.bounce import Told, report
from posthouse.transport.client import Client
from posthouse.transport.depart import Departures, departures
from posthouse.transport.forwarding import departing
from posthouse.transport.house import House
from posthouse.transport.letter import Ready, make_ready, take_letters
from posthouse.transport.route import Leads
from posthouse.transport.signing import STRANGERS, Keys
from posthouse.transport.spool import copy_to_file
from posthouse.transport.spool import kept as left_over
from posthouse.transport.submit import Edit
from posthouse.transport.trace import received_field, return_path

FROM = 1_000  # octets of a From field that are looked at: one author, and a long name
DELIVERED = Status(2, 1, 5)  # RFC 3463 §3.2: destination address valid


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that has arrived whole, and what is known of it. `leads` is where its recipients led at RCPT, in their
    order. `release`: users may have it held back until this moment (RFC 4865 §4). `junk`:
    those who are here find it in Junk. `charge`: a user sends it, who may send so much. `keys` have signed it."""

    trail: Trail
    client: Client
    envelope: Envelope
    leads: tuple[Leads, ...]
    octets: bytes | mmap
    release: int = 0
    junk: bool = False
    charge: Charge | None = None
    keys: Keys = STRANGERS


async def keep(mail: Incoming, edit: Edit, received: Millis, house: House) -> TooMuch | None:
    """Put the trace fields in front, and keep it for everyone; for nobody where its user has sent too much. Raises
    Full, NotFound, Unavailable and OSError."""
    leads = _ways(mail, received)
    accounts = {account for way in leads for account in way.accounts}
    login = mail.client.login
    way = await departing(mail.envelope, leads, login.account if login else None, mail.trail, house)
    outgoing = departures(mail.envelope, leads, way)
    path = return_path(mail.envelope) if accounts else b""
    fields = path + received_field(mail.client, mail.envelope, house.hostname, received, mail.trail)
    octets = await edited(mail.octets, Edit(fields + edit.front, edit.changes), house)
    message = await prepare(house.store, octets, received) if accounts else await house.store.blobs.put(octets)
    if outgoing and _tls_is_optional(mail):
        outgoing = tuple(replace(way, envelope=replace(way.envelope, tls_optional=True)) for way in outgoing)
    ways = tuple(replace(way, skip=len(path), release=mail.release) for way in outgoing)
    leaving = Departures(house.moment(received), ways) if ways else None
    told = partial(_told, mail, received, (_message_id(message, octets), _author(octets)))
    if ways and not mail.release and isinstance(octets, bytes):  # the runner of the queue wants them in a moment
        blob = message.blob if isinstance(message, NewEmail) else message
        house.store.blobs.lately.put_many([(bytes.fromhex(blob.id), octets)])
    letter = await _of_success(mail, leads, (octets, len(path)), house)
    crashpoint("smtp.before_commit")
    filing = Filing(JUNK if mail.junk else INBOX, Asked(house.quota.rules, promised=True))
    kept = Ready(message, tuple(sorted(accounts)), leaving, told, filing)
    return await house.store.run(take_charged, mail.charge, (kept,) if letter is None else (kept, letter))


def take_charged(charge: Charge | None, letters: tuple[Ready, ...]) -> Script[TooMuch | None]:
    """Keep the message and what tells of it, where its user may send it."""
    refused = None if charge is None else (yield from sending.charge(charge))
    if refused is None:
        yield from take_letters(letters)
    return refused


def _tls_is_optional(mail: Incoming) -> bool:
    """Whether the message says `TLS-Required: No`, and REQUIRETLS does not say otherwise (RFC 8689 §3, §4.1)."""
    if mail.envelope.require_tls:
        return False
    value = first(mail.octets, b"tls-required")
    return value is not None and value.strip().lower() == b"no"


def _ways(mail: Incoming, received: Millis) -> tuple[Leads, ...]:
    """Where the recipients lead. What is held back waits in the queue whoever it is for (RFC 4865 §4): where it leads
    is looked up when it is released (home.py)."""
    held = mail.release > received
    return tuple(Leads(leaves=True) for _ in mail.leads) if held else mail.leads


async def _of_success(
    mail: Incoming, leads: Sequence[Leads], kept: tuple[bytes | mmap, int], house: House
) -> Ready | None:
    """The DSN of those to whom it is delivered here and now, where their NOTIFY asks for it (RFC 3461 §5.2.3). `kept`:
    the message, and how much of its front is not part of it."""
    received = house.clock()
    pairs = zip(mail.envelope.recipients, leads, strict=True)
    outcomes = [
        Outcome(recipient, action(way), DELIVERED, "", received)
        for recipient, way in pairs
        if recipient.wants(Notify.SUCCESS) and (way.accounts or len(way.onward) > 1)
    ]
    letter = None
    if outcomes:
        octets, skip = kept
        head = octets[skip : body_start(octets)]  # no more of it comes back where nothing failed
        about = Told(mail.envelope, head, received, mail.trail)
        letter = report(about, outcomes, house.hostname, received)
    if letter is None:
        return None
    tell = partial(journey.confirmed, received, mail.trail, str(mail.envelope.sender))
    return await make_ready(letter, mail.trail, house, tell)


def action(way: Leads) -> Action:
    """Delivered; or expanded, where those behind an alias, or some of them, are elsewhere or have no room now (RFC 3461
    §5.2.7.3)."""
    return Action.EXPANDED if way.onward else Action.DELIVERED


def _message_id(message: NewEmail | NewBlob, octets: bytes | mmap) -> str:
    if isinstance(message, NewEmail):
        return message.summary.message_id
    return next(iter(message_ids(first(octets, b"message-id") or b"")), "")


def _author(octets: bytes | mmap) -> str:
    """The address in the From field, which people know the sender by (RFC 5322 §3.6.2)."""
    return _first_mailbox((first(octets, b"from") or b"")[:FROM])


@lru_cache(1024)  # the same people write again and again
def _first_mailbox(value: bytes) -> str:
    found = next(iter(mailboxes(value)), None)
    return "" if found is None else found.addr_spec


def _told(
    mail: Incoming,
    received: Millis,
    header: tuple[str, str],
    delivered: Sequence[Delivered],
    queued: Sequence[Queued],
) -> Entry:
    """What the journal says of a message that was taken."""
    held = mail.release if mail.release > received and queued else None
    arrived = {"size": len(mail.octets), **journey.where(delivered, queued), "held_until": held}
    # Of strangers nothing leaves but what an alias sends on; the rest in the queue is for people here who have no room.
    if queued and (mail.client.login is not None or any(way.forwards for way in mail.leads)):
        arrived |= journey.signature(mail.keys)
    return journey.taken(received, mail.client, journey.subject(mail.trail, mail.envelope, *header), arrived)


async def edited(octets: bytes | mmap, edit: Edit, house: House) -> bytes | mmap:
    """The message as it will be kept: a new file where it came in one. Raises OSError."""
    if isinstance(octets, bytes):
        return b"".join([edit.front, *left_over(octets, edit.changes)])
    return await asyncio.to_thread(copy_to_file, octets, edit.front, edit.changes, house.spool)
