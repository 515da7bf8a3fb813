"""Retention: what is old enough in Trash and Junk is removed, and what is recently deleted ends when its time is over.

One worker does it, an hour apart, in small steps between which others write (decision 0100). Each step is a transaction
that looks again at what it removes, so that it may stop anywhere, and two at a time do no harm.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from posthouse.mail.ids import UID, AccountId, MailboxId, Millis
from posthouse.store import emails, expiry, gc, journal, removed, removed_users, restore
from posthouse.store.expiry import Gaps, Ruled, Rules, cutoff
from posthouse.store.removed import Removal
from posthouse.store.restore import ActRow, Restored
from posthouse.store.script import NotFound, Script, StoreError
from posthouse.store.store import Store
from posthouse.transport import journey
from posthouse.transport.house import House
from posthouse.transport.journey import Doing
from posthouse.wire.imap.number_set import print_numbers, runs

FIRST_SECONDS = 30.0  # after the start: people wait for what comes first
LOOK_SECONDS = 300.0  # between two looks at the clocks; so much of a jump's surroundings stays unsure
WORK_SECONDS = 3_600.0  # between two rounds: rules speak of days
PIECES = 10_000  # steps of 1,000 messages in which the mail of removed users goes, at one round: ten million
PAUSE_SECONDS = 0.05  # between two steps: three quarters of the writer's time are left to others

_USES = {"trash": "Trash", "junk": "Junk"}

log = logging.getLogger(__name__)


class Retention(NamedTuple):
    """The rules of the house, for how many days what was removed is kept, 0: not at all; and how many octets of it for
    one user."""

    rules: Rules
    removed_days: int
    removed_size: int


class Round(NamedTuple):
    """What one round removed: messages by rules, and for good; and removed users."""

    expired: int
    ended: int
    users: int = 0


async def keep_rules(house: House, retention: Retention) -> None:
    """The duty of one worker, until cancelled."""
    worked = -WORK_SECONDS
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        try:
            gaps = await house.store.run(expiry.keep_time, house.moment(house.clock()))
            if time.monotonic() - worked >= WORK_SECONDS:
                worked = time.monotonic()
                _say(await work(house, retention, gaps))
        except StoreError as error:
            log.warning("the rules of retention were not applied: %s", error)
        await asyncio.sleep(LOOK_SECONDS)


def _say(done: Round) -> None:
    if any(done):
        log.info("the rules of retention were applied", extra=done._asdict())


async def work(house: House, retention: Retention, gaps: Gaps) -> Round:
    """One round. Raises Unavailable."""
    expired, after = 0, MailboxId(0)
    while some := await house.store.read(expiry.ruled, retention.rules, after):
        for one in some:  # one mailbox after another: there is no hurry, and the writer is others' too
            if one.days:
                expired += await _expire(house, one, cutoff(house.clock(), one.days, gaps))
        after = some[-1].mailbox
    before = cutoff(house.clock(), retention.removed_days, gaps)
    users = await _end_users(house.store, before)
    ended = await _end(house.store, before)
    return Round(expired, ended + await _end_beyond(house.store, retention.removed_size), users)


async def _expire(house: House, one: Ruled, before: Millis) -> int:
    """Remove what came into a mailbox before this moment; how many."""
    gone = 0
    while uids := await house.store.read(expiry.overdue, one.box, before):
        try:
            gone += await house.store.run(expire, one, uids, house.clock(), keep=house.keep_removed)
        except NotFound:  # the mailbox was deleted meanwhile
            break
        await asyncio.sleep(PAUSE_SECONDS)
    return gone


def named(one: Ruled) -> str:
    """A rule, for people: "the rule of Trash after 30 days"."""
    of = f'"{one.name}"' if one.own else _USES.get(one.role or "", one.name)
    return f"the rule of {of} after {one.days} day{'s' if one.days != 1 else ''}"


def expire(one: Ruled, uids: Sequence[UID], now: Millis, *, keep: bool) -> Script[int]:
    """Remove these messages, which a rule says are old, as far as they are still there; how many. A message never gets
    older by leaving and coming back: it has another UID then. Raises NotFound."""
    kept = Removal(now, named(one)) if keep else None
    gone = yield from emails.expunge(one.box, runs(uids), marked=False, kept=kept)
    if gone.uids:
        doing = Doing("expired", one.mailbox, one.name, print_numbers(gone.uids).decode("ascii"), named(one))
        yield from journal.record([journey.did(now, doing, "", "")])
    return len(gone.uids)


async def _end_users(store: Store, before: Millis) -> int:
    """End those who were removed before this moment; how many."""
    ended = 0
    for one in await store.read(removed_users.overdue, before):  # few, one after another
        with suppress(NotFound):  # brought back meanwhile
            await store.run(removed_users.end, one.account)
            log.info("a removed user is gone for good", extra={"user": str(one.address)})
            ended += 1
        await asyncio.sleep(PAUSE_SECONDS)
    for _ in range(PIECES if ended else 0):  # what is left then goes with other garbage
        if not await store.run(gc.purge):
            break
        await asyncio.sleep(PAUSE_SECONDS)
    return ended


async def _end(store: Store, before: Millis) -> int:
    ended = 0
    while True:
        step = await store.run(removed.end, before)
        ended += step.emails
        if not step.more:
            return ended
        await asyncio.sleep(PAUSE_SECONDS)


async def _end_beyond(store: Store, most: int) -> int:
    """End the oldest of those of whom more is kept than is allowed: it does not count for a quota, and whoever brings
    in and removes all day must not fill the disk."""
    ended = 0
    account = AccountId(0)
    while (after := await store.read(removed.next_account, account)) is not None:  # one after another, as the rules do
        account = after
        _, kept = await store.read(removed.kept_of, account)
        excess = kept - most
        while excess > 0:
            emails, octets = await store.run(removed.end_oldest, account, excess)
            if not emails:  # brought back meanwhile
                break
            ended, excess = ended + emails, excess - octets
            await asyncio.sleep(PAUSE_SECONDS)
    return ended


def bring_back(act: ActRow, account: AccountId, uids: Sequence[int], now: Millis) -> Script[Restored | None]:
    """restore.restore, with its entry in the journal."""
    back = yield from restore.restore(account, act.id, uids, now)
    if back is not None:
        to = (back.place.id, back.place.name, back.first)
        doing = Doing("restored", act.mailbox, act.name, print_numbers(back.uids).decode("ascii"), to=to)
        yield from journal.record([journey.did(now, doing, "", "")])
    return back
