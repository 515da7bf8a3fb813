"""The items of one message: those whose failures end at nearly the same time are told together (decision 0128).

One script wrote them, so their ids stand beside each other, and they are found by that. What waits to be told has
"ended": it stays in its row, later, its recipients failed and still open, its next attempt its end, its `attention` the
moment at which it is told. A worker that knows nothing of this tells it as well, alone.
"""

from posthouse.mail.ids import Millis, QueueId
from posthouse.store.script import Script, sql

GATHER_MILLIS = 45_000  # so long a failure waits for those of other recipients at most: they are tried meanwhile

ENDED = "(attempts > 0 AND next_attempt = expires)"
# The others of a message. $1 to $4: one item, its trail, account, and envelope, which names the sender.
_OTHERS = (
    "trail = $2 AND account = $3 AND envelope = $4 AND id <> $1"
    " AND id > coalesce((SELECT id FROM queue_item WHERE id < $1 AND trail <> $2 ORDER BY id DESC LIMIT 1), 0)"
    " AND id < coalesce((SELECT id FROM queue_item WHERE id > $1 AND trail <> $2 ORDER BY id LIMIT 1), 1 << 62)"
)
# In its first attempt, or to have it at once. $5: now.
_UNDER_WAY = (
    "attempts = 0 AND held = 0 AND (state = 2 OR (state < 2 AND next_attempt <= $5 AND NOT EXISTS"
    " (SELECT 1 FROM queue_destination WHERE name = destination AND rests_until > $5)))"
)
OTHERS_TO_TELL = f"{_OTHERS} AND held = 0 AND state < 2 AND (attention <= $5 OR {ENDED})"

#: One item, its trail, account and envelope as they stand in its row.
Key = tuple[QueueId, str, int, bytes]


def company(now: Millis, item: QueueId) -> Script[bool]:
    """Whether others of the message are in their first attempt, or wait to be told."""
    rows = yield sql("SELECT id, trail, account, envelope FROM queue_item WHERE id = $1", item)
    if not rows:
        return False
    wanted = f"({_UNDER_WAY}) OR (held = 0 AND state < 2 AND {ENDED})"
    found = yield sql(f"SELECT 1 FROM queue_item WHERE {_OTHERS} AND ({wanted}) LIMIT 1", *rows[0], now)
    return bool(found)


def under_way(now: Millis, key: Key) -> Script[bool]:
    """Whether others of the message are in their first attempt, or have it at once."""
    return bool((yield sql(f"SELECT 1 FROM queue_item WHERE {_OTHERS} AND {_UNDER_WAY} LIMIT 1", *key, now)))


def first_attempt_over(now: Millis, key: Key) -> Script[bool]:
    """An item has had its first attempt: when it was the last of its message, what waits to be told is told now.
    Whether there is something."""
    waiting = f"{_OTHERS} AND state = 1 AND {ENDED}"
    if not (yield sql(f"SELECT 1 FROM queue_item WHERE {waiting} LIMIT 1", *key)) or (yield from under_way(now, key)):
        return False
    yield sql(f"UPDATE queue_item SET attention = min(attention, $5) WHERE {waiting}", *key, now)
    return True
