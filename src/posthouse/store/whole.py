"""Whole small messages, many with one question: their octets come unpacked and verified out of the store's thread."""

from collections.abc import Sequence

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
    digests = [row[-1] for row in rows]
    octets = lately.get_many(digests)
    missing = [place for place, one in enumerate(octets) if one is None]
    if missing:
        read = unpack_many([rows[place][-2] for place in missing], [digests[place] for place in missing])
        lately.put_many(zip((digests[place] for place in missing), read, strict=True))
        for place, one in zip(missing, read, strict=True):
            octets[place] = one
    return [(*row[:-1], one) for row, one in zip(rows, octets, strict=True)]
