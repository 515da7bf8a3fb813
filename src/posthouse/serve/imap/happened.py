"""What happened to mailboxes that are not selected, and how it is told (RFC 5465 §5): two snapshots of the names are
compared, what the client knows and what is there.
"""

from collections.abc import Iterator, Sequence

from posthouse.serve.imap.known import Names
from posthouse.serve.imap.listing import attributes, parents
from posthouse.serve.imap.notices import Notices
from posthouse.store.access import EVERY
from posthouse.store.annotations import SERVER
from posthouse.store.mailboxes import SEPARATOR, Box, MailboxRow
from posthouse.wire.imap.list import StatusItem
from posthouse.wire.imap.notify import MESSAGE_EVENTS, Events, Occurrence
from posthouse.wire.imap.response import Listed, MailboxStatus, MetadataChanged

NO_ACCESS = b"\\NoAccess"  # RFC 5465 §3.1

Reply = Listed | MailboxStatus | MetadataChanged


def first_replies(notices: Notices, known: Names, selected: Box | None, *, status: bool) -> Iterator[Reply]:
    """What is said in answer to NOTIFY SET: STATUS, if asked for, and which mailboxes may not be read
    (RFC 5465 §3.1)."""
    for name in sorted(known.rows):
        row, events = known.rows[name], notices.wishes.of(name, known.subscribed)
        if row.noselect or row.box == selected or not events:
            continue
        if not known.readable(name):
            yield Listed((NO_ACCESS,), name)
        elif status and events & MESSAGE_EVENTS:
            items = [StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY]
            if Occurrence.FLAG_CHANGE in events:
                items.append(StatusItem.HIGHESTMODSEQ)
            yield _status(row, items)


def news(notices: Notices, after: Names, selected: Box | None, *, condstore: bool) -> Iterator[Reply]:
    """What has happened to the mailboxes since `notices.known`; `after` are all names as they are."""
    yield from _of_names(notices, after)
    before = {row.id: (name, row) for name, row in notices.known.rows.items()}
    for name in sorted(after.rows):
        row, events = after.rows[name], notices.wishes.of(name, after.subscribed) & MESSAGE_EVENTS
        if not events or row.noselect or row.box == selected:
            continue
        was, old = before.get(row.id, ("", None))
        readable = after.readable(name)
        if old is not None and notices.known.readable(was) != readable:
            yield Listed(() if readable else (NO_ACCESS,), name)
        items = _items(old, row, events, condstore=condstore)
        if old is None and not row.total and name not in notices.known.rows:
            continue  # a new name with nothing in it is no news of messages
        if items and readable:
            yield _status(row, items)


def _items(old: MailboxRow | None, row: MailboxRow, events: Events, *, condstore: bool) -> list[StatusItem]:
    """The STATUS items that tell what happened, none where it is nothing that was asked for (RFC 5465 §5.1, §5.2)."""
    if old is None:  # made since
        return [StatusItem.UIDVALIDITY, StatusItem.UIDNEXT, StatusItem.MESSAGES]
    if old.modseq == row.modseq:
        return []
    items: list[StatusItem] = []
    if (old.uidnext, old.total, old.expunged_modseq) != (row.uidnext, row.total, row.expunged_modseq):
        items += [StatusItem.UIDNEXT, StatusItem.MESSAGES]
    if Occurrence.FLAG_CHANGE in events and old.unseen != row.unseen:
        items.append(StatusItem.UNSEEN)
    if condstore and (items or Occurrence.FLAG_CHANGE in events):
        items += [StatusItem.HIGHESTMODSEQ, StatusItem.UIDVALIDITY]
    return items


def _status(row: MailboxRow, items: Sequence[StatusItem]) -> MailboxStatus:
    values = {
        StatusItem.MESSAGES: row.total,
        StatusItem.UIDNEXT: row.uidnext,
        StatusItem.UIDVALIDITY: row.uidvalidity,
        StatusItem.UNSEEN: row.unseen,
        StatusItem.HIGHESTMODSEQ: row.modseq,
    }
    return MailboxStatus(row.name, tuple((item, values[item]) for item in items))


def annotated(notices: Notices, after: Names, changes: Sequence[tuple[int, str, int]]) -> Iterator[MetadataChanged]:
    """The entries that others changed, of the server and of the mailboxes that are watched (RFC 5465 §5.6, §5.7)."""
    changed: dict[int, dict[str, None]] = {}
    for mailbox, entry, number in changes:
        if number not in notices.own:
            changed.setdefault(mailbox, {})[entry] = None
    notices.own.clear()
    if SERVER in changed and Occurrence.SERVER_METADATA_CHANGE in notices.wishes.metadata:
        yield MetadataChanged("", tuple(changed[SERVER]))
    for name in sorted(after.rows) if changed else ():
        row, rights = after.rows[name], after.rights.get(name, EVERY)
        wanted = Occurrence.MAILBOX_METADATA_CHANGE in notices.wishes.of(name, after.subscribed)
        if row.id in changed and wanted and rights & frozenset("rswip"):  # RFC 5464 §3.3
            yield MetadataChanged(name, tuple(changed[row.id]))


# --- names


def _of_names(notices: Notices, after: Names) -> Iterator[Listed]:
    """LIST for each name that was made, removed, renamed or (un)subscribed (RFC 5465 §5.4, §5.5, §5.9)."""
    told = dict.fromkeys(_made_or_removed(notices, after))
    told.update(_renamed(notices, after))
    for name in notices.known.subscribed ^ notices.watching(after).subscribed:
        both = notices.known.subscribed | after.subscribed
        if Occurrence.SUBSCRIPTION_CHANGE in notices.wishes.of(name, both):
            told.setdefault(name)
    fathers = parents(after.rows) if told else frozenset[str]()
    for name in sorted(told.keys() - notices.muted):
        found = attributes(after.rows.get(name), inferiors=name in fathers)
        if name in after.subscribed:
            found = (*found, b"\\Subscribed")
        yield Listed(found, name, old_name=told[name])


def _made_or_removed(notices: Notices, after: Names) -> Iterator[str]:
    """The names themselves, and the names above them, whose attributes may be others now."""
    before = notices.known
    was = {row.id for row in before.rows.values()}
    now = {row.id for row in after.rows.values()}
    changed = {name for name, row in before.rows.items() if row.id not in now}
    changed |= {name for name, row in after.rows.items() if row.id not in was}
    both = before.subscribed | after.subscribed
    for name in changed:
        above = name.rpartition(SEPARATOR)[0]
        for affected in (name, above):
            if affected and Occurrence.MAILBOX_NAME in notices.wishes.of(affected, both):
                yield affected


def _renamed(notices: Notices, after: Names) -> Iterator[tuple[str, str]]:
    """New and old name; of what lies below a renamed mailbox nothing is said."""
    now = {row.id: name for name, row in after.rows.items()}
    moved = {old: now[row.id] for old, row in notices.known.rows.items() if now.get(row.id, old) != old}
    both = notices.known.subscribed | after.subscribed
    for old, new in moved.items():
        events = notices.wishes.of(old, both) | notices.wishes.of(new, both)
        if Occurrence.MAILBOX_NAME in events and not _with_its_parent(old, new, moved):
            yield new, old


def _with_its_parent(old: str, new: str, moved: dict[str, str]) -> bool:
    above = old.rpartition(SEPARATOR)[0]
    while above:
        target = moved.get(above)
        if target is not None and target + old[len(above) :] == new:
            return True
        above = above.rpartition(SEPARATOR)[0]
    return False
