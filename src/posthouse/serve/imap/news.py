"""News: what the sessions of one worker ask the store in the same words at the same moment, asked once.

A commit wakes every session on its mailbox. They all know the same of it, so one read answers them all; and sessions
of the same login look once together whether it still holds. What was read stays good for whoever was woken by no later
hint, so a short memory of it is kept.

What it does NOT do: NOOP, and the look once a minute, are not answered from here: they must see what no hint told of.
"""

import asyncio
from collections import OrderedDict
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from posthouse.mail.ids import ModSeq
from posthouse.serve.login import Door
from posthouse.store import emails
from posthouse.store.accounts import Login
from posthouse.store.emails import Changes
from posthouse.store.mailboxes import Box
from posthouse.store.store import Store

KEPT = 64  # answers a worker remembers
LARGE = 1_000  # rows; a larger answer is shared while it is read, and not remembered

#: A mailbox, what is known of it (ModSeq and UIDNEXT), and the hint that woke the asker.
Question = tuple[Box, ModSeq, int, int]
Answer = TypeVar("Answer")


class Shared(Generic[Answer]):
    """A question that is being answered, and who waits. One who ends must not take the answer from the others, and a
    thousand who wait must cost little: asyncio.shield makes some ten objects for each of them."""

    __slots__ = ("_waiting", "answer")

    def __init__(self, answer: "asyncio.Future[Answer]") -> None:
        self.answer = answer
        self._waiting: list[asyncio.Future[None]] = []
        answer.add_done_callback(self._answered)

    def _answered(self, _: "asyncio.Future[Answer]") -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    async def wait(self) -> Answer:
        """The answer, or its error."""
        if not self.answer.done():
            one = self.answer.get_loop().create_future()
            self._waiting.append(one)
            await one
        return self.answer.result()


class News:
    """Questions that are being answered, and the last answers."""

    __slots__ = ("_asked", "_looking")

    def __init__(self) -> None:
        self._asked: OrderedDict[Question, Shared[Changes]] = OrderedDict()
        self._looking: dict[Login, Shared[bool]] = {}

    async def changes(self, store: Store, question: Question) -> Changes:
        """`emails.changes` as of this hint or later. Raises NotFound, Unavailable."""
        return await self.ask(store, question).wait()

    def ask(self, store: Store, question: Question) -> Shared[Changes]:
        """The same, begun at once for who will want it. Raises Unavailable."""
        asked = self._asked.get(question)
        if asked is None:
            box, since, uidnext, _ = question
            asked = self._asked[question] = Shared(store.reading(emails.changes, box, since, uidnext))
            asked.answer.add_done_callback(lambda done: self._answered(question, done))
            while len(self._asked) > KEPT:
                self._asked.popitem(last=False)  # who waits for it still gets it
        return asked

    def _answered(self, question: Question, done: "asyncio.Future[Changes]") -> None:
        kept = not done.cancelled() and done.exception() is None
        if kept:
            changes = done.result()
            kept = len(changes.arrived) + len(changes.changed) + len(changes.vanished) <= LARGE
        asked = self._asked.get(question)
        if not kept and asked is not None and asked.answer is done:
            del self._asked[question]

    async def holds(self, door: Door, login: Login) -> bool:
        """Whether the login holds; nothing is remembered of it. Raises StoreError."""
        looking = self._looking.get(login)
        if looking is None:
            looking = self._looking[login] = Shared(asyncio.ensure_future(door.holds(login)))
            looking.answer.add_done_callback(lambda done: self._looked(login, done))
        return await looking.wait()

    def _looked(self, login: Login, done: "asyncio.Future[bool]") -> None:
        del self._looking[login]
        if not done.cancelled():
            done.exception()  # seen, even where nobody waits for it any more


_news: WeakKeyDictionary[Store, News] = WeakKeyDictionary()  # one store per worker


def news_of(store: Store) -> News:
    """What the sessions of this worker share."""
    kept = _news.get(store)
    if kept is None:
        kept = _news[store] = News()
    return kept
