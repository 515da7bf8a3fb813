"""APPEND (RFC 9051 §6.3.12, RFC 3502): messages from the client to the end of a mailbox, all or none.

The literal is announced before it comes, so what cannot be taken is refused before the client sends it. Octets go to a
spool: small messages stay in memory, large ones wait in a file. The tagged OK is said after the commit.

NUL octets are refused: RFC 9051 §4.3.1 forbids them in a literal, and a literal8 that holds them is answered as
RFC 3516 §4.4 allows. So every stored message can be shown by BODY[].
"""

from collections.abc import Sequence
from contextlib import suppress

from posthouse.mail.ids import Millis
from posthouse.net.link import Woken
from posthouse.serve.imap.mailboxes import normalized
from posthouse.serve.imap.state import Session, refusal
from posthouse.store import emails, names
from posthouse.store.access import settable
from posthouse.store.crashpoint import crashpoint
from posthouse.store.emails import Appended, NewEmail
from posthouse.store.mailboxes import MailboxRow
from posthouse.store.names import Reader
from posthouse.store.script import NotFound, Script, StoreError, Unavailable
from posthouse.transport.accept import prepare
from posthouse.transport.spool import Spool
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Append
from posthouse.wire.imap.response import StatusResponse, no, ok
from posthouse.wire.imap.server import Event, LiteralAnnounced, Octets

NO_SUCH_MAILBOX = "There is no mailbox of that name; CREATE it first."
NO_ROOM = "There is no room on the server's disk at the moment; try again later."


class Incoming:
    """An APPEND between its first literal and its end: the messages that are whole, the one that comes, and why none
    will be kept, where that is known already."""

    __slots__ = ("announced", "ready", "refused", "spool", "total")

    def __init__(self) -> None:
        self.ready: list[NewEmail] = []
        self.announced: LiteralAnnounced | None = None
        self.spool: Spool | None = None
        self.total = 0
        self.refused: StatusResponse | None = None

    def close(self) -> None:
        """Forget everything."""
        if self.spool is not None:
            self.spool.close()
            self.spool = None
        self.ready.clear()


async def append(session: Session, announced: LiteralAnnounced) -> Event | StatusResponse | None:
    """Take an APPEND from its first literal to its end. Gives the tagged answer, or the event that cut it off; None
    where the command is over and answered, or the peer has gone."""
    incoming = Incoming()
    try:
        return await _take(session, incoming, announced)
    finally:
        incoming.close()


async def _take(session: Session, incoming: Incoming, announced: LiteralAnnounced) -> Event | StatusResponse | None:
    event: Event | Woken | None = announced
    while True:
        match event:
            case LiteralAnnounced():
                if not await _announced(session, incoming, event):
                    return None
            case Octets():
                session.link.excuse(len(event.octets))
                await _octets(incoming, event.octets)
            case Append():
                return await _keep(session, incoming, event)
            case Woken():
                pass
            case _:
                return event
        event = await session.link.next(session.engine)


async def _announced(session: Session, incoming: Incoming, announced: LiteralAnnounced) -> bool:
    """Accept or refuse a message before it comes; whether it was accepted."""
    answer = await _judge(session, incoming, announced)
    if answer is not None:
        session.link.write(session.engine.refuse(answer))
        return False
    await _message_whole(session, incoming)
    incoming.announced = announced
    incoming.total += announced.size
    incoming.spool = Spool(session.house.spool, session.house.limits.spool_above)
    session.link.write(session.engine.accept())
    await session.link.flush()
    return True


async def _judge(session: Session, incoming: Incoming, announced: LiteralAnnounced) -> StatusResponse | None:
    tag = announced.tag
    largest = session.house.limits.message_size
    if announced.size > largest:
        return no(tag, f"A message may have at most {largest} octets here.", code.TOOBIG)
    together = session.limits.append_size
    if incoming.total + announced.size > together:
        return no(tag, f"The messages of one APPEND may have at most {together} octets.", code.TOOBIG)
    if not announced.size:
        return no(tag, "A message of no octets is no message.")
    if announced.index:
        return None
    try:
        if not session.house.disk.room(session.house.store.directory, largest):
            return no(tag, NO_ROOM, code.UNAVAILABLE)
        await session.store.read(names.need, session.reader, announced.mailbox, "i")
    except NotFound:
        return no(tag, NO_SUCH_MAILBOX, code.TRYCREATE)
    except StoreError as error:
        return refusal(tag, error)
    except OSError:
        return _disk(tag)
    return None


async def _octets(incoming: Incoming, octets: bytes) -> None:
    if incoming.refused is not None or incoming.spool is None or incoming.announced is None:
        return
    try:
        if incoming.spool.add(octets):
            await incoming.spool.write()
    except OSError:
        incoming.refused = _disk(incoming.announced.tag)


def _disk(tag: bytes) -> StatusResponse:
    return refusal(tag, Unavailable())


async def _message_whole(session: Session, incoming: Incoming) -> None:
    """Make the message that has come ready for the store."""
    announced, spool = incoming.announced, incoming.spool
    if announced is None or spool is None or incoming.refused is not None:
        return
    now = session.house.clock()
    received = now if announced.date is None else announced.date
    flags = announced.flags
    try:
        octets = await spool.octets()
        new = await prepare(session.store, octets, Millis(received), flags.bits, flags.keywords)
        incoming.ready.append(new._replace(saved=now))
    except OSError:
        incoming.refused = _disk(announced.tag)
    except StoreError as error:
        incoming.refused = refusal(announced.tag, error)
    finally:
        spool.close()
        incoming.spool = None


def put(reader: Reader, name: str, new: Sequence[NewEmail]) -> Script[tuple[MailboxRow, Appended]]:
    """Append to the mailbox of this name, with the flags that the user may set there. Raises NotFound, Forbidden."""
    row, rights, _ = yield from names.need(reader, name, "i")
    permitted = [
        email._replace(flags=email.flags & settable(rights), keywords=email.keywords if "w" in rights else ())
        for email in new
    ]
    return row, (yield from emails.add(row.box, permitted))


async def _keep(session: Session, incoming: Incoming, command: Append) -> StatusResponse:
    for message in command.messages:
        if message.has_nul:
            return no(command.tag, "A message may not hold NUL octets.", code.UNKNOWN_CTE if message.binary else None)
    await _message_whole(session, incoming)
    if incoming.refused is not None:
        return incoming.refused
    try:
        row, appended = await session.store.run(put, session.reader, command.mailbox, tuple(incoming.ready))
    except NotFound:
        return no(command.tag, NO_SUCH_MAILBOX, code.TRYCREATE)
    except StoreError as error:
        return refusal(command.tag, error)
    crashpoint("imap.append_after_commit")
    normalized(session, command.mailbox, row.name)
    if session.selecting and session.selected.box == row.box:
        with suppress(StoreError):  # it is kept, whatever comes now; then EXISTS is told later
            await session.sync(expunge=True, look=True)  # RFC 9051 §6.3.12: EXISTS at once
    return ok(command.tag, "APPEND completed.", code.appenduid(appended.uidvalidity, appended.uids))
