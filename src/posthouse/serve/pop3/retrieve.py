"""What a client asks of the messages in its maildrop: STAT, LIST, UIDL, RETR, TOP, DELE, RSET (RFC 1939 §5, §7)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

from posthouse.serve.pop3.state import Session
from posthouse.store.script import StoreError
from posthouse.wire.pop3.command import Dele, List, Retr, Rset, Stat, Top, Uidl
from posthouse.wire.pop3.reply import Pop3Reply, Stuffing, TopLines, err, ok, stuffed

log = logging.getLogger("posthouse.pop3")

LISTED_ON_LOOP = 2_000  # messages; a longer listing is printed in a thread

NO_SUCH = err("There is no such message")
GONE = err("That message was removed by another program meanwhile")
MARKED = ok("It will be removed at QUIT")
UNMARKED = ok("Nothing is marked any more")


async def stat(talk: Session, command: Stat) -> Pop3Reply:
    """RFC 1939 §5, STAT."""
    maildrop = talk.maildrop
    return ok(f"{len(maildrop.left())} {await maildrop.octets_left()}")


async def list_sizes(talk: Session, command: List) -> Pop3Reply:
    """RFC 1939 §5, LIST. What was gone when sizes were first asked for has none, and is left out."""
    maildrop, number = talk.maildrop, command.number
    if number is not None and not maildrop.has(number):
        return NO_SUCH
    sizes = await maildrop.measured()
    if number is not None:
        size = sizes[number - 1]
        return GONE if size < 0 else ok(f"{number} {size}")
    there = [one for one in maildrop.left() if sizes[one - 1] >= 0]
    return await _listing(there, lambda one: f"{one} {sizes[one - 1]}\r\n")


async def list_ids(talk: Session, command: Uidl) -> Pop3Reply:
    """RFC 1939 §7, UIDL."""
    maildrop, number = talk.maildrop, command.number
    if number is not None:
        return ok(f"{number} {maildrop.uidl(number)}") if maildrop.has(number) else NO_SUCH
    return await _listing(maildrop.left(), lambda one: f"{one} {maildrop.uidl(one)}\r\n")


async def _listing(numbers: Sequence[int], line: Callable[[int], str]) -> Pop3Reply:
    def printed() -> bytes:
        return "".join(map(line, numbers)).encode("ascii")

    lines = printed() if len(numbers) <= LISTED_ON_LOOP else await asyncio.to_thread(printed)
    return ok(f"{len(numbers)} messages", lines=lines)


async def dele(talk: Session, command: Dele) -> Pop3Reply:
    """RFC 1939 §5, DELE: the message is marked, and removed at QUIT."""
    if not talk.maildrop.has(command.number):
        return NO_SUCH
    talk.maildrop.marked.add(command.number)
    return MARKED


async def rset(talk: Session, command: Rset) -> Pop3Reply:
    """RFC 1939 §5, RSET."""
    talk.maildrop.marked.clear()
    return UNMARKED


async def retr(talk: Session, command: Retr) -> Pop3Reply | None:
    """RFC 1939 §5, RETR. No flag is set (decision 0092)."""
    return await _send(talk, command.number, None)


async def top(talk: Session, command: Top) -> Pop3Reply | None:
    """RFC 1939 §7, TOP."""
    return await _send(talk, command.number, command.lines)


async def _send(talk: Session, number: int, lines: int | None) -> Pop3Reply | None:
    """A message, or its header and so many lines of its body. None: it is written."""
    maildrop = talk.maildrop
    if not maildrop.has(number):
        return NO_SUCH
    message = await maildrop.message(number)
    upper = None if lines is None else TopLines(message.header, lines)
    opening = ok(f"{message.size} octets" if lines is None else "The top of it", opens=True)
    if message.octets is not None:
        octets = message.octets if upper is None else upper.take(message.octets)
        talk.write(talk.engine.send(opening), *stuffed(octets))
    else:
        await _stream(talk, opening, maildrop.pieces(message), upper)
    if lines is None:
        talk.fetched.add(maildrop.uids[number - 1])
    return None


async def _stream(talk: Session, opening: Pop3Reply, pieces: AsyncIterator[bytes], upper: TopLines | None) -> None:
    """Send a message at the client's pace. A fault behind its first piece ends the connection: nothing else can be said
    inside a message."""
    piece = await anext(pieces)
    stuffing = Stuffing()
    talk.write(talk.engine.send(opening))
    try:
        while True:
            talk.write(stuffing.write(piece if upper is None else upper.take(piece)))
            await talk.flush()
            if upper is not None and upper.over:
                break
            piece = await anext(pieces)
    except StopAsyncIteration:
        pass
    except StoreError as error:
        log.error("a message breaks off in the middle of RETR: %s", error)
        raise ConnectionAbortedError("the message cannot be finished") from error
    talk.write(stuffing.end())
