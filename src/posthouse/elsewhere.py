"""Users of a directory, from the command line: what it has of an address, and how who is gone from it, or
whose directory is no more, becomes a user of this server (decision 0113)."""

import contextlib

from posthouse import admin
from posthouse.admin import Refused, address_of, new_password, nobody
from posthouse.config_directory import DirectorySection, source_of
from posthouse.mail.address import Address
from posthouse.net.directory import NoAnswer, Person
from posthouse.store import accounts, devices, directory_users
from posthouse.store.accounts import User
from posthouse.store.store import SyncStore
from posthouse.transport.directory import addressee, admit, mailbox_of, names_of


def set_password(store: SyncStore, name: str, section: DirectorySection | None, *, from_stdin: bool) -> None:
    """posthouse user password. `section`: the directory of the settings; None where no settings were read."""
    address = address_of(name)
    found = store.read(accounts.find, address)
    if found is None:
        raise nobody(store, address)
    if not store.read(directory_users.of_directory, found.account):
        admin.set_password(store, address, from_stdin=from_stdin)
        return
    why = _why_gone(store, found, section)
    if not from_stdin:  # before the password is asked for, so that it can still be left
        print(f"{why}. A password makes {found.address} a user of this server.")
    entrance = store.read(devices.find_entrance, address)
    keys = None if entrance is None else entrance.salted
    salt = None if keys is None else keys.salt  # lest device passwords be unknown to SCRAM
    store.run(directory_users.make_local, address, new_password(address, from_stdin=from_stdin, salt=salt))
    print(f"{found.address} is a user of this server now, and logs in with this password.")
    print("Mail, flags and settings are as they were. The directory is not asked for this address any more.")


def _why_gone(store: SyncStore, user: User, section: DirectorySection | None) -> str:
    """Why nobody but this server can have the password now. Raises Refused while the directory knows the user, by the
    address or a former one, or cannot be asked."""
    if section is None:
        raise Refused(
            f"{user.address} is a user of the directory; say --config FILE, so that it is asked whether it still knows"
            f" {user.address}"
        )
    if not section.url:
        return "No directory is in the settings"
    for address in (user.address, *store.read(directory_users.former_names, user.account)):
        if _knows(section, address):
            raise Refused(_still_there(user.address, address))
    return f"The directory has no user {user.address} now, or none who may come in"


def _still_there(user: Address, known: Address) -> str:
    if known == user:
        return f"{user} is a user of the directory, and the password is changed there"
    return (
        f"the directory knows {user} by the former name {known}, and the password is changed there; if that is"
        f" somebody else by now, end the name here: posthouse alias remove {known}"
    )


def _knows(section: DirectorySection, address: Address) -> bool:
    """Ask the directory, as the server does. Raises Refused."""
    try:
        return _ask(section, address) is not None
    except NoAnswer as error:
        raise Refused(
            f"the directory cannot be asked whether it still knows {address}: {error}. Nothing was changed; if it is"
            " gone for good, take [directory] out of the settings"
        ) from error


def _ask(section: DirectorySection, address: Address) -> Person | None:
    """The user who has this address. Raises NoAnswer, also for what is wrong with the settings."""
    try:
        with contextlib.closing(source_of(section)) as source:
            return source.find(address)
    except ValueError as error:
        raise NoAnswer(str(error)) from error


# --- what it has of an address


def show(store: SyncStore, name: str, section: DirectorySection | None) -> None:
    """posthouse user directory."""
    address = address_of(name)
    if section is None or not section.url:
        raise Refused("no directory is in the settings; if others are meant, say --config FILE")
    asked = store.read(addressee, address)
    if asked is None:
        raise Refused(f"{address.domain} is not a domain of this server, and the directory is asked about no other")
    if asked != address:
        print(f"{address} is {asked} here.")
    known = store.read(accounts.find, asked)
    local = known is not None and not store.read(directory_users.of_directory, known.account)
    if local:
        print(f"{asked} is a user of this server, so what the directory has of it does not count.")
    elif known is None and store.read(accounts.targets_of, asked):
        print(f"{asked} is an alias or a group here: mail for it goes there, whatever the directory has.")
    try:
        person = _ask(section, asked)
    except NoAnswer as error:
        raise Refused(f"{error}. {'' if local else _MEANWHILE}".strip()) from error
    if person is None:
        print(f"The directory has no user {asked}, or none who may come in.")
    else:
        _tell(store, asked, person)


_MEANWHILE = (
    "Until this is mended, nobody logs in by this address; mail for it is kept where there is a mailbox here, and waits"
    " with its sender where there is none"
)


def _tell(store: SyncStore, asked: Address, person: Person) -> None:
    named = f", with the addresses {', '.join(person.own)}" if len(person.own) > 1 else ""
    print(f"The directory has one user of {asked}{named}.")
    if person.locked:
        print("It has locked the user: mail still comes, and nobody comes in.")
    mailbox = store.read(mailbox_of, names_of(asked, person.own))
    print("There is no mailbox here yet." if mailbox is None else f"The mailbox here is that of {mailbox.address}.")


# --- device passwords of its users


def user_of(store: SyncStore, address: Address, section: DirectorySection | None) -> User:
    """The user of this address; one whom only the directory knows gets a mailbox now. Raises Refused."""
    found = store.read(accounts.known_as, address)
    if found is not None:
        return found
    asked = store.read(addressee, address)
    if asked is None or section is None or not section.url:
        raise Refused(f"there is no user {address}")
    try:
        person = _ask(section, asked)
    except NoAnswer as error:
        raise Refused(f"there is no user {address} here, and the directory cannot be asked: {error}") from error
    if person is None:
        raise Refused(f"there is no user {address}, here or in the directory")
    made = store.run(admit, names_of(asked, person.own))
    if made is None:
        raise Refused(f"the user of {address} in the directory has no address that is free here")
    return made


def what_it_opens(address: Address, section: DirectorySection | None) -> str:
    """What somebody should know who has made a device password for a user of the directory."""
    if section is None:
        return f"It counts as long as the directory knows {address} and does not lock it."
    if not section.url:
        return f"Beware: no directory is in the settings. Until one that knows {address} is, it opens nothing."
    try:
        person = _ask(section, address)
    except NoAnswer as error:
        return f"Beware: the directory cannot be asked now, and while it cannot, nobody comes in by it: {error}"
    if person is None:
        return f"Beware: the directory has no user {address} now. Until it has, it opens nothing."
    if person.locked:
        return f"Beware: the directory has locked {address}. As long as it has, it opens nothing."
    return f"It counts as long as the directory knows {address} and does not lock it."
