"""transport/queue.py, transport/writing.py: leases that run out, and who goes on."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from posthouse.store import queue, settlement
from posthouse.store.queue import State
from posthouse.store.script import Script, Unavailable
from posthouse.store.settlement import Rules
from posthouse.store.store import Store
from posthouse.transport.queue import QueueLimits, QueueRunner
from transport.queue_world import HOUR, World, running


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


async def test_a_lost_lease_ends_the_attempt(store: Store) -> None:
    """Another worker has gone on: this one stops, and settles nothing."""
    rules = Rules(lease=60)
    world = World(store, QueueLimits(rules=rules))
    world.before = lambda: asyncio.sleep(60)
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LEASED)
        world.runner._stopping.set()  # it claims nothing any more
        world.clock.advance(1)
        assert await store.run(settlement.recover, world.house.moment(world.clock.now()), rules) == 1
        await world.until(lambda: not world.runner._active)
    assert world.sent == []
    assert list((await world.states()).values()) == [State.READY]


async def test_leases_are_kept_while_it_sends(store: Store) -> None:
    rules = Rules(lease=60)
    world = World(store, QueueLimits(rules=rules))
    sent = asyncio.Event()
    world.before = sent.wait

    async def renewed() -> bool:
        moment = world.house.moment(world.clock.now())
        return not await store.read(settlement.any_lost, moment, rules, rules.lease - 1)

    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LEASED)
        for _ in range(5):
            world.clock.advance(0.05)
            await world.comes_true(renewed)
        sent.set()
        await world.settled()
    assert len(world.sent) == 1


async def test_another_goes_on_with_what_a_dead_worker_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.transport.queue.RECOVER_SECONDS", 0.02)
    await world.send("x@one.test")
    store = world.house.store
    taken = await store.run(queue.claim, world.house.moment(world.clock.now()), 1, 1, Rules().lease)
    assert len(taken.items) == 1
    async with running(world):
        await asyncio.sleep(0.1)
        assert world.sent == []
        await world.live(Rules().lease / 1000 - 1)
        assert world.sent == [], "its lease has not run out"
        await world.live(3)
        await world.settled()
    assert len(world.sent) == 1


class Full:
    """A disk: while it is full, nothing is written."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._really = store.run
        monkeypatch.setattr(store, "run", self._run)

    async def _run(self, verb: Callable[..., Script[object]], *args: object, **more: object) -> object:
        if self.full:
            raise Unavailable("the disk is full")
        return await self._really(verb, *args, **more)


@pytest.mark.parametrize("meanwhile", [True, False])
async def test_nothing_is_sent_twice_after_a_full_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, meanwhile: bool
) -> None:
    """Leases run out while nothing can be written. Who lives settles or renews before another goes on: whether its
    delivery ended meanwhile, or after; and the log says it twice, not twice a second (decision 0127)."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("posthouse.transport.queue.RECOVER_SECONDS", 0.02)
    monkeypatch.setattr("posthouse.transport.queue.PAUSE_SECONDS", 0.3)
    rules, answers = Rules(lease=1_000), asyncio.Event()
    one, other = World(store, QueueLimits(rules=rules)), World(store, QueueLimits(rules=rules))
    begun = 0

    async def before() -> None:
        nonlocal begun
        begun += 1
        await answers.wait()

    one.before = before
    other.runner = QueueRunner(one.house, other.attempt, other.report, QueueLimits(rules=rules))
    for number in range(3):
        await one.send(f"x{number}@one.test")
    disk = Full(store, monkeypatch)
    async with running(one):
        await one.settled(*[State.LEASED] * 3)
        async with running(other):
            disk.full = True
            await one.live(2.0, step=0.07, pause=0.1)
            if meanwhile:
                answers.set()
                await one.live(0.3, step=0.07, pause=0.1)
            disk.full = False
            await one.live(2.0, step=0.07, pause=0.1)
            answers.set()
            await one.settled()
    assert (begun, len(one.sent), other.sent) == (3, 3, [])
    said = [record.getMessage() for record in caplog.records if "the queue can" in record.getMessage()]
    failing = "the queue cannot be written: the disk is full; until it can, nothing more is sent to other servers"
    assert sorted(said) == [*["the queue can be written again"] * 2, *[failing] * 2], "by each of two workers"


async def test_after_a_night_asleep_nothing_is_taken_over_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept: all leases have run out, and whoever had them goes on."""
    monkeypatch.setattr("posthouse.transport.queue.RECOVER_SECONDS", 0.02)
    store = world.house.store
    await world.send("x@one.test")
    taken = await store.run(queue.claim, world.house.moment(world.clock.now()), 1, 1, Rules().lease)
    async with running(world):
        await world.live(15)
        world.clock.advance(8 * HOUR)
        await asyncio.sleep(0.2)
        [claimed] = taken.items
        assert await store.run(settlement.renew, world.house.moment(world.clock.now()), [claimed.lease], 1) == []
        await world.live(15)
        await world.settled()
    assert len(world.sent) == 1
