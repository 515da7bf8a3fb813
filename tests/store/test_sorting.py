"""An order that is made of an older one is the one in which the database sorts (RFC 5256 §3)."""

import random
from array import array
from pathlib import Path

import pytest

from posthouse.mail.keyword import DELETED_BIT
from posthouse.store import emails, sorting
from posthouse.store.emails import FlagChange, Mode
from posthouse.store.sorting import Order, SortKey, Term
from posthouse.store.store import open_sync
from store_rig import NOW, Rig

TERMS = (
    (Term(SortKey.SUBJECT), Term(SortKey.SIZE, reverse=True)),
    (Term(SortKey.ARRIVAL, reverse=True),),
    (Term(SortKey.FROM), Term(SortKey.DATE)),
)


def letter(chance: random.Random) -> bytes:
    subject, sender = chance.choice(["b", "a", "C", "Re: a", "é", ""]), chance.choice(["zoe", "Ann"])
    return f"From: {sender}@home.test\r\nSubject: {subject}\r\n\r\n{'x' * chance.randrange(5)}".encode()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_order_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(sorting, "FEW_ARRIVED", 4)
    chance = random.Random(seed)
    with open_sync(tmp_path / "data") as store:
        rig = Rig(store)
        box, other = rig.box(), rig.box("other")
        known: dict[tuple[Term, ...], Order | None] = dict.fromkeys(TERMS)
        for _ in range(60):
            deed, first = chance.randrange(5), chance.randrange(1, 60)
            spans = ((first, first + chance.randrange(6)),)
            if deed == 0:
                rig.run(emails.add, box, [rig.email(letter(chance)) for _ in range(chance.randrange(1, 7))])
            elif deed == 1:
                rig.run(emails.store_flags, box, spans, FlagChange(Mode.ADD, DELETED_BIT))
            elif deed == 2:
                rig.run(emails.expunge, box)
            elif deed == 3:
                rig.run(emails.copy, box, spans, chance.choice([box, other]).mailbox, NOW)
            terms = chance.choice(TERMS)
            older = known[terms]
            before = array("I", older.uids) if older else None
            known[terms] = order = rig.read(sorting.order, box, terms, older)
            assert order.uids == rig.read(sorting.in_order, box, terms)
            assert older is None or older.uids == before  # it is shared: never altered
            assert rig.read(sorting.order, box, terms, order) is order
