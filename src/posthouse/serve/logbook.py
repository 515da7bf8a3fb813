"""Who came in and who tried: waits here for some seconds, and is written together (decision 0109).

A login must not wait for a commit, and a mail program that polls every second must not fill a table. So like logins
are counted here, and written by one transaction for all, FLUSH seconds later at most; an IMAP program, which says what
it is after the login (RFC 2971), has SETTLE seconds to do so. What a kill takes is what happened in these seconds.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum

from posthouse.mail.ids import AccountId, Millis
from posthouse.serve.caller import Caller
from posthouse.serve.limits import TABLE, Peers
from posthouse.store import logins
from posthouse.store.accounts import Login
from posthouse.store.logins import Batch, Times, Used, Visit
from posthouse.store.moment import wall_clock
from posthouse.store.script import StoreError
from posthouse.store.store import Store

FLUSH = 1.0  # seconds between two writes
SETTLE = 2.0  # seconds that a login waits for the name of the program
WAITING = 5_000  # kinds of visits that wait; further ones are counted without address and program
HOMES_SECONDS = 300.0  # between two looks at where users came in from at other workers
SUBJECTS = 20_000  # names and networks whose failures wait; further ones are counted in this worker's memory only
HOT = 3  # failures of a name or network in one worker from which on the others hear of it (decision 0108)
AT_ONCE = 500  # visits, and as many of the rest, of one transaction: some 10 ms of the writer
PROGRAM_LENGTH = 100  # characters
DEVICE_LENGTH = 60

log = logging.getLogger(__name__)


class Why(Enum):
    """Why a login was refused, as its owner may see it. The client never hears it."""

    PASSWORD = "wrong password"
    EXPIRED = "this device password has expired"
    TOKEN = "the token was not good"
    SERVICE = "this device password is not for this protocol"
    DIRECTORY = "the directory does not know the user, or has locked the user"
    DEVICES_ONLY = "mail programs need a device password"
    FAILURES = "too many failed logins from there: not looked at"


def shown(text: str, most: int) -> str:
    """What a client sent, safe to print."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:most])


class Logbook:
    """Visits that wait to be written. One per worker; `keep` writes them."""

    __slots__ = ("_guesses", "_homes", "_known", "_nameless", "_store", "_used", "_waiting", "clock", "lost")

    def __init__(self, store: Store, clock: Callable[[], Millis] = wall_clock) -> None:
        self.clock = clock
        self.lost = 0
        self._store = store
        self._waiting: dict[Visit, Times] = {}
        self._nameless: dict[tuple[AccountId, str, str], tuple[Visit, Login]] = {}
        self._guesses: dict[int, int] = {}
        self._used: dict[int, Used] = {}
        self._homes: dict[tuple[AccountId, str], Millis] = {}
        self._known: dict[tuple[AccountId, str], int] = {}  # day on which a home was last written

    def came_in(self, login: Login, caller: Caller, mechanism: str, device: str) -> None:
        """Somebody came in."""
        visit = self._visit(login.account, caller, mechanism, device)
        at = self._count(visit)
        if not visit.program:
            self._nameless[login.account, caller.ip, caller.service.value] = visit, login
        if login.device is not None:
            self._used[login.device] = Used(login.device, at, caller.ip, visit.service, visit.program)

    def refused(self, account: AccountId, caller: Caller, mechanism: str, why: Why) -> None:
        """Somebody tried and did not come in."""
        self._count(self._visit(account, caller, mechanism, "")._replace(refused=why.value))

    def _visit(self, account: AccountId, caller: Caller, mechanism: str, device: str) -> Visit:
        tls = f"{caller.tls.version} {caller.tls.cipher}".strip() if caller.tls else ""
        program = shown(caller.program, PROGRAM_LENGTH)
        return Visit(account, caller.ip, caller.service.value, mechanism, program, tls, device[:DEVICE_LENGTH], "")

    def _count(self, visit: Visit) -> Millis:
        at = self.clock()
        if visit not in self._waiting and len(self._waiting) >= WAITING:
            visit = visit._replace(ip="", program="", tls="", device="")
            if visit not in self._waiting and len(self._waiting) >= 2 * WAITING:
                self.lost += 1
                return at
        times = self._waiting.get(visit)
        self._waiting[visit] = Times(at, at, 1) if times is None else times._replace(last=at, logins=times.logins + 1)
        return at

    def program(self, login: Login, caller: Caller) -> None:
        """The program of a user who came in a moment ago has said what it is."""
        found = self._nameless.pop((login.account, caller.ip, caller.service.value), None)
        if found is None or not caller.program:
            return
        visit, opened_by = found
        times = self._waiting.pop(visit, None)
        if times is None:
            return
        if times.logins > 1:
            self._waiting[visit] = times._replace(logins=times.logins - 1)
        named = visit._replace(program=shown(caller.program, PROGRAM_LENGTH))
        others = self._waiting.get(named)
        self._waiting[named] = (
            Times(times.last, times.last, 1)
            if others is None
            else others._replace(last=max(others.last, times.last), logins=others.logins + 1)
        )
        used = None if opened_by.device is None else self._used.get(opened_by.device)
        if used is not None:
            self._used[used.device] = used._replace(program=named.program)

    def failed(self, subjects: dict[int, int]) -> None:
        """Failures of names and networks, and how many of each this worker has counted: few are its own matter."""
        for subject, count in subjects.items():
            if count < HOT or (subject not in self._guesses and len(self._guesses) >= SUBJECTS):
                continue
            # The first ones waited in memory; they are told together.
            self._guesses[subject] = self._guesses.get(subject, 0) + (HOT if count == HOT else 1)

    def at_home(self, account: AccountId, network: str) -> None:
        """A user has logged in well from there: once a day is enough."""
        at = self.clock()
        if self._known.get((account, network)) == at // logins.DAY:
            return
        if len(self._known) >= SUBJECTS:
            self._known.clear()
        self._known[account, network] = at // logins.DAY
        self._homes[account, network] = at

    # --- writing

    async def keep(self) -> None:
        """The duty of every worker: write what waits, until cancelled; what waits then is written too."""
        try:
            while True:
                await asyncio.sleep(FLUSH)
                await self.flush(before=Millis(self.clock() - int(SETTLE * 1000)))
        finally:
            await self.flush()

    async def flush(self, before: Millis | None = None) -> None:
        """Write what waits: of programs that have not said what they are, what came in `before` that moment."""
        if self.lost:
            log.warning("%d logins were not written to the logbook: too many came at once", self.lost)
            self.lost = 0
        due = [v for v, t in self._waiting.items() if before is None or v.program or v.refused or t.first <= before]
        visits = [(visit, self._waiting.pop(visit)) for visit in due]
        self._nameless = {key: entry for key, entry in self._nameless.items() if entry[0] in self._waiting}
        at = self.clock()
        guesses = [(subject, at, count) for subject, count in self._guesses.items()]
        homes = [(*key, when) for key, when in self._homes.items()]
        self._guesses, self._homes = {}, {}
        used = self._used_by_now()
        most = max(len(visits), len(guesses), len(homes), len(used))
        try:
            # One after the other: others write in between.
            for first in range(0, most, AT_ONCE):
                part = slice(first, first + AT_ONCE)
                await self._store.run(logins.record, Batch(visits[part], guesses[part], used[part], homes[part]))
        except StoreError as error:
            log.warning("some logins were not written to the logbook: %s", error)
            self._known.clear()  # homes among them are written at the next login from there

    def _used_by_now(self) -> list[Used]:
        """Device passwords that were used, without those whose program may still say what it is."""
        waiting = {login.device for _, login in self._nameless.values()}
        used = [each for each in self._used.values() if each.program or each.device not in waiting]
        for each in used:
            del self._used[each.device]
        return used


async def recall(store: Store, peers: Peers, now: Millis) -> None:
    """Tell this worker from where users came in, at other workers and before it was started: under stress their next
    connection is no stranger's."""
    try:
        peers.known_homes(await store.read(logins.homes, now, TABLE))
    except StoreError as error:
        log.warning("it is not known from where users came in: %s", error)


async def keep_recalling(store: Store, peers: Peers, clock: Callable[[], Millis] = wall_clock) -> None:
    """The duty of every worker, until cancelled. At once for the first time: after a restart all come back."""
    while True:
        await recall(store, peers, clock())
        await asyncio.sleep(HOMES_SECONDS)


async def forget(store: Store, now: Millis, days: int) -> None:
    """Remove visits older than so many days, and failures that count no more. Raises Unavailable."""
    while await store.run(logins.forget, now, days):
        pass  # others write in between
    while await store.run(logins.forget_guesses, now):
        pass
