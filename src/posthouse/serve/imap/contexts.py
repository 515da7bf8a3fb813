"""Contexts: SEARCH, SORT and ESEARCH with UPDATE, and CANCELUPDATE (RFC 5267 §4.3, RFC 7377 §2.1): which of them
begin, and which are refused.

A context ends with the selection of its mailbox. CONTEXT is a hint that needs nothing here: a search is as fast with
it as without (RFC 5267 §4.2).
"""

import asyncio
from collections.abc import Sequence

from posthouse.serve.imap.context import Context, Wanted, can_be_kept, frozen, weight
from posthouse.serve.imap.fetch import show_items
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.updates import Updates
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Command
from posthouse.wire.imap.context import CancelUpdate
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.response import StatusResponse, bad, no, ok
from posthouse.wire.imap.search import Search
from posthouse.wire.imap.sort import Sort

LARGE = 5_000  # results that are put in place in a thread

TAG_IN_USE = "The results of an earlier search with this tag are kept up to date; use another tag."
UNSELECTED = "UPDATE is for the selected mailbox; SELECT one first."
NOT_SEARCHED = "UPDATE is for the selected mailbox, which was not among those searched."
CANNOT_KEEP = "One of the keys cannot be kept up to date; search again instead."
CUT = "Not all messages were searched, so the results are not kept up to date."


def refused(session: Session, command: Command) -> StatusResponse | None:
    """BAD for a tag that is in use already (RFC 5267 §4.3), and where nothing is selected (RFC 7377 §2.1)."""
    if not isinstance(command, Search | Sort | MultiSearch) or command.returns is None or not command.returns.updating:
        return None
    if not session.selecting:
        return bad(command.tag, UNSELECTED)
    updates = session.selected.updates
    return bad(command.tag, TAG_IN_USE) if updates is not None and command.tag in updates else None


def wanted(session: Session, command: Search | Sort | MultiSearch) -> Wanted | None:
    """What is to be kept up to date, its numbers as they are now: before the search, which may set what `$` means.
    None where UPDATE was not asked for. The column of uids must have been loaded."""
    if command.returns is None or not command.returns.updating:
        return None
    key = frozen(command.key, session.selected.view, session.selected.saved)
    uid = isinstance(command, MultiSearch) or command.uid
    criteria = command.criteria if isinstance(command, Sort) else None
    return Wanted(command.tag, key, uid, session.house.clock(), criteria, command.returns.items)


async def begin(session: Session, asked: Wanted | None, found: Sequence[int]) -> None:
    """Keep these results up to date, or say that they are not (RFC 5267 §4.3.1)."""
    if asked is None:
        return
    selected = session.selected
    if selected.updates is None:
        selected.updates = Updates(session.house, selected.box, lambda uids, items: show_items(session, uids, items))
    if not can_be_kept(asked.key):
        reason = CANNOT_KEEP
    elif selected.limited:
        reason = CUT
    else:
        reason = selected.updates.no_room(weight(asked.key), len(found), session.limits.contexts)
    if reason:
        refuse(session, asked.tag, reason)
        return
    last = selected.view.last_uid
    if len(found) > LARGE:
        selected.updates.begin(await asyncio.to_thread(Context, asked, found, last))
    else:
        selected.updates.begin(Context(asked, found, last))


def refuse(session: Session, tag: bytes, reason: str) -> None:
    """NO with NOUPDATE, untagged (RFC 5267 §4.3.1)."""
    session.say(no(None, reason, code.noupdate(tag)))


async def cancel_update(session: Session, command: CancelUpdate) -> StatusResponse:
    """RFC 5267 §4.3.5. Tags that are none are said, the others have ended all the same."""
    updates = session.selected.updates
    unknown = [tag for tag in command.tags if updates is None or not updates.end(tag)]
    if unknown:
        return no(command.tag, "Not all of these tags are of searches kept up to date; those that were have ended.")
    return ok(command.tag, "CANCELUPDATE completed.")


def end_numbered(session: Session) -> None:
    """UIDONLY was enabled: what is told by message numbers cannot be told any more (RFC 9586 §3)."""
    updates = session.selected.updates if session.selecting else None
    for tag in updates.numbered() if updates is not None else ():
        if updates is not None and updates.end(tag):
            refuse(session, tag, "Message numbers are not used any more; search again by UID SEARCH.")
