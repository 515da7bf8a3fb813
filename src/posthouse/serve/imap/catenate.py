"""CATENATE (RFC 4469): the messages, and parts of messages, that URLs put into a message of APPEND.

A URL is looked up when it has come, so that what is wrong with it is said before the client sends the next text. Its
octets are copied as BODY[…] would show them, in pieces; nothing is converted, and \\Seen is not set. A URL names no
server, not even this one (§3).
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from posthouse.mail.mime import Span
from posthouse.serve.imap.fetch import Message, content_of, pieces_of
from posthouse.serve.imap.parts import PIECE
from posthouse.serve.imap.state import Session
from posthouse.store import access, names
from posthouse.store.mailboxes import Box
from posthouse.store.names import Reader
from posthouse.store.script import Forbidden, NotFound, Script
from posthouse.transport.urls import Stored, message
from posthouse.wire.imap.fetch import body_section
from posthouse.wire.imap.url import MessageUrl, parse_relative

NO_URL = "CATENATE takes URLs of messages and their parts, without a server: /MAILBOX/;UID=NUMBER/;SECTION=PART."
NO_PART = "The URL names no message, or no part of one, that is there for you."


class Source(NamedTuple):
    """What a URL names: octets, or where they stand in a large message."""

    message: Stored
    content: bytes | Span

    @property
    def size(self) -> int:
        """How many octets they are."""
        return self.content.size if isinstance(self.content, Span) else len(self.content)


async def source(session: Session, octets: bytes) -> Source | str:
    """What this URL names for the user, or why it names nothing (RFC 4469 §4.1). Raises Unavailable."""
    selected = session.selected if session.selecting else None
    url = parse_relative(octets, selected.name if selected is not None else "")
    if url is None:
        return NO_URL
    own = selected.box if selected is not None and not url.mailbox else None
    try:
        stored = await session.store.read(_stored, session.reader, url, own)
        if stored is None:
            return NO_PART
        item = body_section(url.section, url.partial, peek=True)
        content = await content_of(session.store, Message(*stored, None, None), item, PIECE)
    except (NotFound, Forbidden):
        return NO_PART
    return Source(stored, content) if isinstance(content, bytes | Span) else NO_PART


def _stored(reader: Reader, url: MessageUrl, box: Box | None) -> Script[Stored | None]:
    """The message, where the user may read it: of the mailbox that the URL names, or of `box`.

    Raises NotFound, Forbidden."""
    if box is None:
        row, _, _ = yield from names.need(reader, url.mailbox, "r")
        return (yield from message(row.box, row.uidvalidity, url))
    if box.account != reader.account and "r" not in (yield from access.rights(box.mailbox, reader.identifier)):
        return None
    return (yield from message(box, None, url))


async def octets_of(session: Session, source: Source) -> AsyncIterator[bytes]:
    """The octets, in pieces of at most PIECE. Raises NotFound, Unavailable."""
    if isinstance(source.content, bytes):
        yield source.content
        return
    async for piece in pieces_of(session.store, source.message.blob, source.content):
        yield piece
