"""APPEND and REPLACE (RFC 9051 §6.3.12, RFC 3502, RFC 8508): messages go to the end of a mailbox, all or none.

The literal is announced before it comes, so what cannot be taken is refused before the client sends it. A small one
that comes without being asked for (RFC 7888) is refused behind it: whether there is such a mailbox is then asked once,
by the transaction, and not twice. Octets go to a spool: small messages stay in memory, large ones wait in a file. The
tagged OK is said after the commit.

No message with NUL octets is kept, so that BODY[] can show each: RFC 9051 §4.3.1 forbids them in a literal, and in a
literal8 the parts that hold them are put into base64 (mail/nulless.py), or the message is refused (RFC 3516 §4.4).
"""

import asyncio
from contextlib import suppress

from posthouse.mail.ids import Millis
from posthouse.mail.nulless import without_nul
from posthouse.net.link import Woken
from posthouse.serve.imap import messagelimit, replace
from posthouse.serve.imap.mailboxes import normalized
from posthouse.serve.imap.refusals import refusal
from posthouse.serve.imap.replace import Old
from posthouse.serve.imap.state import Session
from posthouse.store import names
from posthouse.store.crashpoint import crashpoint
from posthouse.store.emails import NewEmail
from posthouse.store.script import NotFound, Stale, StoreError, Unavailable
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

    __slots__ = ("announced", "nul", "old", "ready", "refused", "spool", "total")

    def __init__(self) -> None:
        self.ready: list[NewEmail] = []
        self.announced: LiteralAnnounced | None = None
        self.spool: Spool | None = None
        self.nul = False  # whether the message that comes holds NUL
        self.total = 0
        self.old: Old | None = None  # what REPLACE removes
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
    incoming.announced, incoming.nul = announced, False
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
    if announced.index >= session.limits.messages:
        return no(tag, f"One command takes at most {session.limits.messages} messages.", messagelimit.code(session))
    if announced.index:
        return None
    try:
        if not session.house.disk.room(session.house.store.directory, largest):
            return no(tag, NO_ROOM, code.UNAVAILABLE)
        await _ask_first(session, announced)
        return await _judge_old(session, incoming, announced)
    except NotFound:
        return no(tag, NO_SUCH_MAILBOX, code.TRYCREATE)
    except StoreError as error:
        return refusal(tag, error)
    except OSError:
        return _disk(tag)


async def _ask_first(session: Session, announced: LiteralAnnounced) -> None:
    """Whether it may go into that mailbox, where the client waits for the answer or much would come for nothing; of
    others the transaction says so (decision 0071)."""
    if announced.sync or announced.size > session.house.limits.spool_above:
        await session.store.read(names.need, session.reader, announced.mailbox, "i")


async def _judge_old(session: Session, incoming: Incoming, announced: LiteralAnnounced) -> StatusResponse | None:
    if announced.replaced is None:
        return None
    old = await replace.old_message(session, announced.tag, announced.replaced)
    if isinstance(old, StatusResponse):
        return old
    incoming.old = old
    return None


async def _octets(incoming: Incoming, octets: bytes) -> None:
    if incoming.refused is not None or incoming.spool is None or incoming.announced is None:
        return
    incoming.nul = incoming.nul or b"\0" in octets
    try:
        if incoming.spool.add(octets):
            await incoming.spool.write()
    except OSError:
        incoming.refused = _disk(incoming.announced.tag)


def _disk(tag: bytes) -> StatusResponse:
    return refusal(tag, Unavailable())


async def _message_whole(session: Session, incoming: Incoming) -> None:
    """Make the message that has come ready for the store."""
    announced = incoming.announced
    if incoming.nul:
        await _without_nul(session, incoming)
    spool = incoming.spool
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


async def _without_nul(session: Session, incoming: Incoming) -> None:
    """The same message in a spool of its own with no NUL in it, or the reason why not (RFC 3516 §4.4)."""
    announced, old = incoming.announced, incoming.spool
    if announced is None or old is None or incoming.refused is not None:
        return
    if not announced.binary:
        incoming.refused = no(announced.tag, "A message may hold NUL octets only as a literal8.")
        return
    limits = session.house.limits
    incoming.spool = Spool(session.house.spool, limits.spool_above)
    try:
        pieces = await asyncio.to_thread(without_nul, await old.octets())
        while pieces is not None and (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            if incoming.spool.add(piece):
                await incoming.spool.write()
    except OSError:
        incoming.refused = _disk(announced.tag)
        return
    finally:
        old.close()
    if pieces is None:
        incoming.refused = no(announced.tag, "A NUL octet stands where no encoding is possible.", code.UNKNOWN_CTE)
    elif incoming.spool.size > limits.message_size:
        incoming.refused = no(announced.tag, "The message is too large in base64.", code.TOOBIG)


async def _keep(session: Session, incoming: Incoming, command: Append) -> StatusResponse:
    await _message_whole(session, incoming)
    if incoming.refused is not None:
        return incoming.refused
    try:
        row, appended = await session.store.run(
            replace.put, session.reader, command.mailbox, tuple(incoming.ready), incoming.old
        )
    except Stale:
        return no(command.tag, replace.GONE, code.EXPUNGEISSUED)
    except NotFound:
        return no(command.tag, NO_SUCH_MAILBOX, code.TRYCREATE)
    except StoreError as error:
        return refusal(command.tag, error)
    crashpoint("imap.append_after_commit")
    normalized(session, command.mailbox, row.name)
    if incoming.old is not None:
        return await replace.tell(session, command.tag, appended)
    if session.selecting and session.selected.box == row.box:
        session.made = appended.uids
        with suppress(StoreError):  # it is kept, whatever comes now; then EXISTS is told later
            await session.sync(expunge=True, look=True)  # RFC 9051 §6.3.12: EXISTS at once
    return ok(command.tag, "APPEND completed.", code.appenduid(appended.uidvalidity, appended.uids))
