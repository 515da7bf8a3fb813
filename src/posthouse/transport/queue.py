"""The runner of the queue: one in each worker claims what is due, has it sent, and settles it (RFC 5321 §4.5.4).

Nobody is in charge: what two runners must agree on is in the rows (store/queue.py). A runner that dies leaves leases
that run out; one that hangs loses them, and settles nothing when it wakes up.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from mmap import ACCESS_READ, mmap
from typing import NamedTuple

from posthouse.mail.ids import Millis, ModSeq
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.status import Status
from posthouse.store import accounts, journal, queue, settlement, together, waiting
from posthouse.store.blobs import INLINE_SIZE
from posthouse.store.crashpoint import crashpoint
from posthouse.store.journal import Entry
from posthouse.store.moment import Moment
from posthouse.store.queue import NEW_WORK, Claimed, Lease, QueueItem
from posthouse.store.script import Full, NotFound, Script, Stale, StoreError, Unavailable
from posthouse.store.settlement import Feedback, Rules, Settlement
from posthouse.store.together import GATHER_MILLIS
from posthouse.transport import journey
from posthouse.transport.bounce import Letter
from posthouse.transport.house import House
from posthouse.transport.letter import Ready, make_ready, take_letters
from posthouse.transport.outcomes import TOO_OLD, Told, back_off, feedback, judge, only_failures
from posthouse.transport.writing import Writing

POLL_SECONDS = 5.0  # a runner looks by itself so often: hints may be lost, and clocks may be set
PAUSE_SECONDS = 1.0  # after an error of the store
RECOVER_SECONDS = 2.0  # between two looks for leases that ran out
OVERDUE_SHARE = 4  # of what there is room for, one part is for telling senders of what is late or over
RENEWALS = 3  # in the life of a lease, so that one late renewal does not lose it
PASSED_ON = ModSeq(0)  # what a hint says that a worker without room gave to the others
SETTLE_TRIES = 600  # with a pause between them, where the store is well and refuses all the same

TOLD_ON_LOOP = 100  # recipients of whom a letter tells; of a thousand with long answers it takes 80 ms to write

INTERNAL = Status(4, 3, 0)  # RFC 3463 §3.4: other or undefined mail system status
FULL = Status(4, 2, 2)  # RFC 3463 §3.3: mailbox full


class Tried(NamedTuple):
    """What came of an attempt: an Outcome for each recipient of the item, in their order, and the message itself where
    it is for people here, who get it in the transaction that settles."""

    outcomes: tuple[Outcome, ...]
    kept: Ready | None = None


#: Tries an item. Does not raise for what a peer does.
Attempt = Callable[[QueueItem, bytes | mmap], Awaitable[Tried]]

#: What the sender of an item is told of these outcomes, or None; a delay is among them only when it is to be told.
Report = Callable[[QueueItem, Sequence[Outcome], bytes | mmap], Letter | None]


class End(NamedTuple):
    """How an item ends for now."""

    claimed: Claimed
    told: Told
    seen: Feedback | None  # None: nobody was asked
    gather: int = 0  # milliseconds that it may wait to be told with others of its message
    noted: bool = False  # it ended a moment ago, and only waited to be told

    def kept_back(self) -> "End":
        """Nothing is given up and nothing is told: those who have failed wait, and fail again. What only waited to be
        told is not late before its end."""
        outcomes = tuple(
            replace(one, action=Action.DELAYED) if one.action is Action.FAILED else one for one in self.told.outcomes
        )
        return self._replace(told=Told(outcomes, (), late=self.noted))


Work = Callable[[], Awaitable[None]]

#: How an attempt ended, and what the journal tells of it.
Ended = tuple[Settlement, Entry | None]

log = logging.getLogger("posthouse.queue")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much a runner does at a time, and how long waits are, in milliseconds."""

    attempts: int = 50
    first_retry: int = 300_000
    longest_retry: int = 7_200_000
    rules: Rules = field(default_factory=Rules)


class QueueRunner:
    """Claims, sends and settles until it is stopped. All methods are called on the event loop."""

    def __init__(self, house: House, attempt: Attempt, report: Report, limits: QueueLimits | None = None) -> None:
        self._house = house
        self._store = house.store
        self._send = attempt
        self._report = report
        self._limits = limits or QueueLimits()
        self._active: dict[Lease, asyncio.Task[None]] = {}
        self._left: list[Lease] = []  # of attempts that were cancelled
        self._late: Millis | None = Millis(0)  # when the next item is late or over, as far as is known
        self._fresh = False  # something came in through this worker since the last look
        looks = int(2000 * RECOVER_SECONDS)  # milliseconds of two of them
        renewed = _renewed(self._limits.rules.lease)
        self._unrenewed = renewed + looks  # what is left of a lease that should have been renewed
        self._writing = Writing(renewed, max(renewed, looks))
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Go on until `stop`; ends when everything that was claimed is settled or given back."""
        unwatch = self._store.watch(NEW_WORK, self._hinted)
        try:
            async with asyncio.TaskGroup() as group:
                keeping = [group.create_task(self._keep_leases()), group.create_task(self._recover())]
                while not self._stopping.is_set():
                    await self._wait(await self._claim(group))
                await self._drained()
                for task in keeping:
                    task.cancel()
        finally:
            unwatch()
            self._ended.set()

    async def stop(self, seconds: float) -> None:
        """Claim nothing more; what is under way has so many seconds to end, and is given back then."""
        self._stopping.set()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        for task in set(self._active.values()):
            task.cancel()
        await self._ended.wait()

    def _hinted(self, modseq: ModSeq) -> None:
        self._fresh = self._fresh or modseq != PASSED_ON
        self._wake.set()

    # --- what is due

    async def _claim(self, group: asyncio.TaskGroup) -> float:
        """Begin as many attempts as there is room for; for how many seconds nothing more is due."""
        await self._give_back()
        room = self._limits.attempts - len(self._active)
        if room <= 0:
            if self._fresh:  # another worker may have room
                self._store.pass_on(NEW_WORK)
            return POLL_SECONDS
        self._fresh = False
        at, rules = self._moment(), self._limits.rules
        try:
            overdue = []
            if self._late is not None and self._late <= at.now:  # a part of the room, however much there is to send
                most = max(1, room // OVERDUE_SHARE)
                overdue = await self._store.run(queue.claim_overdue, at, _token(), most, rules.lease)
            taken = await self._store.run(queue.claim, at, _token(), max(1, room - len(overdue)), rules.lease)
        except StoreError as error:
            self._writing.failed(error, at.uptime)
            return PAUSE_SECONDS
        self._late = taken.attention
        if taken.items:
            crashpoint("queue.claimed")
        for claimed in taken.items:
            self._begin(group, [claimed], partial(self._attempt, claimed))
        for several in by_message(overdue):
            self._begin(group, several, partial(self._tell, several))
        return _until(at.now, (taken.due, taken.attention))

    def _begin(self, group: asyncio.TaskGroup, several: Sequence[Claimed], work: Work) -> None:
        task = group.create_task(_watched(several[0].item, work))
        for claimed in several:
            self._active[claimed.lease] = task
            task.add_done_callback(partial(self._done, claimed.lease))

    def _done(self, lease: Lease, task: "asyncio.Task[None]") -> None:
        del self._active[lease]
        if task.cancelled():  # stopped, or the lease was lost: it is given back if it is still ours
            self._left.append(lease)
        self._wake.set()

    async def _give_back(self) -> None:
        left, self._left = self._left, []
        if not left:
            return
        with contextlib.suppress(StoreError):  # then they run out
            await self._store.run(settlement.give_back, self._moment(), left)

    async def _wait(self, seconds: float) -> None:
        """Until something may be due. What wakes up several times meanwhile is looked at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _drained(self) -> None:
        while self._active:
            await self._wait(POLL_SECONDS)
        await self._give_back()

    # --- leases

    async def _keep_leases(self) -> None:
        """Keep what is ours; who has lost a lease stops sending."""
        lease = self._limits.rules.lease
        pause = lease / 1000 / RENEWALS
        while True:
            await asyncio.sleep(pause)
            pause = lease / 1000 / RENEWALS
            if not self._active:
                continue
            try:
                lost = set(await self._store.run(settlement.renew, self._moment(), list(self._active), lease))
            except StoreError as error:
                self._writing.failed(error, self._moment().uptime)
                pause = min(pause, PAUSE_SECONDS)  # the first to write again must be who has a lease
                continue
            for task in {task for held, task in self._active.items() if held.item in lost}:
                task.cancel()

    async def _recover(self) -> None:
        """Go on with what a dead worker left."""
        while True:
            await asyncio.sleep(RECOVER_SECONDS)
            with contextlib.suppress(StoreError):
                await self._look_for_lost()

    async def _look_for_lost(self) -> None:
        """Take over leases that ran out, unless nobody could renew them (decision 0127). From when one was not renewed
        in its time until it runs out, writes show whether that was possible. Raises StoreError."""
        rules, writing, at = self._limits.rules, self._writing, self._moment()
        if not writing.failing and not await self._store.read(settlement.any_lost, at, rules, self._unrenewed):
            return
        try:
            count = await self._store.run(settlement.recover, at, rules, unsure=not writing.steady(at.uptime))
        except StoreError as error:
            writing.failed(error, self._moment().uptime)
            return
        writing.wrote(self._moment().uptime)
        if count:
            log.warning("%d messages were taken over from a worker that died or hung", count)

    # --- one item

    async def _attempt(self, claimed: Claimed) -> None:
        """Have it sent, and write down how that ended."""
        octets: bytes | mmap = b""
        try:
            octets = await self._octets(claimed)
            tried = await self._send(claimed.item, octets)
            seen = feedback(tried.outcomes)
        except (StoreError, OSError) as error:
            log.error("Q%d cannot be read: %s", claimed.item.id, error)
            tried, seen = self._delayed(claimed, f"this server could not read the message ({error})"), None
        except Exception:
            log.exception("Q%d could not be tried", claimed.item.id)
            tried, seen = self._delayed(claimed, "something went wrong in this server, whose log says more"), None
        crashpoint("queue.before_settle")
        await self._settle(claimed, tried, octets, seen or Feedback.NEUTRAL)

    async def _tell(self, several: Sequence[Claimed]) -> None:
        """Items of one message that are late, over, or have ended, and whose turn it is not: say so without an attempt,
        with one letter."""
        octets: bytes | mmap = b""
        with contextlib.suppress(StoreError, OSError):  # then the bounce has no copy
            octets = await self._octets(several[0])
        known = await self._store.read(waiting.last_of_several, [claimed.lease for claimed in several])
        now = self._house.clock()
        ends: list[End] = []
        for claimed, last in zip(several, known, strict=True):
            unknown = self._delayed(claimed, last.reason or "it had no turn yet", TOO_OLD).outcomes
            outcomes = tuple(one or other for one, other in zip(last.outcomes, unknown, strict=True))
            failed = all(one is not None and one.action is Action.FAILED for one in last.outcomes)
            ends.append(End(claimed, judge(claimed, outcomes, now), None, noted=failed))
        await self._settle_several(ends, None, octets)

    def _delayed(self, claimed: Claimed, reason: str, status: Status = INTERNAL) -> Tried:
        now, recipients = self._house.clock(), claimed.item.envelope.recipients
        return Tried(tuple(Outcome(recipient, Action.DELAYED, status, reason, now) for recipient in recipients))

    async def _octets(self, claimed: Claimed) -> bytes | mmap:
        """What is sent: large messages in a file of their own, so that many of them fit. Raises StoreError, OSError."""
        item = claimed.item
        if item.size + claimed.skip <= INLINE_SIZE:
            [octets] = self._store.blobs.lately.get_many([claimed.digest])  # most came in a moment ago, and here
            return (octets or await self._store.blobs.get(item.blob))[claimed.skip :]
        with tempfile.TemporaryFile(dir=self._house.spool) as file:
            await self._store.blobs.copy_to(item.blob, file, claimed.skip)
            return mmap(file.fileno(), 0, access=ACCESS_READ)

    # --- what came of it

    async def _settle(self, claimed: Claimed, tried: Tried, octets: bytes | mmap, seen: Feedback) -> None:
        """Write it down, with what is for people here and the letter that tells of it, in one transaction."""
        told = judge(claimed, tried.outcomes, self._house.clock())
        gather = GATHER_MILLIS if await self._has_company(claimed.item, told) else 0
        try:
            await self._settle_several([End(claimed, told, seen, gather)], tried.kept, octets)
        except NotFound:
            await self._settle(claimed, self._delayed(claimed, "one of those it is for was just removed"), octets, seen)
        except Full:
            again = self._delayed(claimed, "a mailbox that it is for has just become full", FULL)
            await self._settle(claimed, again, octets, seen)

    async def _has_company(self, item: QueueItem, told: Told) -> bool:
        """Whether all that is to be told are failures, and others of the message may have some to tell with them."""
        now = self._house.clock()
        if not only_failures(item.envelope, told) or now + GATHER_MILLIS >= item.expires:
            return False
        try:
            return await self._store.read(together.company, now, item.id)
        except StoreError:  # then it is told alone
            return False

    async def _settle_several(self, ends: Sequence[End], kept: Ready | None, octets: bytes | mmap) -> None:
        """How items of one message ended, and one letter that tells of all of it, in one transaction. Raises NotFound
        and Full where `kept` is something."""
        item, now = ends[0].claimed.item, self._house.clock()
        letter: Ready | None = None
        try:
            news = tuple(one for end in ends if not end.gather for one in end.told.news)
            letter = await self._letter(item, news, octets)
        except StoreError as error:
            log.error("Q%d: its sender cannot be told now: %s", item.id, error)
            ends = [end.kept_back() for end in ends]
        except Exception:  # without a bounce nothing may be given up
            log.exception("Q%d: its sender cannot be told", item.id)
            ends = [end.kept_back() for end in ends]
        several = [self._written_down(end, now) for end in ends]
        try:
            written = await self._written(several, kept, letter)
        except Stale:  # somebody has cancelled one of them: what is left is told in the next round
            self._left += [end.claimed.lease for end in ends]
            return
        for end in ends if written else ():
            if not end.noted:
                _note(end.claimed.item, end.told.outcomes)
        if not written:
            log.warning("Q%d: another worker has gone on with it; what came of it here is not kept", item.id)

    def _written_down(self, end: End, now: Millis) -> Ended:
        item, outcomes = end.claimed.item, end.told.outcomes
        following = self._next_attempt(item, now, tried=end.seen is not None or end.noted)
        late, jitter = end.told.late, 1 - random.random() / 5
        settled = Settlement(end.claimed.lease, outcomes, following, late, end.seen, jitter, end.gather)
        if end.noted:
            return settled, None
        return settled, journey.attempted(
            now, item, outcomes, following if any(map(settlement.waits, outcomes)) else None
        )

    def _next_attempt(self, item: QueueItem, now: Millis, *, tried: bool) -> Millis:
        if not tried:
            return item.next_attempt
        wait = back_off(item.attempts, self._limits.first_retry, self._limits.longest_retry, random.random())
        return Millis(now + wait)

    async def _written(self, several: Sequence[Ended], kept: Ready | None, letter: Ready | None) -> bool:
        """Whether the lease was still ours. Raises NotFound when one of those whom `kept` is for has been removed
        meanwhile, Full when one of them has no room any more, StoreError when the store does not get well again."""
        tries_left = SETTLE_TRIES
        while True:  # ends with the lease, or with the worker: what was sent must not be sent again
            try:
                both = tuple(each for each in (kept, letter) if each is not None)
                return await self._store.run(settle, self._moment(), several, self._limits.rules, both)
            except NotFound:  # an account has been removed meanwhile
                if letter is None:
                    raise
                letter = None  # it was the sender's, or the next round says so
            except (Full, Stale):
                raise
            except StoreError as error:
                self._writing.failed(error, self._moment().uptime)
                tries_left -= not isinstance(error, Unavailable)
                if not tries_left or self._store.failed is not None:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def _letter(self, item: QueueItem, news: tuple[Outcome, ...], octets: bytes | mmap) -> Ready | None:
        """The letter to the sender, ready to be kept. Raises StoreError."""
        letter: Letter | None = None
        if news and await self._inherited(item):
            log.info("Q%d: its sender is not told: another user has the address by now", item.id)
        elif len(news) > TOLD_ON_LOOP:
            letter = await asyncio.to_thread(self._report, item, news, octets)
        elif news:
            letter = self._report(item, news, octets)
        if letter is None:
            return None
        ready = await make_ready(letter, item.trail, self._house, partial(journey.answered, self._house.clock(), item))
        if ready is None:
            log.info("Q%d: its sender cannot be told: nobody here has that address", item.id)
        return ready

    async def _inherited(self, item: QueueItem) -> bool:
        sender = item.envelope.sender.address
        if item.account is None or sender is None:
            return False
        return await self._store.read(accounts.inherited, item.account, sender)

    def _moment(self) -> Moment:
        return self._house.moment(self._house.clock())


def settle(at: Moment, several: Sequence[Ended], rules: Rules, letters: tuple[Ready, ...]) -> Script[bool]:
    """The script that ends attempts: the outcomes with their entries in the journal, what people here get of them, and
    the letter that tells of all; or nothing. Raises Stale where only some of the leases were lost."""
    ours = 0
    for settled, entry in several:  # items of one message, inside one script, in the writer's thread
        if (yield from settlement.settle(at, settled, rules)):
            ours += 1
            yield from journal.record([entry] if entry is not None else [])
    if not ours:
        return False
    if ours < len(several):
        raise Stale("some of it is no longer here")
    if letters:
        crashpoint("queue.before_letter")
        yield from take_letters(letters)
    return True


async def _watched(item: QueueItem, work: Work) -> None:
    """Work for one message, whatever comes: a mistake of ours must not end the others."""
    try:
        await work()
    except Exception:
        log.exception("Q%d could not be settled; it is tried again when its lease has run out", item.id)


def by_message(several: Sequence[Claimed]) -> list[list[Claimed]]:
    """Items of one message stand together, whose sender hears of all of them at once."""
    found: dict[object, list[Claimed]] = {}
    for claimed in several:
        item = claimed.item
        found.setdefault((item.trail, item.account, replace(item.envelope, recipients=())), []).append(claimed)
    return list(found.values())


def _renewed(lease: int) -> int:
    """In so many milliseconds whoever is alive has renewed their leases, where that is possible."""
    period = lease // RENEWALS
    return period + min(period, int(1000 * RECOVER_SECONDS))


def _token() -> int:
    return secrets.randbits(62) + 1


def _until(now: Millis, moments: Sequence[Millis | None]) -> float:
    """Seconds until the first of them, POLL_SECONDS at most."""
    due = min((moment for moment in moments if moment is not None), default=None)
    return POLL_SECONDS if due is None else min(max(0.0, (due - now) / 1000), POLL_SECONDS)


def _note(item: QueueItem, outcomes: Sequence[Outcome]) -> None:
    """One line in the log for each recipient."""
    for one in outcomes:
        fields = {"item": f"Q{item.id}", "id": item.trail, "recipient": str(one.recipient.path), "server": one.mta}
        log.info("%s (%s): %s", one.action.value, one.status, one.reason, extra=fields)
