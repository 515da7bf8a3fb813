"""transport/route.py: where a recipient's mail goes, and what is kept of it."""

from collections.abc import Callable

import pytest

from fakes import Seconds
from household import ANNA, INFO, credential
from posthouse.mail.address import Address, Domain
from posthouse.store import accounts, aliases, quota
from posthouse.store.accounts import NoSuchDomain, NoSuchUser, User
from posthouse.store.quota import Limits, Rules, Whose
from posthouse.store.store import Store, open_sync
from posthouse.transport.route import KEPT_SECONDS, ROOM_SECONDS, Routes


@pytest.fixture
def asked(store: Store, asked_by: Callable[[str], list[Address]]) -> list[Address]:
    """The addresses the store was really asked for."""
    return asked_by("resolve")


async def test_success_is_kept_while_nobody_changes_who_is_who(
    store: Store, clock: Seconds, asked: list[Address]
) -> None:
    routes = Routes(clock)
    first = await routes.resolve(ANNA, store)
    assert await routes.resolve(ANNA, store) == first
    assert asked == [ANNA]
    clock.now += KEPT_SECONDS
    await routes.resolve(ANNA, store)
    assert asked == [ANNA, ANNA]


async def test_who_is_removed_gets_no_more_mail_at_once(store: Store, clock: Seconds) -> None:
    routes = Routes(clock)
    assert isinstance(await routes.resolve(INFO, store), tuple)
    await store.run(aliases.remove_alias, INFO)
    assert isinstance(await routes.resolve(INFO, store), NoSuchUser)


async def test_what_another_process_has_changed_counts_at_once(store: Store, clock: Seconds) -> None:
    routes = Routes(clock)
    new = Domain("new.test")
    assert not await routes.is_local(new, store)
    assert isinstance(await routes.resolve(INFO, store), tuple)
    with open_sync(store.directory) as other:
        other.run(aliases.remove_alias, INFO)
        other.run(accounts.add_domain, new)
    assert await routes.is_local(new, store)
    assert isinstance(await routes.resolve(INFO, store), NoSuchUser)


async def test_what_a_mailbox_holds_is_known_for_a_second_where_there_is_a_limit(store: Store, clock: Seconds) -> None:
    routes, rules = Routes(clock), Rules()
    [anna] = [user.account for user in await resolved(routes, ANNA, store)]
    assert routes.rooms(ANNA, store, rules).keys() == {anna}
    clock.now += ROOM_SECONDS
    assert routes.rooms(ANNA, store, rules).keys() == {anna}  # there is no limit
    assert not routes.rooms(ANNA, store, Rules(Limits(messages=5)))
    await store.run(quota.set_limits, Whose(anna), Limits(octets=1_000))
    assert not routes.rooms(ANNA, store, rules)  # it may be another limit now
    await resolved(routes, ANNA, store)
    assert routes.rooms(ANNA, store, rules)[anna].limits.octets == 1_000
    clock.now += ROOM_SECONDS
    assert not routes.rooms(ANNA, store, rules)


async def resolved(routes: Routes, address: Address, store: Store) -> tuple[User, ...]:
    found = await routes.resolve(address, store)
    assert isinstance(found, tuple)
    return found


async def test_an_alias_leads_to_everybody(store: Store, clock: Seconds) -> None:
    found = await Routes(clock).resolve(INFO, store)
    assert isinstance(found, tuple)
    assert len(found) == 2


async def test_failure_is_not_kept(store: Store, clock: Seconds, asked: list[Address]) -> None:
    routes = Routes(clock)
    carl = Address("carl", Domain("new.test"))
    assert isinstance(await routes.resolve(carl, store), NoSuchDomain)
    await store.run(accounts.add_domain, carl.domain)
    assert isinstance(await routes.resolve(carl, store), NoSuchUser)
    await store.run(accounts.add_account, carl, credential())
    assert isinstance(await routes.resolve(carl, store), tuple)
    assert len(asked) == 3


async def test_what_is_kept_is_bounded(
    store: Store, clock: Seconds, asked: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.transport.route.ROUTES", 2)
    routes = Routes(clock)
    tagged = [Address(f"anna+{number}", ANNA.domain) for number in range(3)]
    for address in [*tagged, tagged[2], tagged[0]]:
        await routes.resolve(address, store)
    assert asked == [*tagged, tagged[0]]
