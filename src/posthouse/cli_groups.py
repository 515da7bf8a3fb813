"""The command line: `posthouse group`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from posthouse.cli_parts import HERE, Json, Place, do

if TYPE_CHECKING:
    from posthouse.store.accounts import Senders

group_app = App(name="group", help="Addresses of several users of this server, and who may write to them.")

Name = Literal["anyone", "users", "members"]
From = Annotated[Name, Parameter(name="--from", help="Who may write to it: anyone, users of this server, its members.")]
Everyone = Annotated[bool, Parameter(negative=(), help="All users of the domain, also those who come later.")]


def _senders(name: Name) -> "Senders":
    from posthouse.store.accounts import Senders

    return Senders(name)


@group_app.command(name="add")
def group_add(
    address: str, /, *members: str, from_: From = "users", everyone: Everyone = False, place: Place = HERE
) -> int:
    """Lead an address to users and groups of this server."""
    from posthouse import people

    return do(place, lambda store: people.add_group(store, address, members, _senders(from_), everyone=everyone))


@group_app.command(name="set")
def group_set(
    address: str, /, *members: str, from_: From | None = None, everyone: Everyone = False, place: Place = HERE
) -> int:
    """Give a group other members, or another rule who may write to it; what is not said stays."""
    from posthouse import people

    senders = _senders(from_) if from_ else None
    return do(place, lambda store: people.set_group(store, address, members, senders, everyone=everyone))


@group_app.command(name="join")
def group_join(address: str, member: str, /, *members: str, place: Place = HERE) -> int:
    """Give a group members beside those it has."""
    from posthouse import people

    return do(place, lambda store: people.change_group(store, address, (member, *members), ()))


@group_app.command(name="leave")
def group_leave(address: str, member: str, /, *members: str, place: Place = HERE) -> int:
    """Take members out of a group."""
    from posthouse import people

    return do(place, lambda store: people.change_group(store, address, (), (member, *members)))


@group_app.command(name="list")
def group_list(*, place: Place = HERE, as_json: Json = False) -> int:
    """List all groups, who may write to them, and their members."""
    from posthouse import people

    return do(place, lambda store: people.list_groups(store, as_json=as_json))


@group_app.command(name="remove")
def group_remove(address: str, /, *, place: Place = HERE) -> int:
    """Remove a group; its members keep the mail they have."""
    from posthouse import people

    return do(place, lambda store: people.remove_group(store, address))
