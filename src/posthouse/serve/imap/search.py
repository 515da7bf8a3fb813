"""SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 4731, RFC 5182): which messages of the View match, as question.py finds
them."""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence, Set
from dataclasses import replace
from itertools import chain, compress, count

from posthouse.serve.imap import condstore, contexts, messagelimit
from posthouse.serve.imap.fuzzy import scores, wanted
from posthouse.serve.imap.question import Question, matching
from posthouse.serve.imap.search_return import extended, kept, relevancy_of
from posthouse.serve.imap.spread import spread
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.uids import FEW, Part, ascending
from posthouse.serve.imap.view import View
from posthouse.store.changed import highest
from posthouse.store.mailboxes import Box
from posthouse.store.script import StoreError
from posthouse.wire.imap import code
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.response import SearchResult, StatusResponse, no, ok
from posthouse.wire.imap.search import (
    BADCHARSET,
    UNKNOWN_CHARSET,
    And,
    Numbers,
    Search,
    SearchKey,
    UnknownCharset,
)
from posthouse.wire.imap.search_return import SearchReturns


async def search(session: Session, command: Search) -> StatusResponse:
    """RFC 9051 §6.4.4."""
    view = await session.load()
    returns = command.returns
    if isinstance(command.key, UnknownCharset):
        if returns is not None and returns.saving:
            session.selected.saved = ()  # RFC 5182 §2.1: NO leaves nothing in the variable
        return no(command.tag, UNKNOWN_CHARSET, BADCHARSET)
    condstore.aware_by(session, command.key)
    updating = contexts.wanted(session, command)
    try:
        asking = await question(session, command.key)
        matched = await matching(asking, command.key)
        relevancy = await scores(asking, command.key, matched) if wanted(command) else {}
    except StoreError:
        if returns is not None and returns.saving:
            session.selected.saved = ()  # RFC 9051 §6.4.4.1: NO leaves nothing in the variable
        raise
    await asyncio.sleep(0)  # of 100,000 messages each of these takes some ms: others have their turn between
    found = ascending(matched)
    await asyncio.sleep(0)
    numbers = found if command.uid else _numbers(view, matched, found)
    await asyncio.sleep(0)
    if returns is not None and returns.saving:
        session.selected.saved = kept(found, returns)
    modseq = await highest_modseq(session, command.key, found, returns)
    if returns is None and not session.rev2:
        await session.say_long(SearchResult(numbers, modseq), len(numbers))
    elif returns is None or not returns.only_saving:
        result = extended(command.tag, numbers, returns, uid=command.uid)
        scored = relevancy_of(found, returns, relevancy)
        await session.say_long(replace(result, modseq=modseq, scores=scored), len(numbers))
    await contexts.begin(session, updating, found)
    if view.held:
        return ok(command.tag, "SEARCH completed; some messages were expunged meanwhile.", code.EXPUNGEISSUED)
    return ok(command.tag, "SEARCH completed.")


async def highest_modseq(
    session: Session, key: SearchKey, found: Sequence[int], returns: SearchReturns | None, box: Box | None = None
) -> int | None:
    """The highest mod-sequence of the messages returned, None where there are none or the key does not name MODSEQ:
    for SORT too (RFC 7162 §3.1.6, §3.1.9, RFC 4731 §3.2)."""
    if not found or not condstore.names_modseq(key):
        return None
    spans = runs(sorted(found)) if returns is None else kept(found, returns)
    uids = frozenset(chain.from_iterable(range(first, last + 1) for first, last in spans))
    box = box or session.selected.box
    modseq = await session.store.read(highest, box, uids)
    if modseq is not None and session.selecting and session.selected.box == box:
        session.show(modseq)
    return modseq


def _numbers(view: View, matched: Set[int], found: Sequence[int]) -> Sequence[int]:
    """The message sequence numbers of these, which are `found` in their order: of few by looking each up, of many in
    one pass."""
    column, total = view.column, view.total
    if isinstance(matched, Part) and matched.column is column:
        return [place + 1 for place in matched.places]
    if len(found) == total:
        return range(1, total + 1)
    if len(found) * FEW < total:
        places = [bisect_left(column, uid) for uid in found]
        return [place + 1 for place, uid in zip(places, found, strict=True) if place < total and column[place] == uid]
    return list(compress(count(1), map(frozenset(found).__contains__, column)))


async def asked(session: Session) -> Question:
    """The question about the selected mailbox, as the session has told it to its client."""
    return Question(session.house, session.selected.box, await session.load(), session.selected.saved)


async def question(session: Session, key: SearchKey) -> Question:
    """What SEARCH looks through: of the messages that its sets of numbers leave, the newest (RFC 9738 §3.1)."""
    whole = await asked(session)
    among = whole.everything
    if len(among) <= session.limits.messages:
        return whole
    key = spread(key)
    for one in key.keys if isinstance(key, And) else (key,):
        if isinstance(one, Numbers):
            among = among & (await whole.answer(one) or frozenset())
    kept = messagelimit.searched(session, among)
    return whole if kept is None else Question(session.house, whole.box, whole.view, whole.saved, kept)
