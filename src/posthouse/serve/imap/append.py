"""APPEND and REPLACE (RFC 9051 §6.3.12, RFC 3502, RFC 8508, RFC 4469): messages go to the end of a mailbox, all or
none.

The literal is announced before it comes, so what cannot be taken is refused before the client sends it; what cannot be
taken of URLs is refused when the next literal is announced, or at the end. A small literal that comes without being
asked for (RFC 7888) is refused behind it: whether there is such a mailbox is then asked once, by the transaction, and
not twice. Octets go to a spool: small messages stay in memory, large ones wait in a file. The tagged OK is said after
the commit.

Small messages that come together are described together, when they have been handed over to be compressed: a processor
that does one thing again and again takes a quarter less time than one that does another in between (decision 0133).

No message with NUL octets is kept, so that BODY[] can show each: RFC 9051 §4.3.1 forbids them in a literal, and in a
literal8 the parts that hold them are put into base64 (mail/nulless.py), or the message is refused (RFC 3516 §4.4).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.mail.nulless import without_nul
from posthouse.net.link import Woken
from posthouse.serve.imap import catenate, messagelimit, quota, replace
from posthouse.serve.imap.mailboxes import normalized
from posthouse.serve.imap.refusals import refusal, sentence
from posthouse.serve.imap.replace import Old
from posthouse.serve.imap.state import Session
from posthouse.store.blobs import Blobs, NewBlob, unkept
from posthouse.store.crashpoint import crashpoint
from posthouse.store.emails import NewEmail
from posthouse.store.packing import Packing
from posthouse.store.quota import Usage
from posthouse.store.script import Full, NotFound, Stale, StoreError, Unavailable
from posthouse.transport.accept import Arrived, describe
from posthouse.transport.spool import Spool
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Append
from posthouse.wire.imap.grammar import FlagSet
from posthouse.wire.imap.response import StatusResponse, no, ok
from posthouse.wire.imap.server import Catenate, Event, GoOn, LiteralAnnounced, Octets, UrlPart

NO_SUCH_MAILBOX = "There is no mailbox of that name; CREATE it first."
NO_ROOM = "There is no room on the server's disk at the moment; try again later."
EMPTY = "A message of no octets is no message."


class Whole(NamedTuple):
    """A message that has come and is not described yet."""

    arrived: Arrived
    flags: FlagSet
    saved: Millis


class Incoming:
    """An APPEND between its beginning and its end: the messages that are whole, the one that comes, and why none will
    be kept, where that is known already."""

    __slots__ = (
        "files",
        "head",
        "literal8",
        "nul",
        "old",
        "packing",
        "ready",
        "refused",
        "room",
        "spool",
        "total",
        "whole",
    )

    def __init__(self, blobs: Blobs) -> None:
        self.whole: list[Whole] = []  # messages that are whole: as many as wait to be compressed, and no more
        self.ready: list[Callable[[NewBlob], NewEmail]] = []  # those before them, described, but for their octets
        self.packing = Packing(blobs)  # the octets of all
        self.files: list[NewBlob] = []  # large messages that are whole, where it is known whether they are kept
        self.head: LiteralAnnounced | Catenate | None = None  # what was said of the message that comes
        self.spool: Spool | None = None
        self.literal8 = False  # whether the octets that come may hold NUL
        self.nul = False  # whether the message that comes holds NUL
        self.total = 0  # octets of all messages
        self.old: Old | None = None  # what REPLACE removes
        self.refused: StatusResponse | None = None
        self.room: Usage | None = None  # what the quota has room for, where it was asked before

    @property
    def size(self) -> int:
        """Octets of the message that comes, so far."""
        return 0 if self.spool is None else self.spool.size

    def refuse(self, answer: StatusResponse) -> None:
        """No message will be kept, for this reason, unless there was one before."""
        self.refused = self.refused or answer

    def close(self) -> None:
        """Forget everything."""
        if self.spool is not None:
            self.spool.close()
            self.spool = None
        self.packing.close()
        self.whole.clear()
        self.ready.clear()


async def append(session: Session, begun: LiteralAnnounced | Catenate) -> Event | StatusResponse | None:
    """Take an APPEND from its first message to its end. Gives the tagged answer, or the event that cut it off; None
    where the command is over and answered, or the peer has gone."""
    incoming = Incoming(session.store.blobs)
    try:
        return await _take(session, incoming, begun)
    finally:
        incoming.close()
        if incoming.files:
            await _tidy(session, incoming.files)


async def _tidy(session: Session, files: list[NewBlob]) -> None:
    """Remove the files of large messages that were refused, or that are here already under another name: a few octets
    of CATENATE make one, and the sweep comes after a day and a half."""
    with suppress(StoreError, OSError):
        gone = await session.store.read(unkept, files)
        await asyncio.to_thread(session.store.blobs.remove, gone)


async def _take(
    session: Session, incoming: Incoming, begun: LiteralAnnounced | Catenate
) -> Event | StatusResponse | None:
    event: Event | Woken | None = begun
    while True:
        match event:
            case LiteralAnnounced():
                if not await _announced(session, incoming, event):
                    return None
            case Catenate():
                await _begin(session, incoming, event)
            case UrlPart():
                await _url(session, incoming, event)
            case Octets():
                session.link.excuse(len(event.octets))
                await _octets(incoming, event.octets)
            case Append():
                return await _keep(session, incoming, event)
            case GoOn():  # a URL comes as a literal
                session.say(event.response)
            case Woken():
                pass
            case _:
                return event
        event = await session.link.next(session.engine)


# --- before a message comes


async def _announced(session: Session, incoming: Incoming, announced: LiteralAnnounced) -> bool:
    """Accept or refuse a message, or a text for one, before it comes; whether it was accepted."""
    if not announced.part:
        await _begin(session, incoming, announced)
    answer = incoming.refused or _too_big(session, incoming, announced.tag, announced.size)
    if answer is not None:
        session.link.write(session.engine.refuse(answer))
        return False
    incoming.total += announced.size
    incoming.literal8 = announced.binary
    asked = session.engine.accept()
    if asked:  # the client waits for it
        session.link.write(asked)
        await session.link.flush()
    return True


async def _begin(session: Session, incoming: Incoming, head: LiteralAnnounced | Catenate) -> None:
    """A message begins, and the one before it is whole."""
    await _message_whole(session, incoming)
    if incoming.refused is not None:
        return
    answer = await _judge(session, incoming, head)
    if answer is not None:
        incoming.refuse(answer)
        return
    incoming.head, incoming.nul = head, False
    incoming.spool = Spool(session.house.spool, session.house.limits.spool_above)


def _too_big(session: Session, incoming: Incoming, tag: bytes, more: int) -> StatusResponse | None:
    """The refusal of so many octets more, if they are too many."""
    largest, together = session.house.limits.message_size, session.limits.append_size
    if incoming.size + more > largest:
        return no(tag, f"A message may have at most {largest} octets here.", code.TOOBIG)
    if incoming.total + more > together:
        return no(tag, f"The messages of one APPEND may have at most {together} octets.", code.TOOBIG)
    if incoming.room is not None and incoming.total + more > incoming.room.octets:
        return no(tag, sentence(str(Full())), code.OVERQUOTA)
    return None


async def _judge(session: Session, incoming: Incoming, head: LiteralAnnounced | Catenate) -> StatusResponse | None:
    tag = head.tag
    if isinstance(head, LiteralAnnounced) and not head.size:
        return no(tag, EMPTY)
    if head.place >= session.limits.messages:
        return no(tag, f"One command takes at most {session.limits.messages} messages.", messagelimit.code(session))
    if incoming.room is not None and head.place >= incoming.room.messages:
        return no(tag, sentence(str(Full())), code.OVERQUOTA)
    if head.place:
        return None
    try:
        if not session.house.disk.room(session.house.store.directory, session.house.limits.message_size):
            return no(tag, NO_ROOM, code.UNAVAILABLE)
        await _ask_first(session, incoming, head)
        if incoming.room is not None and incoming.room.messages <= 0:
            return no(tag, sentence(str(Full())), code.OVERQUOTA)
        return await _judge_old(session, incoming, head)
    except NotFound:
        return no(tag, NO_SUCH_MAILBOX, code.TRYCREATE)
    except StoreError as error:
        return refusal(tag, error)
    except OSError:
        return _disk(tag)


async def _ask_first(session: Session, incoming: Incoming, head: LiteralAnnounced | Catenate) -> None:
    """Whether it may go into that mailbox, and how much has room there (RFC 9208 §4.3.1), where the client waits for
    the answer or much would come for nothing; of others the transaction says so (decision 0071). What REPLACE removes
    makes room of its own."""
    if not (isinstance(head, Catenate) or head.sync or head.size > session.house.limits.spool_above):
        return
    room = await session.store.read(quota.room, session.reader, head.mailbox, session.house.quota.rules)
    incoming.room = room if head.replaced is None else None


async def _judge_old(session: Session, incoming: Incoming, head: LiteralAnnounced | Catenate) -> StatusResponse | None:
    if head.replaced is None:
        return None
    old = await replace.old_message(session, head.tag, head.replaced)
    if isinstance(old, StatusResponse):
        return old
    incoming.old = old
    return None


# --- while it comes


async def _octets(incoming: Incoming, octets: bytes) -> None:
    if incoming.refused is not None or incoming.spool is None or incoming.head is None:
        return
    if b"\0" in octets:
        incoming.nul = True
        if not incoming.literal8:
            incoming.refuse(no(incoming.head.tag, "A message may hold NUL octets only as a literal8."))
            return
    try:
        if incoming.spool.add(octets):
            await incoming.spool.write()
    except OSError:
        incoming.refuse(_disk(incoming.head.tag))


async def _url(session: Session, incoming: Incoming, part: UrlPart) -> None:
    """RFC 4469 §3: the octets that the URL names are the next of the message."""
    if incoming.refused is not None:
        return
    try:
        source = await catenate.source(session, part.url)
        if isinstance(source, str):
            incoming.refuse(no(part.tag, source, code.badurl(part.url)))
        elif (answer := _too_big(session, incoming, part.tag, source.size)) is not None:
            incoming.refuse(answer)
        else:
            incoming.total += source.size
            incoming.literal8 = True  # what was kept may be kept again
            async for octets in catenate.octets_of(session, source):
                await _octets(incoming, octets)
    except NotFound:  # it went meanwhile
        incoming.refuse(no(part.tag, catenate.NO_PART, code.badurl(part.url)))
    except StoreError as error:
        incoming.refuse(refusal(part.tag, error))


def _disk(tag: bytes) -> StatusResponse:
    return refusal(tag, Unavailable())


# --- when it has come


async def _message_whole(session: Session, incoming: Incoming) -> None:
    """Make the message that has come ready for the store."""
    if incoming.nul:
        await _without_nul(session, incoming)
    head, spool = incoming.head, incoming.spool
    if head is None or spool is None or incoming.refused is not None:
        return
    if not spool.size:
        incoming.refuse(no(head.tag, EMPTY))
        return
    now = session.house.clock()
    received = now if head.date is None else head.date
    try:
        octets = await spool.octets()
        incoming.whole.append(Whole(Arrived(octets, Millis(received)), head.flags, now))
        filed = await incoming.packing.add(octets)
        incoming.files += [filed] if filed is not None else []
        if not incoming.packing.waiting:
            await _describe(incoming)
    except OSError:
        incoming.refuse(_disk(head.tag))
    except StoreError as error:
        incoming.refuse(refusal(head.tag, error))
    finally:
        spool.close()
        incoming.spool = None


async def _describe(incoming: Incoming) -> None:
    """Describe the messages that are whole, in order, while they are compressed."""
    several, incoming.whole = incoming.whole, []
    described = await describe([one.arrived for one in several])
    incoming.ready += [
        partial(read.email, flags=one.flags.bits, keywords=one.flags.keywords, saved=one.saved)
        for read, one in zip(described, several, strict=True)
    ]


async def _without_nul(session: Session, incoming: Incoming) -> None:
    """The same message in a spool of its own with no NUL in it, or the reason why not (RFC 3516 §4.4)."""
    head, old = incoming.head, incoming.spool
    if head is None or old is None or incoming.refused is not None:
        return
    limits = session.house.limits
    incoming.spool = Spool(session.house.spool, limits.spool_above)
    try:
        pieces = await asyncio.to_thread(without_nul, await old.octets())
        while pieces is not None and (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            if incoming.spool.add(piece):
                await incoming.spool.write()
    except OSError:
        incoming.refuse(_disk(head.tag))
        return
    finally:
        old.close()
    if pieces is None:
        incoming.refuse(no(head.tag, "A NUL octet stands where no encoding is possible.", code.UNKNOWN_CTE))
    elif incoming.spool.size > limits.message_size:
        incoming.refuse(no(head.tag, "The message is too large in base64.", code.TOOBIG))


# --- the end


def _not_kept(tag: bytes, error: StoreError) -> StatusResponse:
    if isinstance(error, Stale):
        return no(tag, replace.GONE, code.EXPUNGEISSUED)
    if isinstance(error, NotFound):
        return no(tag, NO_SUCH_MAILBOX, code.TRYCREATE)
    return refusal(tag, error)


async def _keep(session: Session, incoming: Incoming, command: Append) -> StatusResponse:
    await _message_whole(session, incoming)
    if incoming.refused is not None:
        return incoming.refused
    await _describe(incoming)
    blobs = await incoming.packing.all()
    new = tuple(email(blob) for email, blob in zip(incoming.ready, blobs, strict=True))
    files, incoming.files = incoming.files, []  # nobody may touch them before it is known what became of them
    try:
        order = replace.Order(new, incoming.old, session.house.quota.rules)
        row, appended = await session.store.run(replace.put, session.reader, command.mailbox, order)
        incoming.files = files
    except Unavailable as error:
        return refusal(command.tag, error)
    except StoreError as error:  # raised by the script, so nothing was written
        incoming.files = files
        return _not_kept(command.tag, error)
    crashpoint("imap.append_after_commit")
    normalized(session, command.mailbox, row.name)
    if incoming.old is not None:
        return await replace.tell(session, command.tag, appended)
    if session.selecting and session.selected.box == row.box:
        session.made = appended.uids
        with suppress(StoreError):  # it is kept, whatever comes now; then EXISTS is told later
            await session.sync(expunge=True, look=True)  # RFC 9051 §6.3.12: EXISTS at once
    return ok(command.tag, "APPEND completed.", code.appenduid(appended.uidvalidity, appended.uids))
