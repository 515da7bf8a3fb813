"""Annotations of mailboxes and of the server: named values that clients keep for users (RFC 5464 §3).

/shared entries of a mailbox are seen by all who may use it, /private ones by the user who wrote them. Server entries
of one user are /private; /shared ones are the server's own and cannot be set. Two entries are computed: /shared/admin
of the server (RFC 5464 §6.2.2) and /private/specialuse of a mailbox (RFC 6154 §4).
"""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.store.mailboxes import MailboxRow, next_modseq
from posthouse.store.names import Place, Reader, find
from posthouse.store.script import Forbidden, NotFound, OverQuota, Script, UseRefused, sql

VALUE = 32_768  # octets of one value; a literal of a command may have twice as many
COUNT = 100  # entries of one user, or shared, on one mailbox or on the server; RFC 5464 §4.1 asks for 10
TOTAL = 1_048_576  # octets of all values on the mailboxes of one user, and of one user's on the server
CHANGES = 1_000  # changes told at once
SERVER = 0  # the "mailbox" of server annotations
SHARED = 0  # the reader of /shared

Value = tuple[str, bytes | None]


class Annotated(NamedTuple):
    """What was asked of one mailbox, under the name the user knows."""

    name: str
    values: tuple[Value, ...]


def read(reader: Reader, name: str, entries: Sequence[str], depth: int) -> Script[Annotated]:
    """GETMETADATA (RFC 5464 §4.2): the entries, and those up to `depth` components below. An entry without a value
    is None; below an entry only values are given. Raises NotFound, Forbidden."""
    if not name:
        computed = {"/shared/admin": f"mailto:postmaster@{reader.identifier.rpartition('@')[2]}".encode()}
        return Annotated("", (yield from _values(reader, SERVER, computed, entries, depth)))
    row = (yield from _usable(reader, name)).row
    return Annotated(row.name, (yield from _values(reader, row.id, _of_mailbox(row), entries, depth)))


def read_row(reader: Reader, row: MailboxRow, entries: Sequence[str]) -> Script[tuple[Value, ...]]:
    """The same of a mailbox that is listed already (RFC 9590)."""
    return (yield from _values(reader, row.id, _of_mailbox(row), entries, 0))


def _of_mailbox(row: MailboxRow) -> dict[str, bytes]:
    special = row.role is not None and row.role != "inbox"
    return {"/private/specialuse": f"\\{row.role.capitalize()}".encode()} if special and row.role else {}


def _values(
    reader: Reader, mailbox: int, computed: dict[str, bytes], entries: Sequence[str], depth: int
) -> Script[tuple[Value, ...]]:
    rows = yield sql(
        "SELECT fold, entry, value FROM annotation WHERE mailbox = $1 AND reader IN ($2, $3) AND value IS NOT NULL",
        mailbox, SHARED, reader.account,
    )  # fmt: skip
    known: dict[str, Value] = {fold: (fold, value) for fold, value in computed.items()}
    known |= {fold: (entry, bytes(value)) for fold, entry, value in rows}
    found: dict[str, Value] = {}
    for entry in entries:
        fold = entry.lower()
        if fold in known:
            found[fold] = (entry, known[fold][1])
        elif not depth:
            found[fold] = (entry, None)
        below = fold + "/"
        for other in known if depth else ():
            if other.startswith(below) and other.count("/", len(below)) < depth:
                found.setdefault(other, known[other])
    return tuple(found.values())


def write(reader: Reader, name: str, values: Sequence[Value]) -> Script[int]:
    """SETMETADATA (RFC 5464 §4.3): all or none; None removes. Gives the number of this change.

    Raises NotFound, Forbidden, UseRefused, OverQuota (COUNT or TOTAL: TOOMANY)."""
    place = (yield from _usable(reader, name)) if name else None
    mailbox: int = SERVER if place is None else place.row.id
    scopes: set[int] = set()
    [(change,)] = yield sql("UPDATE counter SET value = value + 1 WHERE name = 'annotation' RETURNING value")
    for entry, value in values:
        fold = entry.lower()
        scope = reader.account if fold.startswith("/private/") else SHARED
        _permit(place, fold, scope)
        scopes.add(scope)
        yield sql(
            "INSERT INTO annotation (mailbox, reader, entry, fold, value, change) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT (mailbox, reader, fold)"
            " DO UPDATE SET entry = excluded.entry, value = excluded.value, change = excluded.change",
            mailbox, scope, entry, fold, value, change,
        )  # fmt: skip
    yield from _bounded(reader, place, scopes)
    yield from next_modseq(reader.account if place is None else place.row.account)  # sessions with NOTIFY look
    return int(change)


def latest() -> Script[int]:
    """The number of the last change."""
    [(change,)] = yield sql("SELECT value FROM counter WHERE name = 'annotation'")
    return int(change)


def changed(reader: Reader, since: int) -> Script[list[tuple[int, str, int]]]:
    """Mailbox, entry and number of what changed after `since`, of all that concerns this user or everybody, in the
    order of the changes and at most CHANGES."""
    rows = yield sql(
        "SELECT mailbox, entry, change FROM annotation WHERE change > $1 AND reader IN ($2, $3) ORDER BY change"
        " LIMIT $4",
        since, SHARED, reader.account, CHANGES,
    )  # fmt: skip
    return [(mailbox, entry, change) for mailbox, entry, change in rows]


def _permit(place: Place | None, fold: str, scope: int) -> None:
    if place is None and scope == SHARED:
        raise Forbidden("the shared entries of the server are its own")
    if fold == "/private/specialuse":
        raise UseRefused("the special use of a mailbox is given by CREATE only")
    if place is not None and scope == SHARED and "w" not in place.rights:
        raise Forbidden('you may not change what all users of this mailbox see: that needs the right "w"')


def _bounded(reader: Reader, place: Place | None, scopes: set[int]) -> Script[None]:
    mailbox: int = SERVER if place is None else place.row.id
    for scope in scopes:
        [(count,)] = yield sql("SELECT count(value) FROM annotation WHERE mailbox = $1 AND reader = $2", mailbox, scope)
        yield sql(  # what was removed is remembered for a while only
            "DELETE FROM annotation WHERE mailbox = $1 AND reader = $2 AND value IS NULL AND fold NOT IN (SELECT fold"
            " FROM annotation WHERE mailbox = $1 AND reader = $2 AND value IS NULL ORDER BY change DESC LIMIT $3)",
            mailbox, scope, COUNT,
        )  # fmt: skip
        if count > COUNT:
            raise OverQuota(f"there are {COUNT} entries already; remove some first")
    if place is None:
        where, owner = "mailbox = 0 AND reader = $1", reader.account
    else:
        where, owner = "mailbox IN (SELECT id FROM mailbox WHERE account = $1)", place.row.account
    [(octets,)] = yield sql(f"SELECT coalesce(sum(length(value)), 0) FROM annotation WHERE {where}", owner)
    if octets > TOTAL:
        raise OverQuota(f"all entries together may have {TOTAL} octets; remove some first")


def _usable(reader: Reader, name: str) -> Script[Place]:
    """RFC 5464 §3.3: the right "l" and one of "r", "s", "w", "i", "p"."""
    place = yield from find(reader, name)
    if place is None or "l" not in place.rights:
        raise NotFound("there is no mailbox of that name")
    if not place.rights & frozenset("rswip"):
        raise Forbidden("you may see the name of this mailbox and nothing else")
    return place
