"""The journal: what happened to each message, by Trail, Message-ID, address and mailbox (decision 0091).

An Entry is one thing that happened: a message taken or refused, an attempt to send it on, what a mail program did with
it. It is found again by its keys, of which only digests are kept. They are written with the entry and put in order
behind (`sort_keys`): thousands together cost a fraction of what each alone would cost the message that waits for it.

What an entry tells (`story`) is JSON that this room does not read.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.store.incoming import insert_rows
from posthouse.store.script import Script, sql

DAY = 24 * 3_600_000  # milliseconds
FORGOTTEN_AT_ONCE = 2_000  # entries in one script: about 20 ms of the writer
SORTED_AT_ONCE = 500  # entries whose keys are put in order by one script: about 20 ms of the writer
FOUND = 10_000  # entries of one question: more than a person reads, and a few MiB


class Entry(NamedTuple):
    """One thing that happened. `keys` lead to it: `key` makes them."""

    at: Millis
    kind: str
    story: bytes
    keys: tuple[int, ...]


class Told(NamedTuple):
    """An Entry as it is found. `number` rises in the order of writing."""

    number: int
    at: Millis
    kind: str
    story: bytes


def key(sort: str, text: str) -> int:
    """A key of an Entry: 8 octets of a digest, as a number SQL can hold. `sort` keeps an address apart from an id."""
    return int.from_bytes(blake2b(f"{sort}\0{text}".encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1


def record(entries: Sequence[Entry]) -> Script[None]:
    """Write what happened, in order; in the transaction of the thing itself where it must not be lost."""
    rows = [(each.at, each.kind, each.story, _packed(each.keys)) for each in entries]
    yield from insert_rows("journal (at, kind, story, keys)", rows)


def _packed(keys: Sequence[int]) -> bytes:
    return b"".join([digest.to_bytes(8, "big") for digest in dict.fromkeys(keys)])


def sort_keys(limit: int = SORTED_AT_ONCE) -> Script[int]:
    """Put the keys of up to `limit` new entries in order, so that `find` need not look through these; 0: all are."""
    [(done,)] = yield sql("SELECT value FROM counter WHERE name = 'journal_key'")
    rows = yield sql("SELECT id, at, keys FROM journal WHERE id > $1 ORDER BY id LIMIT $2", done, limit)
    if not rows:
        return 0
    keys = [(at // DAY, digest, number) for number, at, packed in rows for digest in _unpacked(packed)]
    yield from insert_rows("journal_key (day, key, entry)", sorted(keys))
    yield sql("UPDATE counter SET value = $1 WHERE name = 'journal_key'", rows[-1][0])
    return len(rows)


def _unpacked(packed: bytes) -> list[int]:
    return [int.from_bytes(packed[start : start + 8], "big") for start in range(0, len(packed), 8)]


def find(keys: Sequence[int], since: Millis, until: Millis, limit: int = FOUND) -> Script[list[Told]]:
    """The entries that any of these keys leads to, oldest first; of too many the newest."""
    numbers = yield from _unsorted(keys)
    [(oldest,)] = yield sql("SELECT min(day) FROM journal_key")
    first = until // DAY + 1 if oldest is None else max(since // DAY, oldest)
    for day in range(until // DAY, first - 1, -1):  # as many as the journal keeps
        for digest in dict.fromkeys(keys):
            rows = yield sql(
                "SELECT entry FROM journal_key WHERE day = $1 AND key = $2 ORDER BY entry DESC LIMIT $3",
                day, digest, limit,
            )  # fmt: skip
            numbers.update(number for (number,) in rows)
        if len(numbers) >= limit:
            break
    told: list[Told] = []
    for number in sorted(numbers)[-limit:]:
        rows = yield sql("SELECT id, at, kind, story FROM journal WHERE id = $1", number)
        told += [Told(*row) for row in rows if since <= row[1] <= until]
    return told


def _unsorted(keys: Sequence[int]) -> Script[set[int]]:
    """The entries that `sort_keys` has not come to yet, and that one of the keys leads to."""
    [(done,)] = yield sql("SELECT value FROM counter WHERE name = 'journal_key'")
    wanted = {digest.to_bytes(8, "big") for digest in keys}
    found: set[int] = set()
    while rows := (yield sql("SELECT id, keys FROM journal WHERE id > $1 ORDER BY id LIMIT $2", done, FOUND)):
        for number, packed in rows:
            if any(packed[start : start + 8] in wanted for start in range(0, len(packed), 8)):
                found.add(number)
        done = rows[-1][0]
    return found


def recent(since: Millis, kinds: Sequence[str], limit: int = FOUND) -> Script[list[Told]]:
    """The entries of these kinds since then, oldest first; of too many the newest."""
    marks = ", ".join(f"${number}" for number in range(3, 3 + len(kinds)))
    rows = yield sql(
        f"SELECT id, at, kind, story FROM journal WHERE at >= $1 AND kind IN ({marks}) ORDER BY at DESC LIMIT $2",
        since, limit, *kinds,
    )  # fmt: skip
    return [Told(*row) for row in reversed(rows)]


def oldest() -> Script[Millis | None]:
    """When the first thing happened that is still told of; None where nothing is."""
    rows = yield sql("SELECT at FROM journal ORDER BY at LIMIT 1")
    return rows[0][0] if rows else None


def forget_wire(before: Millis, limit: int = FORGOTTEN_AT_ONCE) -> Script[int]:
    """Remove up to `limit` conversations older than that; 0: nothing is left to do. Their keys go with their day."""
    rows = yield sql("SELECT id FROM journal WHERE kind = 'wire' AND at < $1 ORDER BY at LIMIT $2", before, limit)
    for (number,) in rows:
        yield sql("DELETE FROM journal WHERE id = $1", number)
    return len(rows)


def forget(before: Millis, limit: int = FORGOTTEN_AT_ONCE) -> Script[int]:
    """Remove up to `limit` entries older than that, and their keys; 0: nothing is left to do."""
    rows = yield sql("SELECT id FROM journal WHERE at < $1 ORDER BY at LIMIT $2", before, limit)
    for (number,) in rows:
        yield sql("DELETE FROM journal WHERE id = $1", number)
    if rows:
        return len(rows)
    [(day,)] = yield sql("SELECT min(day) FROM journal_key")
    if day is None or day >= before // DAY:
        return 0
    gone = yield sql(
        "DELETE FROM journal_key WHERE day = $1 AND (key, entry) IN"
        " (SELECT key, entry FROM journal_key WHERE day = $1 LIMIT $2) RETURNING 1",
        day, limit,
    )  # fmt: skip
    return len(gone)
