"""Where mail for an address goes, whoever asks: accounts here, other servers, or nobody (RFC 5321 §3.6, §4.5.1)."""

from posthouse.mail.address import Address, Domain, parse_domain
from posthouse.mail.ids import AccountId
from posthouse.mail.srs import is_rewritten
from posthouse.store.accounts import Closed, Elsewhere, NoSuchDomain, NoSuchUser, Overfull, Resolution, User
from posthouse.transport.forwarding import leads_back
from posthouse.transport.house import House
from posthouse.transport.route import Leads


async def leads_of(address: Address, house: House) -> Leads:
    """Where mail in the queue leads, as far as it may leave; to nothing where nobody has the address. Raises
    Unavailable."""
    return _allowed(await resolve(address, house), house)


async def sender_leads(address: Address, house: House) -> Leads:
    """The same of what the house itself tells a sender. Nobody sends as a group: who names one that not everybody may
    write to has forged the sender, and would write to it by what we tell. Raises Unavailable."""
    found = await resolve(address, house)
    return Leads() if isinstance(found, Closed) else _allowed(found, house)


def _allowed(found: Resolution, house: House) -> Leads:
    leads = leads_to(found)
    return leads if house.leave else Leads(leads.accounts)


def leads_to(found: Resolution) -> Leads:
    """What a Resolution means for delivery."""
    if isinstance(found, NoSuchUser | Overfull):
        return Leads()
    if isinstance(found, NoSuchDomain):
        return Leads(leaves=True)
    if isinstance(found, Elsewhere):
        return Leads(_accounts(found.users), forwards=found.addresses)
    if isinstance(found, Closed):
        return Leads(_accounts(found.users))
    return Leads(_accounts(found))


def _accounts(users: tuple[User, ...]) -> tuple[AccountId, ...]:
    return tuple(user.account for user in users)


async def elsewhere(address: Address, house: House) -> bool:
    """Whether the domain of the address is nobody's here; mail is looked at once more when it leaves (home.py). Raises
    Unavailable."""
    domain = address.domain
    ours = not domain.name or domain == (parse_domain(house.hostname) or Domain(house.hostname))
    return not ours and not await house.routes.is_local(domain, house.store)


async def resolve(address: Address, house: House) -> Resolution:
    """Where mail for the address goes. `<Postmaster>` alone, and at our hostname, is whoever looks after this server,
    also where the hostname is no local domain (RFC 5321 §4.1.1.3, §4.5.1)."""
    host = parse_domain(house.hostname) or Domain(house.hostname)
    if not address.domain.name:
        return await house.routes.postmaster(host, house.store)
    if is_rewritten(address) and await house.routes.is_local(address.domain, house.store):
        back = leads_back(address, house)
        return NoSuchUser(address) if back is None else Elsewhere((back,), ())
    if house.directory is None:
        found = await house.routes.resolve(address, house.store)
    else:
        found = await house.directory.resolve(address, lambda: house.routes.resolve(address, house.store))
    if isinstance(found, NoSuchDomain) and address.domain == host and address.local.lower() == "postmaster":
        return await house.routes.postmaster(host, house.store)
    return found
