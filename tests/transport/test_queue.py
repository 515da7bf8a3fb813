"""transport/queue.py: the runner claims, sends, settles, tells; and gives back when it must stop (RFC 5321 §4.5.4)."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from household import ANNA, BEN, credential, inbox
from posthouse.mail.address import Address, Domain, ReversePath
from posthouse.mail.envelope import Notify, Recipient
from posthouse.mail.ids import AccountId, QueueId
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.store import accounts, aliases, quota, settlement, waiting
from posthouse.store.blobs import BlobKey
from posthouse.store.lately import Lately
from posthouse.store.queue import QueueItem, State
from posthouse.store.quota import Asked, Limits, Whose
from posthouse.store.script import Script, Unavailable, sql
from posthouse.store.settlement import Rules
from posthouse.store.store import Store
from posthouse.transport.accept import Filing, prepare
from posthouse.transport.bounce import Letter
from posthouse.transport.letter import Ready
from posthouse.transport.queue import QueueLimits, QueueRunner, Tried
from transport.queue_world import HOUR, MESSAGE, Octets, World, greylisted, refused, relayed, running, unreachable


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


async def test_sent_and_gone(world: World) -> None:
    """What goes out begins with Received, and is then no longer here."""
    async with running(world):
        await world.send("x@one.test", "y@two.test", "z@one.test")
        await world.until(lambda: len(world.sent) == 2)
        await world.settled()
    assert sorted(len(item.envelope.recipients) for item, _ in world.sent) == [1, 2]
    for item, octets in world.sent:
        assert octets.startswith(b"Received: ")
        assert octets.endswith(MESSAGE)
        assert len(octets) == item.size
        assert item.trail.encode() in octets
    assert {one.action for _, told in world.told for one in told} == {Action.RELAYED}
    assert await inbox(world.house.store, ANNA) == []


async def test_a_large_message_from_a_file(world: World) -> None:
    large = MESSAGE + b"0123456789" * 7 * 50_000
    async with running(world):
        await world.send("x@one.test", octets=large)
        await world.until(lambda: world.sent)
    [(item, octets)] = world.sent
    assert octets.endswith(large)
    assert len(octets) == item.size


async def test_tried_again_when_it_is_time(world: World) -> None:
    world.answer = greylisted
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LATER)
        await world.pass_time(200)
        await asyncio.sleep(0.05)
        assert len(world.sent) == 1
        world.answer = relayed
        await world.pass_time(100)
        await world.settled()
    assert [item.attempts for item, _ in world.sent] == [0, 1]
    assert [len(told) for _, told in world.told] == [1]


async def test_each_outcome_for_itself_and_one_bounce(world: World) -> None:
    world.answer = lambda item, who: refused(item, who) if who.path.address.local == "x" else relayed(item, who)
    async with running(world):
        await world.send("x@one.test", "y@one.test")
        await world.settled()
    [bounce] = await inbox(world.house.store, ANNA)
    assert bounce.startswith(b"Return-Path: <>\r\nSubject: Undelivered\r\n")
    assert b"x@one.test failed" in bounce
    assert b"y@one.test" not in bounce


async def test_a_bounce_to_another_server_goes_the_same_way(world: World) -> None:
    world.answer = lambda item, who: refused(item, who) if item.envelope.sender.address else relayed(item, who)
    async with running(world):
        await world.send("x@one.test", sender=Address("far", Domain("away.test")))
        await world.until(lambda: len(world.sent) == 2)
        await world.settled()
    item, octets = world.sent[1]
    assert item.envelope.sender == ReversePath()
    assert item.account is None
    assert octets.startswith(b"Subject: Undelivered")
    assert item.trail == world.sent[0][0].trail


async def test_where_nothing_may_leave_no_bounce_leaves(store: Store) -> None:
    world = World(store)
    world.answer = refused
    await world.send("x@one.test", sender=Address("far", Domain("away.test")))
    world.runner = QueueRunner(replace(world.house, leave=False), world.attempt, world.report)
    async with running(world):
        await world.settled()
    assert len(world.sent) == 1


async def test_a_sender_who_has_gone_is_not_told(world: World) -> None:
    world.answer = refused
    async with running(world):
        await world.send("x@one.test", sender=Address("nobody", ANNA.domain))
        await world.settled()
    assert len(world.told) == 1


async def test_told_once_that_it_is_late_and_given_up_in_the_end(world: World) -> None:
    world.answer = greylisted
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LATER)
        for _ in range(6):  # hours
            await world.pass_time(HOUR)
            await asyncio.sleep(0.05)
        await world.comes_true(lambda: inbox(world.house.store, ANNA))
        assert [b"x@one.test delayed" in each for each in await inbox(world.house.store, ANNA)] == [True]
        await world.pass_time(5 * 24 * HOUR)
        await world.settled()
    _, over = await inbox(world.house.store, ANNA)
    assert b"x@one.test failed" in over
    [*_, (_, [last])] = world.told
    assert last.status == Status(4, 2, 0)


async def test_the_late_are_told_though_their_destination_rests(world: World) -> None:
    """A dead destination with much mail: each sender hears of it, though hardly anything is tried."""
    world.answer = unreachable
    for number in range(12):
        await world.send(f"x{number}@dead.test")
    async with running(world):
        await world.settled(*[State.READY] * 7, *[State.LATER] * 5)
        tried = len(world.sent)
        await world.pass_time(4 * HOUR)
        await world.until(lambda: len(world.told) == 12)
        await asyncio.sleep(0.05)
        assert len(world.sent) <= tried + 1
        await world.pass_time(5 * 24 * HOUR)
        await world.settled()
    bounces = await inbox(world.house.store, ANNA)
    assert len(bounces) == 24
    assert {outcome.reason for _, told in world.told for outcome in told} == {"no answer"}


async def test_the_late_are_told_however_much_there_is_to_send(store: Store) -> None:
    world = World(store, QueueLimits(attempts=2, rules=Rules(width=1)))
    world.answer = greylisted
    await world.send("late@slow.test")
    async with running(world):
        await world.settled(State.LATER)
        world.before = lambda: asyncio.sleep(0.01)
        world.answer = lambda item, who: (
            greylisted(item, who) if who.path.address.local == "late" else relayed(item, who)
        )
        for number in range(60):
            await world.send(f"x{number}@one.test", f"x{number}@two.test")
        world.clock.advance(4 * HOUR)
        await world.until(lambda: any(one.action is Action.DELAYED for _, told in world.told for one in told))
        assert len(world.sent) < 100


async def test_no_more_than_allowed_at_a_time(store: Store) -> None:
    world = World(store, QueueLimits(attempts=3, rules=Rules(width=2)))
    now = most = 0
    busy: dict[str, int] = {}

    async def attempt(item: QueueItem, octets: Octets) -> Tried:
        nonlocal now, most
        name = item.destination.name
        now, busy[name] = now + 1, busy.get(name, 0) + 1
        most = max(most, now)
        assert now <= 3
        await asyncio.sleep(0.01)
        now, busy[name] = now - 1, busy[name] - 1
        return await World.attempt(world, item, octets)

    world.runner = QueueRunner(world.house, attempt, world.report, world.runner._limits)
    for number in range(10):
        await world.send(f"x{number}@one.test", f"x{number}@two.test")
    async with running(world):
        await world.until(lambda: len(world.sent) == 20)
    assert most == 3


async def test_stopped_it_gives_back(world: World) -> None:
    """As before, for another worker; and nothing new is begun."""
    world.before = lambda: asyncio.sleep(60)
    async with running(world, drain=0.05):
        await world.send("x@one.test")
        await world.settled(State.LEASED)
    assert list((await world.states()).values()) == [State.READY]
    assert world.sent == []


async def test_stopped_it_ends_what_it_can(world: World) -> None:
    sent = asyncio.Event()
    world.before = sent.wait
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LEASED)
        asyncio.get_running_loop().call_later(0.1, sent.set)
    assert await world.states() == {}
    assert len(world.sent) == 1


async def test_a_mistake_of_ours_delays_one_message_only(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def broken(item: QueueItem, who: Recipient) -> Outcome:
        if item.destination.name == "bad.test":
            raise ZeroDivisionError("a bug")
        return relayed(item, who)

    world.answer = broken
    async with running(world):
        await world.send("x@bad.test", "y@good.test")
        await world.settled(State.LATER)
    assert "could not be tried" in caplog.text


async def test_without_its_bounce_nothing_is_given_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def broken(item: QueueItem, outcomes: Sequence[Outcome], octets: Octets) -> Letter | None:
        raise ZeroDivisionError("a bug")

    world.answer = refused
    world.runner = QueueRunner(world.house, world.attempt, broken)
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LATER)
    assert "cannot be told" in caplog.text


async def test_who_gets_the_address_of_somebody_removed_hears_nothing_of_their_mail(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = world.house.store
    world.answer = greylisted
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LATER)
        for alias in await store.read(aliases.list_aliases):
            await store.run(aliases.remove_alias, alias.address)
        await store.run(accounts.remove_account, ANNA)
        await store.run(accounts.add_account, ANNA, credential())
        world.answer = refused
        await world.pass_time(HOUR)
        await world.settled()
    assert await inbox(store, ANNA) == []
    assert world.told == []
    assert "Q1: its sender is not told: another user has the address by now" in caplog.text


async def test_damaged_octets_are_not_sent(world: World) -> None:
    await world.send("x@one.test")
    await world.house.store.run(damage)
    world.house.store.blobs.lately = Lately()  # as in a worker that came later
    async with running(world):
        await world.settled(State.LATER)
    assert world.sent == []


async def test_what_came_in_a_moment_ago_is_not_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(blob: BlobKey) -> bytes:
        raise AssertionError(blob)

    monkeypatch.setattr(world.house.store.blobs, "get", never)
    async with running(world):
        await world.send("x@one.test")
        await world.settled()
    [(item, octets)] = world.sent
    assert len(octets) == item.size
    assert bytes(octets).endswith(MESSAGE)


def damage() -> Script[None]:
    yield sql("UPDATE octets SET packed = substr(packed, 1, 20)")


async def test_a_store_that_is_not_available_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.transport.queue.PAUSE_SECONDS", 0.01)
    store = world.house.store
    really, failures = store.run, 0

    async def fail(verb: Callable[..., object], *args: object) -> object:
        nonlocal failures
        if verb.__name__ in ("claim", "settle") and failures % 4 != 3:
            failures += 1
            raise Unavailable("the disk is full")
        failures += 1
        return await really(verb, *args)  # type: ignore[arg-type] # any verb of the store

    await world.send("x@one.test")
    monkeypatch.setattr(store, "run", fail)
    async with running(world):
        await world.until(lambda: world.sent)
        await world.settled()
    assert len(world.sent) == 1
    assert failures >= 8


async def test_a_full_runner_tells_the_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told = 0

    def pass_on(account: object) -> None:
        nonlocal told
        told += 1

    monkeypatch.setattr(store, "pass_on", pass_on)
    world = World(store, QueueLimits(attempts=1))
    world.before = lambda: asyncio.sleep(60)
    async with running(world, drain=0):
        await world.send("x@one.test")
        await world.settled(State.LEASED)
        await world.send("y@one.test")
        await world.until(lambda: told)


async def test_success_is_told_to_who_asked(world: World) -> None:
    """NOTIFY=SUCCESS is for `report` to judge; it is asked of every end (RFC 3461 §4.1)."""
    async with running(world):
        await world.send("x@one.test")
        await world.settled()
    [(_, [outcome])] = world.told
    assert outcome.action is Action.RELAYED
    assert not outcome.recipient.wants(Notify.SUCCESS)


async def test_held_while_it_is_sent_it_is_held_after(world: World) -> None:
    world.answer = greylisted
    sent = asyncio.Event()
    world.before = sent.wait
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LEASED)
        [item] = await world.states()
        at = world.house.moment(world.clock.now())
        assert await world.house.store.run(waiting.hold, at, [QueueId(item)]) == [item]
        sent.set()
        await world.settled(State.HELD)
    assert BEN != ANNA


async def ready(world: World, *accounts: AccountId) -> Ready:
    """The message as people here get it."""
    return Ready(await prepare(world.house.store, MESSAGE, world.clock.now()), accounts, None, None)


async def test_who_is_here_gets_it_when_it_is_settled_and_not_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decision 0088: once, or not yet."""
    monkeypatch.setattr("posthouse.transport.queue.RECOVER_SECONDS", 0.02)
    login = await world.house.store.read(accounts.find_login, BEN)
    assert login is not None
    world.kept = await ready(world, login.account)
    lost: list[object] = []
    settled = settlement.settle

    def settle(*values: object) -> Script[bool]:
        if not lost:  # another worker has taken it over
            lost.append(values)
            yield sql("SELECT 1")
            return False
        return (yield from settled(*values))  # type: ignore[arg-type]

    monkeypatch.setattr("posthouse.store.settlement.settle", settle)
    async with running(world):
        await world.send("x@one.test")
        await world.until(lambda: len(lost) == 1)
        assert await inbox(world.house.store, BEN) == []
        await world.live(30)
        await world.settled()
    assert await inbox(world.house.store, BEN) == [MESSAGE]


async def test_who_was_here_and_is_removed_just_now(world: World) -> None:
    """The item is not given up, and nothing is kept for the others; the next attempt knows who is here."""
    world.kept = await ready(world, AccountId(999_999))
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LATER)
        ids = await world.house.store.read(waiting.chosen, waiting.Choice())
        [item] = await world.house.store.read(waiting.look, world.clock.now(), ids)
        assert "was just removed" in item.reason
        world.kept = None
        await world.pass_time(HOUR)
        await world.settled()


async def test_a_mailbox_that_has_become_full_just_now(world: World) -> None:
    """Between the look at it and the transaction: the item waits, and goes when there is room."""
    store = world.house.store
    login = await store.read(accounts.find_login, BEN)
    assert login is not None
    asked = Asked(quota.Rules(overdraft_octets=0, overdraft_messages=0), promised=True)
    kept = await ready(world, login.account)
    world.kept = kept._replace(filing=Filing(asked=asked))
    await store.run(quota.set_limits, Whose(login.account), Limits(messages=0))
    async with running(world):
        await world.send("x@one.test")
        await world.settled(State.LATER)
        ids = await store.read(waiting.chosen, waiting.Choice())
        [item] = await store.read(waiting.look, world.clock.now(), ids)
        assert "has just become full" in item.reason
        assert await inbox(store, BEN) == []
        await store.run(quota.set_limits, Whose(login.account), Limits())
        await world.pass_time(HOUR)
        await world.settled()
    assert await inbox(store, BEN) == [MESSAGE]
