"""Sending: one attempt to hand one message over to the servers of its destination (RFC 5321 §3.6, §4.5.4, §5.1).

The servers are tried in the order of their preference, equal ones in any order, and of each its addresses, until each
recipient is settled for now: taken, or refused for good, or nobody is left to ask. What a server says of itself (it
does not want to talk, shows no TLS) ends nothing as long as there is another one; when all of them said so for good,
that is the end. Where the answer to the end of the message was lost, nobody else is asked: the message may be there.

Nothing a server says or does raises here.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from mmap import mmap
from typing import Protocol

from posthouse.mail.address import Domain
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import Millis, Trail
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.net.connect import NotConnected, connect
from posthouse.transport.connection import Connection, Sending, begin
from posthouse.transport.idle import Idle
from posthouse.transport.parcel import measured
from posthouse.transport.result import PERHAPS_TAKEN, TOO_MANY, Result, Where
from posthouse.transport.target import Target, TlsLevel, Unreachable
from posthouse.transport.transaction import Consignment, transact

SERVERS = 8  # of one destination in one attempt; RFC 5321 §5.1 asks for at least two
ADDRESSES = 10  # connected to in one attempt
NO_CHUNKS = 1_000  # servers of which it is remembered that they offer CHUNKING and do not know it
CONVERSATIONS = 3  # servers to which a message was offered in one attempt
RECIPIENTS = 100  # of one transaction; RFC 5321 §4.5.3.1.8 promises that every server takes so many

Find = Callable[[Domain, Envelope], Awaitable[tuple[Target, ...] | Unreachable]]


class Item(Protocol):
    """What a Sender needs of an item of the queue."""

    @property
    def trail(self) -> Trail:
        """What joins all that is known of the message."""
        ...

    @property
    def envelope(self) -> Envelope:
        """With the recipients that are still open."""
        ...

    @property
    def destination(self) -> Domain:
        """Their domain."""
        ...


class Sender:
    """Hands messages over, and keeps the connections for the next ones. `close` it at the end."""

    __slots__ = ("_clock", "_find", "_no_chunks", "idle", "sending")

    def __init__(self, find: Find, sending: Sending, clock: Callable[[], Millis]) -> None:
        self._find = find
        self._clock = clock
        self.sending = sending
        self.idle = Idle(sending.limits)
        self._no_chunks: dict[tuple[str, int], None] = {}  # the oldest first

    def takes_chunks(self, target: Target) -> bool:
        """Whether CHUNKING may be used with this server, if it offers it."""
        return (target.host, target.port) not in self._no_chunks

    def takes_no_chunks(self, target: Target) -> None:
        """It does not know what it offers."""
        self._no_chunks[target.host, target.port] = None
        while len(self._no_chunks) > NO_CHUNKS:
            del self._no_chunks[next(iter(self._no_chunks))]

    async def attempt(self, item: Item, octets: bytes | mmap) -> tuple[Outcome, ...]:
        """One Outcome for each recipient of the item, in order."""
        envelope = item.envelope
        found = await self._find(item.destination, envelope)
        if isinstance(found, Unreachable):
            return self._all(envelope, found.status, found.reason, "dns")
        parcel = await measured(octets)
        if parcel.fault is not None:
            status = parcel.fault.status or Status(5, 6, 0)
            return self._all(envelope, status, parcel.fault.text, Where.DATA.value)
        by = envelope.deliver_by
        left = 0 if by is None else (by.until - self._clock()) // 1000
        attempt = _Attempt(self, Consignment(envelope, parcel, left), item)
        try:
            async with asyncio.timeout(self.sending.limits.attempt_seconds):
                await attempt.run(found)
        except TimeoutError:
            attempt.overdue()
        return attempt.outcomes(self._clock())

    async def close(self) -> None:
        """Say goodbye to all servers."""
        await self.idle.close()

    def _all(self, envelope: Envelope, status: Status, reason: str, where: str) -> tuple[Outcome, ...]:
        action, now = Action.FAILED if status.cls == 5 else Action.DELAYED, self._clock()
        return tuple(Outcome(one, action, status, reason, now, where=where) for one in envelope.recipients)


class _Place:
    """What is known of one recipient: the Result that counts so far, and from whom it is."""

    __slots__ = ("dsn", "ip", "mta", "recipient", "result", "settled", "tls")

    def __init__(self, recipient: Recipient) -> None:
        self.recipient = recipient
        self.result: Result | None = None
        self.settled = False  # nobody else is to be asked in this attempt
        self.mta = self.ip = self.tls = ""
        self.dsn = False

    def note(self, result: Result, target: Target, connection: Connection | None, ip: str = "") -> None:
        """Take a Result in: an answer is worth more than none, and what one server would try again is not over."""
        before = self.result
        self.settled = not result.elsewhere
        if before is not None and result.elsewhere:
            if before.action is Action.DELAYED or result.action is Action.DELAYED:
                before, result = before.later(), result.later()
            if result.answer is None and before.answer is not None:
                self.result = before
                return
        self.result, self.mta = result, target.host
        self.ip = ip if connection is None else connection.ip
        self.tls = "" if connection is None else connection.tls
        self.dsn = connection is not None and connection.engine.announced.dsn


class _Attempt:
    """One message on its way to one destination."""

    __slots__ = (
        "_addresses",
        "_connection",
        "_consignment",
        "_conversations",
        "_item",
        "_places",
        "_sender",
        "_useless",
    )

    def __init__(self, sender: Sender, consignment: Consignment, item: Item) -> None:
        self._sender = sender
        self._consignment = consignment
        self._item = item
        self._places = [_Place(one) for one in consignment.envelope.recipients]
        self._addresses = ADDRESSES  # that may still be connected to
        self._conversations = 0
        # Where no transaction could be begun, under which demand: a host may be tried again under a lesser one.
        self._useless: set[tuple[str, int, TlsLevel]] = set()

    async def run(self, targets: Sequence[Target]) -> None:
        """Ask the servers, as many as it takes."""
        in_order = sorted(targets, key=lambda target: (target.preference, random.random()))
        asked = 0
        for target in in_order[:SERVERS]:
            if not self._open() or self._conversations >= CONVERSATIONS or self._addresses <= 0:
                break
            await self._server(target)
            asked += 1
        if asked < len(in_order):  # what was final for the servers that were asked may not be for the others
            for place in self._open():
                place.result = place.result and place.result.later()

    def overdue(self) -> None:
        """Time is up."""
        seconds = self._sender.sending.limits.attempt_seconds
        reason, where = f"the attempt was given up after {seconds:.0f} seconds", Where.DATA
        if self._connection is not None and self._connection.perhaps_taken:
            reason, where = reason + PERHAPS_TAKEN, Where.DOT
        for place in self._open():
            place.result = Result(Action.DELAYED, Status(4, 4, 2), reason, where)

    def outcomes(self, now: Millis) -> tuple[Outcome, ...]:
        """One for each recipient."""
        nobody = Result(
            Action.DELAYED, Status(4, 4, 4), "the destination has no server that can be tried", Where.CONNECT
        )
        return tuple(_outcome(place, place.result or nobody, now) for place in self._places)

    def _open(self) -> list[_Place]:
        return [place for place in self._places if not place.settled]

    async def _server(self, target: Target) -> None:
        """Offer the message to one server, by kept connections as long as there are, and by new ones."""
        todo, domain = self._open(), self._item.destination.name
        while todo:
            connection = self._sender.idle.take(target, domain) or await self._connect(target, todo)
            if connection is None:
                return
            kept = connection.kept
            left = await self._offer(connection, todo)
            if len(left) == len(todo) and not (kept or connection.no_chunks):
                return
            todo = left
        self._conversations += 1

    async def _connect(self, target: Target, todo: Sequence[_Place]) -> Connection | None:
        """A new connection on which a transaction can begin; None when no address of this server is left."""
        while self._addresses > 0:
            level = target.tls.level
            ips = [ip for ip in target.ips if (ip, target.port, level) not in self._useless]
            if not ips and self._useless:
                return None
            found = await self._open_one(target, ips)
            if isinstance(found, Connection):
                return found
            result, tried = found
            self._useless.update((ip, target.port, level) for ip in tried)
            for place in todo:
                place.note(result, target, None, tried[-1] if tried else "")
            if not tried:
                return None
        return None

    async def _open_one(self, target: Target, ips: Sequence[str]) -> Connection | tuple[Result, tuple[str, ...]]:
        """A connection to one of these addresses; or why not, and the addresses that are not to be tried again."""
        sending = self._sender.sending
        connected = await connect(ips, target.port, target.source, sending.limits.connect_seconds)
        if isinstance(connected, NotConnected):
            self._addresses -= len(connected.tried)
            reason = Result(Action.DELAYED, Status(4, 4, 1), connected.reason, Where.CONNECT, elsewhere=True)
            return reason, tuple(ip for ip, _ in connected.tried)
        self._addresses -= 1
        found = await begin(connected, target, sending)
        if isinstance(found, Connection):
            return found
        opportunistic = target.tls.level is TlsLevel.OPPORTUNISTIC and not target.implicit_tls
        if found.where is Where.TLS and opportunistic and target.login is None:
            again = await connect((connected.ip,), target.port, target.source, sending.limits.connect_seconds)
            if not isinstance(again, NotConnected):
                found = await begin(again, target, sending, tls=False)
        return found if isinstance(found, Connection) else (found, (connected.ip,))

    async def _offer(self, connection: Connection, todo: Sequence[_Place]) -> list[_Place]:
        """Transactions over one connection. Those left have heard nothing: it was kept too long, or is used up, or was
        ended because the server offers chunks and does not know them."""
        left, target = list(todo), connection.target
        if not self._sender.takes_chunks(target):
            connection.engine.announced = replace(connection.engine.announced, chunking=False)
        connection.trails.append(self._item.trail)
        if connection.engine.conversation is not None:
            connection.engine.conversation.begin(self._item.trail)
        self._connection = connection
        try:
            while left and connection.usable and self._may_begin(connection):
                batch = left[: min(RECIPIENTS, connection.engine.announced.rcpt_max or RECIPIENTS)]
                said = connection.answers
                results = await transact(connection, self._consignment, [place.recipient for place in batch])
                if connection.kept and connection.answers == said and connection.link.closing and not connection.silent:
                    break  # it had been closed before we asked
                if connection.no_chunks:
                    self._sender.takes_no_chunks(target)
                    break
                left = left[len(batch) :] + _note(connection, batch, results)
        except BaseException:
            connection.abort()
            raise
        self._sender.idle.keep(connection)
        return left

    def _may_begin(self, connection: Connection) -> bool:
        """MAILMAX bounds the transactions of one session (RFC 9422 §4.1)."""
        most = connection.engine.announced.mail_max
        return not most or connection.transactions < most


def _note(connection: Connection, batch: Sequence[_Place], results: Sequence[Result]) -> list[_Place]:
    """Take the Results of a transaction in; those that go in a next one, because there were too many in this
    (RFC 5321 §4.5.3.1.10)."""
    taken = any(result.action is Action.RELAYED for result in results)
    again = []
    for place, result in zip(batch, results, strict=True):
        place.note(result, connection.target, connection)
        if taken and result.status == TOO_MANY and result.where is Where.RCPT:
            again.append(place)
    return again


def _outcome(place: _Place, result: Result, now: Millis) -> Outcome:
    delivered = Outcome(place.recipient, result.action, result.status, result.reason, now)
    return replace(
        delivered,
        mta=place.mta,
        ip=place.ip,
        answer=result.answer,
        where=result.where.value,
        tls=place.tls,
        dsn=place.dsn and result.action is Action.RELAYED,
    )
