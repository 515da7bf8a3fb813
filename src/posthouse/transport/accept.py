"""The one door into the store: every message that is kept comes through here (architecture.md).

`prepare` makes octets ready: their description, which is what IMAP APPEND takes from here, and their blob. `accept`
commits one message for all its recipients in one transaction. When `accept` returns, the message is durable for
everyone; when it raises, for nobody.
"""

import asyncio
import logging
from collections.abc import Iterable
from mmap import mmap
from typing import NamedTuple

from posthouse.mail.fieldmap import field_map_of
from posthouse.mail.ids import UID, AccountId, Millis
from posthouse.mail.mime import parse_with_fields
from posthouse.mail.structure import Description, describe_part
from posthouse.mail.summary import Summary, summarize_fields
from posthouse.store import emails, mailboxes
from posthouse.store.blobs import NewBlob
from posthouse.store.crashpoint import crashpoint
from posthouse.store.emails import NewEmail
from posthouse.store.mailboxes import Box
from posthouse.store.script import NotFound, Script
from posthouse.store.store import Store

DESCRIBED_ON_LOOP = 256 * 1024  # octets; larger messages are read in a thread, so that nobody else waits for them

log = logging.getLogger(__name__)


async def prepare(
    store: Store, octets: bytes | mmap, received: Millis, flags: int = 0, keywords: tuple[str, ...] = ()
) -> NewEmail:
    """Make a message ready for the store: described, hashed, compressed; large ones are durable when this returns.

    The octets are kept as they are. Raises Unavailable.
    """
    read = await describe(octets, received)
    return read.email(await store.blobs.put(octets), flags, keywords)


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


async def describe(octets: bytes | mmap, received: Millis) -> Described:
    """Read a message once, for all that is kept beside it."""
    if len(octets) > DESCRIBED_ON_LOOP:
        read = await asyncio.to_thread(_read, octets, received)
    else:
        read = _read(octets, received)
    if read.description.cut:
        log.info("a message has parts beyond the limits; they are shown as one", extra={"size": len(octets)})
    return read


def _read(octets: bytes | mmap, received: Millis) -> Described:
    """Of one reading of the header."""
    part, found = parse_with_fields(octets)
    header = bytes(octets[: part.header.stop])
    summary = summarize_fields(part.fields, received)
    return Described(received, describe_part(part), summary, header, field_map_of(header, found))


async def accept(store: Store, email: NewEmail, recipients: Iterable[AccountId]) -> None:
    """Take responsibility: the message is in the INBOX of every account, once each, or nowhere (RFC 5321 §6.1).

    Raises NotFound when an account has gone since RCPT, and Unavailable.
    """
    crashpoint("smtp.before_commit")
    await store.run(deliver_to_inboxes, tuple(sorted(set(recipients))), email)


def deliver_to_inboxes(recipients: tuple[AccountId, ...], email: NewEmail) -> Script[list[UID]]:
    """The script of `accept`. Which mailbox is INBOX is looked up inside the transaction, so it cannot be stale."""
    items = []
    for account in recipients:
        inbox = yield from mailboxes.find(account, "INBOX")
        if inbox is None:
            raise NotFound("The recipient is no longer here")
        items.append((Box(account, inbox.id), email))
    return (yield from emails.deliver(items))
