"""serve/entrances.py: what the door keeps of users between their logins, and when it asks again (decision 0130)."""

from collections.abc import AsyncIterator

import pytest

from fakes import Seconds
from household import ANNA, PASSWORD, credential
from posthouse.mail.address import Address
from posthouse.mail.ids import Millis
from posthouse.serve.caller import Caller
from posthouse.serve.entrances import ENTRANCE_SECONDS
from posthouse.serve.limits import PeerLimits, Peers, Refusal, Service
from posthouse.serve.login import Door
from posthouse.store import accounts, devices, logins
from posthouse.store.accounts import Login
from posthouse.store.devices import Asked, Seen
from posthouse.store.logins import Batch
from posthouse.store.script import Script
from posthouse.store.store import Store, open_sync

CALLER = Caller("192.0.2.1", Service.IMAP)
NAME = str(ANNA)
RIGHT, NEW = PASSWORD.encode(), b"another one"


async def asleep(_: float) -> None:
    """Refusals take no time here."""


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
async def gate(store: Store, clock: Seconds) -> AsyncIterator[Door]:
    door = Door(store, Peers(PeerLimits(), clock), secret=b"k" * 32, sleep=asleep)
    yield door
    door.close()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What the store was really asked."""
    seen: list[Asked] = []
    really = devices.look

    def spy(asked: Asked, now: Millis) -> Script[Seen]:
        seen.append(asked)
        return really(asked, now)

    monkeypatch.setattr(devices, "look", spy)
    return seen


async def test_who_comes_again_is_known(gate: Door, clock: Seconds, looked: list[Asked]) -> None:
    for _ in range(3):
        assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    assert len(looked) == 1
    clock.now += ENTRANCE_SECONDS
    assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    assert len(looked) == 2


async def test_a_password_that_another_process_changes_counts_at_once(gate: Door, store: Store) -> None:
    assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    with open_sync(store.directory) as other:
        other.run(accounts.set_password, ANNA, credential(NEW.decode()))
    assert await gate.verify(NAME, RIGHT, CALLER) is Refusal.WRONG
    assert isinstance(await gate.verify(NAME, NEW, CALLER), Login)


async def test_a_user_whom_another_process_removes_is_gone_at_once(gate: Door, store: Store) -> None:
    zoe = Address("zoe", ANNA.domain)
    await store.run(accounts.add_account, zoe, credential())
    assert isinstance(await gate.verify(str(zoe), RIGHT, CALLER), Login)
    with open_sync(store.directory) as other:
        other.run(accounts.remove_account, zoe)
    assert await gate.verify(str(zoe), RIGHT, CALLER) is Refusal.WRONG


async def test_failures_that_another_process_tells_of_count_at_once(gate: Door, store: Store) -> None:
    assert await gate.verify(NAME, NEW, CALLER) is Refusal.WRONG
    networks = gate.peers.failure_networks(CALLER.ip)
    guesses = [(logins.subject("network", net), gate.logbook.clock(), 1_000) for net in networks]
    with open_sync(store.directory) as other:
        other.run(logins.record, Batch(guesses=guesses))
    assert await gate.verify(NAME, RIGHT, CALLER) is Refusal.FAILURES


async def test_what_counts_failures_is_not_kept(gate: Door, store: Store, looked: list[Asked]) -> None:
    """They are forgotten by and by, without a change."""
    await store.run(logins.record, Batch(guesses=[(logins.subject("name", NAME), gate.logbook.clock(), 3)]))
    for _ in range(2):
        assert isinstance(await gate.verify(NAME, RIGHT, CALLER), Login)
    assert len(looked) == 2


async def test_names_of_nobody_are_not_kept(gate: Door, looked: list[Asked]) -> None:
    for _ in range(2):
        assert await gate.verify("zoe@home.test", RIGHT, CALLER) is Refusal.WRONG
    assert len(looked) == 2
