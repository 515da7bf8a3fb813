"""Messages in the order that SORT asks for (RFC 5256 §3, RFC 5957 §4): the database sorts, in a reader's thread."""

import asyncio
from collections.abc import Mapping, Sequence, Set

from posthouse.serve.imap.columns import columns_of
from posthouse.store import sorting
from posthouse.store.mailboxes import Box
from posthouse.store.script import Row
from posthouse.store.sorting import Term
from posthouse.store.store import Store
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.sort import SortCriterion, SortKey

NO_SCORES: Mapping[int, int] = {}
FEW = 1_000  # messages that are looked up one by one; of more, the mailbox is sorted as a whole


def terms(criteria: Sequence[SortCriterion]) -> list[Term]:
    """The criteria as the store knows them."""
    return [Term(sorting.SortKey[criterion.key.name], criterion.reverse) for criterion in criteria]


async def ordered(
    store: Store, box: Box, matched: Set[int], criteria: Sequence[SortCriterion], scores: Mapping[int, int] = NO_SCORES
) -> list[int]:
    """The uids in the order of the criteria, then of the mailbox; by `scores` where RELEVANCY is one of them, the
    highest first (RFC 6203 §6). What was expunged meanwhile is left out."""
    if not matched:
        return []
    for place, criterion in enumerate(criteria):
        if criterion.key is SortKey.RELEVANCY:
            rest = await ordered(store, box, matched, criteria[place + 1 :])
            return await _by_score(store, box, rest, criteria[: place + 1], scores)
    if not criteria:
        return sorted(matched)
    if len(matched) <= FEW:
        return list(await store.read(sorting.some_in_order, box, runs(sorted(matched)), terms(criteria)))
    columns, wanted = columns_of(store), tuple(terms(criteria))
    everything = await store.read(sorting.order, box, wanted, columns.order(box.mailbox, wanted))
    columns.put_order(box.mailbox, wanted, everything)
    return await asyncio.to_thread(lambda: list(filter(frozenset(matched).__contains__, everything.uids)))


async def _by_score(
    store: Store, box: Box, found: list[int], criteria: Sequence[SortCriterion], scores: Mapping[int, int]
) -> list[int]:
    """By the scores, before them by the other criteria, after them as they stand."""
    *before, last = criteria
    keys: Mapping[int, Row] = {}
    if before and found:
        spans = runs(sorted(found)) if len(found) <= FEW else [(min(found), max(found))]
        keys = await store.read(sorting.keys_of, box, spans, terms(before))
        found = [uid for uid in found if uid in keys]

    def by_all() -> list[int]:
        in_order = sorted(found, key=scores.__getitem__, reverse=not last.reverse)
        for place in range(len(before) - 1, -1, -1):
            in_order.sort(key=lambda uid: keys[uid][place], reverse=before[place].reverse)
        return in_order

    return await asyncio.to_thread(by_all)
