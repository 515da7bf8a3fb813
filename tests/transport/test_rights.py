"""transport/rights.py: as whom a user may send, and what is remembered of it."""

from collections.abc import Callable

import pytest

from fakes import Seconds
from household import ANNA, BEN, HELLO, INFO
from posthouse.mail.address import Address
from posthouse.mail.ids import AccountId
from posthouse.store import accounts, aliases
from posthouse.store.store import Store, open_sync
from posthouse.transport.rights import Rights
from posthouse.transport.route import KEPT_SECONDS


@pytest.fixture
def asked(store: Store, asked_by: Callable[[str], list[Address]]) -> list[Address]:
    """The addresses the store was really asked for."""
    return asked_by("may_send_as")


async def anna(store: Store) -> AccountId:
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    return login.account


async def test_an_answer_is_kept_while_nobody_changes_who_is_who(
    store: Store, clock: Seconds, asked: list[Address]
) -> None:
    rights, account = Rights(clock), await anna(store)
    for _ in range(2):
        assert await rights.strangers(account, frozenset({BEN, INFO}), store) == {BEN}
        clock.now += KEPT_SECONDS - 1
    assert sorted(map(str, asked)) == sorted(map(str, (BEN, INFO)))
    assert await rights.strangers(account, frozenset({INFO}), store) == set()
    assert len(asked) == 3  # its life was over


async def test_what_is_taken_or_given_counts_at_once(store: Store, clock: Seconds) -> None:
    rights, account = Rights(clock), await anna(store)
    for _ in range(2):
        assert await rights.strangers(account, frozenset({HELLO}), store) == set()
        await store.run(aliases.remove_alias, HELLO)
        assert await rights.strangers(account, frozenset({HELLO}), store) == {HELLO}
        await store.run(aliases.add_alias, HELLO, [ANNA])


async def test_what_another_process_has_changed_counts_at_once(store: Store, clock: Seconds) -> None:
    rights, account = Rights(clock), await anna(store)
    assert await rights.strangers(account, frozenset({HELLO}), store) == set()
    with open_sync(store.directory) as other:
        other.run(aliases.remove_alias, HELLO)
    assert await rights.strangers(account, frozenset({HELLO}), store) == {HELLO}


async def test_one_users_right_is_no_other_users(store: Store, clock: Seconds) -> None:
    rights, account = Rights(clock), await anna(store)
    ben = await store.read(accounts.find_login, BEN)
    assert ben is not None
    assert await rights.strangers(account, frozenset({HELLO}), store) == set()
    assert await rights.strangers(ben.account, frozenset({HELLO}), store) == {HELLO}


async def test_what_is_remembered_is_bounded(
    store: Store, clock: Seconds, asked: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthouse.transport.rights.RIGHTS", 2)
    rights, account = Rights(clock), await anna(store)
    tagged = [Address(f"anna+{number}", ANNA.domain) for number in range(3)]
    for address in [*tagged, tagged[2], tagged[0]]:
        assert await rights.strangers(account, frozenset({address}), store) == set()
    assert asked == [*tagged, tagged[0]]
