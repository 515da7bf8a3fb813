"""SEARCH=FUZZY: keys that match nearly, and how relevant what they found is (RFC 6203; decision 0057).

Texts are matched nearly (mail/fuzzy.py); dates, sizes, flags and sets of numbers exactly, as RFC 6203 §5 allows. Scores
compare the messages found in one mailbox by one command: the best of them has 100.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from posthouse.mail.fuzzy import EXACT, query, worths
from posthouse.serve.imap.criteria import Facts, Test, decider, marker
from posthouse.serve.imap.question import Question, among
from posthouse.serve.imap.spread import spread, texts_of
from posthouse.serve.imap.state import Session
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Command
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.response import StatusResponse, bad, no
from posthouse.wire.imap.search import And, Fuzzy, Not, Or, Search, SearchKey, UnknownCharset
from posthouse.wire.imap.sort import Sort, SortKey, Thread

TEXTS = 10  # looked for nearly in one command: each costs far more than one looked for exactly
BEST = 100

NOT_FUZZY = "RELEVANCY is of what FUZZY finds; the search has no such key."
TOO_MANY = f"A search may look for at most {TEXTS} texts by FUZZY."


def refused(session: Session, command: Command) -> StatusResponse | None:
    """BAD where relevancy is asked for without FUZZY (RFC 6203 §4, §6), NO for too many texts (RFC 6203 §8)."""
    if not isinstance(command, Search | Sort | Thread | MultiSearch) or isinstance(command.key, UnknownCharset):
        return None
    named = _named(command.key)
    if not named and wanted(command):
        return bad(command.tag, NOT_FUZZY)
    if named and len(set(texts_of(spread(command.key)))) > TEXTS:
        if not isinstance(command, Thread) and command.returns is not None and command.returns.saving:
            session.selected.saved = ()  # RFC 9051 §6.4.4.1: NO leaves nothing in the variable
        return no(command.tag, TOO_MANY, code.LIMIT)
    return None


def wanted(command: Search | Sort | Thread | MultiSearch) -> bool:
    """Whether the answer needs relevancy scores."""
    if isinstance(command, Thread):
        return False
    if isinstance(command, Sort) and any(one.key is SortKey.RELEVANCY for one in command.criteria):
        return True
    return command.returns is not None and command.returns.scoring


def _named(key: SearchKey) -> bool:
    match key:
        case Fuzzy():
            return True
        case Not(inner):
            return _named(inner)
        case Or(first, second):
            return _named(first) or _named(second)
        case And(several):
            return any(map(_named, several))
    return False


def _counted(key: SearchKey) -> Iterator[Fuzzy]:
    """The texts that make a message relevant: not those that it must not have."""
    match key:
        case Fuzzy():
            yield key
        case Or(first, second):
            yield from _counted(first)
            yield from _counted(second)
        case And(several):
            for one in several:
                yield from _counted(one)


async def scores(question: Question, key: SearchKey, found: Set[int]) -> dict[int, int]:
    """The scores of the messages that were found, 1 to 100, by uid (RFC 6203 §4). Raises StoreError."""
    leaves = list(dict.fromkeys(_counted(spread(key))))
    marks: list[dict[int, int]] = [{} for _ in leaves]
    unmarked = sorted(found & question.unmarked) if leaves else []
    if unmarked:
        await among(question.store, question.box, await asyncio.to_thread(_recorder, leaves, marks), unmarked)
    return await asyncio.to_thread(_scored, question.marks, leaves, marks, sorted(found))


def _recorder(leaves: Sequence[Fuzzy], marks: Sequence[dict[int, int]]) -> Test:
    tests = [(decider(leaf.key, {}), marker(leaf.key), kept) for leaf, kept in zip(leaves, marks, strict=True)]

    def record(facts: Facts) -> bool | None:
        for exact, marked, kept in tests:
            whole, mark = exact(facts), marked(facts)
            if whole is None or mark is None:
                return None
            kept[facts.uid] = mark | (EXACT if whole else 0)
        return True

    return record


def _scored(
    known: Mapping[SearchKey, Mapping[int, int]],
    leaves: Iterable[Fuzzy],
    read: Iterable[Mapping[int, int]],
    found: Sequence[int],
) -> dict[int, int]:
    total = [0.0] * len(found)
    for leaf, own in zip(leaves, read, strict=True):
        looked = known.get(leaf, {})
        marks = [own[uid] if uid in own else looked.get(uid, 0) for uid in found]
        asked = query(getattr(leaf.key, "text", ""))
        for place, worth in enumerate(worths(marks, len(asked.words) if asked is not None else 0)):
            total[place] += worth
    best = max(total, default=0.0)
    return {uid: max(1, round(BEST * one / best)) if best else BEST for uid, one in zip(found, total, strict=True)}
