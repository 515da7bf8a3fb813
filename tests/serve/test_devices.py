"""Device passwords at the door: what they open, until when, by which exchange (decision 0107; RFC 4616, RFC 5802)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher

from household import ANNA, BEN, PASSWORD
from posthouse.mail.ids import Millis
from posthouse.serve import login as login_module
from posthouse.serve.caller import Caller
from posthouse.serve.limits import PeerLimits, Peers, Refusal, Service
from posthouse.serve.logbook import Why
from posthouse.serve.login import Door
from posthouse.serve.passwords import DEVICE_LETTERS, device_digest, device_scram, make_credential, new_device_password
from posthouse.store import accounts, devices, logins, totp
from posthouse.store.accounts import Login
from posthouse.store.devices import NewDevice
from posthouse.store.store import Store
from posthouse.wire.scram import Hash
from scram_peer import ScramPeer

NAME = str(ANNA)
IMAP, POP3, SMTP = (Caller("192.0.2.1", service) for service in (Service.IMAP, Service.POP3, Service.SMTP))
NOW = Millis(1_700_000_000_000)


@pytest.fixture
async def gate(store: Store) -> AsyncIterator[Door]:
    async def no_sleep(seconds: float) -> None:
        assert seconds >= 0
        await asyncio.sleep(0)

    door = Door(store, Peers(PeerLimits(login_failures_minute=1_000), lambda: 5.0), secret=b"k" * 32, sleep=no_sleep)
    door.logbook.clock = lambda: NOW
    yield door
    door.close()


async def device(store: Store, name: str = "phone", services: str = "imap smtp", expires: int | None = None) -> str:
    """A new device password of anna's."""
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    password = new_device_password()
    digest = device_digest(password.encode())
    assert digest is not None
    end = None if expires is None else Millis(NOW + expires)
    scram = device_scram(password, login.credential.scram_sha256)
    sha1 = device_scram(password, login.credential.scram_sha256, Hash.SHA1)
    await store.run(devices.add, ANNA, NewDevice(name, frozenset(services.split()), end, digest, scram, sha1), NOW)
    return password


async def scram(door: Door, password: str, caller: Caller = IMAP, mechanism: str = "SCRAM-SHA-256") -> Login | Refusal:
    client, said = ScramPeer(NAME, password, "fyko+d2lbbFgONRv9qkxdawL", mechanism), []

    async def ask(challenge: bytes) -> bytes | None:
        said.append(challenge)
        if len(said) == 1:
            return client.final(challenge)
        assert client.verify(challenge)
        return b""

    return await door.authenticate(mechanism, client.first(), ask, caller)


async def whys(door: Door, store: Store) -> list[str]:
    """Why anna's logins were refused, as she may see it."""
    await door.logbook.flush()
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    return [row.visit.refused for row in await store.read(logins.list_visits, login.account, Millis(0), failed=True)]


async def test_it_opens_what_it_is_for_by_every_exchange(gate: Door, store: Store) -> None:
    password = await device(store)
    found = await gate.verify(NAME, password.encode(), IMAP)
    assert isinstance(found, Login)
    assert found.device is not None
    plain = b"\0" + NAME.encode() + b"\0" + password.encode()
    assert await gate.authenticate("PLAIN", plain, None, SMTP) == found  # type: ignore[arg-type]
    assert await scram(gate, password) == found
    assert await scram(gate, password, mechanism="SCRAM-SHA-1") == found
    assert isinstance(await gate.verify(NAME, PASSWORD.encode(), IMAP), Login)
    own = await scram(gate, PASSWORD)
    assert isinstance(own, Login)
    assert own.device is None


async def test_no_argon2_is_needed_for_it(gate: Door, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    password = await device(store)
    monkeypatch.setattr(login_module, "password_matches", lambda stored, tried: pytest.fail("hashed"))
    assert isinstance(await gate.verify(NAME, password.encode(), IMAP), Login)


async def test_it_may_be_typed_in_other_ways_where_the_password_itself_comes(gate: Door, store: Store) -> None:
    password = await device(store)
    for typed in (password.upper(), password.replace("-", ""), password.replace("-", " ")):
        assert isinstance(await gate.verify(NAME, typed.encode(), IMAP), Login)


async def test_it_is_of_one_user_only(gate: Door, store: Store) -> None:
    """S29 of limits.md."""
    password = await device(store)
    assert await gate.verify(str(BEN), password.encode(), IMAP) is Refusal.WRONG


async def test_another_protocol_is_refused_as_a_wrong_password_is(gate: Door, store: Store) -> None:
    password = await device(store)
    assert await gate.verify(NAME, password.encode(), POP3) is Refusal.WRONG
    assert await scram(gate, password, POP3) is Refusal.WRONG
    assert set(await whys(gate, store)) == {Why.SERVICE.value, Why.PASSWORD.value}


async def test_its_end(gate: Door, store: Store) -> None:
    password = await device(store, expires=60_000)
    found = await gate.verify(NAME, password.encode(), IMAP)
    assert isinstance(found, Login)
    gate.logbook.clock = lambda: Millis(NOW + 59_999)
    assert await gate.holds(found)
    gate.logbook.clock = lambda: Millis(NOW + 60_000)
    assert not await gate.holds(found)
    assert await gate.verify(NAME, password.encode(), IMAP) is Refusal.WRONG
    assert await scram(gate, password) is Refusal.WRONG
    assert Why.EXPIRED.value in await whys(gate, store)


async def test_one_that_is_taken_back_opens_nothing_and_ends_what_it_opened(gate: Door, store: Store) -> None:
    password, other = await device(store), await device(store, "tablet")
    found = await gate.verify(NAME, password.encode(), IMAP)
    kept = await gate.verify(NAME, other.encode(), IMAP)
    assert isinstance(found, Login)
    assert isinstance(kept, Login)
    assert await store.run(devices.revoke, ANNA, "Phone") == 1
    assert not await gate.holds(found)
    assert await gate.holds(kept)
    assert await gate.verify(NAME, password.encode(), IMAP) is Refusal.WRONG
    assert await store.run(devices.revoke, ANNA, None) == 1
    assert not await gate.holds(kept)


async def test_a_new_password_of_the_user_leaves_devices_alone(gate: Door, store: Store) -> None:
    """Their SCRAM keys have the salt of the password before, which is kept."""
    password = await device(store)
    old = await gate.verify(NAME, PASSWORD.encode(), IMAP)
    found = await scram(gate, password)
    assert isinstance(old, Login)
    assert isinstance(found, Login)
    await store.run(accounts.set_password, ANNA, make_credential("another", old.credential.scram_sha256.salt))
    assert not await gate.holds(old)
    assert await gate.holds(found)
    assert isinstance(await scram(gate, password), Login)
    # Somebody else's tool took another salt: the password itself still opens, SCRAM does not.
    await store.run(accounts.set_password, ANNA, make_credential("another"))
    assert await scram(gate, password) is Refusal.WRONG
    assert isinstance(await gate.verify(NAME, password.encode(), IMAP), Login)


async def test_devices_only(gate: Door, store: Store) -> None:
    password = await device(store)
    own = await gate.verify(NAME, PASSWORD.encode(), IMAP)
    assert isinstance(own, Login)
    await store.run(devices.set_devices_only, ANNA, only=True)
    assert not await gate.holds(own)
    assert await gate.verify(NAME, PASSWORD.encode(), IMAP) is Refusal.WRONG
    assert await scram(gate, PASSWORD) is Refusal.WRONG
    assert isinstance(await scram(gate, password), Login)
    assert isinstance(await gate.verify(NAME, password.encode(), IMAP), Login)
    assert Why.DEVICES_ONLY.value in await whys(gate, store)
    await store.run(devices.set_devices_only, ANNA, only=False)
    assert isinstance(await gate.verify(NAME, PASSWORD.encode(), IMAP), Login)


async def test_the_salt_says_nothing_of_the_rule(gate: Door, store: Store) -> None:
    said: list[bytes] = []

    async def ask(challenge: bytes) -> bytes | None:
        said.append(challenge.split(b",")[1])
        return None

    await device(store, services="smtp")
    for only in (False, True):
        await store.run(devices.set_devices_only, ANNA, only=only)
        await gate.authenticate("SCRAM-SHA-256", ScramPeer(NAME, "x", "nonce").first(), ask, IMAP)
    assert said[0] == said[1]


async def test_a_second_factor_may_demand_devices(gate: Door, store: Store) -> None:
    password = await device(store)
    await store.run(totp.enable, ANNA, b"s" * 20, [], NOW)
    assert isinstance(await gate.verify(NAME, PASSWORD.encode(), IMAP), Login)
    gate.devices_with_totp = True
    assert await gate.verify(NAME, PASSWORD.encode(), IMAP) is Refusal.WRONG
    assert isinstance(await gate.verify(NAME, password.encode(), IMAP), Login)
    assert isinstance(await gate.verify(str(BEN), PASSWORD.encode(), IMAP), Login)


async def test_an_old_hash_is_renewed_at_a_good_login(gate: Door, store: Store) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(PASSWORD)
    credential = make_credential(PASSWORD)._replace(password_hash=weak)
    await store.run(accounts.set_password, ANNA, credential)
    assert await gate.verify(NAME, b"wrong", IMAP) is Refusal.WRONG
    before = await scram(gate, PASSWORD)
    assert isinstance(before, Login)
    assert before.credential.password_hash == weak
    assert isinstance(await gate.verify(NAME, PASSWORD.encode(), IMAP), Login)
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    assert login.credential.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert login.credential.scram_sha256 == credential.scram_sha256
    assert await gate.holds(before)  # it is the same password
    assert isinstance(await gate.verify(NAME, PASSWORD.encode(), IMAP), Login)


def test_a_device_password_has_a_hundred_bits_and_is_easy_to_type() -> None:
    some = {new_device_password() for _ in range(100)}
    assert len(some) == 100
    assert all(set(each) <= set("abcdefghijkmnpqrstuvwxyz23456789-") for each in some)
    assert {len(each.replace("-", "")) * 5 for each in some} == {100}
    assert device_digest(b"a" * (DEVICE_LETTERS + 1)) is None
