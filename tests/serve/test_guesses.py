"""serve/guesses.py: many passwords at the same moment, of which no more are checked than the brake lets through."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest

from household import ANNA, BEN, PASSWORD
from posthouse.serve import guesses, login
from posthouse.serve.caller import Caller
from posthouse.serve.guesses import Guesses
from posthouse.serve.limits import PeerLimits, Peers, Refusal, Service
from posthouse.serve.login import Door
from posthouse.store.accounts import Login
from posthouse.store.store import Store
from scram_peer import ScramPeer
from serve.conftest import no_sleep

MOST = 10
CALLER = Caller("192.0.2.1", Service.IMAP)
RIGHT = PASSWORD.encode()


@pytest.fixture
async def gate(store: Store) -> AsyncIterator[Door]:
    peers = Peers(PeerLimits(login_failures_minute=MOST), lambda: 1_000.0)
    door = Door(store, peers, secret=b"k" * 32, sleep=no_sleep)
    yield door
    door.close()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that were looked at."""
    seen: list[bytes] = []

    def look(stored: str, password: bytes) -> bool:
        seen.append(password)
        return password == RIGHT

    monkeypatch.setattr(login, "password_matches", look)
    return seen


async def test_a_hundred_at_the_same_moment(gate: Door, checked: list[bytes]) -> None:
    tries = [gate.verify(f"user{number}@home.test", b"%d" % number, CALLER) for number in range(100)]
    found = await asyncio.gather(*tries)
    assert len(checked) == MOST
    assert (found.count(Refusal.WRONG), found.count(Refusal.FAILURES)) == (MOST, 100 - MOST)
    assert await gate.verify(str(ANNA), RIGHT, CALLER) is Refusal.FAILURES
    assert not gate._guesses._under_way


async def test_addresses_of_one_network_count_together(gate: Door, checked: list[bytes]) -> None:
    """A /24 has three times as many."""
    callers = [Caller(f"192.0.2.{number}", Service.IMAP) for number in range(1, 101)]
    await asyncio.gather(*(gate.verify(str(ANNA), caller.ip.encode(), caller) for caller in callers))
    assert len(checked) == 3 * MOST


async def test_a_hundred_exchanges_of_scram_at_the_same_moment(gate: Door) -> None:
    """All have come as far as the proof before the first of them fails."""
    ready, proofs = asyncio.Barrier(100), 0

    async def guess(number: int) -> Login | Refusal:
        client = ScramPeer(f"user{number}@home.test", "wrong", f"nonce{number}")

        async def ask(challenge: bytes) -> bytes | None:
            nonlocal proofs
            proofs += 1
            await ready.wait()
            return client.final(challenge)

        return await gate.authenticate("SCRAM-SHA-256", client.first(), ask, CALLER)

    found = await asyncio.gather(*map(guess, range(100)))
    assert proofs == 100
    assert (found.count(Refusal.WRONG), found.count(Refusal.FAILURES)) == (MOST, 100 - MOST)


async def test_right_ones_wait_for_each_other_and_all_come_in(gate: Door, checked: list[bytes]) -> None:
    """A house full of people behind one address, which nobody knows yet."""
    for number in range(MOST - 1):
        await gate.verify(str(BEN), b"%d" % number, CALLER)
    found = await asyncio.gather(*(gate.verify(str(each), RIGHT, CALLER) for each in (ANNA, BEN) * 20))
    assert all(isinstance(one, Login) for one in found)
    assert set(gate.peers.failures_left(CALLER.ip)[0][1:]) == {1}, "only failures stay counted"


async def test_who_is_at_home_is_not_held_up(gate: Door, checked: list[bytes]) -> None:
    """Though others there guess at the same moment."""
    anna = await gate.verify(str(ANNA), RIGHT, CALLER)
    assert isinstance(anna, Login)
    # As another worker has it, which knows of it by the store alone.
    await gate.logbook.flush()
    gate.peers = Peers(gate.peers.limits, gate.peers.now)
    others = [gate.verify(str(BEN), b"%d" % number, CALLER) for number in range(50)]
    found = await asyncio.gather(*others, gate.verify(str(ANNA), RIGHT, CALLER))
    assert isinstance(found[-1], Login)
    assert len(checked) == 1 + MOST


async def test_the_failures_of_before_count(gate: Door, checked: list[bytes]) -> None:
    for number in range(MOST - 2):
        await gate.verify(str(BEN), b"%d" % number, CALLER)
    found = await asyncio.gather(*(gate.verify(str(BEN), b"more %d" % number, CALLER) for number in range(20)))
    assert (found.count(Refusal.WRONG), found.count(Refusal.FAILURES)) == (2, 18)


def room(most: int) -> Callable[[], list[tuple[str, int]]]:
    return lambda: [("here", most)]


async def test_who_goes_away_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "WAITING", 2)
    ours = Guesses()
    over = await ours.begin(room(1))
    assert not isinstance(over, Refusal)
    gone, stays = (asyncio.create_task(ours.begin(room(1))) for _ in range(2))
    await asyncio.sleep(0)  # each runs until it waits
    assert await ours.begin(room(1)) is Refusal.BUSY
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert len(ours._waiting) == 1
    for _ in itertools.repeat(None, 2):
        over()  # the second says nothing new
    begun = await stays
    assert not isinstance(begun, Refusal)
    begun()
    assert not ours._under_way
    assert not isinstance(await ours.begin(lambda: []), Refusal), "nothing is counted on this computer"
