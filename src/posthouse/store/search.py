"""Base SEARCH over rows: what SQL can answer, and bulk readers for what is looked for in text (RFC 9051 §6.4.4).

The caller combines: each verb gives the UIDs (array('I'), ascending) for which one thing is true. Text keys read
blobs in chunks and look in them in a thread.
"""

from array import array
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from posthouse.mail.ids import UID
from posthouse.store.blobs import BlobKey
from posthouse.store.mailboxes import Box, check
from posthouse.store.script import Row, Script, sql
from posthouse.store.spans import LAST_UID

CHUNK_ROWS = 2_000  # rows in one answer of `texts`
CHUNK_OCTETS = 8 << 20  # of blobs named in one answer of `texts`; a single larger one comes alone
LARGEST = 1 << 62


class Flagged(NamedTuple):
    """Bits that must be set and bits that must not: UNSEEN is Flagged(0, SEEN_BIT)."""

    having: int
    lacking: int


class Range(NamedTuple):
    """An inclusive range of octets or Millis."""

    least: int
    most: int = LARGEST


class Text(NamedTuple):
    """Where a message's octets are, for store.blobs.get_many."""

    uid: UID
    blob: BlobKey
    size: int


def _array(rows: list[Row]) -> "array[int]":
    return array("I", [uid for (uid,) in rows])


def by_flags(box: Box, flags: Flagged) -> "Script[array[int]]":
    """SEEN, UNSEEN, ANSWERED … and their combinations, from the narrow table. Raises NotFound."""
    yield from check(box)
    rows = yield sql(
        "SELECT uid FROM placement WHERE mailbox = $1 AND (flags & $2) = $3 ORDER BY uid",
        box.mailbox, flags.having | flags.lacking, flags.having,
    )  # fmt: skip
    return _array(rows)


def by_keyword(box: Box, keyword: str) -> "Script[array[int]]":
    """KEYWORD: a keyword that is no system flag, in any case. Raises NotFound."""
    yield from check(box)
    rows = yield sql(
        "SELECT uid, keywords FROM placement WHERE mailbox = $1 AND keywords <> '' ORDER BY uid", box.mailbox
    )
    word = keyword.lower()
    return array("I", [uid for uid, keywords in rows if word in keywords.split(" ")])


def by_size(box: Box, octets: Range) -> "Script[array[int]]":
    """LARGER n is Range(n + 1), SMALLER n is Range(0, n - 1). Raises NotFound."""
    yield from check(box)
    rows = yield sql(
        "SELECT p.uid FROM placement p JOIN email e ON e.id = p.email"
        " WHERE p.mailbox = $1 AND e.size BETWEEN $2 AND $3 ORDER BY p.uid",
        box.mailbox, *octets,
    )  # fmt: skip
    return _array(rows)


def by_received(box: Box, millis: Range) -> "Script[array[int]]":
    """BEFORE, ON, SINCE: by INTERNALDATE; the caller turns days into Millis (RFC 9051 §6.4.4). Raises NotFound."""
    yield from check(box)
    rows = yield sql(
        "SELECT p.uid FROM placement p JOIN email e ON e.id = p.email"
        " WHERE p.mailbox = $1 AND e.received BETWEEN $2 AND $3 ORDER BY p.uid",
        box.mailbox, *millis,
    )  # fmt: skip
    return _array(rows)


def by_saved(box: Box, millis: Range) -> "Script[array[int]]":
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE: by the save date (RFC 8514 §4.3). Raises NotFound."""
    yield from check(box)
    rows = yield sql(
        "SELECT uid FROM placement WHERE mailbox = $1 AND saved BETWEEN $2 AND $3 ORDER BY uid", box.mailbox, *millis
    )
    return _array(rows)


def by_email(box: Box, email: int) -> "Script[array[int]]":
    """EMAILID: the placements of one Email, found by the index however large the mailbox is. Raises NotFound."""
    yield from check(box)
    rows = yield sql("SELECT uid FROM placement WHERE email = $2 AND +mailbox = $1 ORDER BY uid", box.mailbox, email)
    return _array(rows)


def by_thread(box: Box, thread: int) -> "Script[array[int]]":
    """THREADID: the placements of one thread's Emails, the same. Raises NotFound."""
    yield from check(box)
    rows = yield sql(
        "SELECT uid FROM placement WHERE +mailbox = $1 AND email IN (SELECT id FROM email WHERE thread = $2"
        " AND thread <> 0 UNION ALL SELECT id FROM email WHERE id = $2 AND thread = 0) ORDER BY uid",
        box.mailbox, thread,
    )  # fmt: skip
    return _array(rows)


def texts(box: Box, first: int = 1, last: int = LAST_UID, limit: int = CHUNK_ROWS) -> Script[list[Text]]:
    """Blobs of messages with uid in [first, last], ascending, at most `limit` and about CHUNK_OCTETS together: ask
    again from the last uid + 1. Raises NotFound."""
    yield from check(box)
    rows = yield sql(
        "SELECT p.uid, e.blob, e.size FROM placement p JOIN email e ON e.id = p.email"
        " WHERE p.mailbox = $1 AND p.uid BETWEEN $2 AND $3 ORDER BY p.uid LIMIT $4",
        box.mailbox, first, last, limit,
    )  # fmt: skip
    found: list[Text] = []
    octets = 0
    for row in rows:
        text = Text(*row)
        if found and octets + text.size > CHUNK_OCTETS:
            break
        octets += text.size
        found.append(text)
    return found


FEW_EMAILS = 2_000  # that are looked up one by one; of more, the whole mailbox is read instead


def placements_of(box: Box, found: AbstractSet[int]) -> "Script[list[Row]]":
    """The placements of these Emails in a mailbox, each as (uid, Email), in no order."""
    if len(found) > FEW_EMAILS:
        rows = yield sql("SELECT uid, email FROM placement WHERE mailbox = $1", box.mailbox)
        return [row for row in rows if row[1] in found]
    placed: list[Row] = []
    for email in found:
        placed += yield sql("SELECT uid, email FROM placement WHERE email = $1 AND mailbox = $2", email, box.mailbox)
    return placed
