"""The one door into the store: every message that is kept comes through here (architecture.md).

`prepare` makes octets ready (their description and their blob), `accept` commits one message for all its recipients in
one transaction. When `accept` returns, the message is durable for everyone; when it raises, for nobody.
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

    The octets are kept as they are. Used for incoming mail and for IMAP APPEND. Raises Unavailable.
    """
    if len(octets) > DESCRIBED_ON_LOOP:
        read = await asyncio.to_thread(_read, octets, received)
    else:
        read = _read(octets, received)
    if read.description.cut:
        log.info("a message has parts beyond the limits; they are shown as one", extra={"size": len(octets)})
    blob = await store.blobs.put(octets)
    return NewEmail(blob, read.description, read.header, received, read.summary, flags, keywords, fields=read.fields)


class _Read(NamedTuple):
    """What is kept beside the message."""

    description: Description
    summary: Summary
    header: bytes
    fields: bytes | None


def _read(octets: bytes | mmap, received: Millis) -> _Read:
    """Of one reading of the header."""
    part, found = parse_with_fields(octets)
    header = bytes(octets[: part.header.stop])
    return _Read(describe_part(part), summarize_fields(part.fields, received), header, field_map_of(header, found))


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
