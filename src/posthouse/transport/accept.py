"""The one door into the store: every message that is kept comes through here (architecture.md).

`prepare` makes octets ready (their description and their blob), `accept` commits one message for all its recipients in
one transaction: those who are here have it, those elsewhere are in the queue. When `accept` returns, the message is
durable for everyone; when it raises, for nobody.
"""

import asyncio
import logging
from collections.abc import Iterable
from mmap import mmap

from posthouse.mail.ids import UID, AccountId, Millis
from posthouse.mail.mime import parse
from posthouse.mail.structure import Description, describe_part
from posthouse.mail.summary import Summary, summarize_fields
from posthouse.store import emails, mailboxes, queue
from posthouse.store.blobs import NewBlob
from posthouse.store.crashpoint import crashpoint
from posthouse.store.emails import NewEmail
from posthouse.store.mailboxes import Box
from posthouse.store.script import NotFound, Script
from posthouse.store.store import Store
from posthouse.transport.depart import Departures

DESCRIBED_ON_LOOP = 256 * 1024  # octets; larger messages are read in a thread, so that nobody else waits for them

log = logging.getLogger(__name__)


async def prepare(
    store: Store, octets: bytes | mmap, received: Millis, flags: int = 0, keywords: tuple[str, ...] = ()
) -> NewEmail:
    """Make a message ready for the store: described, hashed, compressed; large ones are durable when this returns.

    The octets are kept as they are. Used for incoming mail and for IMAP APPEND. Raises Unavailable.
    """
    if len(octets) > DESCRIBED_ON_LOOP:
        description, summary = await asyncio.to_thread(_read, octets, received)
    else:
        description, summary = _read(octets, received)
    if description.cut:
        log.info("a message has parts beyond the limits; they are shown as one", extra={"size": len(octets)})
    blob = await store.blobs.put(octets)
    header = bytes(octets[: description.header_size])
    return NewEmail(blob, description, header, received, summary, flags, keywords)


def _read(octets: bytes | mmap, received: Millis) -> tuple[Description, Summary]:
    """What is kept beside the message, of one reading of its header."""
    part = parse(octets)
    return describe_part(part), summarize_fields(part.fields, received)


async def accept(
    store: Store, message: NewEmail | NewBlob, recipients: Iterable[AccountId], leaving: Departures | None = None
) -> None:
    """Take responsibility: the message is in the INBOX of every account and in the queue, once each, or nowhere
    (RFC 5321 §6.1). A message that only leaves needs its blob alone.

    Raises NotFound when an account has gone since RCPT, and Unavailable.
    """
    crashpoint("smtp.before_commit")
    await store.run(take_in, message, tuple(sorted(set(recipients))), leaving)


def take_in(
    message: NewEmail | NewBlob, recipients: tuple[AccountId, ...], leaving: Departures | None = None
) -> Script[None]:
    """The script of `accept`."""
    if isinstance(message, NewEmail):
        yield from deliver_to_inboxes(recipients, message)
    if leaving is None:
        return
    blob = message.blob if isinstance(message, NewEmail) else message
    for outgoing in leaving.outgoing:  # inside one script, in the writer's thread
        yield from queue.enqueue(leaving.at, blob, outgoing)


def deliver_to_inboxes(recipients: tuple[AccountId, ...], email: NewEmail) -> Script[list[UID]]:
    """A message for those who are here. Which mailbox is INBOX is looked up inside the transaction, so it cannot be
    stale."""
    items = []
    for account in recipients:
        inbox = yield from mailboxes.find(account, "INBOX")
        if inbox is None:
            raise NotFound("The recipient is no longer here")
        items.append((Box(account, inbox.id), email))
    return (yield from emails.deliver(items))
