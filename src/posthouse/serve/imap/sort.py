"""SORT and UID SORT (RFC 5256 §3, RFC 5957 §4, RFC 5267 §3): what was found, in the order of the criteria.

The database sorts, in a reader's thread; what is long to word is worded in a thread too.
"""

import asyncio
from collections.abc import Sequence, Set
from dataclasses import replace

from posthouse.serve.imap import condstore
from posthouse.serve.imap.question import matching
from posthouse.serve.imap.search import asked, highest_modseq
from posthouse.serve.imap.search_return import extended, kept
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import View
from posthouse.store import sorting
from posthouse.store.mailboxes import Box
from posthouse.store.script import StoreError
from posthouse.store.sorting import Term
from posthouse.store.store import Store
from posthouse.wire.imap import code
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.response import Printed, Response, SortResult, StatusResponse, ok, print_response
from posthouse.wire.imap.sort import Sort, SortCriterion

FEW = 1_000  # messages that are looked up one by one; of more, the mailbox is sorted as a whole
_PRINTED_ON_LOOP = 5_000  # numbers


async def sort(session: Session, command: Sort) -> StatusResponse:
    """RFC 5256 §3, RFC 5267 §3."""
    view = await session.load()
    returns = command.returns
    condstore.aware_by(session, command.key)
    try:
        matched = await matching(await asked(session), command.key)
        found = await ordered(session.store, session.selected.box, matched, command.criteria)
    except StoreError:
        if returns is not None and returns.saving:
            session.selected.saved = ()  # RFC 9051 §6.4.4.1: NO leaves nothing in the variable
        raise
    numbers = found if command.uid else await asyncio.to_thread(numbered, view, found)
    if returns is not None and returns.saving:
        session.selected.saved = await asyncio.to_thread(kept, found, returns)
    modseq = await highest_modseq(session, command.key, found, returns)
    if returns is None:
        await say(session, SortResult(numbers, modseq), len(numbers))
    elif not returns.only_saving:
        result = extended(command.tag, numbers, returns, uid=command.uid, ascending=False)
        await say(session, replace(result, modseq=modseq), len(numbers))
    if view.held:
        return ok(command.tag, "SORT completed; some messages were expunged meanwhile.", code.EXPUNGEISSUED)
    return ok(command.tag, "SORT completed.")


async def ordered(store: Store, box: Box, matched: Set[int], criteria: Sequence[SortCriterion]) -> list[int]:
    """The uids in the order of the criteria, then of the mailbox. What was expunged meanwhile is left out."""
    terms = [Term(sorting.SortKey[criterion.key.name], criterion.reverse) for criterion in criteria]
    if not matched:
        return []
    if len(matched) <= FEW:
        return list(await store.read(sorting.some_in_order, box, runs(sorted(matched)), terms))
    everything = await store.read(sorting.in_order, box, terms)
    return await asyncio.to_thread(lambda: [uid for uid in everything if uid in matched])


def numbered(view: View, found: Sequence[int]) -> list[int]:
    """The message sequence numbers, in the same order."""
    if len(found) * 20 < view.total:
        return [number for uid in found if (number := view.number(uid)) is not None]
    number_of = {uid: number for number, uid in enumerate(view.column, 1)}
    return [number_of[uid] for uid in found]


async def say(session: Session, response: Response, size: int) -> None:
    """Write a response of `size` numbers; a long one is printed in a thread."""
    if size > _PRINTED_ON_LOOP:
        response = Printed(await asyncio.to_thread(print_response, response, session.engine.utf8))
    session.say(response)
