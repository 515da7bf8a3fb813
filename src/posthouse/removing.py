"""Users who are removed, from the command line, and brought back as long as they are kept (decision 0139)."""

import re
from collections.abc import Sequence

from posthouse.admin import ADD_IT, Refused, address_of, confirmed, new_address_of, nobody, require_domain, show
from posthouse.mail.address import Address
from posthouse.mail.ids import AccountId, Millis
from posthouse.mail.size import counted, in_words
from posthouse.store import accounts, quota, removed, removed_users, waiting
from posthouse.store.accounts import User, canonical
from posthouse.store.expiry import DAY
from posthouse.store.gc import purge_all
from posthouse.store.moment import format_minute, wall_clock
from posthouse.store.removed_users import RemovedUser
from posthouse.store.store import SyncStore

LETTER = "R"  # before the number of a removed user
_NUMBER = re.compile(rf"{LETTER}(\d{{1,18}})\Z", re.IGNORECASE)
_DAY = len("2026-11-26")


def remove_user(store: SyncStore, name: str, days: int | None, *, sure: bool) -> None:
    """posthouse user remove. `days`: for so many the user can be brought back, None: as the settings say, which were
    not read; 0: never."""
    if _NUMBER.match(name):
        _forget(store, _meant(store, name), name, sure=sure, now=days == 0)
        return
    address = address_of(name)
    user = store.read(accounts.find, address)
    earlier = [one for one in store.read(removed_users.list_removed) if canonical(one.address) == canonical(address)]
    if user is None and earlier and days == 0:
        _forget(store, earlier, name, sure=sure, now=True)
        return
    if user is None:
        raise nobody(store, address)
    leading = store.read(removed_users.hindered, user)
    if leading:  # before anybody is asked; the store looks again
        raise Refused(f"{leading} leads to {user.address}; change or remove it first")
    held, leaving = _held(store, user.account), store.read(waiting.number, waiting.Choice(sender=str(user.address)))
    if not sure:
        _tell_of_leaving(user.address, leaving)
        _ask(f"Remove {user.address}, with {held}?", days)
    if days == 0:
        _remove_now(store, user, earlier)
        print(f"Removed the user {user.address}, with {held}.")
    else:
        store.run(removed_users.set_aside, user.address, wall_clock())
        _tell_of_return(user.address, held, days)
    if sure:
        _tell_of_leaving(user.address, leaving)


def _ask(question: str, days: int | None) -> None:
    """Raises Refused where the answer is no."""
    if days == 0:
        more = "None of it can be brought back."
    else:
        more = f"It can be brought back for {'some time' if days is None else counted(days, 'day')}."
    if not confirmed(f"{question} {more}"):
        raise Refused("nothing was removed")


def _remove_now(store: SyncStore, user: User, earlier: Sequence[RemovedUser]) -> None:
    store.run(removed_users.remove, user.address)
    for one in earlier:
        store.run(removed_users.end, one.account)
    purge_all(store)


def _tell_of_return(address: Address, held: str, days: int | None) -> None:
    until = "as long as retention.removed_days says" if days is None else f"until {_until(wall_clock(), days)}"
    print(f"Removed the user {address}: nobody signs in, and mail for it is refused.")
    print(f"Kept {until}, and on the disk: {held}.")
    print(f"To bring it back: posthouse user restore {address}")
    print(f"To remove it for ever, at once: posthouse user remove {address} --now")


def _until(at: Millis, days: int) -> str:
    """A day of which nothing is gone before."""
    return format_minute(Millis(at + days * DAY))[:_DAY]


def _forget(store: SyncStore, some: Sequence[RemovedUser], name: str, *, sure: bool, now: bool) -> None:
    """Those who were removed before, for ever."""
    if not now:
        raise Refused(f"{name} is removed already; for ever, at once, is: posthouse user remove {name} --now")
    messages, octets = sum(one.messages for one in some), sum(one.octets for one in some)
    held = f"{counted(messages, 'message')} ({in_words(octets)})"
    if not sure:
        _ask(f"Remove what is kept of {some[0].address}, {held}, for ever?", 0)
    for one in some:
        store.run(removed_users.end, one.account)
    purge_all(store)
    print(f"Removed what was kept of {some[0].address}, {held}, for ever.")


def _meant(store: SyncStore, name: str) -> list[RemovedUser]:
    """The removed users that are meant: one by its number, all of an address. Raises Refused where there are none."""
    number = _NUMBER.match(name)
    wanted = "" if number else canonical(address_of(name))
    found = [
        one
        for one in store.read(removed_users.list_removed)
        if (one.account == int(number[1]) if number else canonical(one.address) == wanted)
    ]
    if not found:
        raise Refused(f"there is no removed user {name}; `posthouse user list --removed` shows them")
    return found


def restore_user(store: SyncStore, name: str, under: str | None) -> None:
    """posthouse user restore."""
    some = _meant(store, name)
    if len(some) > 1:
        which = ", ".join(f"{LETTER}{one.account} of {format_minute(one.at)} ({_what(one)})" for one in some)
        raise Refused(f"several users of the name {name} were removed; say one of {which}")
    [one] = some
    address = one.address if under is None else new_address_of(under)
    here = store.read(accounts.at_home, address) or address  # its domain may have another name by now
    require_domain(store, here.domain, ADD_IT)
    if store.read(accounts.find, here) is not None:
        raise Refused(f"there is a user {here} again; bring this one back under another name: --as NAME@{here.domain}")
    former = store.run(removed_users.bring_back, one.account, here)
    print(f"{here} is a user again, with {_what(one)}; mail, UIDs, rights and settings are as they were.")
    if one.directory:
        print("The directory has the password; device passwords are as they were.")
    else:
        print("Passwords are as they were, device passwords too.")
    for known in former:
        print(f"Mail for {known}, a former name, arrives and the name logs in as before.")
    if store.read(accounts.known_as, one.address) is None:
        print(f"Mail for {one.address} does not come here; `posthouse alias add {one.address} {here}` leads it here.")


def _what(one: RemovedUser) -> str:
    return f"{counted(one.messages, 'message')}, {in_words(one.octets)}"


def list_removed(store: SyncStore, days: int | None, *, as_json: bool) -> None:
    """posthouse user list --removed."""
    rows: list[tuple[object, ...]] = []
    for one in store.read(removed_users.list_removed):
        until = None if days is None else _until(one.at, days)
        at: object = one.at if as_json else format_minute(one.at)
        rows.append((f"{LETTER}{one.account}", str(one.address), at, until, one.messages, one.octets))
    show(("number", "user", "removed", "kept_until", "messages", "octets"), rows, as_json=as_json)


def _tell_of_leaving(address: Address, count: int) -> None:
    """Mail that the user has sent, and that has not left yet."""
    if count:
        waits, stops = ("waits", "stops it") if count == 1 else ("wait", "stops them")
        print(f"{counted(count, 'message')} from {address} {waits} in the queue and will still be sent;")
        print(f"`posthouse queue cancel --sender {address}` {stops}.")


def _held(store: SyncStore, account: AccountId) -> str:
    """What goes with a user, in words."""
    usage = store.read(quota.quotas_of, [account])[account].usage
    messages, octets = store.read(removed.kept_of, account)
    return (
        f"{counted(usage.messages, 'message')} ({in_words(usage.octets)}),"
        f" {counted(messages, 'recently deleted message')} ({in_words(octets)}), all passwords, rights and settings"
    )
