"""Where a recipient's mail goes: accounts here, and addresses on other servers (RFC 5321 §3.6, §3.9)."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec

from posthouse.mail.address import Address, Domain
from posthouse.mail.ids import AccountId
from posthouse.store import accounts
from posthouse.store.accounts import Resolution, User
from posthouse.store.quota import Quota, Rules, quotas_of
from posthouse.store.script import Script
from posthouse.store.store import Store
from posthouse.transport.recent import Kept

KEPT_SECONDS = 30.0  # where nobody changes who is who: what a server of an older version changed is seen after so long
ROOM_SECONDS = 1.0  # how much a mailbox holds is looked at again after so long, where there is a limit
ROUTES = 10_000  # addresses kept: about 4 MiB
ROOMS = 20  # accounts of one address whose quota is looked at before the message comes; of more the transaction says so

Rooms = dict[AccountId, Quota]  # as their rows have it
_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True)
class Leads:
    """Where one recipient leads: to accounts, out of the house by itself, or out of it by aliases; `waits`: by an alias
    or a group to people here who have no room now."""

    accounts: tuple[AccountId, ...] = ()
    leaves: bool = False
    forwards: tuple[Address, ...] = ()
    waits: tuple[Address, ...] = ()

    @property
    def onward(self) -> tuple[Address, ...]:
        """Those behind an alias or a group whom the queue reaches."""
        return (*self.forwards, *self.waits)


def _with_rooms(
    verb: Callable[_P, Script[Resolution]], *args: _P.args, **kwargs: _P.kwargs
) -> Script[tuple[Resolution, Rooms]]:
    """Where an address leads, and the quotas of those who are few and here: one question for both."""
    found = yield from verb(*args, **kwargs)
    if not isinstance(found, tuple) or len(found) > ROOMS:
        return found, {}
    return found, (yield from quotas_of([user.account for user in found]))


class _Route(NamedTuple):
    """Whom an address led to, what room they had, and when."""

    users: tuple[User, ...]
    rooms: Rooms
    at: float


class Routes:
    """Where addresses lead, as long as nobody changes who is who. One per worker.

    Only success is kept: names that strangers make up must not push out those of people. `now` is a clock that never
    goes back, in seconds.
    """

    __slots__ = ("_domains", "_known", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._domains: Kept[Domain, bool] = Kept(ROUTES, KEPT_SECONDS)
        self._known: Kept[Address, _Route] = Kept(ROUTES, KEPT_SECONDS)

    async def resolve(self, address: Address, store: Store) -> Resolution:
        """Where mail for the address goes (RFC 5321 §3.6). Raises Unavailable."""
        return await self._looked_up(address, store, lambda: store.read(_with_rooms, accounts.resolve, address))

    def rooms(self, address: Address, store: Store, rules: Rules) -> Rooms:
        """The quotas of those to whom it leads, as they apply, as far as they are known: of those with a limit as of a
        moment ago."""
        now = self._now()
        route = self._known.get(address, store.edition, now)
        if route is None:
            return {}
        rooms = {account: found.under(rules) for account, found in route.rooms.items()}
        fresh = now - route.at < ROOM_SECONDS
        return {account: found for account, found in rooms.items() if fresh or found.endless}

    async def is_local(self, domain: Domain, store: Store) -> bool:
        """Whether mail for the domain is for people here. Raises Unavailable."""
        edition, now = store.edition, self._now()
        known = self._domains.get(domain, edition, now)
        if known is None:
            known = await store.read(accounts.is_local, domain)
            self._domains.put(domain, known, edition, now)
        return known

    async def postmaster(self, host: Domain, store: Store) -> Resolution:
        """Where mail for `<Postmaster>` alone goes, on a server of this name (RFC 5321 §4.5.1). Raises Unavailable."""
        alone = Address("postmaster", Domain(""))
        return await self._looked_up(alone, store, lambda: store.read(_with_rooms, accounts.resolve_postmaster, host))

    async def _looked_up(
        self, address: Address, store: Store, look: Callable[[], Awaitable[tuple[Resolution, Rooms]]]
    ) -> Resolution:
        edition, now = store.edition, self._now()
        known = self._known.get(address, edition, now)
        if known is not None:
            return known.users
        found, rooms = await look()
        if isinstance(found, tuple):
            self._known.put(address, _Route(found, rooms, now), edition, now)
        return found
