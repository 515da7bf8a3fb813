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
    tell_of_domain,
)
from posthouse.mail.address import Address
from posthouse.mail.size import counted
from posthouse.store import accounts, directory_users, groups, renaming, waiting
from posthouse.store.accounts import Senders
from posthouse.store.store import SyncStore
from posthouse.store.waiting import Choice

AGAIN = "Open sessions have to log in again."
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
    known = store.read(accounts.find, before)
    elsewhere = known is not None and store.read(directory_users.of_directory, known.account)
    store.run(renaming.rename_user, before, after, keep=keep)
    if elsewhere:
        _tell_of_directory(before, after, keep=keep)
    else:
        print(f"{before} is {after} now; password, mail and rights are as they were. {AGAIN}")
        if keep:
            print(
                f"Mail for {before} still arrives, and the old name still logs in; `posthouse alias remove` ends both."
            )
        else:
            print(f"Mail for {before} does not arrive any more, and the old name does not log in.")
    waits = 0 if keep else store.read(waiting.number, Choice(recipient=str(before)))
    if waits:
        print(
            f"Beware: {_wait(waits)} in the queue for {before}, and will go back to the senders."
            f" To let such mail arrive: posthouse alias add {before} {after}"
        )


def _tell_of_directory(before: Address, after: Address, *, keep: bool) -> None:
    """A user whose password is elsewhere has the new name only once it is known there, too."""
    print(f"{before} is {after} now; mail and rights are as they were. {AGAIN}")
    print(
        f"The directory has the password: until it knows {after}, neither name logs in, and mail for {after} is"
        " refused."
    )
    if keep:
        print(
            f"Mail for {before} still arrives, and the old name will log in as the new one does;"
            " `posthouse alias remove` ends both."
        )
    else:
        print(
            f"Mail for {before} does not come here any more; as long as the directory knows {before}, the next mail or"
            " login makes a new mailbox of that name."
        )


def _wait(number: int) -> str:
    return f"{counted(number, 'message')} {'waits' if number == 1 else 'wait'}"


def rename_domain(store: SyncStore, old: str, new: str, *, keep: bool) -> None:
    """posthouse domain rename."""
    before, after = domain_of(old), new_domain_of(new)
    require_domain(store, before, SEE_LIST)
    elsewhere = store.read(directory_users.number_in, before)
    users = store.run(renaming.rename_domain, before, after, keep=keep)
    print(f"{before} is {after} now, with {counted(users, 'user')} and all aliases and groups. {AGAIN}")
    tell_of_domain(after)
    if keep:
        print(f"Mail for {before} still arrives, and its names still log in; `posthouse domain remove` ends both.")
    else:
        print(f"Mail for {before} does not arrive any more, and its names do not log in.")
    if elsewhere:
        print(
            f"The directory has the passwords of {elsewhere} of them: until it knows their addresses in {after}, they"
            " cannot log in, and mail for those is refused."
        )
    waits = 0 if keep else store.read(waiting.number, Choice(domain=before.name))
    if waits:
        print(
            f"Beware: {_wait(waits)} in the queue for {before}, and will go where the DNS says."
            f" To let such mail arrive here: posthouse domain alias {before} {after}"
        )


def name_domain(store: SyncStore, other: str, name: str) -> None:
    """posthouse domain alias."""
    another, domain = new_domain_of(other), domain_of(name)
    require_domain(store, domain, SEE_LIST)
    store.run(renaming.name_domain, another, domain)
    print(f"{another} is another name of {domain}: mail for x@{another} goes to x@{domain}, and both log in.")
    tell_of_domain(another)
