"""Texts of a search answered by the search index (store/index.py): the keys as the index understands them, and what it
found as uids. Messages of which it is not sure are left to be read (criteria.py), so the answer is always that of
RFC 9051 §6.4.4, index or not."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from posthouse.mail.fuzzy import EXACT
from posthouse.mail.text import comparable
from posthouse.serve.imap.columns import columns_of
from posthouse.serve.imap.criteria import compared, words_of
from posthouse.serve.imap.uids import Part
from posthouse.store import search as rows
from posthouse.store.mailboxes import Box
from posthouse.store.pages import KINDS, NO_DAY, Kind, Wanted, kind_of
from posthouse.store.placed import placed
from posthouse.store.script import Row
from posthouse.store.store import Store
from posthouse.wire.imap.search import (
    And,
    BodyContains,
    Fuzzy,
    HeaderContains,
    Not,
    Or,
    SearchKey,
    Sent,
    TextContains,
    leaves,
)

FEW = 64  # messages that are read rather than looked up
_OF_TEXTS = (Fuzzy, HeaderContains, Sent, BodyContains, TextContains)  # keys that look at texts


class Known(NamedTuple):
    """For each text key the uids for which it is true, and of FUZZY their marks; and the uids that must be read to
    know."""

    answered: dict[SearchKey, Set[int]]
    marks: dict[SearchKey, dict[int, int]]
    unsure: Set[int]


async def look(store: Store, box: Box, key: SearchKey, among: Set[int]) -> Known | None:
    """What the index knows of the texts of a search; None where all have to be read."""
    keys = [leaf for leaf in dict.fromkeys(leaves(key)) if isinstance(leaf, _OF_TEXTS)]
    wanted = [_wanted(one.key if isinstance(one, Fuzzy) else one) for one in keys]
    asked = [one for one in wanted if one is not None]
    near = [one for one in keys if isinstance(one, Fuzzy)]
    if len(among) < FEW or len(asked) < len(keys):
        return None
    if near:  # patterns are made for them, which takes its time
        words = await asyncio.to_thread(lambda: {one: words_of(one.key) for one in near})
        asked += [query for query in words.values() if query is not None]
    found = await store.index.find(box.account, asked, len(among))
    if found is None:
        return None
    exact = found.hits[: len(keys)]  # those of words follow
    after, unsure, *hits = await _placed(store, box, [found.unsure, *exact], found.mark)
    answered: dict[SearchKey, Set[int]] = dict(zip(keys, hits, strict=True))
    marks: dict[SearchKey, dict[int, int]] = {}
    several = iter(found.marks[len(keys) :])
    for leaf in near:
        marked = next(several) if words[leaf] is not None else {}
        placed = await store.read(rows.placements_of, box, marked.keys()) if marked else ()
        marks[leaf] = await asyncio.to_thread(_joined, placed, marked, answered[leaf])
        answered[leaf] = marks[leaf].keys()
    return Known(answered, marks, {*after, *unsure})


async def _placed(store: Store, box: Box, several: Sequence[Set[int]], mark: int) -> list[Set[int]]:
    """The uids of Emails after the mark, then of each of these sets. The column that was made for it is kept."""
    columns = columns_of(store)
    found, newer, column = await store.read(placed, box, several, mark, columns.emails(box.mailbox))
    if column is None:
        return [frozenset(newer), *map(frozenset, found)]
    uids = columns.put_emails(box.mailbox, column)
    return [frozenset(newer), *(Part(uids, places) for places in found)]


def _joined(placed: Sequence[Row], marked: Mapping[int, int], exact: Set[int]) -> dict[int, int]:
    """The marks by uid, those that match exactly among them."""
    marks = {uid: marked[email] for uid, email in placed}
    marks |= {uid: marks.get(uid, 0) | EXACT for uid in exact}
    return marks


def decide(key: SearchKey, answered: Mapping[SearchKey, Set[int]], among: Set[int]) -> Set[int]:
    """Those among them that match; every key was answered."""
    if key in answered:
        return among & answered[key]
    match key:
        case Not(inner):
            return among - decide(inner, answered, among)
        case Or(first, second):
            return decide(first, answered, among) | decide(second, answered, among)
        case And(several):
            for one in several:
                among = decide(one, answered, among)
            return among
    raise TypeError(f"nobody answered this key: {key!r}")


def _wanted(key: SearchKey) -> Wanted | None:
    match key:
        case HeaderContains(field, text):
            name, needle = comparable(field), _needle(text)
            return None if needle is None else Wanted((kind_of(name),), needle, name)
        case Sent(comparison, day):
            fits = compared(comparison, day)
            return Wanted((), fits=lambda number: number != NO_DAY and fits(number))
        case BodyContains(text) | TextContains(text):
            needle = _needle(text)
            kinds = (Kind.BODY,) if isinstance(key, BodyContains) else KINDS
            return Wanted(kinds, needle) if needle else None
    return None


def _needle(text: str) -> bytes | None:
    """As it stands in the index; None for a text that no index holds."""
    try:
        octets = comparable(text).encode()
    except UnicodeEncodeError:
        return None
    return None if b"\0" in octets else octets
