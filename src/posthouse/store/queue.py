"""The queue: mail that leaves the house, one item for each message and destination (RFC 5321 §4.5.4).

An item is ready, later (it waits for its next attempt), leased (somebody is sending it) or held; docs/operate/queue.md
has the table. A lease is a token and a moment: whoever lets it run out has lost it, and can settle nothing with it.
Every item has its turn: destinations one after the other by `due`, within one the urgent first, then senders in turn by
`rank`, which counts how many of the same sender are in front (start-time fair queueing). Everything a claim looks at
is an index, so it costs the same whatever waits behind.

How a lease ends is in `settlement.py`, what people do with what waits in `waiting.py`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import groupby
from typing import NamedTuple

import msgspec

from posthouse.mail.address import Domain
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import AccountId, Millis, ModSeq, QueueId, Trail
from posthouse.store.blobs import BlobKey, NewBlob, keep
from posthouse.store.crashpoint import crashpoint
from posthouse.store.moment import Moment, keep_time
from posthouse.store.script import Changed, Row, Script, sql
from posthouse.store.together import OTHERS_TO_TELL

NEW_WORK = AccountId(0)  # whom to watch for hints that something may be claimed
NOBODY = 0  # the account of the house's own mail
FIRST_WIDTH = 5  # items leased at a time of a destination that is not known yet
ITEMS_AT_ONCE = 20  # whose recipients are read with one statement


class State(IntEnum):
    """Where an item stands. The numbers are stored, and written out in the WHERE of partial indexes."""

    READY = 0
    LATER = 1
    LEASED = 2
    HELD = 3


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One message's business with one destination."""

    id: QueueId
    trail: Trail
    blob: BlobKey
    size: int  # octets that are sent
    account: AccountId | None  # whose submission it is; None: the house's own
    envelope: Envelope  # only the recipients that are still open
    destination: Domain
    attempts: int  # that were made already
    created: Millis
    next_attempt: Millis
    expires: Millis


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, in milliseconds, an item waits before its sender is told, and before it is given up."""

    notice: int = 4 * 3_600_000
    lifetime: int = 5 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for people on other servers. The first `skip` octets of its blob stay here (Return-Path)."""

    trail: Trail
    envelope: Envelope
    account: AccountId | None = None
    skip: int = 0
    release: int = 0  # Millis of FUTURERELEASE (RFC 4865 §4); 0: at once
    patience: Patience = Patience()


class Lease(NamedTuple):
    """The right to settle an item, and the places of its open recipients."""

    item: QueueId
    token: int
    places: tuple[int, ...]


class Claimed(NamedTuple):
    """A leased item. `attention` is when its sender is to be told that it is late, or `expires`; `digest` is that of
    its blob, by which octets are known that were here a moment ago."""

    item: QueueItem
    lease: Lease
    skip: int
    attention: Millis
    digest: bytes


class Taken(NamedTuple):
    """What a claim gave. `due`: when there may be more to claim; `attention`: when the next item is late or over."""

    items: list[Claimed]
    due: Millis | None
    attention: Millis | None


log = logging.getLogger(__name__)

_envelope = msgspec.json.Decoder(Envelope)
_recipient = msgspec.json.Decoder(Recipient)
encode = msgspec.json.encode

_FRESH_RANK = (
    "(SELECT CASE WHEN coalesce(max(rank), -1) < {0} THEN {0} ELSE max(rank) + 1 END FROM queue_item"
    " WHERE destination = {1} AND account = {2} AND state = 0)"
)
_INSERT = (
    "INSERT INTO queue_item (trail, blob, skip, size, account, sender, envelope, destination, urgency, state, created,"
    " release, next_attempt, expires, attention, rank, attempts, lost, held, token, lease_until)"
    " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "
    + _FRESH_RANK.format("$16", "$8", "$5")
    + ", 0, 0, 0, 0, 0 RETURNING id"
)
_ITEM = (
    "id, trail, blob, skip, size, account, envelope, destination, attempts, created, next_attempt, expires, attention,"
    " (SELECT digest FROM blob WHERE blob.id = queue_item.blob)"
)
_MESSAGE = (1, 5, 6)  # which of these its items have in common: trail, account, envelope
_DESTINATION = 7
# What may be claimed next, unless the destination rests. $1: its name, $2: now. The one that was served goes behind
# all others that are due, which is what makes them take turns.
DUE = (
    "CASE WHEN {0} > $2 THEN {0} ELSE coalesce("
    "(SELECT $2 FROM queue_item WHERE destination = $1 AND state = 0 LIMIT 1),"
    "(SELECT min(next_attempt) FROM queue_item WHERE destination = $1 AND state = 1)) END"
)
DUE_NOW = DUE.format("rests_until")


# --- in


def enqueue(at: Moment, blob: NewBlob, outgoing: Outgoing) -> Script[list[QueueId]]:
    """Take the message in for all its recipients: an item for each destination. Raises Unavailable."""
    yield from keep_time(at)
    recipients = sorted(outgoing.envelope.recipients, key=_destination)
    groups = [(name, tuple(some)) for name, some in groupby(recipients, key=_destination)]
    if not groups:
        return []
    key = yield from keep(blob, len(groups))
    found: list[QueueId] = []
    for name, some in groups:  # inside one script, in the writer's thread
        served = yield from _announce(at.now, name, _first_attempt(at.now, outgoing))
        item = yield from _insert(at.now, key, blob.size, outgoing, (name, served))
        for place, recipient in enumerate(some):
            yield sql(
                "INSERT INTO queue_recipient (item, place, path, recipient, settled) VALUES ($1, $2, $3, $4, 0)",
                item, place, str(recipient.path), encode(recipient),
            )  # fmt: skip
        found.append(item)
    yield Changed(NEW_WORK, ModSeq(at.now))
    return found


def _destination(recipient: Recipient) -> str:
    return recipient.path.address.domain.name


def _first_attempt(now: Millis, outgoing: Outgoing) -> Millis:
    return Millis(max(now, outgoing.release))


def _insert(now: Millis, blob: BlobKey, size: int, outgoing: Outgoing, destination: tuple[str, int]) -> Script[QueueId]:
    name, served = destination
    envelope, first = outgoing.envelope, _first_attempt(now, outgoing)
    expires, attention = Millis(first + outgoing.patience.lifetime), Millis(first + outgoing.patience.notice)
    by = envelope.deliver_by
    if by is not None and by.give_back:  # RFC 2852 §4: by-mode R
        expires = min(expires, Millis(by.until))
    elif by is not None:
        attention = min(attention, Millis(by.until))
    [(identity,)] = yield sql(
        _INSERT, outgoing.trail, blob, outgoing.skip, size - outgoing.skip, outgoing.account or NOBODY,
        str(envelope.sender), encode(replace(envelope, recipients=())), name, -envelope.priority,
        State.LATER if first > now else State.READY, now, outgoing.release, first, expires, min(attention, expires),
        served,
    )  # fmt: skip
    return QueueId(identity)


def _announce(now: Millis, name: str, first: Millis) -> Script[int]:
    """Something is there for a destination, to be claimed from `first` on; gives the rank that was served last."""
    [(served,)] = yield sql(
        "INSERT INTO queue_destination VALUES ($1, $2, $3, 0, 0, 0, 0, '', $4) ON CONFLICT (name) DO UPDATE SET"
        " due = CASE WHEN rests_until > $4 THEN rests_until WHEN due < $2 THEN due ELSE $2 END, touched = $4"
        " RETURNING served",
        name, first, FIRST_WIDTH, now,
    )  # fmt: skip
    return int(served)


# --- out


def claim(at: Moment, token: int, most: int, lease: int) -> Script[Taken]:
    """Lease up to `most` items that are due, for `lease` milliseconds. `token` must be new."""
    yield from keep_time(at)
    found = yield sql(
        "SELECT name, width - in_flight, served, rests_until FROM queue_destination"
        " WHERE due <= $1 AND in_flight < width ORDER BY due LIMIT $2",
        at.now, most,
    )  # fmt: skip
    items: list[Claimed] = []
    left = most
    for number, (name, room, served, rests_until) in enumerate(found):  # inside one script, in the writer's thread
        share = min(room, -(-left // (len(found) - number)))
        taken: list[Row] = []
        if rests_until <= at.now:
            yield from _promote(at.now, name, served, share)
            taken = yield from _lease_ready(at, token, lease, name, share)
        yield from _served(at.now, name, [rank for *_, rank in taken])
        if taken:
            crashpoint("queue.inside_claim")
        items += yield from _with_recipients(token, [row[:-1] for row in taken])
        left -= len(taken)
    return Taken(items, *(yield from _next(at.now, asleep=not items)))


def _promote(now: Millis, name: str, served: int, most: int) -> Script[None]:
    """Up to so many items of the destination whose time has come are ready."""
    rows = yield sql(
        "SELECT id, account FROM queue_item WHERE destination = $1 AND state = 1 AND next_attempt <= $2"
        " ORDER BY next_attempt LIMIT $3",
        name, now, most,
    )  # fmt: skip
    for item, account in rows:  # inside one script, in the writer's thread
        text = f"UPDATE queue_item SET state = 0, rank = {_FRESH_RANK.format('$4', '$2', '$3')} WHERE id = $1"
        yield sql(text, item, name, account, served)


def _lease_ready(at: Moment, token: int, lease: int, name: str, most: int) -> Script[list[Row]]:
    return (
        yield sql(
            "UPDATE queue_item SET state = 2, token = $3, lease_until = $4 WHERE id IN (SELECT id FROM queue_item"
            " WHERE destination = $1 AND state = 0 ORDER BY urgency, rank, id LIMIT $2)"
            f" RETURNING {_ITEM}, rank",
            name, most, token, at.uptime + lease,
        )
    )  # fmt: skip


def _served(now: Millis, name: str, ranks: Sequence[int]) -> Script[None]:
    yield sql(
        "UPDATE queue_destination SET in_flight = in_flight + $3,"
        f" served = CASE WHEN served < $4 THEN $4 ELSE served END, touched = $2, due = {DUE_NOW} WHERE name = $1",
        name, now, len(ranks), max(ranks, default=0),
    )  # fmt: skip


def _with_recipients(token: int, rows: Sequence[Row]) -> Script[list[Claimed]]:
    """The items of these rows with their open recipients."""
    found: list[Claimed] = []
    for first in range(0, len(rows), ITEMS_AT_ONCE):
        some = rows[first : first + ITEMS_AT_ONCE]
        recipients = yield from _open_recipients([row[0] for row in some])
        for row in some:
            try:
                found.append(_claimed(row, token, recipients.get(row[0], [])))
            except msgspec.MsgspecError as error:  # it stays leased, runs out, and waits: it must not stop the others
                log.error("Q%d cannot be read from the queue: %s", row[0], error)
    return found


def _open_recipients(items: Sequence[int]) -> Script[dict[int, list[tuple[int, bytes]]]]:
    filled = items if len(items) == 1 else (*items, *[items[-1]] * (ITEMS_AT_ONCE - len(items)))  # two texts to prepare
    places = ", ".join(f"${number}" for number in range(1, len(filled) + 1))
    rows = yield sql(
        f"SELECT item, place, recipient FROM queue_recipient WHERE item IN ({places}) AND settled = 0"
        " ORDER BY item, place",
        *filled,
    )
    found: dict[int, list[tuple[int, bytes]]] = {}
    for item, place, text in rows:
        found.setdefault(item, []).append((place, text))
    return found


def _claimed(row: Row, token: int, recipients: Sequence[tuple[int, bytes]]) -> Claimed:
    identity, trail, blob, skip, size, account, text, destination, *times, attention, digest = row
    envelope = replace(_envelope.decode(text), recipients=tuple(_recipient.decode(one) for _, one in recipients))
    owner = AccountId(account) if account != NOBODY else None
    item = QueueItem(QueueId(identity), trail, blob, size, owner, envelope, Domain(destination), *times)
    return Claimed(item, Lease(item.id, token, tuple(place for place, _ in recipients)), skip, attention, digest)


def _next(now: Millis, *, asleep: bool) -> Script[tuple[Millis | None, Millis | None]]:
    """When something can be claimed next, and when something is late or over. An item that is leased meanwhile is
    looked at when its attempt ends."""
    due = now
    if asleep:
        [(due,)] = yield sql("SELECT min(due) FROM queue_destination WHERE in_flight < width")
    rows = yield sql("SELECT attention FROM queue_item WHERE held = 0 AND state < 2 ORDER BY attention LIMIT 1")
    return due, rows[0][0] if rows else None


def claim_overdue(at: Moment, token: int, most: int, lease: int) -> Script[list[Claimed]]:
    """Lease up to `most` items that wait and are late, or over: their senders are told, nobody is connected to. The
    others of their messages of which there is something to tell come along (decision 0128)."""
    yield from keep_time(at)
    rows = yield sql(
        "UPDATE queue_item SET state = 2, token = $3, lease_until = $4 WHERE id IN (SELECT id FROM queue_item"
        f" WHERE held = 0 AND state < 2 AND attention <= $1 ORDER BY attention LIMIT $2) RETURNING {_ITEM}",
        at.now, most, token, at.uptime + lease,
    )  # fmt: skip
    messages = {tuple(row[place] for place in _MESSAGE): row[0] for row in rows}
    for message, item in messages.items():  # inside one script, in the writer's thread
        rows += yield sql(
            f"UPDATE queue_item SET state = 2, token = $6, lease_until = $7 WHERE {OTHERS_TO_TELL} RETURNING {_ITEM}",
            item, *message, at.now, token, at.uptime + lease,
        )  # fmt: skip
    for name in [row[_DESTINATION] for row in rows]:  # inside one script, in the writer's thread
        yield from _served(at.now, name, [0])
    return (yield from _with_recipients(token, rows))
