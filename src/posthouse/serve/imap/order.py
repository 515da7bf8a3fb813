"""Messages in the order that SORT asks for (RFC 5256 §3, RFC 5957 §4): the database sorts, in a reader's thread."""

import asyncio
from collections.abc import Sequence, Set

from posthouse.store import sorting
from posthouse.store.mailboxes import Box
from posthouse.store.sorting import Term
from posthouse.store.store import Store
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.sort import SortCriterion

FEW = 1_000  # messages that are looked up one by one; of more, the mailbox is sorted as a whole


def terms(criteria: Sequence[SortCriterion]) -> list[Term]:
    """The criteria as the store knows them."""
    return [Term(sorting.SortKey[criterion.key.name], criterion.reverse) for criterion in criteria]


async def ordered(store: Store, box: Box, matched: Set[int], criteria: Sequence[SortCriterion]) -> list[int]:
    """The uids in the order of the criteria, then of the mailbox. What was expunged meanwhile is left out."""
    if not matched:
        return []
    if len(matched) <= FEW:
        return list(await store.read(sorting.some_in_order, box, runs(sorted(matched)), terms(criteria)))
    everything = await store.read(sorting.in_order, box, terms(criteria))
    return await asyncio.to_thread(lambda: [uid for uid in everything if uid in matched])
