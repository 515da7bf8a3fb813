"""Whole small messages, many with one question: their octets come unpacked and verified out of the store's thread."""

from collections.abc import Sequence

from posthouse.store.blobs import unpack_many
from posthouse.store.emails import Column, fetch
from posthouse.store.mailboxes import Box
from posthouse.store.script import Row, Script
from posthouse.store.spans import Spans


def fetch_whole(box: Box, spans: Spans, columns: Sequence[Column], limit: int) -> Script[list[Row]]:
    """Rows as emails.fetch gives them, with SMALL and the octets of the message behind the columns. SMALL is None where
    one is larger, and then nothing is unpacked. Raises NotFound, Unavailable."""
    rows = yield from fetch(box, spans, (*columns, Column.SMALL, Column.DIGEST), limit)
    packed = [row[-2] for row in rows]
    if None in packed:
        return rows
    octets = unpack_many(packed, [row[-1] for row in rows])
    return [(*row[:-1], one) for row, one in zip(rows, octets, strict=True)]
