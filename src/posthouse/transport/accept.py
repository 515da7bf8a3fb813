"""The one door into the store: every message that is kept comes through here (architecture.md).

`prepare` makes octets ready: their description, which is what IMAP APPEND takes from here, and their blob. `accept`
is the script that keeps one message for all its recipients: those who are here have it, those elsewhere are in the
queue. When its transaction is committed, the message is durable for everyone; otherwise for nobody.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from mmap import mmap
from typing import NamedTuple

from posthouse.mail.fieldmap import field_map_of
from posthouse.mail.ids import UID, AccountId, Millis, QueueId
from posthouse.mail.mime import parse_with_fields
from posthouse.mail.structure import Description, describe_part
from posthouse.mail.summary import Summary, summarize_fields
from posthouse.store import emails, journal, mailboxes, queue
from posthouse.store.blobs import NewBlob
from posthouse.store.emails import NewEmail
from posthouse.store.journal import Entry
from posthouse.store.mailboxes import Box
from posthouse.store.quota import Asked
from posthouse.store.script import NotFound, Script
from posthouse.store.store import Store
from posthouse.transport.depart import Departures

INBOX, JUNK = "inbox", "junk"  # roles of mailboxes (RFC 8621 §2)
DESCRIBED_ON_LOOP = 256 * 1024  # octets; larger messages are read in a thread, so that nobody else waits for them

log = logging.getLogger(__name__)


class Delivered(NamedTuple):
    """A message came into a mailbox."""

    box: Box
    uid: UID
    mailbox: str = "INBOX"  # its name


class Queued(NamedTuple):
    """A message waits for a destination."""

    item: QueueId
    destination: str


class Filing(NamedTuple):
    """How it is filed: the role of the mailbox, and which quota is asked; None: it is let in, whatever that says."""

    role: str = INBOX
    asked: Asked | None = None


TO_INBOX = Filing()

Tell = Callable[[Sequence[Delivered], Sequence[Queued]], Entry]


async def prepare(
    store: Store, octets: bytes | mmap, received: Millis, flags: int = 0, keywords: tuple[str, ...] = ()
) -> NewEmail:
    """Make a message ready for the store: described, hashed, compressed; large ones are durable when this returns.

    The octets are kept as they are. Raises Unavailable.
    """
    [read] = await describe([Arrived(octets, received)])
    return read.email(await store.blobs.put(octets), flags, keywords)


class Arrived(NamedTuple):
    """The octets of a message, and its INTERNALDATE."""

    octets: bytes | mmap
    received: Millis


class Described(NamedTuple):
    """What is kept beside the octets of a message."""

    received: Millis
    description: Description
    summary: Summary
    header: bytes
    fields: bytes | None

    def email(self, blob: NewBlob, flags: int, keywords: tuple[str, ...], saved: Millis | None = None) -> NewEmail:
        """The message ready for the store, with its octets."""
        return NewEmail(
            blob, self.description, self.header, self.received, self.summary, flags, keywords, saved, self.fields
        )


async def describe(several: Sequence[Arrived]) -> list[Described]:
    """Read messages once, for all that is kept beside them."""
    if any(len(octets) > DESCRIBED_ON_LOOP for octets, _ in several):
        read = await asyncio.to_thread(_read_many, several)
    else:
        read = [_read(*several[0])] if len(several) == 1 else _read_many(several)
    for (octets, _), one in zip(several, read, strict=True):
        if one.description.cut:
            log.info("a message has parts beyond the limits; they are shown as one", extra={"size": len(octets)})
    return read


def _read(octets: bytes | mmap, received: Millis) -> Described:
    """Of one reading of the header."""
    part, found = parse_with_fields(octets)
    header = bytes(octets[: part.header.stop])
    summary = summarize_fields(part.fields, received)
    return Described(received, describe_part(part), summary, header, field_map_of(header, found))


def _read_many(several: Sequence[Arrived]) -> list[Described]:
    """The same, step by step for all: a sixth quicker than message by message, and slower for one (decision 0133)."""
    received = [arrived.received for arrived in several]
    parsed = [parse_with_fields(arrived.octets) for arrived in several]
    headers = [bytes(octets[: part.header.stop]) for (octets, _), (part, _) in zip(several, parsed, strict=True)]
    summaries = [summarize_fields(part.fields, date) for (part, _), date in zip(parsed, received, strict=True)]
    descriptions = [describe_part(part) for part, _ in parsed]
    maps = [field_map_of(header, found) for header, (_, found) in zip(headers, parsed, strict=True)]
    return list(map(Described, received, descriptions, summaries, headers, maps))


def accept(
    message: NewEmail | NewBlob,
    recipients: Iterable[AccountId],
    leaving: Departures | None = None,
    tell: Tell | None = None,
    filing: Filing = TO_INBOX,
) -> Script[None]:
    """Take responsibility: the message is in a mailbox of every account and in the queue, once each, or nowhere
    (RFC 5321 §6.1). A message that only leaves needs its blob alone. The entry of the journal that `tell` makes is
    written with it. Raises NotFound when an account has gone meanwhile, and Full where its quota has no room."""
    delivered: list[Delivered] = []
    if isinstance(message, NewEmail):
        delivered = yield from deliver_to(tuple(sorted(set(recipients))), message, filing)
    queued: list[Queued] = []
    if leaving is not None:
        queued = yield from _depart(message.blob if isinstance(message, NewEmail) else message, leaving)
    if tell is not None:
        yield from journal.record([tell(delivered, queued)])


def _depart(blob: NewBlob, leaving: Departures) -> Script[list[Queued]]:
    queued: list[Queued] = []
    for outgoing in leaving.outgoing:  # inside one script, in the writer's thread
        items = yield from queue.enqueue(leaving.at, blob, outgoing)
        names = sorted({each.path.address.domain.name for each in outgoing.envelope.recipients})
        queued += map(Queued, items, names)
    return queued


def deliver_to(
    recipients: tuple[AccountId, ...], email: NewEmail, filing: Filing = TO_INBOX
) -> Script[list[Delivered]]:
    """A message for those who are here. Which mailbox is meant is looked up inside the transaction, so it cannot be
    stale; who has none of this role gets it in INBOX."""
    items, names = [], []
    for account in recipients:
        row = None if filing.role == INBOX else (yield from mailboxes.find_role(account, filing.role))
        row = row or (yield from mailboxes.find(account, "INBOX"))
        if row is None:
            raise NotFound("The recipient is no longer here")
        items.append((Box(account, row.id), email))
        names.append(row.name)
    uids = yield from emails.deliver(items, filing.asked)
    return [Delivered(box, uid, name) for (box, _), uid, name in zip(items, uids, names, strict=True)]
