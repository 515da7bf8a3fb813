"""transport/queue.py, store/together.py: failures of a message are told together, and none is lost (RFC 3464 §2.3)."""

import asyncio
import re
from collections.abc import Sequence

import pytest

from household import ANNA, HOSTNAME, inbox
from posthouse.mail.envelope import Recipient
from posthouse.mail.ids import Millis, QueueId
from posthouse.mail.outcome import Outcome
from posthouse.store import journal, together, waiting
from posthouse.store.queue import QueueItem, State
from posthouse.store.store import Store
from posthouse.transport.bounce import Letter, reporter
from posthouse.transport.journey import trail_key
from posthouse.transport.queue import QueueRunner, Tried
from transport.queue_world import Octets, World, greylisted, refused, relayed, running

GATHER = together.GATHER_MILLIS / 1000


def answer(item: QueueItem, who: Recipient) -> Outcome:
    """Who is called bad is refused, wherever they are."""
    return refused(item, who) if who.path.address.local.startswith("bad") else relayed(item, who)


class Slow:
    """A world in which slow.test answers only when it is let, and senders get real notices."""

    def __init__(self, store: Store) -> None:
        self.world = World(store)
        self.world.answer = answer
        self.let = asyncio.Event()
        self.world.runner = self.runner()

    def runner(self) -> QueueRunner:
        house = self.world.house
        return QueueRunner(house, self._attempt, reporter(HOSTNAME, house.clock))

    async def _attempt(self, item: QueueItem, octets: Octets) -> Tried:
        if item.destination.name == "slow.test":
            await self.let.wait()
        return await self.world.attempt(item, octets)


@pytest.fixture
def slow(store: Store) -> Slow:
    return Slow(store)


def failed(notice: bytes) -> set[str]:
    """Whom a notice names, each in a group of fields of its own."""
    report = notice.partition(b"message/delivery-status")[2]
    names = re.findall(rb"^Final-Recipient: rfc822; ?(\S+)\r\nAction: failed\r\n", report, re.MULTILINE)
    assert len(names) == report.count(b"Final-Recipient:")
    return {name.decode() for name in names}


async def test_one_notice_tells_of_all_that_failed(slow: Slow) -> None:
    """However many domains, and whatever comes of the last."""
    world, many = slow.world, [f"bad{number}@d{number}.xn--bcher-kva.test" for number in range(9)]
    async with running(world):
        await world.send(
            *many, *[f"good{number}@d{number}.xn--bcher-kva.test" for number in range(9)], "good@slow.test"
        )
        await world.settled(*[State.LATER] * 9, State.LEASED)
        assert await inbox(world.house.store, ANNA) == []
        slow.let.set()
        await world.settled()
    [notice] = await inbox(world.house.store, ANNA)
    assert failed(notice) == set(many)
    text = notice.partition(b"message/delivery-status")[0].decode()
    assert all(name.partition("@")[2] in text for name in many), "what servers call them"
    for title in ("What happened:", "What you can do:", "The technical answer:"):
        assert text.count(title) == 1, "of those who failed alike"
    assert len(world.sent) == 10, "nothing is tried again"


async def test_the_last_to_fail_is_in_it(slow: Slow) -> None:
    async with running(slow.world):
        await slow.world.send("bad@one.test", "bad@slow.test")
        await slow.world.settled(State.LATER, State.LEASED)
        slow.let.set()
        await slow.world.settled()
    [notice] = await inbox(slow.world.house.store, ANNA)
    assert failed(notice) == {"bad@one.test", "bad@slow.test"}


async def test_a_lone_failure_is_told_at_once(slow: Slow) -> None:
    """Nothing else is under way: others wait for a second attempt, and other messages are no matter."""
    world = slow.world
    world.answer = lambda item, who: (
        greylisted(item, who) if item.destination.name == "grey.test" else answer(item, who)
    )
    async with running(world):
        await world.send("good@slow.test")
        await world.send("bad@one.test")
        await world.settled(State.LEASED)
        await world.send("x@grey.test", "bad@slow.test")
        await world.settled(*[State.LEASED] * 2, State.LATER)
        slow.let.set()
        await world.settled(State.LATER)
    notices = await inbox(world.house.store, ANNA)
    assert [failed(notice) for notice in notices] == [{"bad@one.test"}, {"bad@slow.test"}]


async def test_who_takes_long_is_not_waited_for(slow: Slow) -> None:
    world = slow.world
    async with running(world):
        await world.send("bad@one.test", "bad@two.test", "bad@slow.test")
        await world.settled(*[State.LATER] * 2, State.LEASED)
        await world.pass_time(GATHER - 1)
        await asyncio.sleep(0.05)
        assert await inbox(world.house.store, ANNA) == []
        await world.pass_time(1)
        await world.settled(State.LEASED)
        slow.let.set()
        await world.settled()
    notices = await inbox(world.house.store, ANNA)
    assert [failed(notice) for notice in notices] == [{"bad@one.test", "bad@two.test"}, {"bad@slow.test"}]


async def test_what_is_to_be_told_outlasts_its_worker(slow: Slow) -> None:
    world = slow.world
    async with running(world, drain=0):
        await world.send("bad@one.test", "bad@two.test", "bad@slow.test")
        await world.settled(*[State.LATER] * 2, State.LEASED)
    assert await inbox(world.house.store, ANNA) == []
    slow.let.set()
    world.runner = slow.runner()
    async with running(world):
        await world.settled()
    [notice] = await inbox(world.house.store, ANNA)
    assert failed(notice) == {"bad@one.test", "bad@two.test", "bad@slow.test"}
    assert len(world.sent) == 3


async def test_the_late_hear_of_it_in_one_notice(slow: Slow) -> None:
    world = slow.world
    world.answer = greylisted
    async with running(world):
        await world.send("x@one.test", "x@two.test", "x@three.test")
        await world.settled(*[State.LATER] * 3)
        world.clock.advance(4 * 3_600)
        world.runner._late = Millis(0)
        await world.pass_time(0)
        await world.until(lambda: len(world.sent) >= 3)
        async with asyncio.timeout(60):
            while not await inbox(world.house.store, ANNA):  # noqa: ASYNC110 - a runner's work
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    [notice] = await inbox(world.house.store, ANNA)
    assert notice.count(b"Action: delayed") == 3


async def test_what_is_cancelled_meanwhile_is_not_told(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the notice is written: the rest is told in the next round."""
    world, store = slow.world, slow.world.house.store
    cancelled: list[object] = []
    letter = world.runner._letter

    async def write(item: QueueItem, news: tuple[Outcome, ...], octets: Octets) -> object:
        if len(news) == 3 and not cancelled:
            cancelled.append(await store.run(waiting.cancel, world.house.moment(world.clock.now()), [QueueId(2)]))
        return await letter(item, news, octets)

    monkeypatch.setattr(world.runner, "_letter", write)
    async with running(world):
        await world.send("bad@a.test", "bad@b.test", "bad@c.test", "good@slow.test")
        await world.settled(*[State.LATER] * 3, State.LEASED)
        slow.let.set()
        await world.settled()
    assert cancelled == [{2: State.LEASED}]
    [notice] = await inbox(store, ANNA)
    assert failed(notice) == {"bad@a.test", "bad@c.test"}


async def test_without_its_notice_nothing_is_given_up(slow: Slow) -> None:
    world = slow.world

    def broken(item: QueueItem, outcomes: Sequence[Outcome], octets: Octets) -> Letter | None:
        raise ZeroDivisionError("a bug")

    world.runner._report = broken
    async with running(world):
        await world.send("bad@one.test", "bad@two.test", "good@slow.test")
        await world.settled(*[State.LATER] * 2, State.LEASED)
        slow.let.set()
        await world.settled(*[State.LATER] * 2)
        await asyncio.sleep(0.1)
        world.runner._report = reporter(HOSTNAME, world.house.clock)
        await world.pass_time(700)
        await world.settled()
    assert len(world.sent) == 5, "each is tried again, once"
    notices = await inbox(world.house.store, ANNA)
    assert set().union(*map(failed, notices)) == {"bad@one.test", "bad@two.test"}


async def test_the_journey_tells_each_failure_once(slow: Slow) -> None:
    world, store = slow.world, slow.world.house.store
    async with running(world):
        await world.send("bad@one.test", "bad@two.test")
        await world.until(lambda: len(world.sent) == 2)
        await world.settled()
    keys = (trail_key(world.sent[0][0].trail),)
    told = await store.read(journal.find, keys, Millis(0), Millis(2**53), 100)
    assert sorted(entry.kind for entry in told) == ["answered", "attempt", "attempt", "taken"]
