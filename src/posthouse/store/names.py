"""From the name of a mailbox, as a user gives it, to the mailbox and what this user may do with it: here and nowhere
else (RFC 4314 §4, RFC 2342 §5).

A user's own mailboxes have plain names. Those of another are `Other Users/ADDRESS/NAME`, where NAME is the owner's
name for it. A mailbox that the user may not list looks as if it did not exist, except for what he has a right to do.

Rows given by these verbs carry the name as the user sees it, and no role, subscription or other matter of the owner.
"""

from typing import NamedTuple

from posthouse.mail.address import Address, Domain, parse_address
from posthouse.mail.ids import AccountId, Millis
from posthouse.store import access, mailboxes
from posthouse.store.access import Rights
from posthouse.store.accounts import fold
from posthouse.store.mailboxes import INBOX, SEPARATOR, MailboxRow
from posthouse.store.namespace import OTHERS, is_foreign, prefix_of
from posthouse.store.removed import Removal
from posthouse.store.script import Forbidden, NotFound, Refused, Script, UseRefused, sql

VISIBLE = 5_000  # mailboxes of others in one LIST, those given to the user by name first

_LACKING = {
    "l": "list it",
    "r": "read it",
    "i": "put messages into it",
    "k": "create mailboxes below it",
    "x": "delete or rename it",
    "e": "expunge its messages",
    "a": "see or change who may use it",
}


class Reader(NamedTuple):
    """Who asks: the own account, and the identifier in access control lists."""

    account: AccountId
    identifier: str


class Place(NamedTuple):
    """A mailbox as one user meets it. `local` is the owner's name for it, `row.name` the user's."""

    row: MailboxRow
    rights: Rights
    local: str


class _Owner(NamedTuple):
    account: AccountId
    prefix: str  # what stands before the owner's names; "" for the own ones


def _whose(reader: Reader, name: str) -> Script[tuple[_Owner, str] | None]:
    """Whose mailbox a name means, and the owner's name for it; None where it is of nobody here."""
    if not is_foreign(name):
        return _Owner(reader.account, ""), name
    spelled, _, local = name.removeprefix(OTHERS + SEPARATOR).partition(SEPARATOR)
    address = parse_address(spelled.replace("=2F", SEPARATOR).replace("=3D", "="))
    if address is None:
        return None
    rows = yield sql(
        "SELECT id, local FROM account WHERE domain = $1 AND fold = $2", address.domain.name, fold(address.local)
    )
    if not rows:
        return None
    account, as_stored = rows[0]
    own = account == reader.account
    return _Owner(AccountId(account), "" if own else prefix_of(Address(as_stored, address.domain))), local


def _seen(row: MailboxRow, owner: _Owner) -> MailboxRow:
    return row._replace(name=owner.prefix + row.name, role=None, subscribed=False) if owner.prefix else row


def _place(reader: Reader, owner: _Owner, local: str) -> Script[Place | None]:
    row = yield from mailboxes.find(owner.account, local)
    if row is None:
        return None
    own = owner.account == reader.account
    rights = access.EVERY if own else (yield from access.rights(row.id, reader.identifier))
    return Place(_seen(row, owner), rights, row.name)


def find(reader: Reader, name: str) -> Script[Place | None]:
    """The mailbox of this name, a \\Noselect one too, whatever the rights on it: look at them before its name is told
    to anybody. Thunderbird puts a separator behind the names of mailboxes that hold others: it is overlooked."""
    found = yield from _whose(reader, name.removesuffix(SEPARATOR))
    return None if found is None else (yield from _place(reader, *found))


def need(reader: Reader, name: str, right: str, *, selectable: bool = True) -> Script[Place]:
    """The mailbox, on which the user must have this right. Raises NotFound, also where he may not know that it is
    there, and Forbidden."""
    place = yield from find(reader, name)
    if place is None or (selectable and place.row.noselect):
        raise NotFound("there is no mailbox of that name")
    demand(place, right)
    return place


def demand(place: Place, right: str) -> None:
    """Raises Forbidden where the user lacks the right, NotFound where he may not even list the mailbox
    (RFC 4314 §6)."""
    if right in place.rights:
        return
    if "l" not in place.rights:
        raise NotFound("there is no mailbox of that name")
    raise Forbidden(f'you may not {_LACKING[right]}: its owner has not given you the right "{right}"')


def visible(reader: Reader) -> Script[list[Place]]:
    """The mailboxes of others that the user may list."""
    who = access.names_of(reader.identifier)
    some = "SELECT mailbox FROM (SELECT mailbox FROM access WHERE identifier = "  # a bound for each, before all else
    rows = yield sql(
        "SELECT x.mailbox, x.identifier, x.rights, a.local, a.domain FROM access x JOIN mailbox m ON m.id = x.mailbox"
        " JOIN account a ON a.id = m.account WHERE x.identifier IN ($1, $2, $3, $4) AND m.account <> $5"
        f" AND x.mailbox IN ({some}$1 LIMIT $6) UNION {some}$2 LIMIT $6)) ORDER BY x.identifier <> $1, x.mailbox",
        *who, reader.account, VISIBLE,
    )  # fmt: skip
    entries: dict[int, list[tuple[str, str]]] = {}
    prefixes: dict[int, str] = {}
    for mailbox, name, letters, local, domain in rows:
        entries.setdefault(mailbox, []).append((name, letters))
        prefixes[mailbox] = prefix_of(Address(local, Domain(domain)))
    given = {mailbox: access.combined(several) for mailbox, several in entries.items()}
    listed = [mailbox for mailbox, rights in given.items() if "l" in rights][:VISIBLE]
    found = []
    for row in (yield from mailboxes.some(listed)):
        owner = _Owner(row.account, prefixes[row.id])
        found.append(Place(_seen(row, owner), given[row.id], row.name))
    return found


# --- making and unmaking


def create(reader: Reader, name: str, role: str | None = None) -> Script[MailboxRow]:
    """CREATE, which needs the right "k" on the nearest superior mailbox of another (RFC 4314 §4).

    Raises Exists, Refused, OverQuota, Forbidden."""
    name = _made(name)
    found = yield from _whose(reader, name)
    if found is None:
        raise _forbidden_there()
    owner, local = found
    if owner.prefix:
        yield from _demand_parent(reader, owner, local)
    if owner.prefix and role is not None:  # RFC 6154 §7: what the server puts there is not for others
        raise UseRefused("only the owner of a mailbox may give it a special use")
    made = yield from mailboxes.create(owner.account, local, role)
    return _seen(made, owner)


def _made(name: str) -> str:
    """A name that CREATE or RENAME makes, without a separator at its end. Raises Refused where it stands for others, or
    for one of them, and so for no mailbox."""
    name = name.removesuffix(SEPARATOR)
    if is_foreign(name) and name.count(SEPARATOR) < 2:
        raise Refused(
            f'"{OTHERS}" and the addresses below it are where the mailboxes of others are shown;'
            " no mailbox can have such a name"
        )
    return name


def _demand_parent(reader: Reader, owner: _Owner, local: str) -> Script[None]:
    """Raises Forbidden unless the user may create mailboxes below the nearest superior that exists. It says the same
    where there is no such user, mailbox or right."""
    canonical = mailboxes.canonical_name(local) or ""
    while SEPARATOR in canonical:
        canonical = canonical.rpartition(SEPARATOR)[0]
        parent = yield from _place(reader, owner, canonical)
        if parent is not None:
            if "k" in parent.rights:
                return
            break
    raise _forbidden_there()


def _forbidden_there() -> Forbidden:
    return Forbidden('you may not create a mailbox there: that needs the right "k" on a mailbox above it')


def delete(reader: Reader, name: str, kept: Removal | None = None) -> Script[MailboxRow]:
    """DELETE, which needs the right "x"; gives the row as it was. `kept`: see mailboxes.delete.

    Raises NotFound, Forbidden, Refused."""
    place = yield from need(reader, name, "x", selectable=False)
    yield from mailboxes.delete(place.row.account, place.local, kept)
    return place.row


def rename(reader: Reader, old: str, new: str, now: Millis) -> Script[str]:
    """RENAME, which needs the right "x" on the mailbox and "k" on the new parent; gives the new name in canonical
    form. `now`: see mailboxes.rename. Access control lists go with the mailboxes.

    Raises NotFound, Forbidden, Exists, Refused, OverQuota."""
    place = yield from need(reader, old, "x", selectable=False)
    found = yield from _whose(reader, _made(new))
    if found is None or found[0].account != place.row.account:
        if place.local == INBOX:
            raise Refused("RENAME of INBOX moves its messages, and not to another user; COPY them instead")
        raise Refused("a mailbox cannot be moved to another user; COPY its messages instead")
    owner, local = found
    if owner.prefix:
        if place.local == INBOX:
            raise Refused("INBOX can be renamed by its owner only")
        yield from _demand_parent(reader, owner, local)
    yield from mailboxes.rename(owner.account, place.local, local, now)
    return owner.prefix + (mailboxes.canonical_name(local) or local)


def subscribe(reader: Reader, name: str, *, subscribed: bool) -> Script[None]:
    """SUBSCRIBE and UNSUBSCRIBE. Raises NotFound, Refused, OverQuota."""
    name = name.removesuffix(SEPARATOR)
    place = yield from find(reader, name)
    if not is_foreign(name) or place is None or not subscribed:
        spelled = name if place is None else place.row.name
        yield from mailboxes.subscribe(reader.account, spelled, subscribed=subscribed)
        return
    if "l" not in place.rights:
        raise NotFound("there is no mailbox of that name")
    yield from mailboxes.subscribe(reader.account, place.row.name, subscribed=True, known=True)
