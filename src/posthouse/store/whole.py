"""Whole small messages, many with one question: their octets come unpacked and verified out of the store's thread."""

from collections.abc import Sequence
from itertools import accumulate, takewhile

from posthouse.store.blobs import unpack_many
from posthouse.store.emails import Column, fetch
from posthouse.store.lately import Lately
from posthouse.store.mailboxes import Box
from posthouse.store.script import Row, Script
from posthouse.store.spans import Spans


def fetch_whole(lately: Lately, box: Box, spans: Spans, columns: Sequence[Column], limit: int) -> Script[list[Row]]:
    """Rows as emails.fetch gives them, with SMALL and the octets of the message behind the columns. SMALL is None where
    one is larger, and then nothing is unpacked. Raises NotFound, Unavailable."""
    rows = yield from fetch(box, spans, (*columns, Column.SMALL, Column.DIGEST), limit)
    if any(row[-2] is None for row in rows):
        return rows
    return [(*row[:-1], octets) for row, octets in zip(rows, _octets(lately, rows), strict=True)]


def fetch_next(lately: Lately, box: Box, spans: Spans, limit: int, room: int) -> Script[list[Row]]:
    """Rows as emails.fetch gives them: UID, BLOB, SIZE, HEADER_SIZE, and the octets of the message, None for a larger
    one. Behind the first only so many as have `room` octets together. Raises NotFound, Unavailable."""
    columns = (Column.BLOB, Column.SIZE, Column.HEADER_SIZE, Column.SMALL, Column.DIGEST)
    rows = yield from fetch(box, spans, columns, limit)
    sizes = accumulate(0 if row[-2] is None else row[2] for row in rows)
    rows = rows[: max(1, sum(1 for _ in takewhile(lambda size: size <= room, sizes)))]
    small = [row for row in rows if row[-2] is not None]
    octets = dict(zip((row[0] for row in small), _octets(lately, small), strict=True))
    return [(*row[:-2], octets.get(row[0])) for row in rows]


def _octets(lately: Lately, rows: Sequence[Row]) -> list[bytes]:
    """The octets of messages whose rows end with SMALL and DIGEST."""
    digests = [row[-1] for row in rows]
    octets = lately.get_many(digests)
    missing = [place for place, one in enumerate(octets) if one is None]
    read = unpack_many([rows[place][-2] for place in missing], [digests[place] for place in missing])
    lately.put_many(zip((digests[place] for place in missing), read, strict=True))
    for place, one in zip(missing, read, strict=True):
        octets[place] = one
    return [one for one in octets if one is not None]
