"""What waits in the queue, as people see it, and what they may do with it: hold, release, try now, cancel."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from posthouse.mail.ids import Millis, ModSeq, QueueId
from posthouse.mail.outcome import Action, Outcome
from posthouse.store.blobs import drop
from posthouse.store.moment import Moment, keep_time
from posthouse.store.queue import DUE_NOW, NEW_WORK, Lease, State
from posthouse.store.script import Changed, Script, sql

PAGE = 500  # items looked at or changed in one script: some 20 ms of the writer
DESTINATIONS = 100  # tried afresh in one script, mostly with few items each

_outcome = msgspec.json.Decoder(Outcome)


class Choice(NamedTuple):
    """Which items are meant: all that fit everything that is said. Addresses are compared without regard to case."""

    ids: frozenset[QueueId] | None = None
    sender: str | None = None
    recipient: str | None = None
    domain: str | None = None  # of the recipients


class Waiting(NamedTuple):
    """An item as it waits. `next_attempt` counts the rest of its destination; `reason` is "" where nothing failed."""

    id: QueueId
    trail: str
    sender: str
    domain: str
    recipients: tuple[str, ...]  # those that are open
    size: int
    priority: int
    state: State
    attempts: int
    created: Millis
    next_attempt: Millis
    expires: Millis
    reason: str
    ended: bool = False  # everybody was taken or has failed, and its sender is told in a moment


class RecipientRow(NamedTuple):
    """A recipient of an item, and how the last attempt ended for it."""

    path: str
    settled: bool
    outcome: Outcome | None


class Last(NamedTuple):
    """What is known of the open recipients of an item, in order, and of its destination."""

    outcomes: tuple[Outcome | None, ...]
    reason: str


# --- looking

_CHOSEN = (
    "q.id > $1 AND ($2 IS NULL OR lower(q.sender) = lower($2)) AND ($3 IS NULL OR q.destination = $3)"
    " AND ($4 IS NULL OR EXISTS"
    " (SELECT 1 FROM queue_recipient r WHERE r.item = q.id AND r.settled = 0 AND lower(r.path) = lower($4)))"
)


def chosen(choice: Choice, after: int = 0, limit: int = PAGE) -> Script[list[QueueId]]:
    """The next items that are meant, behind the item `after`, in the order in which they came."""
    found: list[QueueId] = []
    if choice.ids is not None:
        for item in sorted(one for one in choice.ids if one > after)[:limit]:  # in the thread of the database
            found += yield from _ids(f"{_CHOSEN} AND q.id = $5", item - 1, choice, item)
        return found
    return (yield from _ids(f"{_CHOSEN} ORDER BY q.id LIMIT $5", after, choice, limit))


def number(choice: Choice) -> Script[int]:
    """How many items are meant, of all that wait; `ids` is passed over."""
    [(count,)] = yield sql(
        f"SELECT count(*) FROM queue_item q WHERE {_CHOSEN}", 0, choice.sender, choice.domain, choice.recipient
    )
    return int(count)


def _ids(where: str, after: int, choice: Choice, last: int) -> Script[list[QueueId]]:
    rows = yield sql(
        f"SELECT q.id FROM queue_item q WHERE {where}", after, choice.sender, choice.domain, choice.recipient, last
    )
    return [QueueId(item) for (item,) in rows]


def look(now: Millis, items: Sequence[QueueId]) -> Script[list[Waiting]]:
    """These items as they wait; those that are gone are left out."""
    found: list[Waiting] = []
    for item in items:  # in the thread of the database
        rows = yield sql(
            "SELECT q.trail, q.sender, q.destination, q.size, -q.urgency, q.state, q.attempts, q.created,"
            " CASE WHEN q.state < 2 AND d.rests_until > q.next_attempt AND d.rests_until > $2 THEN d.rests_until"
            " ELSE q.next_attempt END, q.expires, d.reason FROM queue_item q JOIN queue_destination d"
            " ON d.name = q.destination WHERE q.id = $1",
            item, now,
        )  # fmt: skip
        if rows:
            trail, sender, domain, size, priority, state, attempts, created, due, expires, reason = rows[0]
            people = [row for row in (yield from recipients(item)) if not row.settled]
            said = next((row.outcome.words for row in people if row.outcome is not None), reason)
            paths = tuple(row.path for row in people)
            row = (item, trail, sender, domain, paths, size, priority, State(state), attempts, created, due, expires)
            ended = bool(people) and all(map(_failed, people))
            found.append(Waiting(*row, said, ended))
    return found


def recipients(item: QueueId) -> Script[list[RecipientRow]]:
    """All recipients of an item, also those who are settled."""
    rows = yield sql("SELECT path, settled, outcome FROM queue_recipient WHERE item = $1 ORDER BY place", item)
    return [
        RecipientRow(path, bool(settled), _outcome.decode(text) if text is not None else None)
        for path, settled, text in rows
    ]


def _failed(row: RecipientRow) -> bool:
    return row.outcome is not None and row.outcome.action is Action.FAILED


def last_of_several(leases: Sequence[Lease]) -> Script[list[Last]]:
    """The same as `last_outcomes`, of several leased items."""
    found: list[Last] = []
    for lease in leases:  # in the thread of the database
        found.append((yield from last_outcomes(lease)))
    return found


def last_outcomes(lease: Lease) -> Script[Last]:
    """How the last attempt ended for the open recipients of a leased item."""
    rows = yield sql("SELECT place, outcome FROM queue_recipient WHERE item = $1 AND settled = 0", lease.item)
    known = {place: _outcome.decode(text) for place, text in rows if text is not None}
    reasons = yield sql(
        "SELECT reason FROM queue_destination WHERE name = (SELECT destination FROM queue_item WHERE id = $1)",
        lease.item,
    )
    return Last(tuple(known.get(place) for place in lease.places), reasons[0][0] if reasons else "")


class Tally(NamedTuple):
    """How many items of a domain are in which state, and how that domain is."""

    domain: str
    ready: int
    later: int
    leased: int
    held: int
    rests_until: Millis
    reason: str


def count() -> Script[list[Tally]]:
    """By domain, the fullest first."""
    rows = yield sql(
        "SELECT q.destination, sum(q.state = 0), sum(q.state = 1), sum(q.state = 2), sum(q.state = 3), d.rests_until,"
        " d.reason FROM queue_item q JOIN queue_destination d ON d.name = q.destination GROUP BY q.destination"
        " ORDER BY count(*) DESC, q.destination"
    )
    return [Tally(*row) for row in rows]


# --- doing; each gives the items with which it was done


def hold(at: Moment, items: Sequence[QueueId]) -> Script[list[QueueId]]:
    """They stay until they are released, and grow no older. One that is being sent is held after its attempt."""
    done = yield from _on_each(
        at,
        items,
        "UPDATE queue_item SET held = $2, state = CASE WHEN state = 2 THEN 2 ELSE 3 END"
        " WHERE id = $1 AND held = 0 RETURNING destination",
    )
    yield from look_again(at.now, done.values())
    return list(done)


def release(at: Moment, items: Sequence[QueueId]) -> Script[list[QueueId]]:
    """They are no longer held; the time they were is not counted."""
    done = yield from _on_each(
        at,
        items,
        "UPDATE queue_item SET expires = expires + $2 - held, attention = attention + $2 - held, held = 0,"
        " state = CASE WHEN state = 2 THEN 2 WHEN next_attempt > $2 THEN 1 ELSE 0 END"
        " WHERE id = $1 AND held <> 0 RETURNING destination",
    )
    yield from look_again(at.now, done.values())
    return list(done)


def retry(at: Moment, items: Sequence[QueueId]) -> Script[list[QueueId]]:
    """Their next attempt is now, and their destinations rest no longer. Held ones stay held, and nobody is tried before
    the moment its sender wished (RFC 4865 §4)."""
    done = yield from _on_each(
        at,
        items,
        "UPDATE queue_item SET state = 1, next_attempt = $2 WHERE id = $1 AND state < 2 AND release <= $2"
        " RETURNING destination",
    )
    for name in sorted(set(done.values())):
        yield sql("UPDATE queue_destination SET rests_until = 0, failures = 0 WHERE name = $1", name)
    yield from look_again(at.now, done.values())
    return list(done)


def _on_each(at: Moment, items: Sequence[QueueId], statement: str) -> Script[dict[QueueId, str]]:
    """Run a statement for each item ($1) at this moment ($2); the destinations of those with which it was done."""
    yield from keep_time(at)
    done: dict[QueueId, str] = {}
    for item in items:  # inside one script, in the writer's thread
        rows = yield sql(statement, item, at.now)
        done.update((item, name) for (name,) in rows)
    return done


def unreached(after: str) -> Script[list[str]]:
    """The next destinations behind this one of which no server has spoken about mail at the last attempt."""
    rows = yield sql(
        "SELECT name FROM queue_destination WHERE failures > 0 AND name > $1 ORDER BY name LIMIT $2",
        after, DESTINATIONS,
    )  # fmt: skip
    return [name for (name,) in rows]


def try_afresh(at: Moment, names: Sequence[str]) -> Script[int]:
    """As `retry` for all that waits for these destinations; how many messages did not have their turn yet."""
    yield from keep_time(at)
    count = 0
    for name in names:  # inside one script, in the writer's thread
        rows = yield sql(
            "UPDATE queue_item SET next_attempt = $2 WHERE destination = $1 AND state = 1 AND next_attempt > $2"
            " AND release <= $2 RETURNING id",
            name, at.now,
        )  # fmt: skip
        count += len(rows)
        yield sql("UPDATE queue_destination SET rests_until = 0, failures = 0 WHERE name = $1", name)
    yield from look_again(at.now, names)
    return count


def cancel(at: Moment, items: Sequence[QueueId]) -> Script[dict[QueueId, State]]:
    """They are gone, and nobody is told; gives the state each was in. One that was being sent may have arrived."""
    yield from keep_time(at)
    done: dict[QueueId, State] = {}
    names: set[str] = set()
    for item in items:  # inside one script, in the writer's thread
        rows = yield sql("DELETE FROM queue_item WHERE id = $1 RETURNING destination, blob, state", item)
        for name, blob, state in rows:
            yield sql("DELETE FROM queue_recipient WHERE item = $1", item)
            yield from drop(blob)
            if state == State.LEASED:
                yield sql("UPDATE queue_destination SET in_flight = in_flight - 1 WHERE name = $1", name)
            done[item] = State(state)
            names.add(name)
    yield from look_again(at.now, names)
    return done


def look_again(now: Millis, names: Iterable[str]) -> Script[None]:
    """What can be claimed of these destinations has changed."""
    for name in sorted(set(names)):  # inside one script, in the writer's thread
        yield sql(f"UPDATE queue_destination SET due = {DUE_NOW}, touched = $2 WHERE name = $1", name, now)
        yield Changed(NEW_WORK, ModSeq(now))
