"""Groups, users and domains of other names, from the command line, also while the server runs."""

from collections.abc import Sequence

from posthouse.admin import (
    ADD_IT,
    SEE_LIST,
    Refused,
    address_of,
    domain_of,
    new_address_of,
    new_domain_of,
    require_domain,
    show,
)
from posthouse.mail.address import Address
from posthouse.mail.size import counted
from posthouse.store import accounts, groups, renaming
from posthouse.store.accounts import Senders
from posthouse.store.store import SyncStore

_WHO = {
    Senders.ANYONE: "everybody may write to it",
    Senders.USERS: "users of this server may write to it, once they are logged in",
    Senders.MEMBERS: "its members may write to it, once they are logged in",
}


def _members(names: Sequence[str], *, everyone: bool) -> list[Address]:
    if everyone and names:
        raise Refused("--everyone are all users of the domain; say no others beside it")
    if not everyone and not names:
        raise Refused("say at least one member, or --everyone")
    return [address_of(name) for name in names]


def add_group(store: SyncStore, name: str, members: Sequence[str], senders: Senders, *, everyone: bool) -> None:
    """posthouse group add."""
    address = new_address_of(name)
    require_domain(store, address.domain, ADD_IT)
    store.run(groups.add_group, address, _members(members, everyone=everyone), senders)
    print(f"Mail for {address} goes to {_who(address, members)}; {_WHO[senders]}.")


def set_group(store: SyncStore, name: str, members: Sequence[str], senders: Senders | None, *, everyone: bool) -> None:
    """posthouse group set."""
    address = address_of(name)
    if not (members or everyone or senders):
        raise Refused("say members, --everyone, or --from; nothing was changed")
    wanted = _members(members, everyone=everyone) if members or everyone else None
    store.run(groups.set_group, address, wanted, senders)
    [row] = [
        row for row in store.read(groups.list_groups) if accounts.canonical(row.address) == accounts.canonical(address)
    ]
    print(f"Mail for {address} now goes to {_who(address, row.members)}; {_WHO[row.senders]}.")
    if row.senders is not Senders.ANYONE:
        for alias in store.read(groups.openers, address):
            print(f"Beware: everybody in the world still reaches it by the alias {alias}.")


def _who(address: Address, members: Sequence[str]) -> str:
    return ", ".join(members) or f"all users of {address.domain}"


def change_group(store: SyncStore, name: str, more: Sequence[str], less: Sequence[str]) -> None:
    """posthouse group join, posthouse group leave."""
    address = address_of(name)
    if more:
        store.run(groups.add_members, address, [address_of(one) for one in more])
    if less:
        store.run(groups.remove_members, address, [address_of(one) for one in less])
    named = ", ".join(more or less)
    print(f"{named} gets mail for {address} now." if more else f"{named} gets no mail for {address} any more.")


def list_groups(store: SyncStore, *, as_json: bool) -> None:
    """posthouse group list."""
    found = store.read(groups.list_groups)
    rows: list[tuple[object, ...]]
    if as_json:
        rows = [(str(row.address), row.senders.value, row.everyone, list(row.members)) for row in found]
        show(("group", "from", "everyone", "members"), rows, as_json=True)
        return
    rows = [(str(row.address), row.senders.value, _who(row.address, row.members)) for row in found]
    show(("group", "from", "members"), rows, as_json=False)


def remove_group(store: SyncStore, name: str) -> None:
    """posthouse group remove."""
    address = address_of(name)
    store.run(groups.remove_group, address)
    print(f"Removed the group {address}.")


def rename_user(store: SyncStore, old: str, new: str, *, keep: bool) -> None:
    """posthouse user rename."""
    before, after = address_of(old), new_address_of(new)
    require_domain(store, after.domain, ADD_IT)
    if before == after:
        raise Refused(f"{before} is its name already")
    store.run(renaming.rename_user, before, after, keep=keep)
    print(f"{before} is {after} now; password, mail and rights are as they were. Open sessions have to log in again.")
    if keep:
        print(f"Mail for {before} still arrives, and the old name still logs in; `posthouse alias remove` ends both.")
    else:
        print(f"Mail for {before} does not arrive any more, and the old name does not log in.")


def rename_domain(store: SyncStore, old: str, new: str, *, keep: bool) -> None:
    """posthouse domain rename."""
    before, after = domain_of(old), new_domain_of(new)
    require_domain(store, before, SEE_LIST)
    users = store.run(renaming.rename_domain, before, after, keep=keep)
    print(
        f"{before} is {after} now, with {counted(users, 'user')} and all aliases and groups."
        " Open sessions have to log in again."
    )
    if keep:
        print(f"Mail for {before} still arrives, and its names still log in; `posthouse domain remove` ends both.")
    else:
        print(f"Mail for {before} does not arrive any more, and its names do not log in.")


def name_domain(store: SyncStore, other: str, name: str) -> None:
    """posthouse domain alias."""
    another, domain = new_domain_of(other), domain_of(name)
    require_domain(store, domain, SEE_LIST)
    store.run(renaming.name_domain, another, domain)
    print(f"{another} is another name of {domain}: mail for x@{another} goes to x@{domain}, and both log in.")
