"""BURL: the content of a message, or a part of it, that a user has here already (RFC 4468 §3.2).

A draft with its attachments is sent without being downloaded and sent back. Only URLs of this server are fetched, and
only those that the user authorized for submission, by urlauth=submit+user (transport/urls.py); why one grants nothing
is not told.
"""

from posthouse.mail.mime import Span
from posthouse.mail.status import Reply, reply
from posthouse.serve.imap.fetch import Content, Message, content_of, pieces_of
from posthouse.serve.imap.parts import PIECE
from posthouse.serve.smtp.state import Session, Transaction, forget
from posthouse.serve.smtp.transaction import ended, open_spool
from posthouse.store.access import identifier
from posthouse.store.script import NotFound
from posthouse.transport import receive, urls
from posthouse.transport.urls import Asker, Verified
from posthouse.wire.imap.fetch import body_section
from posthouse.wire.smtp import command

NOT_AUTHORIZED = reply(
    554, "5.7.0", "This URL gives you nothing: it must name a message of this server and be authorized by",
    "URLAUTH=submit+ and your address",
)  # fmt: skip
NO_SUCH_PART = reply(554, "5.6.6", "The message has no such part")
MORE = reply(250, "2.5.0", "Waiting for more BURL or BDAT")


async def burl(talk: Session, event: command.Burl) -> Reply:
    """BURL (RFC 4468 §3.2): a URL that cannot be fetched ends the transaction."""
    transaction = talk.transaction
    assert transaction is not None  # the engine keeps the order
    if transaction.spool is None:
        open_spool(talk)
    fault = await _add(talk, transaction, event)
    if event.last and fault is None:
        return await ended(talk, None)
    if fault is not None:
        forget(talk)
    return fault or MORE


async def _add(talk: Session, transaction: Transaction, event: command.Burl) -> Reply | None:
    """What the URL names goes behind what has come so far, or the reply that says why not. Raises StoreError."""
    login = talk.client.login
    assert login is not None  # BURL is known to users alone, and MAIL wants a login from them
    found = await urls.verify(talk.house, event.url, Asker(identifier(login.address), submission=True))
    if found is None:
        return NOT_AUTHORIZED
    try:
        content = await _content(talk, found)
        if not isinstance(content, bytes | Span):
            return NO_SUCH_PART
        fault = await _copy(talk, transaction, found, content)
    except NotFound:  # it was expunged meanwhile
        return NO_SUCH_PART
    return fault or transaction.fault or talk.engine.fetched(b"", complete=event.last)


async def _content(talk: Session, found: Verified) -> Content:
    message = Message(*found.message, None, None)
    item = body_section(found.url.section, found.url.partial, peek=True)
    return await content_of(talk.house.store, message, item, PIECE)


async def _copy(talk: Session, transaction: Transaction, found: Verified, content: bytes | Span) -> Reply | None:
    if isinstance(content, bytes):
        return await _take(talk, transaction, content)
    async for octets in pieces_of(talk.house.store, found.message.blob, content):
        fault = await _take(talk, transaction, octets)
        if fault is not None:
            return fault
    return None


async def _take(talk: Session, transaction: Transaction, octets: bytes) -> Reply | None:
    assert transaction.spool is not None
    fault = talk.engine.fetched(octets, complete=False)
    if fault is not None:
        return fault
    try:
        if transaction.spool.add(octets):
            await transaction.spool.write()
    except OSError:
        return receive.DISK_FULL
    return None
