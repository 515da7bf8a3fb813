"""What one IMAP session holds, and how it learns of changes and tells them (RFC 9051 §3, §5.2, §7).

A Session is small: an idle connection has the Link, the engine and this. The column of uids of a selected mailbox is
loaded when a command first needs it and shared, per worker, by all sessions that see the same state of the mailbox.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress

from posthouse.mail.ids import ModSeq
from posthouse.net.link import Link
from posthouse.serve.caller import Caller, offer
from posthouse.serve.imap.columns import columns_of
from posthouse.serve.imap.news import Question, news_of
from posthouse.serve.imap.notices import Notices
from posthouse.serve.imap.selected import MailboxGone, Selected, column
from posthouse.serve.imap.updates import Found
from posthouse.serve.imap.view import FlagRow, Ranges, Told, View, join
from posthouse.serve.limits import ImapSessionLimits, Refusal, Service
from posthouse.serve.login import VOUCH_SECONDS, Door
from posthouse.serve.standing import Standing
from posthouse.store import access, emails, urlkeys
from posthouse.store.access import identifier
from posthouse.store.accounts import Login
from posthouse.store.emails import Changes
from posthouse.store.names import Reader
from posthouse.store.script import NotFound, StoreError, Unavailable
from posthouse.store.store import Store
from posthouse.transport.house import House
from posthouse.wire.imap.fetch_response import print_changes, print_flags, print_modseq
from posthouse.wire.imap.number_set import NumberSet
from posthouse.wire.imap.response import (
    Exists,
    Printed,
    Response,
    StatusResponse,
    Vanished,
    bye,
    ok,
    print_expunged,
    print_response,
)
from posthouse.wire.imap.server import ImapServer, State
from posthouse.wire.imap.uidonly import print_uid_flags, print_uid_modseq
from posthouse.wire.imap.urlauth import URLMECH
from posthouse.wire.sasl import Offer

TELL_AT_ONCE = 1_000  # EXPUNGE or FETCH lines joined before the peer's pace is asked for
PRINTED_ON_LOOP = 5_000  # numbers

LOGIN_CHANGED = "This login has been changed or removed; log in again."


class Session:
    """One IMAP connection: who is logged in, what is selected, what was enabled.

    `enabled` holds the names of ENABLE in upper case, also of what a command enabled by itself (RFC 7162 §3.1).
    `hinted` is the newest ModSeq of the account that anybody told of; `idling` says that a hint must wake the session.
    """

    __slots__ = (
        "_entered",
        "_selected",
        "agent",
        "began",
        "door",
        "enabled",
        "engine",
        "failures",
        "hinted",
        "house",
        "idling",
        "last",
        "limits",
        "link",
        "login",
        "made",
        "notices",
        "standing",
    )

    def __init__(self, link: Link, house: House, door: Door, engine: ImapServer, limits: ImapSessionLimits) -> None:
        self.link = link
        self.house = house
        self.door = door
        self.engine = engine
        self.limits = limits
        self.login: Login | None = None
        self.agent = ""  # what the client calls itself (RFC 2971)
        self.enabled: set[str] = set()
        self.began = 0.0  # loop time since when a login is awaited
        self.failures = 0
        self.hinted = 0
        self.notices: Notices | None = None  # what NOTIFY asked for; None: it was not used
        self.made: Sequence[int] = ()  # uids this client is just putting into the selected mailbox
        self.idling = False
        self.last: StatusResponse | None = None
        self.standing = Standing(link, door)
        self._selected: Selected | None = None
        self._entered = ExitStack()

    # --- coming and going

    def enter(self, login: Login) -> Refusal | None:
        """Log in, if this user may have one connection more from this address."""
        refused = self._entered.enter_context(self.door.peers.user_connection(str(login.address), self.link.peer[0]))
        if refused is None:
            self.login = login
            self.standing.begin(login, self.door.peers.now())
        return refused

    async def welcome(self) -> bool:
        """Whether the login still holds. If not, BYE is waiting in `last`."""
        try:
            holds = await self.standing.holds(lambda login: news_of(self.store).holds(self.door, login))
        except StoreError:  # nothing can be read by anybody at the moment: the command will say so
            return True
        if not holds:
            self.end(bye(LOGIN_CHANGED))
        return holds

    def end(self, last: StatusResponse) -> None:
        """Say this BYE behind the present answer, then close."""
        self.last = last

    def leave(self) -> None:
        """Let go of everything that others count or hold for this session."""
        self.deselect()
        if self.notices is not None:
            self.notices.end()
        self.notices = None
        self.standing.end()
        self._entered.close()

    def forget(self) -> None:
        """Be as after the greeting: nobody is logged in, and nothing of who was is left (RFC 8437 §3, §4.1)."""
        self.leave()
        self.login = None
        self.enabled.clear()
        self.hinted = 0
        self.engine.utf8 = False
        self.engine.state = State.NOT_AUTHENTICATED
        self.began = asyncio.get_running_loop().time()

    @property
    def offer(self) -> Offer:
        """The SASL mechanisms of this connection."""
        return offer(self.link, self.door.withheld, bearer=self.door.tokens is not None)

    @property
    def caller(self) -> Caller:
        """Who asks to come in."""
        return Caller(self.link.peer[0], Service.IMAP, self.link.tls, self.agent, self.offer)

    # --- speaking

    @property
    def rev2(self) -> bool:
        """Whether the client enabled IMAP4rev2."""
        return "IMAP4REV2" in self.enabled

    @property
    def uid_only(self) -> bool:
        """Whether the client has given up message sequence numbers (RFC 9586 §3)."""
        return "UIDONLY" in self.enabled

    @property
    def condstore(self) -> bool:
        """Whether the client is CONDSTORE-aware (RFC 7162 §3.1)."""
        return "CONDSTORE" in self.enabled

    def say(self, *responses: Response) -> None:
        """Write responses; they leave with the next flush."""
        for response in responses:
            self.link.write(self.engine.send(response))

    async def say_long(self, response: Response, size: int) -> None:
        """Write a response of `size` numbers at the peer's pace; a long one is printed in a thread."""
        if size > PRINTED_ON_LOOP:
            response = Printed(await asyncio.to_thread(print_response, response, self.engine.utf8))
        self.say(response)
        await self.link.flush()

    # --- the selected mailbox

    @property
    def store(self) -> Store:
        """Where mail lives."""
        return self.house.store

    @property
    def who(self) -> Login:
        """Who is logged in; the engine lets no command through that needs it before."""
        if self.login is None:
            raise LookupError("nobody is logged in")
        return self.login

    @property
    def reader(self) -> Reader:
        """Who asks for mailboxes by name."""
        return Reader(self.who.account, identifier(self.who.address))

    @property
    def selected(self) -> Selected:
        """The selected mailbox; the engine lets no command through that needs it before."""
        if self._selected is None:
            raise LookupError("no mailbox is selected")
        return self._selected

    @property
    def selecting(self) -> bool:
        """Whether a mailbox is selected."""
        return self._selected is not None

    def select(self, selected: Selected) -> None:
        """Enter the selected state, and be told of changes from now on."""
        selected.unwatch = self.store.watch(selected.box.account, self._hint)
        self.hinted = 0  # the ModSeqs of another account say nothing about this one's
        selected.heard = self.hinted
        selected.vouched = self.door.peers.now()
        self.engine.state = State.SELECTED
        selected.view.uids = (
            columns_of(self.store).get(selected.box.mailbox, selected.view.modseq) or selected.view.uids
        )
        self._selected = selected

    def deselect(self) -> None:
        """Leave the selected state; harmless outside it."""
        if self._selected is not None and self._selected.unwatch is not None:
            self._selected.unwatch()
        if self._selected is not None:
            self.engine.state = State.AUTHENTICATED
        self._selected, self.made = None, ()

    def _hint(self, modseq: ModSeq) -> None:
        if modseq > self.hinted:
            self.hinted = modseq
            if self.idling or self.notices is not None:
                self.link.wake()

    # --- learning and telling

    async def load(self) -> View:
        """The view with its column of uids, which is read when nobody has it."""
        selected = self.selected
        view = selected.view
        if view.uids is None:
            shared = columns_of(self.store).get(selected.box.mailbox, view.modseq)
            if shared is not None:
                view.uids = shared
                return view
            known = columns_of(self.store).last(selected.box.mailbox)
            uids, changes = await self.store.read(column, selected.box, view.modseq, view.uidnext, known)
            columns_of(self.store).put(selected.box.mailbox, changes.modseq, uids)
            view.load(uids, changes)
        return view

    async def sync(self, *, expunge: bool, look: bool = False) -> None:
        """Tell what changed, if a hint says that something did; with `look`, ask the store in any case. Then tell what
        that means for the results of searches (RFC 5267 §4.3.2).

        Raises MailboxGone."""
        await self._learn(expunge=expunge, look=look)
        if self._selected is not None and self._selected.updates:
            async for found in self._selected.updates.changes(self._selected.view):
                await self._update(found)

    @property
    def has_hint(self) -> bool:
        """Whether something may have happened in the selected mailbox that was not told yet."""
        return self._selected is not None and self.hinted > self._selected.heard

    async def _learn(self, *, expunge: bool, look: bool) -> None:
        selected = self._selected
        if selected is None:
            return
        notices = self.notices
        held = expunge and bool(selected.view.held) and (notices is None or bool(notices.selected))
        if not look and not held and self.hinted <= selected.heard and "r" in selected.rights:
            return
        await self.entitled(look=look)
        heard, hint = self.hinted, self.hinted > selected.heard
        view = selected.view
        try:
            if look:
                changes = await self.store.read(emails.changes, selected.box, view.modseq, view.uidnext)
            else:
                changes = await news_of(self.store).changes(self.store, self._question)
        except NotFound:
            raise MailboxGone from None
        selected.heard = max(selected.heard, heard)
        if hint and not (changes.arrived or changes.changed or changes.vanished):
            await self.look_at_key()
        wanted = changes if notices is None else notices.wanted(changes)
        if wanted is not None:
            await self.tell(wanted, expunge=expunge)
            if selected.updates:
                selected.updates.note(changes.changed)  # also where NOTIFY wants no FETCH of them

    @property
    def _question(self) -> Question:
        view = self.selected.view
        return self.selected.box, view.modseq, view.uidnext, self.hinted

    def ask_ahead(self) -> None:
        """Have the store asked what the last hint is about, while it is looked whether the login still holds: of many
        who were woken by one hint each waits once then, and not twice."""
        if self.has_hint:
            with suppress(Unavailable):  # then `sync` says so
                news_of(self.store).ask(self.store, self._question)

    async def look_at_key(self, *, tell: bool = True) -> None:
        """Look whether the user has another key for URLs of the selected mailbox, and say so: a hint came, and nothing
        has changed in the mailbox itself (RFC 4467 §7, decision 0069)."""
        selected = self.selected
        key = await self.store.read(urlkeys.find, self.who.account, selected.box.mailbox)
        changed, selected.url_key = key != selected.url_key, key
        if changed and tell:
            self.say(ok(None, "URLs of this mailbox are authorized by another key now.", URLMECH))

    async def entitled(self, *, look: bool = False) -> None:
        """Look whether the user still has his rights on the selected mailbox of another: when a hint came, and once in
        VOUCH_SECONDS because hints may be lost; with `look`, in any case, for the hint may still be on its way from
        another worker. Tells what has changed (RFC 4314 §5.1.1).

        Raises MailboxGone where he may no longer read it."""
        selected = self._selected
        if selected is None or selected.box.account == self.who.account:
            return
        now = self.door.peers.now()
        if look or self.hinted > selected.judged or now >= selected.vouched + VOUCH_SECONDS:
            hinted = self.hinted
            rights = await self.store.read(access.rights, selected.box.mailbox, self.reader.identifier)
            selected.judged, selected.vouched = hinted, now
            if rights != selected.rights and "r" in rights:
                selected.rights = rights
                self.say(selected.flags(), selected.permanent_flags())
            selected.rights = rights
        if "r" not in selected.rights:
            raise MailboxGone

    async def tell(self, changes: Changes, *, expunge: bool) -> None:
        """Write what these changes mean to the client."""
        selected = self.selected
        view = selected.view
        if view.needs_uids(changes):
            await self.load()
        if selected.updates:
            for found in selected.updates.vanished(view, changes.vanished):
                await self._update(found)  # while they have numbers: RFC 5267 §4.3.4
            selected.updates.note(changes.changed, changes.arrived)
        await self._word(view.sync(changes, expunge=expunge))
        if view.uids is not None and not view.held:
            shared = columns_of(self.store).get(selected.box.mailbox, view.modseq)
            if shared is None or len(shared) != len(view.uids):
                columns_of(self.store).put(selected.box.mailbox, view.modseq, view.uids)
            else:
                view.uids = shared
        if self.notices is not None and changes.arrived:
            own, self.made = frozenset(self.made), ()
            await self.notices.show([row[0] for row in changes.arrived if row[0] not in own])
        await self.link.flush()

    async def _update(self, found: Found) -> None:
        for response in found.responses:
            await self.say_long(response, found.size)
        await asyncio.sleep(0)  # others have their turn

    async def _word(self, told: Told) -> None:
        for start in range(0, len(told.expunged), TELL_AT_ONCE):
            self._expunged(told, slice(start, start + TELL_AT_ONCE))
            await self.link.flush()
            await asyncio.sleep(0)  # others have their turn
        if told.exists is not None:
            self.say(Exists(told.exists))
        self.name_keywords(row[2] for _, row in told.flags if row[2])
        for start in range(0, len(told.flags), TELL_AT_ONCE):
            some = told.flags[start : start + TELL_AT_ONCE]
            self.link.write(self.flag_lines(some))
            await self.link.flush()
            await asyncio.sleep(0)  # others have their turn

    def _expunged(self, told: Told, some: slice) -> None:
        if self.uid_only or "QRESYNC" in self.enabled:
            self.say(Vanished(told.vanished[some]))
        else:
            self.link.write(print_expunged(told.expunged[some]))

    def flag_line(self, number: int, row: FlagRow, *, uid: bool = True) -> bytes:
        """The FETCH response with the flags of a message; who is CONDSTORE-aware gets UID and MODSEQ always
        (RFC 7162 §3.2.4)."""
        if self.condstore:
            self.show(row[3])
        if self.uid_only:
            return print_uid_flags(row[0], row[1], row[2], row[3] if self.condstore else None)
        if self.condstore:
            return print_flags(number, row[1], row[2], row[0], row[3])
        return print_flags(number, row[1], row[2], row[0] if uid else None)

    def flag_lines(self, numbered: Sequence[tuple[int, FlagRow]]) -> bytes:
        """The same of many messages, with UID."""
        if not self.condstore or self.uid_only or not numbered:
            return b"".join([self.flag_line(number, row) for number, row in numbered])
        self.show(max(row[3] for _, row in numbered))
        return print_changes(numbered)

    def modseq_line(self, number: int, row: FlagRow) -> bytes:
        """The FETCH response with the new mod-sequence of a message alone (RFC 7162 §3.1.3)."""
        self.show(row[3])
        return print_uid_modseq(row[0], row[3]) if self.uid_only else print_modseq(number, row[0], row[3])

    def show(self, modseq: int) -> None:
        """A MODSEQ is being shown to the client, which may take it for its HIGHESTMODSEQ at the next tagged answer."""
        self.selected.shown = max(self.selected.shown, modseq)

    @property
    def ahead(self) -> bool:
        """Whether a MODSEQ was shown that is higher than what all changes were told up to."""
        return self._selected is not None and self._selected.shown > self._selected.view.modseq

    def settle(self) -> None:
        """Before a tagged answer: say up to where the client knows all, if it must think otherwise."""
        settled = self._selected.settled() if self._selected is not None else None
        if settled is not None:
            self.say(settled)

    def name_keywords(self, several: Iterable[str]) -> None:
        """Name keywords in FLAGS before the first message that has them is shown (RFC 9051 §7.3.5)."""
        if self.selected.learn(several):
            self.say(self.selected.flags())
            if not self.selected.read_only:
                self.say(self.selected.permanent_flags())

    def heard(self, modseq: ModSeq) -> None:
        """All changes of the account up to this ModSeq are known: a hint of them is no news."""
        self.selected.heard = max(self.selected.heard, modseq)

    async def resolve(self, numbers: NumberSet, *, uid: bool) -> Ranges | None:
        """The places of a set of sequence numbers or uids; None where a sequence number is that of no message, which
        is BAD (RFC 9051 §9, seq-number)."""
        view = await self.load()
        if uid:
            found: Ranges | None = view.by_uid(numbers.resolve(view.last_uid))
        else:
            found = view.by_number(numbers.resolve(view.total))
        if numbers.saved and found is not None:
            return join((*found, *view.by_uid(self.selected.saved)))
        return found
