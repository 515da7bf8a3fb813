"""Rights: which addresses a user may send as, as of a moment ago (RFC 6409 §6.1).

Whoever sends sends again, as the same one, and names the same authors. An address that was taken from a user may be
used for REMEMBERED_SECONDS more, as a login that was changed (VOUCH_SECONDS) and an address that was removed are.
"""

import time
from collections.abc import Callable

from posthouse.mail.address import Address
from posthouse.mail.ids import AccountId
from posthouse.store import accounts
from posthouse.store.script import Script
from posthouse.store.store import Store
from posthouse.transport.recent import Recent
from posthouse.transport.route import REMEMBERED_SECONDS

RIGHTS = 10_000  # pairs of user and address remembered: about 4 MiB


class Rights:
    """The answers. One per worker. `now` is a clock that never goes back, in seconds."""

    __slots__ = ("_known", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: Recent[tuple[AccountId, Address], bool] = Recent(RIGHTS, REMEMBERED_SECONDS)

    async def strangers(
        self, account: AccountId, addresses: frozenset[Address], store: Store, *, refused: bool
    ) -> set[Address]:
        """Those of the addresses that are not the user's. Where something is `refused` for it, that is not remembered:
        who is given an address may use it at once. Raises Unavailable."""
        now = self._now()
        known = {address: self._known.get((account, address), now) for address in addresses}
        unknown = frozenset(address for address, mine in known.items() if mine is None)
        if unknown:
            owned = await store.read(_owned, account, unknown)
            known.update((address, address in owned) for address in unknown)
            for address in owned if refused else unknown:
                self._known.put((account, address), address in owned, now)
        return {address for address, mine in known.items() if not mine}


def _owned(account: AccountId, addresses: frozenset[Address]) -> Script[set[Address]]:
    """Those of the addresses that the account may send as."""
    mine: set[Address] = set()
    for address in addresses:  # in the thread of the database
        if (yield from accounts.may_send_as(account, address)):
            mine.add(address)
    return mine
