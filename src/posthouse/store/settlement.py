"""How a lease of the queue ends: settled, kept, given back or lost; and what an attempt teaches of its destination.

A lease is fenced: its token is asked for in the statement that writes, so a runner that slept while another went on
changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby

from posthouse.mail.ids import Millis, ModSeq, QueueId
from posthouse.mail.outcome import Action, Outcome
from posthouse.store.blobs import drop
from posthouse.store.crashpoint import crashpoint
from posthouse.store.moment import Moment, keep_time
from posthouse.store.queue import DUE, DUE_NOW, NEW_WORK, Lease, State, encode
from posthouse.store.script import Changed, Script, sql
from posthouse.store.together import ENDED, Key, first_attempt_over, under_way

RECOVERED = 500  # leases taken back in one script
FAR = 2  # leases ahead: one that ends later is of another run of the machine, and not of a moment between two scripts
LOST_LEASES = 3  # in a row, then an item waits like after a failure: perhaps it is what kills whoever sends it
FORGET_MILLIS = 24 * 3_600_000  # after which nothing is known of a destination any more


class Feedback(Enum):
    """What an attempt says of the destination, whatever it means for the recipients."""

    GOOD = "good"  # it took mail
    NEUTRAL = "neutral"
    BAD = "bad"  # nobody could be spoken to


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds of a destination and of a lease."""

    width: int = 20  # items of a destination leased at a time, and so connections to it
    failures: int = 3  # in a row, then it rests
    first_rest: int = 60_000  # milliseconds, doubled with each failure
    longest_rest: int = 7_200_000
    lease: int = 25_000  # milliseconds: so late another worker goes on


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an attempt ended: an Outcome for each open recipient, in order, and what follows."""

    lease: Lease
    outcomes: tuple[Outcome, ...]
    next_attempt: Millis  # for those who wait
    told: bool = False  # that it is late
    feedback: Feedback | None = Feedback.NEUTRAL  # None: nobody was asked, and it was no attempt
    jitter: float = 1.0  # 0.8 to 1: shortens a rest
    gather: int = 0  # milliseconds: nothing but failures, and so long they may wait to be told with those of others


# --- leases

_LOST = "state = 2 AND (lease_until <= $1 OR lease_until > $2)"  # it ran out, or is of another run of the machine


def renew(at: Moment, leases: Sequence[Lease], lease: int) -> Script[list[QueueId]]:
    """Keep these leases; gives the items whose lease was lost already."""
    lost: list[QueueId] = []
    for item, token, _ in leases:  # inside one script, in the writer's thread
        rows = yield sql(
            "UPDATE queue_item SET lease_until = $3 WHERE id = $1 AND token = $2 AND state = 2 RETURNING id",
            item, token, at.uptime + lease,
        )  # fmt: skip
        if not rows:
            lost.append(item)
    return lost


def recover(at: Moment, rules: Rules, most: int = RECOVERED, *, unsure: bool = False) -> Script[int]:
    """Take back leases that ran out: who had them is dead, or hangs. How many. `unsure`: perhaps they could not be
    renewed, and only those of another run of the machine are taken back. Writes something in any case."""
    yield from keep_time(at)
    yield sql("UPDATE queue_clock SET seen = $1", at.now)
    rows = yield sql(
        f"SELECT id, destination, lost, held, {ENDED} FROM queue_item WHERE {_LOST} LIMIT $3",
        0 if unsure else at.uptime, at.uptime + FAR * rules.lease, most,
    )  # fmt: skip
    for item, _, lost, held, ended in rows:  # inside one script, in the writer's thread
        often = lost + 1 >= LOST_LEASES
        state = State.HELD if held else State.LATER if often or ended else State.READY
        again = at.now + (rules.first_rest << min(max(lost + 1 - LOST_LEASES, 0), 7))
        yield sql(
            "UPDATE queue_item SET state = $2, lost = lost + 1, token = 0, lease_until = 0,"
            " next_attempt = CASE WHEN $2 = 1 AND $4 THEN $3 ELSE next_attempt END WHERE id = $1",
            item, state, again, often,
        )  # fmt: skip
    yield from _freed(at.now, [name for _, name, *_ in rows])
    return len(rows)


def any_lost(at: Moment, rules: Rules, ahead: int = 0) -> Script[bool]:
    """Whether `recover` would find something, now or so many milliseconds ahead: a look that keeps nobody from
    writing."""
    rows = yield sql(
        f"SELECT 1 FROM queue_item WHERE {_LOST} LIMIT 1", at.uptime + ahead, at.uptime + FAR * rules.lease
    )
    return bool(rows)


def give_back(at: Moment, leases: Sequence[Lease]) -> Script[int]:
    """Leases that nobody needs any more: their items are as before they were claimed. How many were still held."""
    yield from keep_time(at)
    names: list[str] = []
    for item, token, _ in leases:  # inside one script, in the writer's thread
        rows = yield sql(
            "UPDATE queue_item SET state = CASE WHEN held <> 0 THEN 3 WHEN next_attempt > $3 THEN 1 ELSE 0 END,"
            " token = 0, lease_until = 0 WHERE id = $1 AND token = $2 AND state = 2 RETURNING destination",
            item, token, at.now,
        )  # fmt: skip
        names += [name for (name,) in rows]
    yield from _freed(at.now, names)
    return len(names)


def _freed(now: Millis, names: Iterable[str]) -> Script[None]:
    """So many leases of these destinations have ended without saying anything of them."""
    for name, some in groupby(sorted(names)):
        yield sql(
            f"UPDATE queue_destination SET in_flight = in_flight - $3, touched = $2, due = {DUE_NOW} WHERE name = $1",
            name, now, len(list(some)),
        )  # fmt: skip
        yield Changed(NEW_WORK, ModSeq(now))


# --- done

_KNOWN = "destination, attempts, trail, account, envelope"  # of the item, afterwards


def settle(at: Moment, ended: Settlement, rules: Rules) -> Script[bool]:
    """Write down how an attempt ended, for each recipient, and what it says of the destination. False: the lease was
    lost, and nothing was written."""
    yield from keep_time(at)
    name = yield from _settle_item(at.now, ended)
    if name is None:
        return False
    crashpoint("queue.inside_settle")
    yield from _learn(at.now, name, ended, rules)
    return True


def waits(outcome: Outcome) -> bool:
    """Whether something is left to be done for the recipient."""
    return outcome.action is Action.DELAYED


def _settle_item(now: Millis, ended: Settlement) -> Script[str | None]:
    """The destination; None where the lease was lost."""
    if ended.gather:
        return (yield from _wait_to_be_told(now, ended))
    item, token, _ = ended.lease
    if any(map(waits, ended.outcomes)):
        return (yield from _wait_for_next(now, ended))
    rows = yield sql(
        f"DELETE FROM queue_item WHERE id = $1 AND token = $2 AND state = 2 RETURNING blob, {_KNOWN}", item, token
    )
    if not rows:
        return None
    [(blob, name, attempts, *key)] = rows
    yield sql("DELETE FROM queue_recipient WHERE item = $1", item)
    left = yield from drop(blob)
    if left and not attempts:  # perhaps by other items of the message
        yield from _tell_others(now, (item, *key))
    return str(name)


def _wait_for_next(now: Millis, ended: Settlement) -> Script[str | None]:
    item, token, places = ended.lease
    rows = yield sql(
        "UPDATE queue_item SET state = CASE WHEN held <> 0 THEN 3 ELSE 1 END, next_attempt = $3, token = 0,"
        " lease_until = 0, attempts = attempts + $5, lost = 0, attention = CASE WHEN $4 THEN expires ELSE attention END"
        f" WHERE id = $1 AND token = $2 AND state = 2 RETURNING {_KNOWN}",
        item, token, ended.next_attempt, ended.told, ended.feedback is not None,
    )  # fmt: skip
    if not rows:
        return None
    [(name, attempts, *key)] = rows
    settled = [not waits(outcome) for outcome in ended.outcomes]
    yield from _note(item, zip(places, settled, ended.outcomes, strict=True))
    if attempts == 1 and ended.feedback is not None:
        yield from _tell_others(now, (item, *key))
    return str(name)


def _wait_to_be_told(now: Millis, ended: Settlement) -> Script[str | None]:
    """What failed is told in a moment, with what fails meanwhile of the same message: it stays open until then."""
    item, token, places = ended.lease
    rows = yield sql(
        "UPDATE queue_item SET state = CASE WHEN held <> 0 THEN 3 ELSE 1 END, next_attempt = expires, token = 0,"
        " lease_until = 0, attempts = attempts + 1, lost = 0, attention = min(expires, $3)"
        f" WHERE id = $1 AND token = $2 AND state = 2 RETURNING {_KNOWN}",
        item, token, now + ended.gather,
    )  # fmt: skip
    if not rows:
        return None
    [(name, _, *key)] = rows
    settled = [outcome.action is not Action.FAILED for outcome in ended.outcomes]
    yield from _note(item, zip(places, settled, ended.outcomes, strict=True))
    if not (yield from under_way(now, (item, *key))):
        yield sql("UPDATE queue_item SET attention = min(expires, $2) WHERE id = $1", item, now)
        yield from first_attempt_over(now, (item, *key))
        yield Changed(NEW_WORK, ModSeq(now))
    return str(name)


def _tell_others(now: Millis, key: Key) -> Script[None]:
    if (yield from first_attempt_over(now, key)):
        yield Changed(NEW_WORK, ModSeq(now))


def _note(item: QueueId, recipients: Iterable[tuple[int, bool, Outcome]]) -> Script[None]:
    """The outcome of each place, and whether nothing is left to be done for it."""
    for place, settled, outcome in recipients:  # inside one script, in the writer's thread
        yield sql(
            "UPDATE queue_recipient SET settled = $3, outcome = $4 WHERE item = $1 AND place = $2",
            item, place, settled, encode(outcome),
        )  # fmt: skip


def _learn(now: Millis, name: str, ended: Settlement, rules: Rules) -> Script[None]:
    """More at a time while all goes well, fewer when nobody answers, and after some failures none for a while."""
    [(width, failures, rests_until, reason)] = yield sql(
        "SELECT width, failures, rests_until, reason FROM queue_destination WHERE name = $1", name
    )
    if ended.feedback is Feedback.GOOD:
        width, failures, rests_until, reason = min(width + 1, rules.width), 0, 0, ""
    elif ended.feedback is Feedback.BAD:
        width, reason = max(1, min(width, rules.width) // 2), ended.outcomes[0].words
        if rests_until <= now:  # what was under way when it began to rest says nothing new
            failures += 1
            rests_until = now + rest(failures, rules, ended.jitter)
    yield sql(
        "UPDATE queue_destination SET in_flight = in_flight - 1, width = $3, failures = $4, reason = $5, touched = $2,"
        f" rests_until = $6, due = {DUE.format('$6')} WHERE name = $1",
        name, now, width, failures, reason, rests_until,
    )  # fmt: skip


def rest(failures: int, rules: Rules, jitter: float = 1.0) -> int:
    """For how many milliseconds a destination rests after so many failures in a row."""
    if failures < rules.failures:
        return 0
    return int(min(rules.first_rest << min(failures - rules.failures, 30), rules.longest_rest) * jitter)


def forget_destinations(now: Millis) -> Script[int]:
    """What is known of destinations that had nothing for a day goes."""
    rows = yield sql(
        "DELETE FROM queue_destination WHERE due IS NULL AND in_flight = 0 AND touched < $1 AND NOT EXISTS"
        " (SELECT 1 FROM queue_item WHERE destination = queue_destination.name) RETURNING name",
        now - FORGET_MILLIS,
    )
    return len(rows)
