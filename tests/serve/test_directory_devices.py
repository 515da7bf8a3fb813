"""Device passwords of users of a directory: ours, and good as long as the directory knows the user (decision 0138;
RFC 5802 §5.1, RFC 7677)."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from household import ANNA
from posthouse.mail.address import Address
from posthouse.mail.ids import Millis
from posthouse.serve import login as login_module
from posthouse.serve.caller import Caller
from posthouse.serve.limits import PeerLimits, Peers, Refusal, Service
from posthouse.serve.logbook import Why
from posthouse.serve.login import Door
from posthouse.serve.passwords import device_digest, device_scram, first_salt, make_credential, new_device_password
from posthouse.store import accounts, devices, directory_users, logins, renaming, totp
from posthouse.store.accounts import NOWHERE, Login
from posthouse.store.devices import NewDevice
from posthouse.store.store import Store
from posthouse.transport.directory import Directory, DirectoryLimits
from posthouse.wire.scram import Hash
from scram_peer import ScramPeer
from transport.test_directory import Clock, People

CARL, KARL = Address("carl", ANNA.domain), Address("karl", ANNA.domain)
NAME, NOBODY = str(CARL), "nobody@home.test"
IMAP, POP3 = (Caller("192.0.2.1", service) for service in (Service.IMAP, Service.POP3))
NOW = Millis(1_700_000_000_000)
SECRET = b"s" * 32
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1")


@dataclass(frozen=True)
class Rig:
    """A door beside a directory that knows Carl, who has a mailbox here. `slept`: how long refusals waited."""

    door: Door
    people: People
    clock: Clock
    store: Store
    slept: list[float]

    async def device(self, name: str = "phone", services: str = "imap smtp", expires: Millis | None = None) -> str:
        """A new device password of Carl's, made as the command line does."""
        entrance = await self.store.read(devices.find_entrance, CARL)
        own = (entrance and entrance.salted) or first_salt(CARL, SECRET)
        password = new_device_password()
        digest = device_digest(password.encode())
        assert digest is not None
        keys = device_scram(password, own), device_scram(password, own, Hash.SHA1)
        new = NewDevice(name, frozenset(services.split()), expires, digest, *keys)
        await self.store.run(devices.add, CARL, new, NOW)
        return password

    async def scram(self, name: str, password: str, mechanism: str = "SCRAM-SHA-256") -> tuple[object, list[bytes]]:
        """A whole exchange; what came of it, and what the server said, its nonce apart."""
        client = ScramPeer(name, password, "fyko+d2lbbFgONRv9qkxdawL", mechanism)
        said: list[bytes] = []

        async def ask(challenge: bytes) -> bytes | None:
            said.append(challenge.partition(b",")[2] if challenge.startswith(b"r=") else challenge)
            if len(said) == 1:
                return client.final(challenge)
            assert client.verify(challenge)
            return b""

        return await self.door.authenticate(mechanism, client.first(), ask, IMAP), said

    async def whys(self) -> set[str]:
        """Why Carl's logins were refused, as he may see it."""
        await self.door.logbook.flush()
        carl = await self.store.read(accounts.require, CARL)
        visits = await self.store.read(logins.list_visits, carl.account, Millis(0), failed=True)
        return {row.visit.refused for row in visits}


@pytest.fixture
async def rig(store: Store) -> AsyncIterator[Rig]:
    people, clock, slept = People(), Clock(), list[float]()
    directory = Directory(people, store, DirectoryLimits(seconds=5.0), lambda: clock.now)

    async def no_sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    peers = Peers(PeerLimits(login_failures_minute=1_000), lambda: clock.now)
    door = Door(store, peers, secret=SECRET, sleep=no_sleep)
    door.directory = directory
    door.logbook.clock = lambda: NOW
    await store.run(accounts.add_account, CARL, None)
    yield Rig(door, people, clock, store, slept)
    door.close()
    directory.close()


async def test_it_opens_what_it_is_for_by_every_exchange(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    password = await rig.device()
    monkeypatch.setattr(login_module, "password_matches", lambda stored, tried: pytest.fail("hashed"))
    found = await rig.door.verify(NAME, password.upper().encode(), IMAP)
    assert isinstance(found, Login)
    assert (found.address, found.credential) == (CARL, NOWHERE)
    assert found.device is not None
    for mechanism in MECHANISMS:
        assert (await rig.scram(NAME, password, mechanism))[0] == found
    assert await rig.door.holds(found)
    assert rig.people.shown == []  # it is no business of the directory's
    assert rig.people.asked == [f"find {NAME}"]  # and what that has said is remembered for a moment
    own = await rig.door.verify(NAME, b"carls word", IMAP)
    assert isinstance(own, Login)
    assert own.device is None


@pytest.mark.parametrize("how", ["gone", "locked"])
async def test_only_as_long_as_the_directory_lets_the_user_in(rig: Rig, how: str) -> None:
    password = await rig.device()
    found = await rig.door.verify(NAME, password.encode(), IMAP)
    assert isinstance(found, Login)
    word = rig.people.words.pop(NAME) if how == "gone" else None
    rig.people.locked |= {NAME} if how == "locked" else set()
    assert await rig.door.holds(found)  # for a moment
    rig.clock.now += 60
    assert not await rig.door.holds(found)
    assert await rig.door.verify(NAME, password.encode(), IMAP) is Refusal.WRONG
    for mechanism in MECHANISMS:
        outcome, said = await rig.scram(NAME, password, mechanism)
        assert (outcome, len(said)) == (Refusal.WRONG, 1)  # the server's own proof was not said
    assert await rig.whys() == {Why.DIRECTORY.value}
    rig.people.locked.clear()
    rig.people.words |= {NAME: word} if word else {}
    rig.clock.now += 60
    assert await rig.door.holds(found)
    assert (await rig.scram(NAME, password))[0] == found


async def test_a_locked_user_comes_in_by_no_other_proof_either(rig: Rig) -> None:
    found = await rig.door.verify(NAME, b"carls word", IMAP)
    assert isinstance(found, Login)
    rig.people.locked.add(NAME)
    rig.clock.now += 60
    assert await rig.door.verify(NAME, b"carls word", IMAP) is Refusal.WRONG
    assert not await rig.door.holds(found)
    assert rig.door.directory is not None
    assert await rig.door.directory.vouched(CARL) is None


async def test_while_the_directory_is_down(rig: Rig) -> None:
    password = await rig.device()
    found = await rig.door.verify(NAME, password.encode(), IMAP)
    assert isinstance(found, Login)
    rig.people.down = True
    assert await rig.door.verify(NAME, password.encode(), IMAP) == found  # what it said a moment ago counts
    rig.clock.now += 60
    for tried in (password.encode(), b"carls word", b"wrong"):
        assert await rig.door.verify(NAME, tried, IMAP) is Refusal.DIRECTORY
    outcome, said = await rig.scram(NAME, password)
    assert (outcome, len(said)) == (Refusal.DIRECTORY, 1)
    assert (await rig.scram(NAME, "wrong"))[0] is Refusal.WRONG
    assert (await rig.scram(NOBODY, "wrong"))[0] is Refusal.WRONG
    assert await rig.door.holds(found)  # open sessions go on


async def test_scram_tells_nobody_apart(rig: Rig) -> None:
    """Neither by what is said, nor by how long it takes, nor by what the directory is asked meanwhile."""
    names = [NAME, NOBODY]

    async def sounds(name: str, mechanism: str) -> tuple[object, ...]:
        asked, slept = len(rig.people.asked), len(rig.slept)
        outcome, said = await rig.scram(name, "wrong", mechanism)
        return outcome, len(said), said[0][-7:], rig.people.asked[asked:], rig.slept[slept:]

    for mechanism in MECHANISMS:
        before = {name: await rig.scram(name, "wrong", mechanism) for name in names}
        assert await sounds(NAME, mechanism) == await sounds(NOBODY, mechanism)
        password = await rig.device(mechanism)
        assert await sounds(NAME, mechanism) == await sounds(NOBODY, mechanism)
        # Nobody sees that one was made, or taken back.
        assert {name: await rig.scram(name, "wrong", mechanism) for name in names} == before
        assert isinstance((await rig.scram(NAME, password, mechanism))[0], Login)
        await rig.store.run(devices.revoke, CARL, None)
        assert {name: await rig.scram(name, "wrong", mechanism) for name in names} == before
        assert (await rig.scram(NAME, password, mechanism))[0] is Refusal.WRONG


async def test_one_that_opens_nothing_is_not_shown_to_the_directory(rig: Rig) -> None:
    """It would count it as a guess, and lock the user."""
    late, other = await rig.device("late", expires=NOW), await rig.device("other", "pop3")
    for password in (late, other):
        assert await rig.door.verify(NAME, password.encode(), IMAP) is Refusal.WRONG
    assert rig.people.shown == []
    assert await rig.whys() == {Why.EXPIRED.value, Why.SERVICE.value}
    assert isinstance(await rig.door.verify(NAME, other.encode(), POP3), Login)


async def test_one_that_is_taken_back_ends_what_it_opened(rig: Rig) -> None:
    password = await rig.device()
    found = await rig.door.verify(NAME, password.encode(), IMAP)
    own = await rig.door.verify(NAME, b"carls word", IMAP)
    assert isinstance(found, Login)
    assert isinstance(own, Login)
    woken: list[None] = []
    unwatch = rig.door.watch(found, lambda: woken.append(None))
    assert await rig.store.run(devices.revoke, CARL, "phone") == 1
    await asyncio.sleep(0)
    assert woken
    assert not await rig.door.holds(found)
    assert await rig.door.holds(own)
    unwatch()


async def test_devices_only(rig: Rig) -> None:
    password = await rig.device()
    own = await rig.door.verify(NAME, b"carls word", IMAP)
    assert isinstance(own, Login)
    await rig.store.run(devices.set_devices_only, CARL, only=True)
    assert not await rig.door.holds(own)
    assert await rig.door.verify(NAME, b"carls word", IMAP) is Refusal.WRONG
    assert await rig.door.verify(NAME, b"wrong", IMAP) is Refusal.WRONG
    assert await rig.whys() == {Why.DEVICES_ONLY.value, Why.PASSWORD.value}
    assert isinstance(await rig.door.verify(NAME, password.encode(), IMAP), Login)
    await rig.store.run(devices.set_devices_only, CARL, only=False)
    await rig.store.run(totp.enable, CARL, b"s" * 20, [], NOW)
    assert isinstance(await rig.door.verify(NAME, b"carls word", IMAP), Login)
    rig.door.devices_with_totp = True
    assert await rig.door.verify(NAME, b"carls word", IMAP) is Refusal.WRONG
    assert isinstance((await rig.scram(NAME, password))[0], Login)


async def test_under_another_name(rig: Rig) -> None:
    """A user who was renamed here has the old salt, so that the keys that are there stay good."""
    password = await rig.device()
    await rig.store.run(renaming.rename_user, CARL, KARL, keep=True)
    for name in (NAME, str(KARL)):
        assert (await rig.scram(name, password))[0] is Refusal.WRONG  # the directory does not know the new name yet
    rig.people.words[str(KARL)] = rig.people.words.pop(NAME)
    rig.clock.now += 60
    for name in (NAME, str(KARL)):
        assert isinstance((await rig.scram(name, password))[0], Login)
        assert isinstance(await rig.door.verify(name, password.encode(), IMAP), Login)


async def test_who_becomes_a_user_of_this_server_keeps_them(rig: Rig) -> None:
    password = await rig.device()
    before = await rig.door.verify(NAME, password.encode(), IMAP)
    entrance = await rig.store.read(devices.find_entrance, CARL)
    assert isinstance(before, Login)
    assert entrance is not None
    assert entrance.salted is not None
    del rig.people.words[NAME]
    rig.clock.now += 60
    credential = make_credential("own word", entrance.salted.salt)
    await rig.store.run(directory_users.make_local, CARL, credential)
    assert await rig.door.holds(before)
    for mechanism in MECHANISMS:
        assert isinstance((await rig.scram(NAME, password, mechanism))[0], Login)
        assert isinstance((await rig.scram(NAME, "own word", mechanism))[0], Login)


async def test_without_a_directory_it_opens_nothing(rig: Rig) -> None:
    password = await rig.device()
    found = await rig.door.verify(NAME, password.encode(), IMAP)
    assert isinstance(found, Login)
    rig.door.directory = None
    assert not await rig.door.holds(found)
    assert await rig.door.verify(NAME, password.encode(), IMAP) is Refusal.WRONG
    assert (await rig.scram(NAME, password))[0] is Refusal.WRONG
