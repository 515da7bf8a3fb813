"""serve/factor.py: each code opens once, over all workers (RFC 6238 §5.2)."""

from pathlib import Path

from household import ANNA, open_store
from posthouse.mail.ids import AccountId, Millis
from posthouse.serve.factor import confirm, new_recovery_codes, recovery_digest
from posthouse.store import accounts, totp
from posthouse.store.store import Store
from posthouse.trust.totp import hotp

SECRET = b"12345678901234567890"
NOW = Millis(3_000_000)  # step 100


async def furnished(store: Store, codes: tuple[str, ...] = ()) -> AccountId:
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    await store.run(totp.enable, ANNA, SECRET, [recovery_digest(code) for code in codes], NOW)
    return login.account


async def test_a_code_opens_once_over_all_workers(tmp_path: Path) -> None:
    first = await open_store(tmp_path)
    second = await Store.open(tmp_path)  # another worker
    anna, code = await furnished(first), hotp(SECRET, 100)
    assert not await confirm(first, anna, "000000", NOW)
    assert [await confirm(store, anna, code, NOW) for store in (first, second, first)] == [True, False, False]
    assert not await confirm(second, anna, hotp(SECRET, 99), NOW)  # older than one that was used
    assert await confirm(second, anna, hotp(SECRET, 101), NOW)
    await first.close()
    await second.close()


async def test_of_two_who_are_read_at_once_one_spends(store: Store) -> None:
    anna = await furnished(store)
    assert [await store.run(totp.spend, anna, 100) for _ in range(2)] == [True, False]


async def test_recovery_codes_are_good_once_however_they_are_typed(store: Store) -> None:
    codes = new_recovery_codes()
    anna = await furnished(store, codes)
    assert len(set(codes)) == 8
    typed = codes[0].upper().replace("-", " ")
    assert [await confirm(store, anna, typed, NOW) for _ in range(2)] == [True, False]
    factor = await store.read(totp.find, anna)
    assert factor is not None
    assert factor.recovery == 7


async def test_a_new_secret_ends_the_old_one_and_none_asks_for_nothing(store: Store) -> None:
    codes = new_recovery_codes()
    anna = await furnished(store, codes)
    await store.run(totp.enable, ANNA, b"x" * 20, [], NOW)
    assert not await confirm(store, anna, hotp(SECRET, 100), NOW)
    assert not await confirm(store, anna, codes[0], NOW)
    assert await store.run(totp.disable, ANNA)
    assert await confirm(store, anna, "", NOW)
    assert not await store.run(totp.disable, ANNA)
