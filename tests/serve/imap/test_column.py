"""A column of uids that is made of an older one is that of the store (RFC 9051 §2.3.1.1)."""

from array import array
from pathlib import Path

from posthouse.mail.ids import ModSeq
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.serve.imap.selected import column
from posthouse.store import emails, mailboxes
from posthouse.store.emails import ALL, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.store import open_sync
from store_rig import NOW, Rig

Known = tuple[ModSeq, "array[int]"]


def now(rig: Rig, box: Box, known: Known | None) -> Known:
    """The column of today, made of the known one; it must be that of the store."""
    before = array("I", known[1]) if known else None
    uids, changes = rig.read(column, box, ModSeq(0), 1, known)
    assert uids == rig.read(emails.uids, box)
    assert known is None or known[1] == before  # it is shared: never altered
    return changes.modseq, uids


def test_whatever_happens_the_column_is_right(tmp_path: Path) -> None:
    with open_sync(tmp_path / "data") as store:
        rig = Rig(store)
        box, other = rig.box(), rig.run(mailboxes.create, rig.anna, "other").box
        known = now(rig, box, now(rig, box, None))  # empty twice
        rig.run(emails.add, box, [rig.email() for _ in range(5)])
        known = now(rig, box, known)
        rig.run(emails.store_flags, box, ((2, 3),), FlagChange(Mode.ADD, SEEN_BIT | DELETED_BIT))
        same = now(rig, box, known)
        assert same[1] is known[1]  # flags move nothing
        rig.run(emails.expunge, box)
        rig.run(emails.add, box, [rig.email()])
        known = now(rig, box, same)
        rig.run(emails.move, box, ((5, 6),), other.mailbox, NOW)
        known = now(rig, box, known)
        rig.run(emails.copy, other, ALL, box.mailbox, NOW)
        assert list(now(rig, box, known)[1]) == [1, 4, 7, 8]
