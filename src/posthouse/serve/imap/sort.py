"""SORT and UID SORT (RFC 5256 §3, RFC 5957 §4, RFC 5267 §3): what was found, in the order of the criteria.

order.py sorts; what is long to word is worded in a thread.
"""

import asyncio
from array import array
from collections.abc import Sequence, Set
from dataclasses import replace

from posthouse.serve.imap import condstore, contexts
from posthouse.serve.imap.columns import Answer, columns_of
from posthouse.serve.imap.fuzzy import scores, wanted
from posthouse.serve.imap.order import ordered, terms
from posthouse.serve.imap.question import matching
from posthouse.serve.imap.search import asked, highest_modseq
from posthouse.serve.imap.search_return import extended, kept, relevancy_of
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.uids import ascending
from posthouse.serve.imap.view import View
from posthouse.store.script import StoreError
from posthouse.wire.imap import code
from posthouse.wire.imap.response import Printed, SortResult, StatusResponse, ok, print_response
from posthouse.wire.imap.sort import Sort


async def sort(session: Session, command: Sort) -> StatusResponse:
    """RFC 5256 §3, RFC 5267 §3."""
    view = await session.load()
    returns = command.returns
    condstore.aware_by(session, command.key)
    updating = contexts.wanted(session, command)
    try:
        asking = await asked(session)
        matched = await matching(asking, command.key)
        if returns is None and not wanted(command) and not condstore.names_modseq(command.key):
            await _say(session, command, matched)
            return _completed(view, command)
        relevancy = await scores(asking, command.key, matched) if wanted(command) else {}
        found = await ordered(session.store, session.selected.box, matched, command.criteria, relevancy)
    except StoreError:
        if returns is not None and returns.saving:
            session.selected.saved = ()  # RFC 9051 §6.4.4.1: NO leaves nothing in the variable
        raise
    numbers = found if command.uid else await asyncio.to_thread(numbered, view, found)
    if returns is not None and returns.saving:
        session.selected.saved = await asyncio.to_thread(kept, found, returns)
    modseq = await highest_modseq(session, command.key, found, returns)
    if returns is None:
        await session.say_long(SortResult(numbers, modseq), len(numbers))
    elif not returns.only_saving:
        result = extended(command.tag, numbers, returns, uid=command.uid, ascending=False)
        await session.say_long(
            replace(result, modseq=modseq, scores=relevancy_of(found, returns, relevancy)), len(numbers)
        )
    await contexts.begin(session, updating, found)
    return _completed(view, command)


def _completed(view: View, command: Sort) -> StatusResponse:
    if view.held:
        return ok(command.tag, "SORT completed; some messages were expunged meanwhile.", code.EXPUNGEISSUED)
    return ok(command.tag, "SORT completed.")


async def _say(session: Session, command: Sort, matched: Set[int]) -> None:
    """The plain answer: what a message is sorted by never changes, so that of the same messages under the same numbers
    is still right."""
    view, box = session.selected.view, session.selected.box
    columns, how = columns_of(session.store), tuple(terms(command.criteria))
    uids = await asyncio.to_thread(array, "I", ascending(matched))
    counted = None if command.uid else view.column
    octets = columns.answer(box.mailbox, how, uids, counted)
    if octets is None:
        found = await ordered(session.store, box, matched, command.criteria)
        numbers = found if command.uid else await asyncio.to_thread(numbered, view, found)
        octets = await asyncio.to_thread(print_response, SortResult(numbers), session.engine.utf8)
        columns.put_answer(box.mailbox, how, Answer(uids, counted, octets))
    session.say(Printed(octets))
    await session.link.flush()


def numbered(view: View, found: Sequence[int]) -> list[int]:
    """The message sequence numbers, in the same order."""
    if len(found) * 20 < view.total:
        return [number for uid in found if (number := view.number(uid)) is not None]
    number_of = {uid: number for number, uid in enumerate(view.column, 1)}
    return [number_of[uid] for uid in found]
