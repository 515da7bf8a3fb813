"""The second factor of a user: a shared secret, the last time step that was used, and codes for who lost it (RFC 6238).

What a code is stands in trust/totp.py. Here it is used up, in one transaction, so that of two workers that are shown
the same code one says no (RFC 6238 §5.2).
"""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.address import Address
from posthouse.mail.ids import AccountId, Millis
from posthouse.store import logins
from posthouse.store.devices import require_user
from posthouse.store.script import Script, sql


class Factor(NamedTuple):
    """A second factor. `recovery`: codes that are left."""

    secret: bytes
    made: Millis
    step: int
    recovery: int


def enable(address: Address, secret: bytes, recovery: Sequence[bytes], now: Millis) -> Script[None]:
    """A new secret and the digests of new codes, instead of those that were there. Raises NotFound."""
    account, _ = yield from require_user(address)
    yield from _forget(account)
    yield sql("INSERT INTO totp VALUES ($1, $2, $3, -1)", account, secret, now)
    for digest in recovery:
        yield sql("INSERT INTO recovery VALUES ($1, $2)", account, digest)
    yield from logins.sign_in_changed(account)  # perhaps mail programs need a device password now


def disable(address: Address) -> Script[bool]:
    """Whether there was one. Raises NotFound."""
    account, _ = yield from require_user(address)
    rows = yield sql("SELECT 1 FROM totp WHERE account = $1", account)
    yield from _forget(account)
    return bool(rows)


def _forget(account: AccountId) -> Script[None]:
    yield sql("DELETE FROM totp WHERE account = $1", account)
    yield sql("DELETE FROM recovery WHERE account = $1", account)


def find(account: AccountId) -> Script[Factor | None]:
    """The second factor of a user; None where there is none."""
    rows = yield sql(
        "SELECT secret, made, step, (SELECT count(*) FROM recovery r WHERE r.account = t.account) FROM totp t"
        " WHERE account = $1",
        account,
    )
    return Factor(*rows[0]) if rows else None


def spend(account: AccountId, step: int) -> Script[bool]:
    """Use up a time step and all before it; False where that was done already."""
    rows = yield sql("UPDATE totp SET step = $2 WHERE account = $1 AND step < $2 RETURNING step", account, step)
    return bool(rows)


def spend_recovery(account: AccountId, digest: bytes) -> Script[bool]:
    """Use up one of the codes for who lost the device; False where it is none, or was used."""
    rows = yield sql("DELETE FROM recovery WHERE account = $1 AND digest = $2 RETURNING account", account, digest)
    return bool(rows)
