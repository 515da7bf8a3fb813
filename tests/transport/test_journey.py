"""transport/journey.py: what the queue tells of a message that left, from the taking to the answer of its sender."""

import asyncio
import contextlib
import logging

import pytest

from posthouse.mail.ids import Millis
from posthouse.store import journal
from posthouse.store.queue import State
from posthouse.store.script import Unavailable
from posthouse.store.store import Store
from posthouse.trace import sentences
from posthouse.transport import journey
from posthouse.transport.journey import Told
from transport.queue_world import World, greylisted, refused, running

EVER = (Millis(0), Millis(1 << 60))


async def told(world: World, address: str) -> list[Told]:
    keys = [journey.address_key(address)]
    return [journey.read(row) for row in await world.house.store.read(journal.find, keys, *EVER)]


async def test_taken_tried_refused_and_answered(store: Store) -> None:
    world = World(store)
    world.answer = greylisted
    async with running(world):
        await world.send("x@one.test", "y@two.test")
        await world.settled(State.LATER, State.LATER)
        world.answer = refused
        await world.pass_time(3_600 * 3)
        await world.settled()
    found = await told(world, "x@one.test")
    assert [each.kind for each in found] == ["taken", "attempt", "attempt"]
    assert [each["for"] for each in found[0].story["queued"]] == ["one.test", "two.test"]  # type: ignore[attr-defined]
    first, last = found[1], found[2]
    assert "next" in first.story
    assert "next" not in last.story
    assert sentences(first)[0] == 'x@one.test has to wait: not now; it said "450 4.2.0 Come back later"'
    assert sentences(first)[1].startswith("it stays in the queue; the next try is at ")
    assert sentences(last) == ['x@one.test could not be reached: nobody there; it said "550 5.1.1 Nobody"']
    assert {each.story["trail"] for each in found} == {world.sent[0][0].trail}
    answered = [each for each in await told(world, "anna@home.test") if each.kind == "answered"]
    assert len(answered) == 2
    assert sentences(answered[0])[0] == "its sender, anna@home.test, was told so in a mail"
    by_queue = await store.read(journal.find, [journey.queue_key(1)], *EVER)
    assert [row.kind for row in by_queue] == ["taken", "attempt", "attempt"]


async def test_that_keys_cannot_be_put_in_order_is_said_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk lasts: twice the store refuses, then it is well, then it refuses again."""
    answers = [Unavailable("full"), Unavailable("full"), 3, 0, 0, Unavailable("full")]
    done = asyncio.Event()

    async def run(*_: object) -> int:
        if not answers:
            done.set()
            await asyncio.Event().wait()
        answer = answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    monkeypatch.setattr(store, "run", run)
    with caplog.at_level(logging.INFO):
        task = asyncio.create_task(journey.sort_keys(store, 0))
        await done.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    cannot, again = "the keys of the journal cannot be put in order: full", "the keys of the journal are in order again"
    assert [record.message for record in caplog.records if record.name == journey.log.name] == [cannot, again, cannot]
