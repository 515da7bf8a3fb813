"""The log of changed spans finds what a look at all messages finds (decision 0030, RFC 7162 §3.1.4)."""

import random

import pytest

from posthouse.store import changed, emails, mailboxes, touched
from posthouse.store.emails import FlagChange, Mode
from posthouse.store.script import Script, sql
from store_rig import NOW, Rig


def everything(mailbox: int, since: int) -> Script[list[tuple[object, ...]]]:
    return (yield sql(
        "SELECT uid, flags, keywords, modseq FROM placement WHERE mailbox = $1 AND modseq > $2 ORDER BY uid",
        mailbox, since,
    ))  # fmt: skip


def rows_of_log(mailbox: int) -> Script[int]:
    [(count,)] = yield sql("SELECT count(*) FROM touched WHERE mailbox = $1", mailbox)
    return int(count)


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_what_a_look_at_all_finds(rig: Rig, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(touched, "EVERY", 3)
    monkeypatch.setattr(touched, "SPANS", 4)
    chance = random.Random(seed)
    box, other = rig.box("INBOX"), rig.box("Archive")
    rig.run(emails.add, box, [rig.email() for _ in range(40)])
    for _ in range(60):
        uids = sorted(chance.sample(range(1, 60), chance.randint(1, 8)))
        spans = tuple((uid, uid) for uid in uids) if chance.random() < 0.8 else ((uids[0], uids[-1]),)
        match chance.randint(0, 9):
            case 0:
                rig.run(emails.copy, box, spans, other.mailbox, NOW)
            case 1:
                rig.run(emails.add, box, [rig.email()])
            case 2:
                rig.run(emails.store_flags, box, spans, FlagChange(Mode.ADD, 16))
                rig.run(emails.expunge, box, spans)
            case _:
                which = box if chance.random() < 0.8 else other
                rig.run(
                    emails.store_flags, which, spans, FlagChange(chance.choice(list(Mode)), chance.choice([0, 1, 4]))
                )
        for one in (box, other):
            for since in range(0, rig.read(mailboxes.get, one).modseq, chance.randint(5, 30)):
                assert rig.read(changed.changed, one, since) == rig.read(everything, one.mailbox, since)


def test_the_log_of_a_mailbox_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touched, "EVERY", 1)
    box = rig.box("INBOX")
    rig.run(emails.add, box, [rig.email() for _ in range(3)])
    for turn in range(touched.KEPT + 10):
        rig.run(emails.store_flags, box, ((turn % 3 + 1, turn % 3 + 1),), FlagChange(Mode.SET, turn % 2))
    assert rig.read(rows_of_log, box.mailbox) <= touched.KEPT + 2
