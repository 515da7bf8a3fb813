"""The command line: `posthouse domain`, `posthouse user`, `posthouse alias`."""

from typing import Annotated

from cyclopts import App, Parameter

from posthouse.cli_parts import HERE, Json, Place, Stdin, directory_of, do, fail, removed_days_of

domain_app = App(name="domain", help="The domains this server takes mail for.")
user_app = App(name="user", help="The people who have a mailbox here.")
alias_app = App(name="alias", help="Addresses that lead to other addresses.")


@domain_app.command(name="add")
def domain_add(domain: str, /, *, place: Place = HERE) -> int:
    """Take mail for a domain."""
    from posthouse import admin

    return do(place, lambda store: admin.add_domain(store, domain), create=True)


@domain_app.command(name="list")
def domain_list(*, place: Place = HERE, as_json: Json = False) -> int:
    """List all domains."""
    from posthouse import admin

    return do(place, lambda store: admin.list_domains(store, as_json=as_json))


@domain_app.command(name="remove")
def domain_remove(domain: str, /, *, place: Place = HERE) -> int:
    """Take no more mail for a domain that has no users and aliases any more."""
    from posthouse import admin

    return do(place, lambda store: admin.remove_domain(store, domain))


@domain_app.command(name="rename")
def domain_rename(old: str, new: str, /, *, keep_alias: bool = True, place: Place = HERE) -> int:
    """Move a domain to another name, with all its users, aliases and groups.

    Parameters
    ----------
    keep_alias
        Mail for the old name still arrives, and the old names still log in.
    """
    from posthouse import people

    return do(place, lambda store: people.rename_domain(store, old, new, keep=keep_alias))


@domain_app.command(name="alias")
def domain_alias(other: str, domain: str, /, *, place: Place = HERE) -> int:
    """Make a domain another name of one that is here."""
    from posthouse import people

    return do(place, lambda store: people.name_domain(store, other, domain))


@domain_app.command(name="catch-all")
def domain_catch_all(domain: str, address: str | None = None, /, *, off: bool = False, place: Place = HERE) -> int:
    """Where mail for names that nobody has goes.

    Parameters
    ----------
    address
        A user or alias of this server.
    off
        Refuse such mail again.
    """
    from posthouse import admin

    if (address is None) != off:
        return fail("say an address, or --off")
    return do(place, lambda store: admin.set_catch_all(store, domain, address))


@user_app.command(name="add")
def user_add(address: str, /, *, password_stdin: Stdin = False, place: Place = HERE) -> int:
    """Give somebody a mailbox; the password is asked for."""
    from posthouse import admin

    return do(place, lambda store: admin.add_user(store, address, from_stdin=password_stdin))


@user_app.command(name="list")
def user_list(
    *, removed: Annotated[bool, Parameter(negative=())] = False, place: Place = HERE, as_json: Json = False
) -> int:
    """List all users.

    Parameters
    ----------
    removed
        Those who were removed and can still be brought back.
    """
    from posthouse import admin, removing

    if removed:
        days = removed_days_of(place)
        return do(place, lambda store: removing.list_removed(store, days, as_json=as_json))
    return do(place, lambda store: admin.list_users(store, as_json=as_json))


@user_app.command(name="password")
def user_password(address: str, /, *, password_stdin: Stdin = False, place: Place = HERE) -> int:
    """Give a user a new password, which is asked for. Who is gone from a directory becomes a user of this server."""
    from posthouse import elsewhere

    section = directory_of(place)
    return do(place, lambda store: elsewhere.set_password(store, address, section, from_stdin=password_stdin))


@user_app.command(name="directory")
def user_directory(address: str, /, *, place: Place = HERE) -> int:
    """Ask the directory of users what it has of an address, and say what is wrong where nobody comes in by it."""
    from posthouse import elsewhere

    section = directory_of(place)
    return do(place, lambda store: elsewhere.show(store, address, section))


@user_app.command(name="rename")
def user_rename(old: str, new: str, /, *, keep_alias: bool = True, place: Place = HERE) -> int:
    """Give a user another address; mail, password and rights stay.

    Parameters
    ----------
    keep_alias
        Mail for the old address still arrives, and the old name still logs in.
    """
    from posthouse import people

    return do(place, lambda store: people.rename_user(store, old, new, keep=keep_alias))


@user_app.command(name="remove")
def user_remove(
    user: str,
    /,
    *,
    now: Annotated[bool, Parameter(negative=())] = False,
    yes: bool = False,
    place: Place = HERE,
) -> int:
    """Remove a user and all their mail. For some days `posthouse user restore` undoes it.

    Parameters
    ----------
    user
        An address, or the number of a removed user such as R7.
    now
        For ever, at once, also what is kept of an earlier user of the name.
    yes
        Do not ask.
    """
    from posthouse import removing

    days = 0 if now else removed_days_of(place)
    return do(place, lambda store: removing.remove_user(store, user, days, sure=yes))


@user_app.command(name="restore")
def user_restore(
    user: str,
    /,
    *,
    under: Annotated[str | None, Parameter(name="--as")] = None,
    place: Place = HERE,
) -> int:
    """Bring a removed user back, with all mail, passwords and rights.

    Parameters
    ----------
    user
        The address, or the number that `posthouse user list --removed` shows.
    under
        The address that the user has from now on, where the old one is taken.
    """
    from posthouse import removing

    return do(place, lambda store: removing.restore_user(store, user, under))


@alias_app.command(name="add")
def alias_add(address: str, /, *targets: str, place: Place = HERE) -> int:
    """Lead an address to one or more others of this server."""
    from posthouse import admin

    if not targets:
        return fail("say at least one address that the alias leads to")
    return do(place, lambda store: admin.add_alias(store, address, targets))


@alias_app.command(name="set")
def alias_set(address: str, /, *targets: str, place: Place = HERE) -> int:
    """Lead an alias to other addresses than before."""
    from posthouse import admin

    if not targets:
        return fail("say at least one address that the alias leads to")
    return do(place, lambda store: admin.set_alias(store, address, targets))


@alias_app.command(name="list")
def alias_list(*, place: Place = HERE, as_json: Json = False) -> int:
    """List all aliases."""
    from posthouse import admin

    return do(place, lambda store: admin.list_aliases(store, as_json=as_json))


@alias_app.command(name="remove")
def alias_remove(address: str, /, *, place: Place = HERE) -> int:
    """Remove an alias."""
    from posthouse import admin

    return do(place, lambda store: admin.remove_alias(store, address))
