"""transport/directory.py: users who are known elsewhere (RFC 5321 §3.6, RFC 3463 §3.5)."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from household import ANNA, BEN, HOSTNAME, NOW, PASSWORD
from posthouse.mail.address import Address, Domain, ForwardPath
from posthouse.mail.ids import Millis
from posthouse.net.directory import NoAnswer, Person
from posthouse.serve.caller import Caller
from posthouse.serve.limits import PeerLimits, Peers, Refusal, Service
from posthouse.serve.login import Door
from posthouse.store import accounts, aliases, devices, groups, logins, renaming
from posthouse.store.accounts import NOWHERE, Login, NoSuchUser, Senders
from posthouse.store.devices import Asked, Entrance
from posthouse.store.script import DirectoryDown
from posthouse.store.store import Store
from posthouse.transport import receive
from posthouse.transport.client import Client
from posthouse.transport.directory import REST, Directory, DirectoryLimits
from posthouse.transport.house import House
from posthouse.transport.resolve import resolve
from posthouse.transport.route import Leads
from posthouse.wire.sasl import Offer

HOME = ANNA.domain
CARL, DORA = Address("carl", HOME), Address("dora", HOME)
STRANGER = Client("192.0.2.1", "client.test")
CALLER = Caller("192.0.2.1", Service.IMAP)


class People:
    """A directory in memory."""

    def __init__(self) -> None:
        self.words = {"carl@home.test": "carls word", "anna@home.test": "another word", "x@far.test": "far"}
        self.own: dict[str, tuple[str, ...]] = {}
        self.asked: list[str] = []
        self.shown: list[str] = []  # passwords
        self.locked: set[str] = set()
        self.down = False
        self.gate: threading.Event | None = None

    def find(self, address: Address) -> Person | None:
        self.asked.append(f"find {address}")
        if self.gate is not None:
            self.gate.wait(30)
        if self.down:
            raise NoAnswer("down")
        known = str(address).lower()
        return Person(self.own.get(known, (known,)), known in self.locked) if known in self.words else None

    def close(self) -> None:
        pass

    def prove(self, address: Address, password: str) -> Person | None:
        found = self.find(address)
        self.shown.append(password)
        return found if found and not found.locked and self.words[str(address).lower()] == password else None


class Clock:
    now = 1_000.0


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def directory(people: People, clock: Clock, store: Store) -> AsyncIterator[Directory]:
    made = Directory(people, store, DirectoryLimits(seconds=3.0, waiting=1), lambda: clock.now)
    yield made
    made.close()


@pytest.fixture
def housed(store: Store, directory: Directory) -> House:
    return House(store, HOSTNAME, lambda: NOW, directory=directory)


@pytest.fixture
async def door(store: Store, directory: Directory) -> AsyncIterator[Door]:
    async def no_sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32, sleep=no_sleep)
    door.directory = directory
    yield door
    door.close()


async def test_the_first_mail_makes_a_mailbox(housed: House, people: People, store: Store) -> None:
    found = await receive.rcpt(ForwardPath(Address("Carl+x", HOME)), False, STRANGER, housed)
    assert isinstance(found, Leads)
    assert await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed) == found
    assert await store.read(accounts.address_of, found.accounts[0]) == CARL
    assert await receive.rcpt(ForwardPath(DORA), False, STRANGER, housed) == receive.NO_SUCH_USER
    count = len(people.asked)
    assert await receive.rcpt(ForwardPath(DORA), False, STRANGER, housed) == receive.NO_SUCH_USER
    assert len(people.asked) == count  # both are remembered for a moment
    outside = ForwardPath(Address("x", Domain("far.test")))
    assert await receive.rcpt(outside, False, STRANGER, housed) == receive.NO_RELAY
    assert "find x@far.test" not in people.asked


async def test_who_is_here_is_not_looked_for(housed: House, people: People) -> None:
    for name in (ANNA, BEN, Address("hello", HOME), Address("postmaster", HOME)):
        assert isinstance(await resolve(name, housed), tuple), name
    assert people.asked == []


async def test_down_is_no_refusal(housed: House, people: People, clock: Clock) -> None:
    carl = await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed)
    people.down = True
    clock.now += 60
    with pytest.raises(DirectoryDown):
        await receive.rcpt(ForwardPath(DORA), False, STRANGER, housed)
    assert await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed) == carl
    assert isinstance(await receive.rcpt(ForwardPath(ANNA), False, STRANGER, housed), Leads)


async def test_who_is_gone_gets_no_mail_and_keeps_it(housed: House, people: People, clock: Clock, store: Store) -> None:
    await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed)
    del people.words["carl@home.test"]
    assert isinstance(await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed), Leads)  # for a moment
    clock.now += 60
    assert await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed) == receive.NO_SUCH_USER
    assert await store.read(accounts.find, CARL) is not None
    people.words["carl@home.test"] = "back"
    clock.now += 60
    assert isinstance(await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed), Leads)


async def test_a_new_name_waits_for_the_directory(
    housed: House, people: People, door: Door, clock: Clock, store: Store
) -> None:
    """What `posthouse user rename` says of a user of the directory."""
    carl = await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed)
    await store.run(renaming.rename_user, CARL, DORA, keep=True)
    for name in ("carl@home.test", "dora@home.test"):
        assert await door.verify(name, b"carls word", CALLER) is Refusal.WRONG
    assert await receive.rcpt(ForwardPath(DORA), False, STRANGER, housed) == receive.NO_SUCH_USER
    assert await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed) == carl
    people.words["dora@home.test"] = people.words.pop("carl@home.test")
    clock.now += 60
    for name in ("carl@home.test", "dora@home.test"):
        assert isinstance(await door.verify(name, b"carls word", CALLER), Login)
    assert await receive.rcpt(ForwardPath(DORA), False, STRANGER, housed) == carl


async def test_the_catch_all_comes_last(housed: House, store: Store) -> None:
    await store.run(accounts.set_catch_all, HOME, ANNA)
    carl = await resolve(CARL, housed)
    assert isinstance(carl, tuple)
    assert carl[0].address == CARL
    dora = await resolve(DORA, housed)
    assert isinstance(dora, tuple)
    assert dora[0].address == ANNA


async def test_a_name_of_somebody_here_is_not_given_away(directory: Directory, people: People, store: Store) -> None:
    """What the directory says is a user's address may be taken here."""
    await store.run(groups.add_group, Address("team", HOME), [ANNA], Senders.ANYONE)
    for taken in ("anna@home.test", "team@home.test", "hello@home.test", "x@far.test", "no address", "*@home.test"):
        people.own["carl@home.test"] = (taken,)
        assert await directory.sign_in(CARL, b"carls word") is None, taken


async def test_the_directory_says_what_the_own_address_is(directory: Directory, people: People, housed: House) -> None:
    people.own["carl@home.test"] = ("c.carlson@home.test",)
    people.words |= {"c.carlson@home.test": "carls word"}
    found = await resolve(CARL, housed)
    assert isinstance(found, tuple)
    assert found[0].address == Address("c.carlson", HOME)
    for name in (CARL, found[0].address):
        login = await directory.sign_in(name, b"carls word")
        assert login is not None
        assert login.account == found[0].account


async def test_several_addresses_are_one_mailbox(directory: Directory, people: People, store: Store) -> None:
    people.words |= {"c.carlson@home.test": "carls word"}
    people.own = dict.fromkeys(("carl@home.test", "c.carlson@home.test"), ("c.carlson@home.test", "carl@home.test"))
    one = await directory.sign_in(CARL, b"carls word")
    other = await directory.sign_in(Address("c.carlson", HOME), b"carls word")
    assert one is not None
    assert other is not None
    assert one.account == other.account


async def test_an_address_that_was_somebody_elses_opens_the_own_mailbox(
    directory: Directory, people: People, clock: Clock, store: Store
) -> None:
    """Carl left, and his mailbox is kept; Zoe has his address now, beside her own."""
    zoe = Address("zoe", HOME)
    people.words |= {"zoe@home.test": "zoes word"}
    carls, zoes = await directory.sign_in(CARL, b"carls word"), await directory.sign_in(zoe, b"zoes word")
    people.own = {"zoe@home.test": ("carl@home.test", "Zoe@home.test")}
    clock.now += 60
    again = await directory.sign_in(zoe, b"zoes word")
    assert carls is not None
    assert zoes is not None
    assert again is not None
    assert again.account == zoes.account != carls.account


async def test_sign_in(door: Door, people: People, clock: Clock) -> None:
    found = await door.verify("CARL@home.test", b"carls word", CALLER)
    assert isinstance(found, Login)
    assert (found.address, found.credential) == (CARL, NOWHERE)
    assert await door.holds(found)
    for name, word in (
        ("carl@home.test", b""),
        ("carl@home.test", b"wrong"),
        ("carl@home.test", b"\xff"),
        ("nobody@home.test", b"carls word"),
        ("x@far.test", b"far"),
        ("no address", b"carls word"),
        ("carl)(mail=*@home.test", b"carls word"),
        ("x" * 65_536, b"carls word"),
    ):
        assert await door.verify(name, word, CALLER) is Refusal.WRONG, name[:30]
    people.words["carl@home.test"] = "a new word"
    assert isinstance(await door.verify("carl@home.test", b"carls word", CALLER), Login)  # for a moment
    clock.now += 60
    assert await door.verify("carl@home.test", b"carls word", CALLER) is Refusal.WRONG
    assert isinstance(await door.verify("carl@home.test", b"a new word", CALLER), Login)
    del people.words["carl@home.test"]
    clock.now += 60
    assert not await door.holds(found)
    people.down = True
    clock.now += 60
    assert await door.holds(found)
    assert await door.verify("carl@home.test", b"a new word", CALLER) is Refusal.DIRECTORY


async def test_a_user_of_the_directory_sees_who_tried(door: Door, store: Store) -> None:
    assert isinstance(await door.verify("carl@home.test", b"carls word", CALLER), Login)
    assert await door.verify("carl@home.test", b"wrong", CALLER) is Refusal.WRONG
    await door.logbook.flush()
    carl = await store.read(accounts.find, CARL)
    assert carl is not None
    visits = await store.read(logins.list_visits, carl.account, Millis(0), failed=False)
    assert sorted(bool(visit.refused) for visit, _ in visits) == [False, True]
    asked = Asked(CARL, (), door.peers.failure_networks(CALLER.ip)[0], True)
    seen = await store.read(devices.look, asked, door.logbook.clock())
    assert (seen.account, seen.at_home) == (carl.account, True)
    assert seen.entrance == Entrance(Login(carl.account, CARL, NOWHERE), devices_only=False, totp=False, devices=())


async def test_failures_count_for_the_user_by_whichever_address(door: Door, people: People, store: Store) -> None:
    """Also before the first good login, when there is no mailbox yet."""
    names = ("carl@home.test", "c.carlson@home.test", "Carlo@home.test")
    people.words |= dict.fromkeys(map(str.lower, names), "carls word")
    people.own = dict.fromkeys(map(str.lower, names), names)
    for number in range(6):
        caller = replace(CALLER, ip=f"198.51.{number}.1")
        assert await door.verify(names[number % 3], b"wrong", caller) is Refusal.WRONG
    assert door.peers._account_failures.count("c.carlson@home.test", door.peers.now()) == 6
    assert isinstance(await door.verify("carlo@home.test", b"carls word", CALLER), Login)
    carl = await store.read(accounts.known_as, Address("carlo", HOME))
    assert carl is not None
    for name in names:
        assert await door.verify(name, b"wrong", CALLER) is Refusal.WRONG
    assert door.peers._account_failures.count("carlo@home.test", door.peers.now()) == 3
    people.down = True
    assert await door.verify("nobody@home.test", b"wrong", CALLER) is Refusal.DIRECTORY


async def test_somebody_else_may_vouch(door: Door, people: People, clock: Clock) -> None:
    """RFC 4422 appendix A: a certificate names the user; the directory knows whether there is one."""

    def certified(name: str) -> Caller:
        return replace(CALLER, offer=Offer(names=(name,)))

    async def ask(challenge: bytes) -> bytes:
        return b""

    found = await door.authenticate("EXTERNAL", b"", ask, certified("carl@home.test"))
    assert isinstance(found, Login)
    assert found.address == CARL
    assert await door.holds(found)
    assert await door.authenticate("EXTERNAL", b"", ask, certified("dora@home.test")) is Refusal.WRONG
    people.down = True
    clock.now += 60
    assert await door.authenticate("EXTERNAL", b"", ask, certified("carl@home.test")) is Refusal.DIRECTORY


async def test_who_has_a_password_here_has_it_only_here(door: Door, people: People) -> None:
    assert isinstance(await door.verify(str(ANNA), PASSWORD.encode(), CALLER), Login)
    assert await door.verify(str(ANNA), b"another word", CALLER) is Refusal.WRONG
    assert people.asked == []


async def test_scram_proves_nothing_of_the_directory(door: Door) -> None:
    """RFC 5802 §5.1: the secret is not here; the exchange is that of a user who does not exist."""
    asked: list[bytes] = []

    async def ask(challenge: bytes) -> bytes:
        asked.append(challenge)
        nonce = challenge.partition(b",")[0]
        return b"c=biws," + nonce + b",p=" + b"A" * 43 + b"="

    found = await door.authenticate("SCRAM-SHA-256", b"n,,n=carl@home.test,r=abc", ask, CALLER)
    assert found is Refusal.WRONG
    assert len(asked) == 1


async def test_a_directory_that_stalls_holds_up_nobody_else(
    door: Door, housed: House, people: People, directory: Directory
) -> None:
    people.gate = threading.Event()
    try:
        names = [f"user{number}@home.test" for number in range(5)]
        found = await asyncio.gather(*(door.verify(name, b"word", CALLER) for name in names))
        assert found == [Refusal.DIRECTORY] * 5
        assert len(people.asked) <= 2  # so many threads; one more waits, and others are told at once
        assert isinstance(await door.verify(str(ANNA), PASSWORD.encode(), CALLER), Login)
    finally:
        people.gate.set()


async def test_who_comes_after_one_who_waited_in_vain_does_not_wait(
    door: Door, people: People, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = people.prove

    def in_vain(address: Address, password: str) -> Person | None:
        people.asked.append(f"prove {address}")
        clock.now += 10.0  # longer than the directory is waited for
        raise NoAnswer("no answer in time")

    monkeypatch.setattr(people, "prove", in_vain)
    for _ in range(3):
        assert await door.verify(str(CARL), b"carls word", CALLER) is Refusal.DIRECTORY
    assert people.asked == [f"prove {CARL}"]
    monkeypatch.setattr(people, "prove", answers)
    assert await door.verify(str(CARL), b"carls word", CALLER) is Refusal.DIRECTORY
    clock.now += REST
    assert isinstance(await door.verify(str(CARL), b"carls word", CALLER), Login)


async def test_an_alias_may_lead_to_a_user_of_the_directory(housed: House, people: People, clock: Clock) -> None:
    await receive.rcpt(ForwardPath(CARL), False, STRANGER, housed)
    await housed.store.run(aliases.add_alias, Address("c", HOME), [CARL])
    del people.words["carl@home.test"]
    clock.now += 60
    assert isinstance(await resolve(CARL, housed), NoSuchUser)
    assert isinstance(await resolve(Address("c", HOME), housed), tuple)


async def test_without_a_directory_nothing_of_it_holds(store: Store, door: Door) -> None:
    found = await door.verify("carl@home.test", b"carls word", CALLER)
    assert isinstance(found, Login)
    door.directory = None
    assert not await door.holds(found)
    assert isinstance(await resolve(CARL, replace(House(store, HOSTNAME, lambda: NOW))), tuple)


def vouching(name: str) -> Caller:
    """A client whose certificate is for this name."""
    return replace(CALLER, offer=Offer(names=(name,)))


async def nothing_asked(challenge: bytes) -> bytes | None:
    raise AssertionError("nothing is left to ask")


async def test_a_certificate_of_a_user_of_the_directory(door: Door, people: People) -> None:
    """RFC 4422 Appendix A: the authority vouches, the directory knows the user, and nobody proves a password."""
    login = await door.authenticate("EXTERNAL", b"", nothing_asked, vouching("carl@home.test"))
    assert isinstance(login, Login)
    assert login.address == CARL
    assert people.asked == ["find carl@home.test"]
    assert await door.holds(login)
    stranger = await door.authenticate("EXTERNAL", b"", nothing_asked, vouching("nobody@home.test"))
    assert stranger is Refusal.WRONG
    people.down = True
    assert await door.authenticate("EXTERNAL", b"", nothing_asked, vouching("dora@home.test")) is Refusal.DIRECTORY
