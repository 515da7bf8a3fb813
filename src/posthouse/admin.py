"""Domains, users and aliases from the command line, also while the server runs."""

import contextlib
import difflib
import getpass
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from posthouse import start
from posthouse.mail.address import Address, Domain, parse_address, parse_domain
from posthouse.mail.spelling import (
    beware_of_domain,
    doubt,
    doubt_of_domain,
    doubt_of_new_domain,
    readable,
    skeleton,
    unicode_of,
    why_no_address,
    why_no_domain,
)
from posthouse.serve.passwords import make_credential
from posthouse.store import accounts, aliases, groups, removed_users
from posthouse.store.accounts import Credential, User, canonical
from posthouse.store.moment import format_minute
from posthouse.store.script import StoreError
from posthouse.store.sqlite import DATABASE
from posthouse.store.store import SyncStore, open_sync

SEE_LIST = "`posthouse domain list` shows them"
ADD_IT = "add it first: posthouse domain add {}"
GONE = "the directory has the password. Who is gone from it becomes a user of this server by"
PASSWORD_LINE = 4096  # octets read from standard input; a password has at most a quarter of it


class Refused(Exception):
    """The command cannot be done; the text says why and what would help."""


@contextlib.contextmanager
def opened(directory: Path, user: str, *, create: bool) -> Iterator[SyncStore]:
    """The store for one command, as the user the server runs as: files that root left in it would lock the server out.
    Only with `create` a new one is made. Raises Refused."""
    try:
        _enter(directory, user, create=create)
        with open_sync(directory, create=create, served=start.running(directory) is not None) as store:
            yield store
    except (StoreError, start.CannotStart) as error:
        raise Refused(str(error)) from error
    except PermissionError as error:
        raise Refused(f"{error.filename}: {error.strerror}; run this as the user the server runs as") from error


def _enter(directory: Path, user: str, *, create: bool) -> None:
    """See that the directory is the one meant, and become its owner. Raises Refused, CannotStart, OSError."""
    root = os.geteuid() == 0
    owner = start.owner_of(user) if root else None
    start.examine(directory, owner)
    if create:
        start.make_directory(directory, owner)
    elif not (directory / DATABASE).exists():
        raise Refused(f"there is no Posthouse store in {directory}; the first step is: posthouse domain add DOMAIN")
    if owner is not None:
        start.become(owner)
    elif root and directory.stat().st_uid:  # nobody said a user, and still somebody has it
        os.setgroups([])
        os.setgid(directory.stat().st_gid)
        os.setuid(directory.stat().st_uid)


# --- words to values


def domain_of(text: str) -> Domain:
    """Raises Refused with the reason."""
    domain = parse_domain(text)
    if domain is None:
        raise Refused(f"{text!r} is not a domain: {why_no_domain(text)}")
    return domain


def address_of(text: str) -> Address:
    """Raises Refused with the reason."""
    address = parse_address(text)
    if address is None:
        raise Refused(f"{text!r} is not an address: {why_no_address(text)}")
    return address


def user_of(store: SyncStore, text: str) -> User:
    """The user of exactly this address. Raises Refused."""
    address = address_of(text)
    found = store.read(accounts.find, address)
    if found is None:
        raise nobody(store, address)
    return found


def nobody(store: SyncStore, address: Address) -> Refused:
    """What is said where no user has this very address."""
    known = store.read(accounts.known_as, address)
    if known is not None:
        return Refused(f"{address} is another name of {known.address}; say that one")
    for one in store.read(removed_users.list_removed):
        if canonical(one.address) == canonical(address):
            when = format_minute(one.at)
            back = f"posthouse user restore {address}"
            return Refused(f"there is no user {address}; it was removed at {when}, and comes back by: {back}")
    return Refused(f"there is no user {address}; `posthouse user list` shows them")


def new_domain_of(text: str) -> Domain:
    """A domain that comes into being: one of mixed alphabets, or that cannot be anybody's, is refused too. Raises
    Refused with the reason."""
    domain = domain_of(text)
    wrong = doubt_of_domain(domain) or doubt_of_new_domain(domain)
    if wrong is not None:
        raise Refused(f"{text!r} should not be a domain of this server: {wrong}")
    return domain


def tell_of_domain(domain: Domain) -> None:
    """What somebody should know of a domain that has come into being."""
    wrong = beware_of_domain(domain)
    if wrong is not None:
        print(f"Beware: {wrong}.")


def with_letters(name: str) -> str:
    """A domain or an address, with what people read beside its A-labels: xn--bcher-kva.example (bücher.example)."""
    letters = readable(name)
    return name if letters == name else f"{name} ({letters})"


def new_address_of(text: str) -> Address:
    """The same for an address. Raises Refused with the reason."""
    address = address_of(text)
    wrong = doubt(address)
    if wrong is not None:
        raise Refused(f"{text!r} should not be an address of this server: {wrong}")
    return address


def require_domain(store: SyncStore, domain: Domain, otherwise: str) -> None:
    """Raises Refused, with the domain that was perhaps meant, else with what to do otherwise."""
    known = [row.name.name for row in store.read(accounts.list_domains)]
    if domain.name in known:
        return
    seems = skeleton(unicode_of(domain))  # a Cyrillic word that looks as a Latin one does
    close = [seems] if seems in known else difflib.get_close_matches(domain.name, known, 1)
    hint = f"did you mean {close[0]}?" if close else otherwise.format(domain.name)
    raise Refused(f"{domain.name} is not a domain of this server; {hint}")


def new_password(address: Address, *, from_stdin: bool, salt: bytes | None = None) -> Credential:
    """A password from the terminal (asked twice) or from one line of standard input; `salt` is that of the password
    before. Raises Refused."""
    if from_stdin:
        password = _password_line()
    elif sys.stdin.isatty():
        password = _password_typed(address)
    else:
        raise Refused("there is no terminal to ask for the password on; use --password-stdin")
    if not password.strip():  # blanks alone are a slip of the keys, or of a script
        raise Refused("the password is empty; nothing was changed")
    try:
        return make_credential(password, salt)
    except ValueError as error:
        raise Refused(str(error)) from error


def _password_line() -> str:
    read = sys.stdin.buffer.readline if sys.stdin.isatty() else sys.stdin.buffer.read
    try:
        password = read(PASSWORD_LINE + 1).decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Refused("the password on standard input is not UTF-8") from None
    if "\n" in password:
        raise Refused("standard input has more than one line, and a password is one line; nothing was changed")
    return password


def _password_typed(address: Address) -> str:
    try:
        password = getpass.getpass(f"Password for {address}: ")
        if password and getpass.getpass("The same again: ") != password:
            raise Refused("the two passwords differ; nothing was changed")
    except EOFError:
        print(file=sys.stderr)  # the prompt stands on this line
        raise Refused("no password was typed; nothing was changed") from None
    return password


# --- commands; each returns nothing and prints what it did


def add_domain(store: SyncStore, name: str) -> None:
    """posthouse domain add."""
    domain = new_domain_of(name)
    store.run(accounts.add_domain, domain)
    print(f"Added the domain {with_letters(domain.name)}.")
    tell_of_domain(domain)


def domain_names(store: SyncStore) -> list[str]:
    """The domains of this house."""
    return [row.name.name for row in store.read(accounts.list_domains)]


def list_domains(store: SyncStore, *, as_json: bool) -> None:
    """posthouse domain list."""
    found = store.read(accounts.list_domains)
    rows = [
        (
            row.name.name if as_json else with_letters(row.name.name),
            row.accounts,
            str(row.catch_all) if row.catch_all else None,
            row.leads_to and row.leads_to.name,
        )
        for row in found
    ]
    show(("domain", "users", "catch_all", "alias_of"), rows, as_json=as_json)


def remove_domain(store: SyncStore, name: str) -> None:
    """posthouse domain remove."""
    domain = domain_of(name)
    require_domain(store, domain, SEE_LIST)
    store.run(accounts.remove_domain, domain)
    print(f"Removed the domain {domain}.")


def set_catch_all(store: SyncStore, name: str, target: str | None) -> None:
    """posthouse domain catch-all."""
    domain = domain_of(name)
    require_domain(store, domain, SEE_LIST)
    address = None if target is None else address_of(target)
    store.run(accounts.set_catch_all, domain, address)
    print(f"Mail for unknown names at {domain} {'is refused' if address is None else f'goes to {address}'}.")


def add_user(store: SyncStore, name: str, *, from_stdin: bool) -> None:
    """posthouse user add."""
    address = new_address_of(name)
    require_domain(store, address.domain, ADD_IT)
    _require_free(store, address)
    store.run(accounts.add_account, address, new_password(address, from_stdin=from_stdin))
    print(f"Added the user {address}. Mail programs log in with this whole address.")


def _require_free(store: SyncStore, address: Address) -> None:
    """Before anybody types a password twice; the store looks again. Raises Refused."""
    if store.read(accounts.find, address) is not None:
        here = store.read(accounts.find_login, address) is not None
        more = f"{'for a new password' if here else GONE}: posthouse user password {address}"
        raise Refused(f"the user {address} exists; {more}")
    if store.read(accounts.senders_of, address) is not None:
        raise Refused(f"the group {address} exists; remove it first: posthouse group remove {address}")
    if store.read(accounts.targets_of, address):
        raise Refused(f"the alias {address} exists; remove it first: posthouse alias remove {address}")


def list_users(store: SyncStore, *, as_json: bool) -> None:
    """posthouse user list."""
    found = store.read(accounts.list_accounts)
    rows: list[tuple[object, ...]]
    if as_json:
        rows = [(str(row.address), row.messages, row.size, row.directory) for row in found]
    else:
        names = [with_letters(str(row.address)) for row in found]
        kept = [(row.messages, row.size, "yes" if row.directory else None) for row in found]
        rows = [(name, *rest) for name, rest in zip(names, kept, strict=True)]
    show(("user", "messages", "octets", "directory"), rows, as_json=as_json)


def set_password(store: SyncStore, address: Address, *, from_stdin: bool) -> None:
    """posthouse user password, of a user of this server."""
    found = store.read(accounts.find_login, address)
    if found is None:  # removed meanwhile
        raise nobody(store, address)
    salt = found.credential.scram_sha256.salt
    store.run(accounts.set_password, address, new_password(address, from_stdin=from_stdin, salt=salt))
    print(f"Changed the password of {address}.")


def confirmed(question: str) -> bool:
    """Ask on the terminal. Raises Refused where there is none."""
    if not sys.stdin.isatty():
        raise Refused("there is no terminal to ask on; say --yes if you are sure")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print(file=sys.stderr)  # the question stands on this line
        return False


def add_alias(store: SyncStore, name: str, targets: Sequence[str]) -> None:
    """posthouse alias add."""
    address = new_address_of(name)
    require_domain(store, address.domain, ADD_IT)
    store.run(aliases.add_alias, address, [address_of(target) for target in targets])
    print(f"Mail for {address} goes to {', '.join(targets)}.")
    _tell_of_opened(store, address)


def set_alias(store: SyncStore, name: str, targets: Sequence[str]) -> None:
    """posthouse alias set."""
    address = address_of(name)
    _require_no_group(store, address, "set")
    store.run(aliases.set_alias, address, [address_of(target) for target in targets])
    print(f"Mail for {address} now goes to {', '.join(targets)}.")
    _tell_of_opened(store, address)


def _tell_of_opened(store: SyncStore, address: Address) -> None:
    """Nobody should open a closed group to the world without knowing it (decision 0102)."""
    for row in store.read(groups.opened_by, address):
        group, rule = row.address, f"--from {row.senders.value}"
        print(f"Beware: everybody in the world reaches the group {group} by {address} now. The group's own rule")
        print(f"({rule}) holds for mail to {group} alone. To have it here too, make this a group:")
        print(f"    posthouse alias remove {address}\n    posthouse group add {address} {group} {rule}")


def list_aliases(store: SyncStore, *, as_json: bool) -> None:
    """posthouse alias list."""
    found = store.read(aliases.list_aliases)
    if as_json:
        rows: list[tuple[object, ...]] = [(str(row.address), [str(target) for target in row.targets]) for row in found]
    else:
        rows = [(str(row.address), ", ".join(map(str, row.targets))) for row in found]
    show(("alias", "targets"), rows, as_json=as_json)


def _require_no_group(store: SyncStore, address: Address, verb: str) -> None:
    if store.read(accounts.senders_of, address) is not None:
        raise Refused(f"{address} is a group; posthouse group {verb} {address}")


def remove_alias(store: SyncStore, name: str) -> None:
    """posthouse alias remove."""
    address = address_of(name)
    _require_no_group(store, address, "remove")
    store.run(aliases.remove_alias, address)
    print(f"Removed the alias {address}.")


def show(names: Sequence[str], rows: Sequence[Sequence[object]], *, as_json: bool) -> None:
    """Rows under their names: as a table for people, as JSON objects for programs."""
    if as_json:
        print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2, ensure_ascii=False))
        return
    if not rows:
        print("There are none.")
        return
    cells = [[name.replace("_", "-").upper() for name in names]]
    cells += [["-" if value is None else str(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
