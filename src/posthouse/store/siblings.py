"""The placements of Emails that have, or had, several: what concerns an Email is written on all (decision 0021).

Emails are named by a SELECT of their ids. Their placements lie all over the table, and to go to each by its Email costs
six times as much as to go along a mailbox. Folders are copied and emptied whole, so the placements often stand without
a gap: then they are taken by their UIDs. Where many Emails arrived one after another and stand so in each mailbox, even
that is found without a look at each by itself (decision 0059).
"""

from posthouse.mail.ids import ModSeq
from posthouse.store.script import Row, Script, sql
from posthouse.store.touched import log_siblings

MANY = 100  # Emails from which on it is worth four questions to find them abreast


def touch(emails: str, args: tuple[object, ...], modseq: ModSeq, *, many: bool) -> Script[None]:
    """Give all placements of the Emails that `emails` selects, by the parameters `args`, the Emails' new ModSeq.
    `many`: there may be MANY of them."""
    abreast = (yield from _abreast(emails, args)) if many else []
    if abreast:
        yield from _tell(abreast, modseq)
        yield from _along(abreast, "", modseq)
        return
    rows = yield from _told(emails, args, modseq)
    if _gapless(rows):
        yield from _along(rows, "", modseq)
        return
    at = len(args) + 1
    yield sql(f"UPDATE placement SET modseq = ${at} WHERE modseq < ${at} AND email IN ({emails})", *args, modseq)


def touch_left(emails: str, args: tuple[object, ...], modseq: ModSeq) -> Script[None]:
    """The same for Emails that have lost a placement; one that is left alone is not shared any more."""
    rows = yield from _told(emails, args, modseq)
    if not rows:
        return
    counted = f"SELECT email AS counted, count(*) AS number FROM placement WHERE email IN ({emails}) GROUP BY email"
    [(least, most)] = yield sql(f"SELECT min(number), max(number) FROM ({counted}) AS c", *args)
    if _gapless(rows) and (least > 1 or most == 1):
        yield from _along(rows, ", shared = 0" if most == 1 else "", modseq)
        return
    yield sql(
        f"UPDATE placement SET modseq = ${len(args) + 1}, shared = CASE WHEN c.number > 1 THEN 1 ELSE 0 END"
        f" FROM ({counted}) AS c WHERE placement.email = c.counted",
        *args, modseq,
    )  # fmt: skip


def touch_left_abreast(emails: str, args: tuple[object, ...], modseq: ModSeq) -> Script[bool]:
    """What touch_left does, if they stand abreast in the mailboxes that are left; whether that is so. Then none of them
    is without a placement."""
    abreast = yield from _abreast(emails, args)
    if not abreast:
        return False
    yield from _tell(abreast, modseq)
    yield from _along(abreast, ", shared = 0" if len(abreast) == 1 else "", modseq)
    return True


def _abreast(emails: str, args: tuple[object, ...]) -> Script[list[Row]]:
    """The placements as _told gives them, if the ids of the Emails have no gap and they stand in each place without a
    gap in the order of their ids, once each: so many rows, so many placements of each Email. Otherwise nothing."""
    [(first, last, number)] = yield sql(
        f"SELECT min(email), max(email), count(DISTINCT email) FROM ({emails}) AS e", *args
    )
    if not number or last - first + 1 != number:
        return []
    beginnings = yield sql("SELECT mailbox, uid FROM placement WHERE email = $1", first)
    [(total,)] = yield sql("SELECT count(*) FROM placement WHERE email BETWEEN $1 AND $2", first, last)
    if total != number * len(beginnings):
        return []
    for mailbox, uid in beginnings:
        [(there,)] = yield sql(
            "SELECT count(*) FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND email - uid = $4",
            mailbox, uid, uid + number - 1, first - uid,
        )  # fmt: skip
        if there != number:
            return []
    return [(mailbox, uid, uid + number - 1, number) for mailbox, uid in beginnings]


def _told(emails: str, args: tuple[object, ...], modseq: ModSeq) -> Script[list[Row]]:
    """Where their placements stand, as (mailbox, lowest uid, highest uid, number); the mailboxes know of the change."""
    rows = yield sql(
        f"SELECT mailbox, min(uid), max(uid), count(*) FROM placement WHERE email IN ({emails}) GROUP BY mailbox", *args
    )
    yield from _tell(rows, modseq)
    return rows


def _tell(rows: list[Row], modseq: ModSeq) -> Script[None]:
    yield from log_siblings([row[:3] for row in rows], modseq)
    for mailbox, *_ in rows:
        yield sql("UPDATE mailbox SET modseq = $2 WHERE id = $1 AND modseq < $2", mailbox, modseq)


def _gapless(rows: list[Row]) -> bool:
    return all(last - first + 1 == number for _, first, last, number in rows)


def _along(rows: list[Row], more: str, modseq: ModSeq) -> Script[None]:
    for mailbox, first, last, _ in rows:
        yield sql(
            f"UPDATE placement SET modseq = $4{more} WHERE mailbox = $1 AND uid BETWEEN $2 AND $3",
            mailbox, first, last, modseq,
        )  # fmt: skip
