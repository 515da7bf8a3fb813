"""A column of Emails that is made of an older one is that of the store, and says where Emails lie (RFC 9051 §6.4.4)."""

import random
from array import array
from pathlib import Path

import pytest

from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.store import emails, mailboxes, placed
from posthouse.store.emails import FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.placed import EmailColumn
from posthouse.store.script import NotFound, sql
from posthouse.store.store import open_sync
from store_rig import NOW, Rig


def rows(box: Box):
    return (yield sql("SELECT uid, email FROM placement WHERE mailbox = $1 ORDER BY uid", box.mailbox))


def now(rig: Rig, box: Box, known: EmailColumn | None) -> EmailColumn:
    """The column of today, made of the known one; it must be that of the store."""
    before = (array("I", known.uids), array("q", known.emails)) if known else None
    column = rig.read(placed.email_column, rig.read(mailboxes.get, box), known)
    assert list(zip(column.uids, column.emails, strict=True)) == rig.read(rows, box)
    assert known is None or (known.uids, known.emails) == before  # it is shared: never altered
    return column


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_column_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    with open_sync(tmp_path / "data") as store:
        rig = Rig(store)
        box, other = rig.box(), rig.box("other")
        known = now(rig, box, None)
        for _ in range(60):
            deed, first = chance.randrange(6), chance.randrange(1, 40)
            spans = ((first, first + chance.randrange(9)),)
            if deed == 0:
                rig.run(emails.add, chance.choice([box, other]), [rig.email() for _ in range(chance.randrange(1, 6))])
            elif deed == 1:
                rig.run(emails.store_flags, box, spans, FlagChange(Mode.ADD, chance.choice([SEEN_BIT, DELETED_BIT])))
            elif deed == 2:
                rig.run(emails.expunge, box)
            elif deed == 3:
                rig.run(emails.copy, box, spans, chance.choice([box, other]).mailbox, NOW)
            elif deed == 4:
                rig.run(emails.move, *chance.choice([(box, spans, other.mailbox), (other, spans, box.mailbox)]), NOW)
            known = now(rig, box, known if chance.random() < 0.9 else None)
            assert now(rig, box, known) is known
            looked_for(rig, box, known, chance, monkeypatch)


def looked_for(rig: Rig, box: Box, known: EmailColumn, chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [set(chance.sample(range(1, 60), chance.randrange(20))) for _ in range(2)]
    mark = chance.randrange(60)
    pairs = rig.read(rows, box)
    for few in (0, 1 << 30):  # one by one, then by the column
        monkeypatch.setattr(placed, "FEW", few)
        answer = rig.read(placed.placed, box, several, mark, known)
        uids = answer.column.uids if answer.column else range(1 << 20)
        found = [sorted(uids[at] for at in places) for places in answer.found]
        assert found == [[uid for uid, email in pairs if email in one] for one in several]
        assert sorted(answer.newer) == [uid for uid, email in pairs if email > mark]
        assert (answer.column is None) == (few == 0 or not any(several))


def test_a_mailbox_that_is_gone(tmp_path: Path) -> None:
    with open_sync(tmp_path / "data") as store:
        rig = Rig(store)
        box = rig.box("gone")
        known = now(rig, box, None)
        rig.run(mailboxes.delete, rig.anna, "gone")
        with pytest.raises(NotFound):
            rig.read(placed.placed, box, [{1}], 0, known)
