"""serve/logbook.py and store/logins.py: who came in and who tried, and what workers tell each other (0108, 0109)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from household import ANNA, BEN, HELLO, INFO, PASSWORD, open_store
from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import Millis
from posthouse.net.link import TlsState
from posthouse.serve import logbook as logbook_module
from posthouse.serve.caller import Caller
from posthouse.serve.limits import PeerLimits, Peers, Refusal, Service
from posthouse.serve.logbook import Logbook, Why, forget, recall
from posthouse.serve.login import Door
from posthouse.store import accounts, aliases, logins, renaming
from posthouse.store.accounts import Login
from posthouse.store.logins import Batch, Times, Told, Visit
from posthouse.store.script import Unavailable
from posthouse.store.store import Store

NAME, RIGHT = str(ANNA), PASSWORD.encode()
NOW = Millis(1_700_000_000_000)
IP = "192.0.2.1"
IMAP = Caller(IP, Service.IMAP, TlsState("TLSv1.3", "AES"))


class Clock:
    """Both clocks, which stand still."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return 1_000.0 + self.seconds

    def wall(self) -> Millis:
        return Millis(NOW + int(self.seconds * 1000))


def new_door(store: Store, clock: Clock, limits: PeerLimits | None = None) -> Door:
    door = Door(store, Peers(limits or PeerLimits(), clock.monotonic), secret=b"k" * 32, sleep=slept)
    door.logbook.clock = clock.wall
    return door


naps: list[float] = []


async def slept(seconds: float) -> None:
    naps.append(seconds)
    await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    naps.clear()
    return Clock()


@pytest.fixture
async def gate(store: Store, clock: Clock) -> AsyncIterator[Door]:
    door = new_door(store, clock)
    yield door
    door.close()


async def anna(store: Store) -> Login:
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    return login


async def told(door: Door, store: Store, *, failed: bool = False) -> list[Told]:
    await door.logbook.flush()
    return await store.read(logins.list_visits, (await anna(store)).account, Millis(0), failed=failed)


async def test_like_logins_of_an_hour_are_one_row(gate: Door, store: Store, clock: Clock) -> None:
    for second in (0, 10, 20):
        clock.seconds = second
        assert isinstance(await gate.verify(NAME, RIGHT, IMAP), Login)
        await gate.logbook.flush()
    await gate.verify(NAME, b"wrong", IMAP)
    clock.seconds = 4_000
    await gate.verify(NAME, RIGHT, IMAP)
    account = (await anna(store)).account
    came = Visit(account, IP, "imap", "LOGIN", "", "TLSv1.3 AES", "", "")
    assert await told(gate, store) == [
        Told(came, Times(NOW, Millis(NOW + 20_000), 3)),
        Told(came._replace(refused=Why.PASSWORD.value), Times(Millis(NOW + 20_000), Millis(NOW + 20_000), 1)),
        Told(came, Times(Millis(NOW + 4_000_000), Millis(NOW + 4_000_000), 1)),
    ]
    assert [row.visit.refused for row in await told(gate, store, failed=True)] == [Why.PASSWORD.value]


async def test_an_imap_program_may_say_what_it_is_after_the_login(gate: Door, store: Store, clock: Clock) -> None:
    login = await gate.verify(NAME, RIGHT, IMAP)
    assert isinstance(login, Login)
    await gate.verify(NAME, RIGHT, IMAP)  # a second connection, which says nothing
    await gate.logbook.flush(before=Millis(clock.wall() - 1))  # too early for those without a name
    gate.logbook.program(login, Caller(IP, Service.IMAP, None, "Thunder\x1bbird"))
    found = {row.visit.program: row.times.logins for row in await told(gate, store)}
    assert found == {"": 1, "Thunder\ufffdbird": 1}
    gate.logbook.program(login, Caller(IP, Service.IMAP, None, "late"))  # what was written stays
    assert len(await told(gate, store)) == 2


async def test_the_logbook_is_written_by_itself_and_at_the_end(gate: Door, store: Store) -> None:
    keeping = asyncio.create_task(gate.logbook.keep())
    await asyncio.sleep(0)
    await gate.verify(NAME, RIGHT, IMAP)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    account = (await anna(store)).account
    assert len(await store.read(logins.list_visits, account, Millis(0), failed=False)) == 1


async def test_where_users_came_in_is_known_to_all_workers_and_after_a_restart(
    gate: Door, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await gate.verify(NAME, RIGHT, IMAP)
    await gate.logbook.flush()
    peers = Peers(now=clock.monotonic)
    assert not peers.good(IP)
    await recall(store, peers, Millis(NOW - 20 * logins.DAY))  # the clock was set back
    assert peers.good(IP)
    assert not peers.good("192.0.2.2")
    for days, good in ((29, True), (31, False)):
        clock.seconds = days * 86_400
        later = Peers(now=clock.monotonic)
        await recall(store, later, clock.wall())
        assert later.good(IP) is good

    async def fail(*_args: object, **_kwargs: object) -> None:
        raise Unavailable("the disk is away")

    monkeypatch.setattr(store, "read", fail)
    await recall(store, peers, clock.wall())
    assert "from where users came in: the disk is away" in caplog.text


async def test_a_store_that_writes_nothing_keeps_nobody_out(
    gate: Door, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(store, "run", fail)
        assert isinstance(await gate.verify(NAME, RIGHT, IMAP), Login)
        await gate.logbook.flush()
    assert "not written to the logbook: the disk is full" in caplog.text
    assert isinstance(await gate.verify(NAME, RIGHT, IMAP), Login)
    await gate.logbook.flush()
    assert await store.read(logins.at_home, (await anna(store)).account, f"{IP}/32", NOW)


async def test_an_attack_is_a_bounded_number_of_rows_and_hides_no_login(store: Store) -> None:
    account = (await anna(store)).account
    visits = [
        (Visit(account, f"198.51.{n // 250}.{n % 250}", "imap", "PLAIN", "", "", "", Why.PASSWORD.value), n)
        for n in range(1_000)
    ]
    good = Visit(account, IP, "imap", "PLAIN", "", "", "", "")
    await store.run(logins.record, Batch([(good, Times(NOW, NOW, 1))]))
    await store.run(logins.record, Batch([(v, Times(NOW, Millis(NOW + n), 2)) for v, n in visits]))
    rows = await store.read(logins.list_visits, account, Millis(0), failed=False)
    assert len(rows) == 1 + logins.REFUSED_AN_HOUR + 1
    assert sum(row.times.logins for row in rows if row.visit.refused) == 2_000
    assert [row.times.logins for row in rows if not row.visit.ip] == [2 * (1_000 - logins.REFUSED_AN_HOUR)]
    assert good in [row.visit for row in rows]


async def test_rows_of_a_user_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "ROWS", 10)
    account = (await anna(store)).account
    for hour in range(logins.TIDIED + 1):
        at = Millis(NOW + hour * logins.HOUR)
        for refused in ("", "wrong"):
            visit = Visit(account, IP, "imap", "", "", "", "", refused)
            await store.run(logins.record, Batch([(visit, Times(at, at, 1))]))
    rows = await store.read(logins.list_visits, account, Millis(0), failed=False)
    assert len(rows) <= 2 * (10 + logins.TIDIED)
    assert rows[-1].times.last == NOW + logins.TIDIED * logins.HOUR
    assert len([row for row in rows if row.visit.refused]) >= 10


async def test_what_waits_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbook_module, "WAITING", 10)
    logbook = Logbook(store, lambda: NOW)
    account = (await anna(store)).account
    for number in range(100):
        logbook.refused(account, Caller(f"192.0.2.{number}", Service.IMAP), "PLAIN", Why.PASSWORD)
    await logbook.flush()
    rows = await store.read(logins.list_visits, account, Millis(0), failed=True)
    assert len(rows) == 11
    assert sum(row.times.logins for row in rows) == 100


async def test_old_rows_go_and_a_removed_user_leaves_none(gate: Door, store: Store, clock: Clock) -> None:
    await gate.verify(NAME, RIGHT, IMAP)
    await told(gate, store)
    await forget(store, Millis(NOW + 30 * logins.DAY), 40)
    assert len(await told(gate, store)) == 1
    await forget(store, Millis(NOW + 42 * logins.DAY), 40)
    assert await told(gate, store) == []
    await gate.verify(NAME, RIGHT, IMAP)
    account = (await anna(store)).account
    for alias in (INFO, HELLO):
        await store.run(aliases.remove_alias, alias)
    await store.run(accounts.remove_account, ANNA)
    await gate.logbook.flush()  # what waited is of nobody now
    assert await store.read(logins.list_visits, account, Millis(0), failed=False) == []
    assert not await store.read(logins.at_home, account, "192.0.2.1/32", NOW)


# --- the brakes, over all workers and restarts


async def test_failures_are_counted_over_all_workers(tmp_path: Path, clock: Clock) -> None:
    limits = PeerLimits(login_failures_minute=1_000, login_failures_day=20)
    stores = [await open_store(tmp_path), await Store.open(tmp_path)]
    doors = [new_door(store, clock, limits) for store in stores]
    for number in range(20):
        assert await doors[number % 2].verify("nobody@home.test", b"x", IMAP) is Refusal.WRONG
        await doors[number % 2].logbook.flush()
    for door in doors:
        assert await door.verify(NAME, RIGHT, IMAP) is Refusal.FAILURES
        assert isinstance(await door.verify(NAME, RIGHT, Caller("198.51.100.1", Service.IMAP)), Login)
    again = new_door(stores[0], clock, limits)  # a restart
    assert await again.verify(NAME, RIGHT, IMAP) is Refusal.FAILURES
    clock.seconds = 86_400 + 700
    assert isinstance(await again.verify(NAME, RIGHT, IMAP), Login)
    for door in (*doors, again):
        door.close()
    for store in stores:
        await store.close()


async def test_an_account_that_all_workers_see_guessed_at_answers_slowly(tmp_path: Path, clock: Clock) -> None:
    """The same for a name that nobody has: nothing can be learnt from the time."""
    stores = [await open_store(tmp_path), await Store.open(tmp_path)]
    doors = [new_door(store, clock, PeerLimits(account_failures_hour=20)) for store in stores]
    for name in (NAME, "nobody@home.test"):
        for number in range(22):
            caller = Caller(f"198.{18 + number % 2}.{number}.1", Service.IMAP)
            await doors[number % 2].verify(name, b"x", caller)
        for door in doors:
            await door.logbook.flush()
        naps.clear()
        assert await doors[0].verify(name, b"x", Caller("203.0.113.9", Service.IMAP)) is Refusal.WRONG
        assert naps == [PeerLimits().slow_refusal_seconds]
    assert isinstance(await doors[0].verify(NAME, RIGHT, Caller("203.0.113.9", Service.IMAP)), Login)  # never a lock
    for door in doors:
        door.close()
    for store in stores:
        await store.close()


async def test_all_names_that_open_an_account_are_counted_as_one(store: Store, clock: Clock) -> None:
    """Upper case, another name of the domain, a former name: each would allow as many guesses again."""
    await store.run(renaming.name_domain, Domain("other.test"), ANNA.domain)
    await store.run(renaming.rename_user, ANNA, Address("anne", ANNA.domain), keep=True)
    names = ("anna@home.test", "ANNE@home.test", "anne@other.test", "Anna@Other.Test")
    door, again = (new_door(store, clock, PeerLimits(account_failures_hour=20)) for _ in range(2))
    for number in range(21):
        assert await door.verify(names[number % 4], b"x", Caller(f"198.51.{number}.1", Service.IMAP)) is Refusal.WRONG
    await door.logbook.flush()
    for each in (door, again):  # by memory, and by the store
        for name in names:
            naps.clear()
            assert await each.verify(name, b"x", Caller("203.0.113.9", Service.IMAP)) is Refusal.WRONG
            assert naps == [PeerLimits().slow_refusal_seconds]
            assert isinstance(await each.verify(name, RIGHT, Caller("203.0.113.9", Service.IMAP)), Login)
        each.close()


async def test_who_is_at_home_by_one_name_is_so_by_all(store: Store, clock: Clock) -> None:
    await store.run(renaming.name_domain, Domain("other.test"), ANNA.domain)
    door = new_door(store, clock)
    assert isinstance(await door.verify(NAME, RIGHT, IMAP), Login)
    for _ in range(10):
        await door.verify("nobody@home.test", b"wrong", IMAP)
    assert await door.verify("nobody@home.test", b"wrong", IMAP) is Refusal.FAILURES
    assert isinstance(await door.verify("anna@other.test", RIGHT, IMAP), Login)
    door.close()


async def test_guesses_over_all_names_of_a_domain_are_answered_slowly(tmp_path: Path, clock: Clock) -> None:
    """One password at many names from many addresses: neither a name nor a network has failed often. Whoever knows the
    password comes in at once, from anywhere; other domains are not touched."""
    stores = [await open_store(tmp_path), await Store.open(tmp_path)]
    await stores[0].run(renaming.name_domain, Domain("other.test"), ANNA.domain)
    doors = [new_door(store, clock, PeerLimits(domain_failures_hour=20)) for store in stores]
    for number in range(22):
        caller = Caller(f"198.{18 + number % 2}.{number}.1", Service.IMAP)
        domain = ("home.test", "other.test")[number % 3 == 0]
        await doors[number % 2].verify(f"user{number}@{domain}", b"Spring2026", caller)
    for door in doors:
        await door.logbook.flush()
    for door in (*doors, new_door(stores[0], clock, PeerLimits(domain_failures_hour=20))):  # and after a restart
        for name, wait in ((NAME, 15.0), ("nobody@other.test", 15.0), (str(BEN), 2.0), ("x@strange.test", 2.0)):
            naps.clear()
            assert await door.verify(name, b"Spring2026", Caller("203.0.113.9", Service.IMAP)) is Refusal.WRONG
            assert naps == [wait]
        assert isinstance(await door.verify(NAME, RIGHT, Caller("203.0.113.9", Service.IMAP)), Login)
        door.close()
    for store in stores:
        await store.close()


async def test_where_a_user_is_at_home_survives_a_restart(store: Store, clock: Clock) -> None:
    first = new_door(store, clock)
    assert isinstance(await first.verify(NAME, RIGHT, IMAP), Login)
    await first.logbook.flush()
    again = new_door(store, clock)  # nothing in its memory
    for _ in range(10):
        await again.verify(str(BEN), b"wrong", IMAP)
    assert await again.verify(str(BEN), RIGHT, IMAP) is Refusal.FAILURES
    assert isinstance(await again.verify(NAME, RIGHT, IMAP), Login)
    third = new_door(store, clock)
    clock.seconds = 32 * 86_400
    for _ in range(10):
        await third.verify(str(BEN), b"wrong", IMAP)
    assert await third.verify(NAME, RIGHT, IMAP) is Refusal.FAILURES  # it was too long ago
    for door in (first, again, third):
        door.close()


async def test_who_fails_once_is_no_row(gate: Door, store: Store) -> None:
    """A network of machines that try once each must not fill a table."""
    for number in range(20):
        await gate.verify(f"nobody{number}@home.test", b"x", Caller(f"198.{number}.100.1", Service.IMAP))
    await gate.logbook.flush()
    assert await store.read(logins.counted, [], [logins.subject("network", "198.7.100.1/32")], NOW) == ((), (0,))


async def test_homes_and_guesses_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "HOMES", 5)
    monkeypatch.setattr(logins, "GUESSES", 5)
    account = (await anna(store)).account
    for number in range(20):
        day = Millis(NOW + number * logins.DAY)
        await store.run(logins.record, Batch(homes=[(account, f"n{number}", day)], guesses=[(number, NOW, 1)]))
    kept = [n for n in range(20) if await store.read(logins.at_home, account, f"n{n}", NOW)]
    assert kept == [15, 16, 17, 18, 19]
    await forget(store, NOW, 40)
    _, counts = await store.read(logins.counted, [], list(range(20)), NOW)
    assert sum(counts) == 5
