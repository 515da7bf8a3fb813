"""SELECT, EXAMINE, CLOSE, UNSELECT, CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS, NAMESPACE
(RFC 9051 §6.3, RFC 3501 §6.3). LIST and LSUB are in listing.py.

SELECT costs one row however large the mailbox is. The UNSEEN code of RFC 3501 needs the place of a message: it is given
where the column of uids is at hand or cheap to read, and left out of mailboxes larger than UNSEEN_COUNTED otherwise.

A session whose selected mailbox is deleted by another is told `* OK [CLOSED]` if it enabled IMAP4rev2, and is then in
the authenticated state (RFC 9051 §3, transition 6); an IMAP4rev1 session gets BYE, the only thing it can understand.
One that deletes it itself knows, and goes on in either version.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from posthouse.mail.ids import UID, MailboxId, Millis
from posthouse.serve.imap import condstore, doings, listing
from posthouse.serve.imap.listing import SPECIAL_USE, attributes, parents, status_values
from posthouse.serve.imap.refusals import refusal, sentence
from posthouse.serve.imap.selected import MailboxGone, Selected
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import View
from posthouse.store import emails, mailboxes, names, quota, urlkeys
from posthouse.store.changed import Since, catch_up
from posthouse.store.flag_column import keywords_in_use
from posthouse.store.mailboxes import MailboxRow
from posthouse.store.names import Place, Reader
from posthouse.store.namespace import OTHERS
from posthouse.store.quota import Rules, deleted_octets
from posthouse.store.script import Exists as NameTaken
from posthouse.store.script import NotFound, Refused, Script, StoreError, UseRefused
from posthouse.wire.imap import code
from posthouse.wire.imap.command import (
    Close,
    Create,
    Delete,
    Namespace,
    Rename,
    Select,
    Status,
    Subscribe,
    Unselect,
    Unsubscribe,
)
from posthouse.wire.imap.condstore import Resync
from posthouse.wire.imap.list import StatusItem
from posthouse.wire.imap.response import (
    Exists,
    Listed,
    NamespacePrefix,
    Namespaces,
    Recent,
    StatusResponse,
    no,
    ok,
)
from posthouse.wire.imap.urlauth import URLMECH

UNSEEN_COUNTED = 20_000  # messages; reading their uids takes some 5 ms, and the next command would need them anyway


VIRTUAL = frozenset({"all", "flagged"})  # they would show what lies in other mailboxes (RFC 6154 §2)
DELETED = "The selected mailbox was deleted."
GONE = "The selected mailbox was deleted, or is no longer shared with you."


def no_such_mailbox(tag: bytes) -> StatusResponse:
    """The answer to a name that is none, or that the user may not know of."""
    return no(tag, "There is no mailbox of that name.", code.NONEXISTENT)


# --- SELECT


class Opened(NamedTuple):
    """What SELECT says, of one snapshot."""

    place: Place
    unseen: UID | None
    since: Since
    url_key: bytes | None
    keywords: set[str]


def open_mailbox(reader: Reader, name: str, resync: Resync | None) -> Script[Opened]:
    """What SELECT says. Raises NotFound, Forbidden."""
    place = yield from names.need(reader, name, "r")
    unseen = None
    if place.row.unseen:
        unseen = yield from emails.first_unseen(place.row.box)
    since = Since((), ())
    if resync is not None and resync.uidvalidity == place.row.uidvalidity:
        since = yield from catch_up(place.row.box, resync.modseq)
    url_key = yield from urlkeys.find(reader.account, place.row.id)
    return Opened(place, unseen, since, url_key, (yield from keywords_in_use(place.row.box)))


async def select(session: Session, command: Select) -> StatusResponse:
    """RFC 9051 §6.3.2, §6.3.3; RFC 3501 §6.3.1 for the RECENT and UNSEEN of IMAP4rev1."""
    resync = command.parameters.resync
    if condstore.lacks_enable(session, resync):
        return condstore.needs_enable(command.tag)
    if session.selecting:
        session.deselect()
        session.say(ok(None, "The mailbox selected before is closed now.", code.CLOSED))
    try:
        opened = await session.store.read(open_mailbox, session.reader, command.mailbox, resync)
    except NotFound:
        return no_such_mailbox(command.tag)
    place, row = opened.place, opened.place.row
    if command.parameters.condstore:
        condstore.aware(session)  # before the mailbox is selected, whose HIGHESTMODSEQ comes below
    view = View(row.total, row.uidnext, row.modseq)
    session.select(Selected(row.box, row.name, view, place.rights, read_only=command.read_only))
    session.selected.url_key = opened.url_key
    session.selected.keywords |= opened.keywords  # RFC 9051 §7.3.5: those that messages have
    session.say(session.selected.flags(), Exists(row.total))
    if not session.rev2:
        session.say(Recent())
        number = await _first_unseen(session, opened.unseen)
        if number:
            session.say(ok(None, "First message not seen.", b"UNSEEN %d" % number))
    session.say(
        session.selected.permanent_flags(),
        ok(None, "The next message gets this UID or a higher one.", code.uidnext(row.uidnext)),
        ok(None, "UIDs are valid while this number stays.", code.uidvalidity(row.uidvalidity)),
        ok(None, "The mailbox keeps this id, whatever its name.", code.mailboxid(row.id)),
        ok(None, "URLs can be authorized by this.", URLMECH),  # RFC 4467 §8
    )
    if session.rev2:
        old_name = command.mailbox if command.mailbox != row.name else None  # RFC 9051 §6.3.2: MUST
        session.say(Listed(await _attributes(session, row), row.name, old_name=old_name))
    await condstore.opened(session, resync, opened.since)
    if session.selected.read_only:
        return ok(command.tag, "EXAMINE completed." if command.read_only else "SELECT completed.", code.READ_ONLY)
    return ok(command.tag, "SELECT completed.", code.READ_WRITE)


async def _first_unseen(session: Session, unseen: UID | None) -> int | None:
    """The message sequence number of the first message without \\Seen (RFC 3501 §7.1 UNSEEN)."""
    view = session.selected.view
    if unseen is None or session.uid_only or (view.uids is None and view.total > UNSEEN_COUNTED):
        return None
    view = await session.load()
    return bisect_left(view.column, unseen) + 1


async def _attributes(session: Session, row: MailboxRow) -> tuple[bytes, ...]:
    known = await session.store.read(listing.names, session.reader)
    return attributes(row, inferiors=row.name in parents(known.rows))


async def close(session: Session, command: Close) -> StatusResponse:
    """RFC 9051 §6.4.1."""
    selected = session.selected
    if selected.may("e"):  # RFC 4314 §4: without the right CLOSE is OK all the same
        gone = await session.store.run(emails.expunge, selected.box, kept=doings.removal(session))
        doings.expunged(session, gone.uids)
    session.deselect()
    return ok(command.tag, "CLOSE completed.")


async def unselect(session: Session, command: Unselect) -> StatusResponse:
    """RFC 9051 §6.4.2."""
    session.deselect()
    return ok(command.tag, "UNSELECT completed.")


def mailbox_gone(session: Session) -> None:
    """The selected mailbox is no more; see above. Raises MailboxGone where only BYE is left."""
    if not session.rev2:
        raise MailboxGone
    _closed(session, GONE)


def _closed(session: Session, text: str) -> None:
    session.deselect()
    session.say(ok(None, text, code.CLOSED))


# --- making and unmaking


async def create(session: Session, command: Create) -> StatusResponse:
    """RFC 9051 §6.3.4."""
    role = _role(command.uses)
    if role is None and command.uses:
        return no(command.tag, _no_such_use(command.uses), code.USEATTR)
    try:
        row = await session.store.run(create_within, session.reader, command.mailbox, role, session.house.quota.rules)
    except NameTaken:
        return no(command.tag, "There is a mailbox of that name already.", code.ALREADYEXISTS)
    except UseRefused as error:
        return no(command.tag, sentence(str(error)), code.USEATTR)
    normalized(session, command.mailbox.removesuffix("/"), row.name)
    return ok(command.tag, "CREATE completed.", code.mailboxid(row.id))


def create_within(reader: Reader, name: str, role: str | None, rules: Rules) -> Script[MailboxRow]:
    """CREATE, as far as there may be one more mailbox. Raises OverQuota and what names.create raises."""
    row = yield from names.create(reader, name, role)
    yield from quota.demand_mailboxes(row.account, rules)
    return row


def rename_within(reader: Reader, asked: tuple[str, str], now: Millis, rules: Rules) -> Script[str]:
    """RENAME, which may make superiors, and of INBOX a mailbox. Raises OverQuota and what names.rename raises."""
    place = yield from names.find(reader, asked[0])
    before = None if place is None else (yield from quota.of(place.row.account, rules))
    name = yield from names.rename(reader, *asked, now)
    if place is not None and before is not None:
        yield from quota.demand_mailboxes(place.row.account, rules, before.usage.mailboxes)
    return name


def _role(uses: tuple[str, ...]) -> str | None:
    """The role for these special uses; None where a mailbox cannot have them (RFC 6154 §3). There are no virtual
    mailboxes here, and a mailbox has one role (RFC 8621 §2)."""
    return uses[0] if len(uses) == 1 and uses[0] in SPECIAL_USE and uses[0] not in VIRTUAL else None


def _no_such_use(uses: tuple[str, ...]) -> str:
    if len(uses) > 1:
        return "A mailbox has at most one special use here; nothing was created."
    return f"The special use \\{uses[0].capitalize()} is not supported here; nothing was created."


def normalized(session: Session, asked: str, name: str, attributes: tuple[bytes, ...] = ()) -> None:
    """LIST with OLDNAME where the name was normalized, for who knows it (RFC 9051 §6.3.9.7)."""
    if session.rev2 and asked != name:
        session.say(Listed(attributes, name, old_name=asked))


async def delete(session: Session, command: Delete) -> StatusResponse:
    """RFC 9051 §6.3.5. With inferiors the name stays as \\Noselect."""
    try:
        row = await session.store.run(names.delete, session.reader, command.mailbox, doings.removal(session))
    except NotFound:
        return no_such_mailbox(command.tag)
    except Refused as error:
        return refusal(command.tag, error)
    if session.selecting and session.selected.box == row.box:
        _closed(session, DELETED)
    normalized(session, command.mailbox, row.name, (b"\\NonExistent",))
    return ok(command.tag, "DELETE completed.")


async def rename(session: Session, command: Rename) -> StatusResponse:
    """RFC 9051 §6.3.6."""
    try:
        asked, now = (command.mailbox, command.target), session.house.clock()
        name = await session.store.run(rename_within, session.reader, asked, now, session.house.quota.rules)
    except NotFound:
        return no_such_mailbox(command.tag)
    except NameTaken:
        return no(command.tag, "There is a mailbox of the new name already.", code.ALREADYEXISTS)
    target = command.target.removesuffix("/")
    if name != target or mailboxes.canonical_name(command.mailbox) != command.mailbox:
        normalized(session, command.mailbox, name)  # RFC 9051 §6.3.6
    return ok(command.tag, "RENAME completed.")


async def subscribe(session: Session, command: Subscribe | Unsubscribe) -> StatusResponse:
    """RFC 9051 §6.3.7, §6.3.8."""
    wanted = isinstance(command, Subscribe)
    try:
        await session.store.run(names.subscribe, session.reader, command.mailbox, subscribed=wanted)
    except NotFound:
        return no_such_mailbox(command.tag)
    except StoreError as error:
        return refusal(command.tag, error)
    return ok(command.tag, "SUBSCRIBE completed." if wanted else "UNSUBSCRIBE completed.")


# --- asking


async def status(session: Session, command: Status) -> StatusResponse:
    """RFC 9051 §6.3.11."""
    try:
        place = await session.store.read(names.need, session.reader, command.mailbox, "r")
    except NotFound:
        return no_such_mailbox(command.tag)
    if StatusItem.HIGHESTMODSEQ in command.items:
        condstore.aware(session)
    deleted: Mapping[MailboxId, int] = {}
    if StatusItem.DELETED_STORAGE in command.items and place.row.deleted:
        deleted = await session.store.read(deleted_octets, [place.row.id])
    shown = condstore.knowable(session, place.row)
    session.say(status_values(shown, command.items, session.house.limits.message_size, deleted))
    return ok(command.tag, "STATUS completed.")


async def namespace(session: Session, command: Namespace) -> StatusResponse:
    """RFC 9051 §6.3.10: one personal namespace, with no prefix, and one for the mailboxes of others."""
    session.say(Namespaces(other=(NamespacePrefix(OTHERS + mailboxes.SEPARATOR),)))
    return ok(command.tag, "NAMESPACE completed.")
