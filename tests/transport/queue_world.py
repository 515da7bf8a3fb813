"""A house with a runner of the queue, servers elsewhere that answer as they are told, and a clock to push."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from mmap import mmap

from fakes import FakeClock
from household import ANNA, HOSTNAME
from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath, parse_domain
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status, reply
from posthouse.store import accounts
from posthouse.store.moment import Moment
from posthouse.store.queue import QueueItem, State
from posthouse.store.script import Script, sql
from posthouse.store.store import Store
from posthouse.transport import receive
from posthouse.transport.bounce import Letter
from posthouse.transport.client import Client
from posthouse.transport.house import House
from posthouse.transport.keep import Incoming
from posthouse.transport.letter import Ready
from posthouse.transport.queue import QueueLimits, QueueRunner, Tried
from posthouse.transport.route import Leads
from posthouse.transport.trace import new_trail

MESSAGE = b"Subject: Hello\r\nFrom: anna@home.test\r\n\r\nHow are you?\r\n"
PATIENCE = 60.0  # seconds for what a test waits for
LOOKS = 12_000  # in that time
HOUR = 3_600.0
Octets = bytes | mmap


class World:
    """A house, a runner in it, servers elsewhere that answer as they are told, and what senders were told."""

    def __init__(self, store: Store, limits: QueueLimits | None = None) -> None:
        self.clock = FakeClock()
        self.house = House(store, HOSTNAME, self.clock.now, moment=self.moment)
        self.answer: Callable[[QueueItem, Recipient], Outcome] = relayed
        self.sent: list[tuple[QueueItem, bytes]] = []
        self.told: list[tuple[QueueItem, tuple[Outcome, ...]]] = []
        self.before: Callable[[], Awaitable[object]] | None = None
        self.kept: Ready | None = None  # what people here get of an attempt
        self.runner = QueueRunner(self.house, self.attempt, self.report, limits)

    def moment(self, now: Millis) -> Moment:
        """The clock that nobody sets shows the same."""
        return Moment(now, Millis(now - 1_600_000_000_000), "boot")

    async def attempt(self, item: QueueItem, octets: Octets) -> Tried:
        if self.before is not None:
            await self.before()
        self.sent.append((item, octets[:]))
        return Tried(tuple(self.answer(item, each) for each in item.envelope.recipients), self.kept)

    def report(self, item: QueueItem, outcomes: Sequence[Outcome], octets: Octets) -> Letter | None:
        self.told.append((item, tuple(outcomes)))
        bad = [one for one in outcomes if one.action is not Action.RELAYED]
        if not bad or item.envelope.sender.address is None:
            return None
        to = Recipient(ForwardPath(item.envelope.sender.address), frozenset())
        words = "; ".join(f"{one.recipient.path} {one.action.value}" for one in bad)
        return Letter(Envelope(ReversePath(), (to,)), f"Subject: Undelivered\r\n\r\n{words}\r\n".encode())

    async def send(self, *recipients: str, sender: Address | None = ANNA, octets: bytes = MESSAGE) -> None:
        """Somebody here sends."""
        login = await self.house.store.read(accounts.find_login, ANNA)
        assert login is not None
        paths = [parse_domain(text.rpartition("@")[2]) for text in recipients]
        people = tuple(
            Recipient(ForwardPath(Address(text.rpartition("@")[0], domain or Domain(""))))
            for text, domain in zip(recipients, paths, strict=True)
        )
        client = Client("192.0.2.1", "client.test", login=login)
        leads = (Leads(leaves=True),) * len(people)
        incoming = Incoming(new_trail(), client, Envelope(ReversePath(sender), people), leads, octets)
        assert await receive.take(incoming, self.house) == receive.TAKEN

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until it is so."""
        for _ in range(LOOKS):
            if true():
                return
            await asyncio.sleep(PATIENCE / LOOKS)
        raise AssertionError("it did not come true")

    async def states(self) -> dict[int, State]:
        """All items that are there."""
        return dict(await self.house.store.read(states))

    async def comes_true(self, true: Callable[[], Awaitable[object]]) -> None:
        """Wait until it is so, where one must ask for it."""
        for _ in range(LOOKS):
            if await true():
                return
            await asyncio.sleep(PATIENCE / LOOKS)
        raise AssertionError("it did not come true")

    async def settled(self, *expected: State) -> None:
        """Wait until the items are in these states."""
        for _ in range(LOOKS):
            if sorted((await self.states()).values()) == sorted(expected):
                return
            await asyncio.sleep(PATIENCE / LOOKS)
        raise AssertionError(f"{await self.states()}")

    async def pass_time(self, seconds: float) -> None:
        """Push the clock, and let the runner look."""
        self.clock.advance(seconds)
        self.runner._wake.set()

    async def live(self, seconds: float, step: float = 1.0, pause: float = 0.03) -> None:
        """The clock goes on as clocks do, and runners look meanwhile, in each pause."""
        for _ in range(round(seconds / step)):
            await self.pass_time(step)
            await asyncio.sleep(pause)


def states() -> Script[list[tuple[int, State]]]:
    rows = yield sql("SELECT id, state FROM queue_item")
    return [(item, State(state)) for item, state in rows]


def relayed(item: QueueItem, recipient: Recipient) -> Outcome:
    return Outcome(recipient, Action.RELAYED, Status(2, 0, 0), "it was taken", Millis(0), "mx.test", where="data")


def greylisted(item: QueueItem, recipient: Recipient) -> Outcome:
    answer = reply(450, "4.2.0", "Come back later")
    return Outcome(recipient, Action.DELAYED, Status(4, 2, 0), "not now", Millis(0), answer=answer, where="rcpt")


def refused(item: QueueItem, recipient: Recipient) -> Outcome:
    answer = reply(550, "5.1.1", "Nobody")
    return Outcome(recipient, Action.FAILED, Status(5, 1, 1), "nobody there", Millis(0), answer=answer, where="rcpt")


def unreachable(item: QueueItem, recipient: Recipient) -> Outcome:
    return Outcome(recipient, Action.DELAYED, Status(4, 4, 1), "no answer", Millis(0), where="connect")


@asynccontextmanager
async def running(world: World, drain: float = 30.0) -> AsyncIterator[World]:
    task = asyncio.create_task(world.runner.run())
    try:
        yield world
    finally:
        await world.runner.stop(drain)
        await asyncio.wait_for(task, PATIENCE)
