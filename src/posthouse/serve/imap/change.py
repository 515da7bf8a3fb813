"""STORE, COPY, MOVE, EXPUNGE and their UID forms (RFC 9051 §6.4.3, §6.4.6 to §6.4.9).

Each command is one script: what other sessions did since the client was last told, the change itself, and what the
client must be told of it are read in one transaction. So a flag that another session set is never mistaken for our
own (RFC 9051 §6.4.6: flags are determinate without a race), and a COPY is whole or not at all.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.ids import UID, MailboxId, Millis, ModSeq
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.serve.imap import condstore, doings, messagelimit
from posthouse.serve.imap.refusals import no_such_number, sentence
from posthouse.serve.imap.selected import Selected
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import Ranges, count
from posthouse.store import access, across, emails, names, quota
from posthouse.store.access import restrict
from posthouse.store.changed import passing
from posthouse.store.emails import Changes, Copied, FlagChange, Mode, Spans, Stored
from posthouse.store.mailboxes import Box
from posthouse.store.names import Reader
from posthouse.store.quota import Asked, Rules
from posthouse.store.removed import Removal
from posthouse.store.script import Forbidden, NotFound, OverQuota, Script, Stale
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Copy, Expunge, Move, StoreFlags, StoreMode
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.response import StatusResponse, no, ok

TRASH = "trash"  # role of a mailbox (RFC 8621 §2)
SOFT = "The quota is exceeded now; EXPUNGE what is deleted, and empty the Trash."

LINES = 1_000  # FETCH lines joined before the peer's pace is asked for

_MODES = {StoreMode.REPLACE: Mode.SET, StoreMode.ADD: Mode.ADD, StoreMode.REMOVE: Mode.REMOVE}


class Known(NamedTuple):
    """What the client knows of the mailbox: all changes up to `modseq`, all messages below `uidnext`."""

    modseq: ModSeq
    uidnext: int


def denied(tag: bytes, selected: Selected, rights: str) -> StatusResponse:
    """The answer to a change in a mailbox opened by EXAMINE (RFC 9051 §6.3.3), or of another who has not given all of
    these rights (RFC 4314 §4)."""
    if selected.examined:
        return no(tag, "The mailbox was opened read-only by EXAMINE; open it by SELECT to change it.")
    needed = " and ".join(f'"{right}"' for right in rights)
    return no(tag, f"The mailbox belongs to another; this needs the right {needed} from its owner.", code.NOPERM)


# --- STORE


class Altered(NamedTuple):
    """A STORE: what others did before it, the result, what it did to messages it did not name, and the new flags."""

    before: Changes
    stored: Stored
    beside: Changes
    failed: Sequence[tuple[UID, int, str, ModSeq]]
    rows: Sequence[tuple[UID, int, str, ModSeq]]


class Order(NamedTuple):
    """A STORE to do. `whole`: it names every message the client knows; `show`: its new flags are wanted; `news`: those
    that changed are; `unchanged_since`: messages changed later are left alone (RFC 7162 §3.1.3)."""

    spans: Spans
    change: FlagChange
    whole: bool
    show: bool
    news: bool = False
    unchanged_since: int | None = None


def alter(box: Box, order: Order, client: Known) -> Script[Altered]:
    """Change flags. Two placements of one Email in a mailbox share their keywords (decision 0021), so a message that
    was not named may change too."""
    before = yield from emails.changes(box, client.modseq, client.uidnext)
    spans = order.spans
    failed: Sequence[tuple[UID, int, str, ModSeq]] = ()
    if order.unchanged_since is not None:
        spans, failed = yield from passing(box, spans, order.change, order.unchanged_since)
    stored = yield from emails.store_flags(box, spans, order.change)
    uidnext = max(client.uidnext, before.uidnext)
    beside = Changes(stored.modseq, uidnext, before.total, (), (), ())
    if stored.count and (failed or not order.whole):
        found = yield from emails.changes(box, before.modseq, uidnext)
        beside = found._replace(changed=tuple(row for row in found.changed if not inside(row[0], spans)))
    rows: Sequence[tuple[UID, int, str, ModSeq]] = ()
    if order.show or (order.news and stored.count):
        rows = yield from emails.flags(box, spans)
    if not order.show:
        rows = [row for row in rows if row[3] == stored.modseq]
    return Altered(before, stored, beside, failed, rows)


def inside(uid: int, spans: Spans) -> bool:
    """Whether ascending inclusive spans hold the uid."""
    place = bisect_right(spans, (uid, 0xFFFFFFFF)) - 1
    return place >= 0 and uid <= spans[place][1]


async def alter_flags(session: Session, order: Order, *, expunge: bool) -> Altered:
    """Change flags and tell what others did; gives the new flags of the messages named, where wanted."""
    selected = session.selected
    view = selected.view
    altered = await session.store.run(alter, selected.box, order, Known(view.modseq, view.uidnext))
    session.heard(altered.stored.modseq)
    if altered.stored.count:
        doings.flagged(session, order.spans, order.change)
    await session.tell(altered.before, expunge=expunge)
    await session.tell(altered.beside, expunge=expunge)
    if selected.updates:
        selected.updates.note(altered.rows)
    return altered


async def store_flags(session: Session, command: StoreFlags) -> StatusResponse:
    """RFC 9051 §6.4.6."""
    if command.unchanged_since is not None:
        condstore.aware(session)
    change = _permitted(session.selected, command)
    if isinstance(change, StatusResponse):
        return change
    ranges = await session.resolve(command.numbers, uid=command.uid)
    if ranges is None:
        return no_such_number(command.tag)
    if not ranges:
        return ok(command.tag, "STORE completed; no message was meant.")
    ranges = messagelimit.cut(session, ranges)
    wanted = count(ranges)
    view = session.selected.view
    conditional = command.unchanged_since is not None
    order = Order(
        view.uid_spans(ranges),
        change,
        wanted == view.total,
        conditional or not command.silent,
        session.condstore or bool(session.selected.updates),
        command.unchanged_since,
    )
    known = view.modseq
    altered = await alter_flags(session, order, expunge=command.uid)
    rows = altered.rows
    # those whose change the client was told of before; the others were told as news
    await _show_flags(session, [row for row in altered.failed if row[3] <= known], command)
    if command.silent and session.condstore:
        await _show_modseqs(session, rows)
    elif not command.silent:
        await _show_flags(session, rows, command)
    if altered.failed:
        return _modified(session, command, altered)
    if command.silent:
        return ok(command.tag, "STORE completed.")
    if len(rows) < wanted and not command.uid:
        return ok(command.tag, "STORE completed; some messages were expunged meanwhile.", code.EXPUNGEISSUED)
    return ok(command.tag, "STORE completed.")


def _modified(session: Session, command: StoreFlags, altered: Altered) -> StatusResponse:
    """RFC 7162 §3.1.3: the messages that were left alone, in the numbers of the command."""
    uids = [row[0] for row in altered.failed]
    numbers = uids if command.uid else [number for uid in uids if (number := session.selected.view.number(uid))]
    return ok(command.tag, "STORE completed, but for messages changed meanwhile.", code.modified(numbers))


async def _show_modseqs(session: Session, rows: Sequence[tuple[UID, int, str, ModSeq]]) -> None:
    view = session.selected.view
    for start in range(0, len(rows), LINES):
        numbered = [(view.number(row[0]), row) for row in rows[start : start + LINES]]
        session.link.write(*[session.modseq_line(number, row) for number, row in numbered if number is not None])
        await session.link.flush()
        await asyncio.sleep(0)  # others have their turn


def _permitted(selected: Selected, command: StoreFlags) -> FlagChange | StatusResponse:
    """As much of a STORE as the user may do; it is refused where that is nothing (RFC 4314 §4)."""
    if selected.examined:
        return denied(command.tag, selected, "")
    change = FlagChange(_MODES[command.mode], command.flags.bits, command.flags.keywords)
    return restrict(change, selected.rights) or denied(command.tag, selected, _rights_for(change))


def _rights_for(change: FlagChange) -> str:
    wanted = [(change.keywords or change.bits & ~(SEEN_BIT | DELETED_BIT), "w")]
    wanted += [(change.bits & SEEN_BIT, "s"), (change.bits & DELETED_BIT, "t")]
    return "".join(right for needed, right in wanted if needed) or "w"


async def _show_flags(session: Session, rows: Sequence[tuple[UID, int, str, ModSeq]], command: StoreFlags) -> None:
    view = session.selected.view
    session.name_keywords(row[2] for row in rows if row[2])
    for start in range(0, len(rows), LINES):
        lines = []
        for row in rows[start : start + LINES]:
            number = view.number(row[0])
            if number is not None:
                lines.append(session.flag_line(number, row, uid=command.uid))
        session.link.write(*lines)
        await session.link.flush()
        await asyncio.sleep(0)  # others have their turn


# --- COPY and MOVE


class Transfer(NamedTuple):
    """A COPY or MOVE to do, saved `now` in the mailbox of this name (RFC 8514 §3). `wanted`: how many messages there
    must be, lest a part be taken for the whole (RFC 9051 §6.4.7). `kept`: what a guest takes away may come back."""

    spans: Spans
    name: str
    wanted: int | None
    move: bool
    now: Millis
    rules: Rules
    kept: Removal | None = None


def place(box: Box, target: MailboxId, order: Transfer) -> Script[Copied]:
    """COPY or MOVE, as one verb."""
    if order.move:
        return (yield from emails.move(box, order.spans, target, order.now))
    return (yield from emails.copy(box, order.spans, target, order.now))


class Transferred(NamedTuple):
    """What a COPY or MOVE did; `over`: its target is in the overdraft of its quota now."""

    copied: Copied
    target: MailboxId
    over: bool


def transfer(reader: Reader, box: Box, order: Transfer) -> Script[Transferred]:
    """Copy or move to the mailbox of this name. Raises NotFound, Forbidden, Stale, OverQuota."""
    target = yield from names.need(reader, order.name, "i")
    if box.account == target.row.account == reader.account:
        copied = yield from place(box, target.row.id, order)
    else:
        yield from _entitled(reader, box, "rte" if order.move else "r")
        taken = box.account not in (reader.account, target.row.account)
        crossing = across.Crossing(target.rights, order.now, order.move, order.kept if taken else None)
        copied = yield from across.cross(box, order.spans, target.row.box, crossing)
    if order.wanted is not None and len(copied.source) != order.wanted:
        raise Stale("Some of the messages were expunged meanwhile")
    over = False
    if copied.source and not (order.move and box.account == target.row.account):
        # Who can only delete by a copy to the Trash must be able to when all is full (decision 0097).
        deleting = box.account == target.row.account and target.row.role == TRASH
        over = yield from quota.demand(target.row.account, Asked(order.rules, promised=deleting))
    return Transferred(copied, target.row.id, over)


def _entitled(reader: Reader, box: Box, needed: str) -> Script[None]:
    """Raises Forbidden unless the user has these rights on the mailbox as it is now."""
    if box.account == reader.account:
        return
    lacking = frozenset(needed) - (yield from access.rights(box.mailbox, reader.identifier))
    if lacking:
        raise Forbidden(f"the owner of the mailbox has not given you the rights {', '.join(sorted(lacking))}")


async def copy(session: Session, command: Copy) -> StatusResponse:
    """RFC 9051 §6.4.7."""
    ranges = await session.resolve(command.numbers, uid=command.uid)
    if ranges is None:
        return no_such_number(command.tag)
    refused = messagelimit.too_many(session, command.tag, ranges)
    if refused is not None:
        return refused
    copied = await _transfer(session, command, ranges)
    if isinstance(copied, StatusResponse):
        return copied
    if not copied.source:
        return ok(command.tag, "No message was meant, so nothing was copied.")
    _remember(session, command.mailbox, copied)
    await session.sync(expunge=command.uid, look=True)
    return ok(command.tag, "COPY completed.", code.copyuid(copied.uidvalidity, copied.source, copied.target))


async def move(session: Session, command: Move) -> StatusResponse:
    """RFC 9051 §6.4.8: COPYUID comes first and untagged, then EXPUNGE."""
    if not (session.selected.may("t") and session.selected.may("e")):  # RFC 6851 §4.2
        return denied(command.tag, session.selected, "te")
    ranges = await session.resolve(command.numbers, uid=command.uid)
    if ranges is None:
        return no_such_number(command.tag)
    moved = await _transfer(session, command, messagelimit.cut(session, ranges))
    if isinstance(moved, StatusResponse):
        return moved
    if not moved.source:
        return ok(command.tag, "No message was meant, so nothing was moved.")
    session.say(ok(None, "Moved.", code.copyuid(moved.uidvalidity, moved.source, moved.target)))
    _remember(session, command.mailbox, moved)
    await session.sync(expunge=True, look=True)
    return ok(command.tag, "MOVE completed.", _highest(session))


def _remember(session: Session, name: str, copied: Copied) -> None:
    """What was copied into the selected mailbox itself is no news to this client (RFC 5465 §5.2)."""
    if name == session.selected.name:
        session.made = copied.target


async def _transfer(session: Session, command: Copy | Move, ranges: Ranges) -> Copied | StatusResponse:
    selected = session.selected
    spans = selected.view.uid_spans(ranges)
    wanted = None if command.uid else count(ranges)
    moving, rules = isinstance(command, Move), session.house.quota.rules
    now, kept = session.house.clock(), doings.removal(session)
    order = Transfer(spans, command.mailbox, wanted, moving, now, rules, kept)
    try:
        copied, target, over = await session.store.run(transfer, session.reader, selected.box, order)
    except NotFound:
        return no(command.tag, "There is no mailbox of that name; CREATE it first.", code.TRYCREATE)
    except Stale:
        return no(command.tag, "Some of the messages were expunged meanwhile; nothing was done.", code.EXPUNGEISSUED)
    except OverQuota as error:
        return no(command.tag, sentence(str(error)), code.LIMIT)
    if over:
        session.say(no(None, SOFT, code.OVERQUOTA))  # RFC 9208 §4.3.1
    if copied.source:
        doings.placed(session, copied, target, order.name, move=order.move)
    return copied


# --- EXPUNGE


async def expunge(session: Session, command: Expunge) -> StatusResponse:
    """RFC 9051 §6.4.3, and UID EXPUNGE of §6.4.9."""
    selected = session.selected
    if not selected.may("e"):
        return denied(command.tag, selected, "e")
    spans: Spans | None = None
    if command.uids is not None:
        ranges = await session.resolve(command.uids, uid=True)
        spans = selected.view.uid_spans(await _deleted(session, ranges or ()))
    gone = 0
    if spans is None or spans:
        kept = doings.removal(session)
        uids = (await session.store.run(emails.expunge, selected.box, spans, kept=kept)).uids
        doings.expunged(session, uids)
        gone = len(uids)
    await session.sync(expunge=True, look=True)
    return ok(command.tag, "EXPUNGE completed.", _highest(session) if gone else None)


async def _deleted(session: Session, ranges: Ranges) -> Ranges:
    """Of too many messages the newest that are \\Deleted: only these count for UID EXPUNGE (RFC 9738 §3.1)."""
    if count(ranges) <= session.limits.messages:
        return ranges
    view = session.selected.view
    rows = await session.store.read(emails.flags, session.selected.box, view.uid_spans(ranges))
    return messagelimit.cut(session, view.by_uid(runs([row[0] for row in rows if row[1] & DELETED_BIT])))


def _highest(session: Session) -> bytes | None:
    """HIGHESTMODSEQ in the tagged answer to EXPUNGE and MOVE (RFC 7162 §3.2.7, RFC 6851 §4.4)."""
    return code.highestmodseq(session.selected.view.known) if session.condstore else None
