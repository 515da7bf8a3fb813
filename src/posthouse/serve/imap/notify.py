"""NOTIFY (RFC 5465): the client is told of what it asked for, between commands, in commands and in IDLE.

A hint of the store wakes the session. The selected mailbox is told of at once, as always, less what the client does not
want (state.py). For all others the rows of the mailboxes are read, at most once in PACE seconds however much happens,
and compared with what the client knows (happened.py). Hints may be lost, so it looks once a minute too. A client that
does not read holds its own session up and nothing else: what happens meanwhile is told in one piece later.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from posthouse.serve.imap import listing
from posthouse.serve.imap.fetch import show_items
from posthouse.serve.imap.happened import Reply, annotated, first_replies, news
from posthouse.serve.imap.known import Names
from posthouse.serve.imap.mailboxes import mailbox_gone
from posthouse.serve.imap.notices import Notices
from posthouse.serve.imap.selected import MailboxGone
from posthouse.serve.imap.state import Session
from posthouse.store import annotations
from posthouse.store.script import StoreError
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Command, Create, Delete, Rename, Subscribe, Unsubscribe
from posthouse.wire.imap.condition import Condition
from posthouse.wire.imap.notify import Notify
from posthouse.wire.imap.response import StatusResponse, no, ok

log = logging.getLogger("posthouse.imap")

WATCHED = 2_000  # mailboxes that one session watches: what is kept of them is some 500 octets each
SHOWN = 1_000  # new messages at once of which FETCH items are shown
PACE = 0.25  # seconds between two looks at all mailboxes
LOOK = 60.0  # seconds after which it looks though no hint came
TOGETHER = 500  # responses joined before the peer's pace is asked for

TOO_MANY = f"More than {WATCHED} mailboxes cannot be watched at once; name fewer of them."


async def notify(session: Session, command: Notify) -> StatusResponse:
    """RFC 5465 §3.1. SET first tells all that has happened to the selected mailbox."""
    if command.groups is None:
        _replace(session, _nothing(session))
        return ok(command.tag, "Nothing is told from now on.")
    notices = Notices(command.groups, lambda uids: _show(session, uids))
    if notices.wishes.any:
        _watch(session, notices, Names({}, frozenset()))
    try:
        known = await session.store.read(listing.names, session.reader)
        notices.noted = await session.store.read(annotations.latest)
        watched = notices.watching(known)
        if len(watched.rows) > WATCHED:
            notices.end()
            return no(command.tag, TOO_MANY, code.NOTIFICATIONOVERFLOW)
        _replace(session, None)
        await _selected(session, expunge=True, look=True)
    except (StoreError, MailboxGone):
        notices.end()
        raise
    _watch(session, notices, watched)
    notices.known = watched
    session.notices = notices
    _again(session, notices, LOOK)
    box = session.selected.box if session.selecting else None
    await _say(session, first_replies(notices, watched, box, status=command.status))
    return ok(command.tag, "NOTIFY completed.")


def _nothing(session: Session) -> Notices:
    return Notices((), lambda uids: _show(session, uids))


def _replace(session: Session, notices: Notices | None) -> None:
    if session.notices is not None:
        session.notices.end()
    session.notices = notices


def _watch(session: Session, notices: Notices, names: Names) -> None:
    """Be woken by what happens to the own account and to those whose mailboxes are watched."""

    def heard(modseq: int) -> None:
        notices.due = True
        session.link.wake()

    wanted = {row.account for row in names.rows.values()} | {session.who.account}
    for account in notices.watched.keys() - wanted:
        notices.watched.pop(account)()
    for account in wanted - notices.watched.keys():
        notices.watched[account] = session.store.watch(account, heard)


def _again(session: Session, notices: Notices, seconds: float) -> None:
    """Wake the session after so many seconds; one such time is kept."""
    if notices.timer is not None:
        notices.timer.cancel()

    def wake() -> None:
        notices.tick = notices.tick or seconds >= LOOK
        notices.due = True
        session.link.wake()

    notices.timer = asyncio.get_running_loop().call_later(seconds, wake)


# --- telling


async def between(session: Session) -> None:
    """The session was woken while no command runs: tell what the client asked for. May raise MailboxGone."""
    notices = session.notices
    if notices is None or not await session.welcome():
        return
    look, notices.tick = notices.tick, False
    try:
        await _selected(session, expunge=not notices.delayed, look=look)
    except StoreError:
        log.warning("the changes of a mailbox could not be read; they will be told later")
    await others(session)


async def _selected(session: Session, *, expunge: bool, look: bool) -> None:
    try:
        await session.sync(expunge=expunge, look=look)
    except MailboxGone:
        mailbox_gone(session)


async def others(session: Session) -> None:
    """Tell of the mailboxes that are not selected, unless they were looked at a moment ago."""
    notices = session.notices
    if notices is None or not notices.due or not notices.wishes.any:
        return
    now = asyncio.get_running_loop().time()
    if now < notices.look_at:
        _again(session, notices, notices.look_at - now)
        return
    notices.due, notices.look_at = False, now + PACE
    _again(session, notices, LOOK)
    try:
        after = await session.store.read(listing.names, session.reader)
        changes = await _changes(session, notices)
    except StoreError:
        log.warning("the mailboxes of a user could not be read; what happened to them will be told later")
        return
    watched = notices.watching(after)
    if len(watched.rows) > WATCHED:
        overflow(session, TOO_MANY)
        return
    if session.has_hint:  # it came meanwhile: of a move the selected mailbox is told before the other one
        await _selected(session, expunge=session.idling or not notices.delayed, look=False)
    box = session.selected.box if session.selecting else None
    replies = list(news(notices, after, box, condstore=session.condstore))
    replies += annotated(notices, after, changes)
    notices.known = watched
    notices.muted.clear()
    _watch(session, notices, watched)
    await _say(session, replies)


async def _changes(session: Session, notices: Notices) -> list[tuple[int, str, int]]:
    """The changes of annotations since the last look, if they are wanted (RFC 5465 §5.6, §5.7)."""
    if not notices.wishes.metadata:
        return []
    found = await session.store.read(annotations.changed, session.reader, notices.noted)
    if found:
        notices.noted = found[-1][2]
        if len(found) == annotations.CHANGES:
            notices.due = True
    return found


async def _say(session: Session, replies: Iterable[Reply]) -> None:
    for place, reply in enumerate(replies, 1):
        session.say(reply)
        if place % TOGETHER == 0:
            await session.link.flush()
            await asyncio.sleep(0)  # others have their turn
    await session.link.flush()


async def _show(session: Session, uids: Sequence[int]) -> None:
    """The FETCH responses of new messages in the selected mailbox (RFC 5465 §5.2)."""
    notices = session.notices
    if notices is None or not notices.items:
        return
    if len(uids) > SHOWN:
        overflow(session, f"More than {SHOWN} messages came at once; look for them, then send NOTIFY again.")
        return
    await show_items(session, uids, notices.items)


def overflow(session: Session, text: str) -> None:
    """Be as after NOTIFY NONE, and say so (RFC 5465 §5.8)."""
    _replace(session, _nothing(session))
    session.say(ok(None, text, code.NOTIFICATIONOVERFLOW))


def note_own(session: Session, command: Command, answer: StatusResponse | None) -> None:
    """What this client did to names itself it is not told of (RFC 5465 §5)."""
    if session.notices is None or answer is None or answer.condition is not Condition.OK:
        return
    match command:
        case Create(mailbox=name) | Delete(mailbox=name) | Subscribe(mailbox=name) | Unsubscribe(mailbox=name):
            session.notices.mute((name,))
        case Rename(mailbox=old, target=new):
            session.notices.mute((old, new))
