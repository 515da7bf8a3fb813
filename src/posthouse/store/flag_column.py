"""The flags of all messages of a mailbox as one narrow column, so that FETCH 1:* FLAGS need not ask for every row.

A column is that of one snapshot and never altered. A newer one is made of it and of the changes since, which cost what
changed; so a worker keeps the columns of the mailboxes that were asked for last (decision 0050).
"""

from array import array
from bisect import bisect_left
from typing import NamedTuple

from posthouse.mail.ids import ModSeq
from posthouse.store import emails
from posthouse.store.emails import Changes
from posthouse.store.mailboxes import Box, get
from posthouse.store.script import Script, sql

SETS = 256  # different sets of keywords of messages that are looked at to say which keywords are in use,
IN_USE = 500  # and keywords that are said to be; others are made known before they are shown (RFC 9051 §7.3.5)
KINDS = 255  # different pairs of flags and keywords that a column can hold: a message takes one octet

# From one set to the next by the index of placements that have keywords: a step takes 20 us, however many have it.
_SETS = f"""
WITH RECURSIVE used (words) AS (
    SELECT min(keywords) FROM placement WHERE mailbox = $1 AND keywords <> ''
    UNION ALL
    SELECT (SELECT min(keywords) FROM placement WHERE mailbox = $1 AND keywords <> '' AND keywords > used.words)
    FROM used WHERE used.words IS NOT NULL LIMIT {SETS}
)
SELECT words FROM used WHERE words IS NOT NULL
"""

Kind = tuple[int, str]  # flags and keywords, as a row has them


class FlagColumn(NamedTuple):
    """Flags by message, ascending by uid: `kinds[values[n]]` are those of the message `uids[n]`."""

    modseq: ModSeq
    uidnext: int
    uids: "array[int]"
    values: bytes
    kinds: tuple[Kind, ...]


class _Numbered(dict[Kind, int]):
    """Kinds by number, in the order in which they are met; KINDS stands for one too many."""

    def __missing__(self, kind: Kind) -> int:
        self[kind] = number = min(len(self), KINDS)
        return number


def keywords_in_use(box: Box) -> Script[set[str]]:
    """The keywords that messages of a mailbox have, or many of them (RFC 9051 §7.3.5)."""
    found: set[str] = set()
    for (words,) in (yield sql(_SETS, box.mailbox)):
        found.update(words.split(" "))
        if len(found) >= IN_USE:
            break
    return found


def flag_column(box: Box, known: FlagColumn | None) -> Script[FlagColumn | None]:
    """The column as of now; `known` is an older one. None where the mailbox has too many kinds. Raises NotFound."""
    if known is None:
        return (yield from _read(box))
    changes = yield from emails.changes(box, known.modseq, known.uidnext)
    return known if changes.modseq == known.modseq else _altered(known, changes)


def _read(box: Box) -> Script[FlagColumn | None]:
    row = yield from get(box)
    rows = yield sql("SELECT uid, flags, keywords FROM placement WHERE mailbox = $1 ORDER BY uid", box.mailbox)
    uids, flags, keywords = zip(*rows, strict=True) if rows else ((), (), ())
    numbered = _Numbered()
    values = bytes(map(numbered.__getitem__, zip(flags, keywords, strict=True)))
    return _column(row.modseq, row.uidnext, array("I", uids), (values, numbered))


def _column(modseq: ModSeq, uidnext: int, uids: "array[int]", numbered: tuple[bytes, _Numbered]) -> FlagColumn | None:
    values, kinds = numbered
    return FlagColumn(modseq, uidnext, uids, values, tuple(kinds)) if len(kinds) <= KINDS else None


def _altered(known: FlagColumn, changes: Changes) -> FlagColumn | None:
    numbered = _Numbered(zip(known.kinds, range(KINDS), strict=False))
    uids, values = known.uids, bytearray(known.values)
    for uid, flags, keywords, _ in changes.changed:
        place = bisect_left(uids, uid)
        if place < len(uids) and uids[place] == uid:
            values[place] = numbered[flags, keywords]
    if changes.vanished:
        gone = set(changes.vanished)
        values = bytearray(value for uid, value in zip(uids, values, strict=True) if uid not in gone)
        uids = array("I", [uid for uid in uids if uid not in gone])
    if changes.arrived:
        uids = uids + array("I", [row[0] for row in changes.arrived])
        values += bytes(numbered[row[1], row[2]] for row in changes.arrived)
    return _column(changes.modseq, changes.uidnext, uids, (bytes(values), numbered))
