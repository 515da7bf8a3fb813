"""Notices: what a client wants to be told by NOTIFY, and what it was last told of the mailboxes it did not select
(RFC 5465 §6).

Nothing is kept for an event, however many there are: only the rows of the mailboxes that are watched. happened.py
compares them with the rows as they are, notify.py reads and tells.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from posthouse.mail.ids import AccountId
from posthouse.serve.imap.known import Names
from posthouse.store.emails import Changes
from posthouse.store.mailboxes import INBOX, SEPARATOR, canonical_name
from posthouse.store.namespace import is_foreign
from posthouse.wire.imap.notify import SELECTED_ONES, EventGroup, Events, Occurrence, Which

NOTHING: Events = frozenset()
METADATA_EVENTS: Events = frozenset({Occurrence.MAILBOX_METADATA_CHANGE, Occurrence.SERVER_METADATA_CHANGE})
MUTED = 1_000  # names this client changed since the last look; of more it is told what it did itself


class Wishes:
    """Which events are wanted of a mailbox that is not selected, by its name (RFC 5465 §6.2 to §6.6)."""

    __slots__ = ("_by_kind", "_exact", "_subtree")

    def __init__(self, groups: Iterable[EventGroup]) -> None:
        self._by_kind: dict[Which, Events] = {}
        self._exact: dict[str, Events] = {}
        self._subtree: dict[str, Events] = {}
        for group in groups:
            if group.which in (Which.MAILBOXES, Which.SUBTREE):
                found = self._exact if group.which is Which.MAILBOXES else self._subtree
                for name in group.names:
                    spelled = canonical_name(name) or name
                    found[spelled] = found.get(spelled, NOTHING) | group.events
            else:
                self._by_kind[group.which] = self._by_kind.get(group.which, NOTHING) | group.events

    def of(self, name: str, subscribed: frozenset[str]) -> Events:
        """The events wanted of this mailbox. Messages are delivered to INBOX only."""
        found = self._exact.get(name, NOTHING)
        if not is_foreign(name):
            found |= self._by_kind.get(Which.PERSONAL, NOTHING)
        if name == INBOX:
            found |= self._by_kind.get(Which.INBOXES, NOTHING)
        if name in subscribed:
            found |= self._by_kind.get(Which.SUBSCRIBED, NOTHING)
        while self._subtree and name:
            found |= self._subtree.get(name, NOTHING)
            name = name.rpartition(SEPARATOR)[0]
        return found

    @property
    def metadata(self) -> Events:
        """Which changes of annotations are wanted of any mailbox; for the server it does not matter of which."""
        every = (*self._by_kind.values(), *self._exact.values(), *self._subtree.values())
        return NOTHING.union(*every) & METADATA_EVENTS

    @property
    def any(self) -> bool:
        """Whether anything is wanted of mailboxes that are not selected."""
        return any(map(bool, (*self._by_kind.values(), *self._exact.values(), *self._subtree.values())))


class Notices:
    """What NOTIFY asked of one session. NOTIFY NONE is one with no groups.

    `known`: the watched rows as last told. `due`: something may have happened since. `look_at`: when they may be
    looked at next. `tick`: hints may have been lost, so the store is to be asked. `muted`: names this client changed.
    `noted`: the last change of annotations that was looked at; `own`: the changes that this client made itself.
    """

    __slots__ = (
        "delayed",
        "due",
        "items",
        "known",
        "look_at",
        "muted",
        "noted",
        "own",
        "selected",
        "show",
        "tick",
        "timer",
        "watched",
        "wishes",
    )

    def __init__(self, groups: Sequence[EventGroup], show: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        mine = [group for group in groups if group.which in SELECTED_ONES]
        self.selected: Events = mine[0].events if mine else NOTHING
        self.delayed = bool(mine) and mine[0].which is Which.SELECTED_DELAYED
        self.items = mine[0].items if mine else ()
        self.wishes = Wishes(group for group in groups if group.which not in SELECTED_ONES)
        self.show = show
        self.known = Names({}, frozenset())
        self.watched: dict[AccountId, Callable[[], None]] = {}
        self.muted: set[str] = set()
        self.noted = 0
        self.own: set[int] = set()
        self.due = False
        self.tick = False
        self.look_at = 0.0
        self.timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        """Watch nothing any more."""
        for unwatch in self.watched.values():
            unwatch()
        self.watched.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def wanted(self, changes: Changes) -> Changes | None:
        """What is to be told of these changes of the selected mailbox; None: nothing, not even how many there are."""
        if not self.selected:
            return None
        return changes if Occurrence.FLAG_CHANGE in self.selected else changes._replace(changed=())

    def mute(self, names: Iterable[str]) -> None:
        """This client has made, removed, renamed or subscribed to these (RFC 5465 §5: it knows)."""
        for name in names:
            spelled = canonical_name(name.removesuffix(SEPARATOR)) or name
            if len(self.muted) < MUTED:
                self.muted |= {spelled, spelled.rpartition(SEPARATOR)[0]}

    def watching(self, names: Names) -> Names:
        """Those of the names that are watched."""
        rows = {name: row for name, row in names.rows.items() if self.wishes.of(name, names.subscribed)}
        subscribed = frozenset(name for name in names.subscribed if self.wishes.of(name, names.subscribed))
        rights = {name: rights for name, rights in names.rights.items() if name in rows}
        return Names(rows, subscribed, rights)
