"""Rights: which addresses a user may send as (RFC 6409 §6.1).

Whoever sends sends again, as the same one, and names the same authors: the answer is kept while nobody has changed who
is who.
"""

import time
from collections.abc import Callable

from posthouse.mail.address import Address
from posthouse.mail.ids import AccountId
from posthouse.store import accounts
from posthouse.store.script import Script
from posthouse.store.store import Store
from posthouse.transport.recent import Kept
from posthouse.transport.route import KEPT_SECONDS

RIGHTS = 10_000  # pairs of user and address remembered: about 4 MiB


class Rights:
    """The answers. One per worker. `now` is a clock that never goes back, in seconds."""

    __slots__ = ("_known", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: Kept[tuple[AccountId, Address], bool] = Kept(RIGHTS, KEPT_SECONDS)

    async def strangers(self, account: AccountId, addresses: frozenset[Address], store: Store) -> set[Address]:
        """Those of the addresses that are not the user's. Raises Unavailable."""
        edition, now = store.edition, self._now()
        known = {address: self._known.get((account, address), edition, now) for address in addresses}
        unknown = frozenset(address for address, mine in known.items() if mine is None)
        if unknown:
            owned = await store.read(_owned, account, unknown)
            for address in unknown:
                known[address] = address in owned
                self._known.put((account, address), address in owned, edition, now)
        return {address for address, mine in known.items() if not mine}


def _owned(account: AccountId, addresses: frozenset[Address]) -> Script[set[Address]]:
    """Those of the addresses that the account may send as."""
    mine: set[Address] = set()
    for address in addresses:  # in the thread of the database
        if (yield from accounts.may_send_as(account, address)):
            mine.add(address)
    return mine
