"""transport/afresh.py: mended settings are tried at once."""

import logging

import pytest

from posthouse.mail.envelope import Recipient
from posthouse.mail.outcome import Outcome
from posthouse.store.queue import QueueItem, State
from posthouse.store.script import Script, Unavailable, sql
from posthouse.store.store import Store
from posthouse.transport.afresh import try_afresh
from posthouse.transport.relays import Relay, RelayPlan
from transport.queue_world import World, greylisted, relayed, running, unreachable

SMART = Relay("smart.test", 587)


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def seen(world: World) -> list[str]:
    return [item.destination.name for item, _ in world.sent]


def wish() -> Script[None]:
    """Its sender wished it later."""
    yield sql("UPDATE queue_item SET release = next_attempt WHERE destination = 'two.test'")


async def test_what_waits_for_a_smart_host_is_tried_at_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing else: not what goes the direct way, nor what was only put off, nor before the sender's own time."""

    def answer(item: QueueItem, who: Recipient) -> Outcome:
        return (greylisted if who.path.address.local == "grey" else unreachable)(item, who)

    world.answer = answer
    plan = RelayPlan(((frozenset({"direct.test"}), Relay("")),), SMART)
    async with running(world):
        await world.send("x@one.test", "x@direct.test")
        await world.send("x@two.test", "grey@three.test")
        await world.settled(*[State.LATER] * 4)
        await world.house.store.run(wish)
        world.sent.clear()
        world.answer = relayed
        with caplog.at_level(logging.INFO):
            await try_afresh(RelayPlan(), world.house)
            await try_afresh(RelayPlan(((frozenset({"one.test"}), Relay("")),)), world.house)
            assert seen(world) == []
            await try_afresh(plan, world.house)
        await world.settled(*[State.LATER] * 3)
        assert seen(world) == ["one.test"]
        [told] = [record for record in caplog.records if "is tried now" in record.message]
        assert told.__dict__["messages"] == 1


async def test_a_rest_is_over(world: World) -> None:
    world.answer = unreachable
    async with running(world):
        for number in range(4):  # the third failure in a row makes it rest, and the fourth waits for that
            await world.send(f"x{number}@one.test")
            await world.settled(*[State.LATER] * min(number + 1, 3), *[State.READY] * (number == 3))
        world.sent.clear()
        world.answer = relayed
        await try_afresh(RelayPlan((), SMART), world.house)
        await world.settled()
    assert len(seen(world)) == 4


async def test_a_store_that_cannot_answer_starts_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(world.house.store, "read", away)
    await try_afresh(RelayPlan((), SMART), world.house)
    assert "when its time comes" in caplog.text
