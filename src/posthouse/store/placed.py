"""Where Emails lie in a mailbox: the column of its Emails, beside that of its UIDs, so that what the search index finds
becomes UIDs without a row being read (decision 0062).

A column is that of one snapshot and never altered. A placement never changes its Email, so a newer column is the older
one without what was expunged and with what arrived.
"""

from array import array
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import compress
from typing import NamedTuple

from posthouse.mail.ids import ModSeq
from posthouse.store.mailboxes import Box, MailboxRow, get
from posthouse.store.script import Script, sql

FEW = 256  # one placement in so many is looked up by its Email; of more, the column is gone through


class EmailColumn(NamedTuple):
    """The Emails of all messages of a mailbox, ascending by uid: `emails[n]` is that of the message `uids[n]`."""

    modseq: ModSeq
    uidnext: int
    uids: "array[int]"
    emails: "array[int]"

    def places_of(self, found: AbstractSet[int]) -> list[int]:
        """Where these Emails stand in the column, ascending."""
        return list(compress(range(len(self.emails)), map(found.__contains__, self.emails)))


class Placed(NamedTuple):
    """For each set of Emails its placements in a mailbox: as their places in the column where that was looked at, else
    as uids; and the uids of Emails that are newer than the index knows."""

    found: list[list[int]]
    newer: list[int]
    column: EmailColumn | None


def placed(box: Box, several: Sequence[AbstractSet[int]], mark: int, known: EmailColumn | None) -> Script[Placed]:
    """Where these Emails lie, and those after `mark`, as of one snapshot; `known` is an older column. Raises
    NotFound."""
    row = yield from get(box)
    newer = yield from _newer(row, mark)
    if sum(map(len, several)) * FEW <= row.total:
        looked_up: list[list[int]] = []
        for found in several:
            looked_up.append((yield from _looked_up(box, found)))
        return Placed(looked_up, newer, None)
    column = yield from email_column(row, known)
    return Placed([column.places_of(found) if found else [] for found in several], newer, column)


def _newer(row: MailboxRow, mark: int) -> Script[list[int]]:
    """The placements of Emails after the mark: along these Emails, or where they are many along the mailbox."""
    [(newest,)] = yield sql("SELECT coalesce(max(email), 0) FROM placement")
    if newest <= mark:
        return []
    along = "+mailbox = $2 AND email > $1" if newest - mark < row.total else "mailbox = $2 AND +email > $1"
    rows = yield sql(f"SELECT uid FROM placement WHERE {along}", mark, row.id)
    return [uid for (uid,) in rows]


def _looked_up(box: Box, found: AbstractSet[int]) -> Script[list[int]]:
    uids: list[int] = []
    for email in found:
        rows = yield sql("SELECT uid FROM placement WHERE email = $1 AND mailbox = $2", email, box.mailbox)
        uids += [uid for (uid,) in rows]
    return uids


def email_column(row: MailboxRow, known: EmailColumn | None) -> Script[EmailColumn]:
    """The column as of now, of a mailbox as its row is now; `known` is an older one."""
    if known is not None and known.modseq == row.modseq:
        return known
    uids, emails, uidnext = array("I"), array("q"), 1
    if known is not None:
        uids, emails, uidnext = known.uids, known.emails, known.uidnext
    if known is not None and row.expunged_modseq > known.modseq:
        rows = yield sql(
            "SELECT uid FROM expunged WHERE mailbox = $1 AND modseq > $2 AND uid < $3", row.id, known.modseq, uidnext
        )
        gone = {uid for (uid,) in rows}
        left = [uid not in gone for uid in uids]
        uids, emails = array("I", compress(uids, left)), array("q", compress(emails, left))
    if row.uidnext > uidnext:
        rows = yield sql(
            "SELECT uid, email FROM placement WHERE mailbox = $1 AND uid >= $2 ORDER BY uid", row.id, uidnext
        )
        uids = uids + array("I", [uid for uid, _ in rows])  # new arrays: the old ones are shared
        emails = emails + array("q", [email for _, email in rows])
    return EmailColumn(row.modseq, row.uidnext, uids, emails)
