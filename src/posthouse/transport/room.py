"""Room in the mailboxes of people here: what is said to RCPT when there is none, and what becomes of mail that was
promised and finds none (decision 0097).

A message is promised at RCPT by a look that may be a second old; the transaction that keeps it looks again, and lets
it into the overdraft. Whoever has no room even there gets it from the queue, which tries again and tells the sender,
as it does for other servers. By LMTP each recipient is answered after the dot instead (RFC 2033 §4.2).
"""

from collections.abc import Sequence
from dataclasses import replace

from posthouse.mail.address import Address
from posthouse.mail.ids import AccountId
from posthouse.mail.status import Reply, reply
from posthouse.store.accounts import address_of
from posthouse.store.quota import Usage, quotas_of
from posthouse.transport.house import House
from posthouse.transport.route import ROOMS, Leads, Rooms

NEARLY_FULL = 90  # percent of a limit from which on each RCPT looks anew
TRIES = 3  # others may fill mailboxes between two looks at them; then the peer is told to come back

FULL_NOW = reply(452, "4.2.2", "The mailbox is full; try again later")
FULL_FOR_GOOD = reply(552, "5.2.2", "The mailbox is full; reach its owner by another way")


def refusal(house: House) -> Reply:
    """What is said of a full mailbox."""
    return FULL_FOR_GOOD if house.quota.permanent else FULL_NOW


async def refused(address: Address, leads: Leads, size: int, house: House) -> Reply | None:
    """The refusal of RCPT where nobody to whom the address leads has room for a message of this size, 0 where it is
    not known (RFC 1870 §6.1). Raises Unavailable."""
    if (
        leads.forwards
        or not leads.accounts
        or _sure(leads, house.routes.rooms(address, house.store, house.quota.rules), size)
    ):
        return None
    rooms = await house.store.read(quotas_of, leads.accounts)  # nobody is refused by an old look
    return refusal(house) if _all_full(leads, rooms, size, house) else None


def _sure(leads: Leads, rooms: Rooms, size: int) -> bool:
    """Whether somebody has room by a look that may be a second old. Where little is left it says nothing: much mail
    comes in a second. Many behind one address are not looked at, and the transaction will say."""
    known = [rooms[account] for account in leads.accounts if account in rooms]
    return len(leads.accounts) > ROOMS or any(
        found.percent < NEARLY_FULL and found.fits(Usage(size, 1), found.limits) for found in known
    )


def _all_full(leads: Leads, rooms: Rooms, size: int, house: House) -> bool:
    rules = house.quota.rules
    for account in leads.accounts:
        found = rooms.get(account)
        if found is None:  # removed meanwhile: the transaction will say
            return False
        found = found.under(rules)
        if not found.full and found.fits(Usage(size, 1), rules.beyond(found.limits)):
            return False
    return True


async def crowded(leads: Sequence[Leads], size: int, house: House) -> frozenset[AccountId]:
    """Those of the accounts who have no room for a message of this size, not even in the overdraft. Raises
    Unavailable."""
    rules = house.quota.rules
    accounts = sorted({account for way in leads for account in way.accounts})
    rooms = await house.store.read(quotas_of, accounts) if accounts else {}
    settled = {account: found.under(rules) for account, found in rooms.items()}
    return frozenset(
        account for account, found in settled.items() if not found.fits(Usage(size, 1), rules.beyond(found.limits))
    )


async def postponed(leads: Sequence[Leads], full: frozenset[AccountId], house: House) -> tuple[Leads, ...]:
    """The same ways, but that those who have no room are reached by the queue. Raises Unavailable."""
    found = []
    for way in leads:
        crowded = full.intersection(way.accounts)
        if not crowded:
            found.append(way)
        elif is_direct(way):
            found.append(Leads(leaves=True))
        else:
            found.append(await _of_alias(way, crowded, house))  # few: the store is asked for the full ones alone
    return tuple(found)


def is_direct(way: Leads) -> bool:
    """Whether it is one account and nothing else."""
    return len(way.accounts) == 1 and not way.forwards


def is_hopeless(way: Leads, full: frozenset[AccountId], house: House) -> bool:
    """Whether the recipient must be refused: nobody it leads to has room, or somebody, and no queue runs that could
    bring it to them later."""
    if not house.leave:
        return not full.isdisjoint(way.accounts)
    return not way.forwards and bool(way.accounts) and full.issuperset(way.accounts)


async def _of_alias(way: Leads, crowded: frozenset[AccountId], house: House) -> Leads:
    names = [await house.store.read(address_of, account) for account in sorted(crowded)]
    left = tuple(account for account in way.accounts if account not in crowded)
    return replace(way, accounts=left, waits=tuple(name for name in names if name is not None))
