"""LIST and LSUB: which names answer a pattern, and with which attributes (RFC 9051 §6.3.9, RFC 3501 §6.3.9,
RFC 5258, RFC 5819, RFC 6154).

Superior names of the own mailboxes always exist, because CREATE makes them; one whose messages were deleted while it
had inferiors is \\Noselect, which is also said as \\NonExistent. Mailboxes of others have superiors that the user may
not know of: these are levels only, as `Other Users` itself is. A subscription may outlive its mailbox.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from posthouse.mail.ids import MailboxId
from posthouse.serve.imap import condstore
from posthouse.serve.imap.known import Names
from posthouse.serve.imap.state import Session
from posthouse.store import annotations, mailboxes
from posthouse.store.access import EVERY, Rights
from posthouse.store.annotations import Value
from posthouse.store.mailboxes import MailboxRow
from posthouse.store.names import Reader, visible
from posthouse.store.quota import deleted_octets
from posthouse.store.script import Script
from posthouse.transport.house import MessageLimits
from posthouse.wire.imap.acl import MyRightsResponse
from posthouse.wire.imap.list import DELIMITER, List, ListReturn, ListSelection, Lsub, StatusItem, matches
from posthouse.wire.imap.response import Delimiter, Listed, MailboxStatus, Metadata, StatusResponse, ok

NOTHING_DELETED: Mapping[MailboxId, int] = MappingProxyType({})
MESSAGE_SIZE = MessageLimits().message_size  # octets, unless it is set

# RFC 6154 §2; RFC 8621's inbox has no such attribute
SPECIAL_USE: dict[str, bytes] = {
    "all": b"\\All",
    "archive": b"\\Archive",
    "drafts": b"\\Drafts",
    "flagged": b"\\Flagged",
    "important": b"\\Important",  # RFC 8457 §3
    "junk": b"\\Junk",
    "sent": b"\\Sent",
    "trash": b"\\Trash",
}


def names(reader: Reader) -> Script[Names]:
    """The names, of one snapshot: the own ones, and those of others that may be listed."""
    rows = {row.name: row for row in (yield from mailboxes.list_mailboxes(reader.account))}
    rights: dict[str, Rights] = {}
    for place in (yield from visible(reader)):
        rows[place.row.name] = place.row
        rights[place.row.name] = place.rights
    subscribed = yield from mailboxes.list_subscribed(reader.account)
    return Names(rows, frozenset(subscribed), rights)


def annotated(reader: Reader, entries: tuple[str, ...]) -> Script[Names]:
    """The names with these entries of each, where there are any (RFC 9590 §3)."""
    known = yield from names(reader)
    if not entries:
        return known
    found: dict[str, tuple[Value, ...]] = {}
    for name, row in known.rows.items():
        if known.rights.get(name, EVERY) & frozenset("rswip"):  # RFC 5464 §3.3
            found[name] = yield from annotations.read_row(reader, row, entries)
    return known._replace(annotations=found)


def attributes(row: MailboxRow | None, *, inferiors: bool) -> tuple[bytes, ...]:
    """The attributes of a name; None is one that is only subscribed to (RFC 9051 §7.3.1, RFC 6154 §2)."""
    found = [b"\\NonExistent", b"\\Noselect"] if row is None or row.noselect else []
    found.append(b"\\HasChildren" if inferiors else b"\\HasNoChildren")
    if row is not None and row.role in SPECIAL_USE:
        found.append(SPECIAL_USE[row.role])
    return tuple(found)


def parents(existing: Iterable[str]) -> frozenset[str]:
    """All names that have inferiors."""
    found = set()
    for name in existing:
        while DELIMITER in name:
            name = name.rpartition(DELIMITER)[0]
            found.add(name)
    return frozenset(found)


async def list_names(session: Session, command: List) -> StatusResponse:
    """RFC 9051 §6.3.9."""
    if not command.extended and command.patterns == ("",):
        session.say(Delimiter())
        return ok(command.tag, "LIST completed.")
    known = await session.store.read(annotated, session.reader, command.metadata)
    if StatusItem.HIGHESTMODSEQ in command.status:
        condstore.aware(session)
        known = known._replace(rows={name: condstore.knowable(session, row) for name, row in known.rows.items()})
    if StatusItem.DELETED_STORAGE in command.status:
        some = [row.id for name, row in known.rows.items() if row.deleted and known.readable(name)]
        known = known._replace(deleted=await session.store.read(deleted_octets, some))
    for response in answer(command, known, session.house.limits.message_size):
        session.say(response.printed(session.engine.utf8) if isinstance(response, MyRightsResponse) else response)
    return ok(command.tag, "LIST completed.")


def answer(
    command: List, known: Names, append_limit: int = MESSAGE_SIZE
) -> Iterator[Listed | MailboxStatus | Metadata | MyRightsResponse]:
    """LIST responses, each with what else was asked for behind it (RFC 5819 §2, RFC 9590 §3, RFC 8440 §3)."""
    patterns = [command.reference + pattern for pattern in command.patterns if pattern]
    criteria = command.selection - {ListSelection.REMOTE, ListSelection.RECURSIVEMATCH}
    everything = known.rows.keys() | known.subscribed
    levels = parents(everything) - everything
    chosen = frozenset(name for name in everything if _chosen(name, known, criteria))
    fathers = parents(known.rows)
    shown = frozenset(name for name in everything | levels if any(matches(pattern, name) for pattern in patterns))
    if not criteria:  # a level that is no mailbox is told of where the pattern ends in % (RFC 9051 §6.3.9)
        open_ended = [pattern for pattern in patterns if pattern.endswith("%")]
        chosen |= {name for name in levels & fathers if any(matches(pattern, name) for pattern in open_ended)}
    recursive = ListSelection.RECURSIVEMATCH in command.selection
    above = parents(chosen) if recursive else frozenset[str]()
    # A name that does not fit itself is told of only for inferiors that are not (RFC 9051 §6.3.9.6).
    listed = shown & (chosen | parents(chosen - shown) if recursive else chosen)
    for name in sorted(listed):
        childinfo = tuple(sorted(option.value for option in criteria)) if name in above else ()
        yield Listed(_attributes(command, known, name, fathers), name, childinfo)
        if ListReturn.STATUS in command.returns and known.readable(name):
            yield status_values(known.rows[name], command.status, append_limit, known.deleted)
        if name in known.annotations:
            yield Metadata(name, known.annotations[name])
        if ListReturn.MYRIGHTS in command.returns and name in known.rows and name in chosen:
            yield MyRightsResponse(name, known.rights.get(name, EVERY))


def _chosen(name: str, known: Names, criteria: frozenset[ListSelection]) -> bool:
    """Whether the name fits all selection options; with none, whether it exists (RFC 9051 §6.3.9.1)."""
    row = known.rows.get(name)
    if ListSelection.SUBSCRIBED in criteria and name not in known.subscribed:
        return False
    if ListSelection.SPECIAL_USE in criteria:
        return row is not None and row.role in SPECIAL_USE
    return row is not None or ListSelection.SUBSCRIBED in criteria


def _attributes(command: List, known: Names, name: str, fathers: frozenset[str]) -> tuple[bytes, ...]:
    found = attributes(known.rows.get(name), inferiors=name in fathers)
    asked = ListSelection.SUBSCRIBED in command.selection or ListReturn.SUBSCRIBED in command.returns
    return (*found, b"\\Subscribed") if asked and name in known.subscribed else found


async def list_subscribed(session: Session, command: Lsub) -> StatusResponse:
    """RFC 3501 §6.3.9."""
    known = await session.store.read(names, session.reader)
    for response in answer_lsub(command, known):
        session.say(response)
    return ok(command.tag, "LSUB completed.")


def answer_lsub(command: Lsub, known: Names) -> Iterator[Listed]:
    """LSUB responses. `%` also finds a name that is not subscribed but has subscribed inferiors: \\Noselect.

    A subscribed name that no mailbox has stays subscribed (RFC 3501 §6.3.9), and is \\Noselect too: NeoMutt asks for
    the STATUS of every name without it, again and again, and connects anew when one does not exist."""
    pattern = command.reference + command.pattern
    shown = {name for name in known.subscribed if matches(pattern, name)}
    above = {name for name in parents(known.subscribed) if "%" in command.pattern and matches(pattern, name)} - shown
    for name in sorted(shown | above):
        selectable = name in shown and name in known.rows
        yield Listed(() if selectable else (b"\\Noselect",), name, lsub=True)


def status_values(
    row: MailboxRow,
    items: tuple[StatusItem, ...],
    append_limit: int,
    deleted: Mapping[MailboxId, int] = NOTHING_DELETED,
) -> MailboxStatus:
    """STATUS of one mailbox (RFC 9051 §7.3.3). `append_limit`: octets a message may have (RFC 7889 §3.1); `deleted`:
    those of messages with \\Deleted, where there are any (RFC 9208 §4.1.4)."""
    values = {
        StatusItem.MESSAGES: row.total,
        StatusItem.RECENT: 0,
        StatusItem.UIDNEXT: row.uidnext,
        StatusItem.UIDVALIDITY: row.uidvalidity,
        StatusItem.UNSEEN: row.unseen,
        StatusItem.DELETED: row.deleted,
        StatusItem.DELETED_STORAGE: deleted.get(row.id, 0),
        StatusItem.SIZE: row.size,
        StatusItem.HIGHESTMODSEQ: row.modseq,
        StatusItem.MAILBOXID: row.id,
        StatusItem.APPENDLIMIT: append_limit,
    }
    return MailboxStatus(row.name, tuple((item, values[item]) for item in items))
