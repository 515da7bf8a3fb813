"""Recently deleted: what is removed is kept, comes back as it was, and ends when its time is over."""

import pytest

from posthouse.mail.ids import AccountId, Millis
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.store import access, accounts, across, emails, gc, mailboxes, quota, removed, restore
from posthouse.store.emails import ALL, Column, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.removed import Removal
from posthouse.store.restore import ActRow, Restored
from posthouse.store.script import OverQuota, Script, sql
from store_rig import NOW, Rig, address

HOUR = 3_600_000
KEPT = Removal(NOW, "anna@home.test by IMAP from 192.0.2.7")
LATER = Millis(1 << 62)
IDENTITY = (Column.EMAIL, Column.THREAD, Column.RECEIVED, Column.SIZE, Column.KEYWORDS, Column.BLOB)


def acts(rig: Rig) -> list[ActRow]:
    return rig.read(restore.acts, rig.anna)


def kept(rig: Rig) -> list[tuple[str, list[int]]]:
    """Mailbox and UIDs of each act, newest first."""
    return [(act.name, [row.uid for row in rig.read(restore.kept, act.id, 1 << 32)][::-1]) for act in acts(rig)]


def back(rig: Rig, act: ActRow, *uids: int) -> Restored:
    found = rig.run(restore.restore, rig.anna, act.id, uids, Millis(NOW + HOUR))
    assert found is not None
    return found


def remove(rig: Rig, box: Box, *uids: int, at: int = 0) -> None:
    spans = [(uid, uid) for uid in uids] or None
    rig.run(emails.expunge, box, spans, marked=False, kept=KEPT._replace(at=Millis(NOW + at)))


def in_box(rig: Rig, box: Box) -> list[tuple[int, int, str]]:
    return [row[:3] for row in rig.read(emails.flags, box, ALL)]


def test_a_message_comes_back_as_it_was(rig: Rig) -> None:
    box = rig.box("Work")
    rig.run(emails.add, box, [rig.email(flags=SEEN_BIT | DELETED_BIT, keywords=("$forwarded", "blue")), rig.email()])
    before = rig.read(emails.fetch, box, ((1, 1),), IDENTITY)
    rig.run(emails.expunge, box, kept=KEPT)
    assert in_box(rig, box) == [(2, 0, "")]
    [act] = acts(rig)
    assert (act.name, act.at, act.agent) == ("Work", NOW, "anna@home.test by IMAP from 192.0.2.7")
    found = back(rig, act, 1)
    assert (found.uids, found.place.name, found.first) == ((1,), "Work", 3)
    after = rig.read(emails.fetch, box, ((3, 3),), (*IDENTITY, Column.FLAGS, Column.SAVED))
    assert [row[1:7] for row in after] == [row[1:] for row in before]
    assert after[0][7:] == (SEEN_BIT, NOW + HOUR), "without \\Deleted, and saved now"
    assert acts(rig) == []
    assert rig.run(restore.restore, rig.anna, act.id, (1,), NOW) is None, "once is enough"
    assert len(in_box(rig, box)) == 2


def test_what_a_guest_moves_out_can_come_back_to_its_owner(rig: Rig) -> None:
    box, other, target = rig.box("Team"), rig.box("Other"), rig.run(mailboxes.create, rig.ben, "Mine").box
    rig.run(emails.add, box, [rig.email(), rig.email()])
    rig.run(emails.copy, box, ((2, 2),), other.mailbox, NOW)
    rig.run(across.cross, box, ALL, target, across.Crossing(access.EVERY, NOW, True, KEPT))
    assert [len(in_box(rig, each)) for each in (box, other, target)] == [0, 1, 2]
    assert kept(rig) == [("Team", [1])], "the other one is not gone"
    assert back(rig, acts(rig)[0], 1).first == 3
    assert [len(in_box(rig, each)) for each in (box, other, target)] == [1, 1, 2]
    rig.run(across.cross, other, ALL, target, across.Crossing(access.EVERY, NOW, True))
    assert acts(rig) == []


def test_sessions_learn_of_it_as_of_new_mail(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email()])
    remove(rig, box, 1)
    row = rig.read(mailboxes.get, box)
    back(rig, acts(rig)[0], 1)
    found = rig.read(emails.changes, box, row.modseq, row.uidnext)
    assert [uid for uid, *_ in found.arrived] == [2]
    assert found.vanished == found.changed == ()


def test_what_lives_on_elsewhere_is_not_recently_deleted(rig: Rig) -> None:
    box, trash = rig.box(), rig.box("Trash")
    rig.run(emails.add, box, [rig.email(), rig.email(), rig.email()])
    rig.run(emails.copy, box, ((1, 2),), trash.mailbox, NOW)
    remove(rig, box)
    assert kept(rig) == [("INBOX", [3])]
    remove(rig, trash, 1)
    assert kept(rig) == [("Trash", [1]), ("INBOX", [3])]
    rig.run(emails.move, trash, ((2, 2),), box.mailbox, NOW)
    assert kept(rig) == [("Trash", [1]), ("INBOX", [3])]


def test_an_act_that_keeps_nothing_is_no_act(rig: Rig) -> None:
    box, trash = rig.box(), rig.box("Trash")
    rig.run(emails.add, box, [rig.email()])
    rig.run(emails.copy, box, ALL, trash.mailbox, NOW)
    remove(rig, box)
    assert acts(rig) == []


@pytest.mark.parametrize("many", [3, 250])
def test_two_places_in_one_mailbox_are_one_message(rig: Rig, many: int) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email() for _ in range(many)])
    rig.run(emails.copy, box, ALL, box.mailbox, NOW)
    remove(rig, box, 1)
    assert acts(rig) == []
    remove(rig, box)
    assert [len(uids) for _, uids in kept(rig)] == [many]
    uids = kept(rig)[0][1]
    back(rig, acts(rig)[0], *uids)
    assert len({row[1] for row in rig.read(emails.fetch, box, ALL, [Column.EMAIL])}) == many


@pytest.mark.parametrize("purged", [True, False])
def test_a_deleted_mailbox_is_made_again(rig: Rig, purged: bool) -> None:
    box = rig.box("Work/2026")
    rig.run(emails.add, box, [rig.email() for _ in range(5)])
    rig.run(emails.copy, box, ((1, 2),), rig.box().mailbox, NOW)
    rig.run(emails.copy, box, ((3, 3),), box.mailbox, NOW)
    rig.run(mailboxes.delete, rig.anna, "Work/2026", KEPT)
    rig.run(mailboxes.delete, rig.anna, "Work", KEPT)
    if not purged:
        assert kept(rig) == []
    while rig.run(gc.purge, 2):
        pass
    [(name, uids)] = kept(rig)
    assert (name, len(uids)) == ("Work/2026", 3)
    found = back(rig, acts(rig)[0], *uids)
    assert found.place.name == "Work/2026"
    assert found.place.id != box.mailbox
    assert len(in_box(rig, found.place.box)) == 3


def test_a_renamed_mailbox_is_found(rig: Rig) -> None:
    box = rig.box("Work")
    rig.run(emails.add, box, [rig.email()])
    remove(rig, box, 1)
    rig.run(mailboxes.rename, rig.anna, "Work", "Done", NOW)
    assert back(rig, acts(rig)[0], 1).place.name == "Done"


def test_a_name_that_only_has_inferiors_becomes_a_mailbox(rig: Rig) -> None:
    box = rig.box("Work")
    rig.box("Work/below")
    rig.run(emails.add, box, [rig.email()])
    rig.run(mailboxes.delete, rig.anna, "Work", KEPT)
    gc.purge_all(rig.store)
    assert back(rig, acts(rig)[0], 1).place.name == "Work"


def test_some_come_back_and_others_stay(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email() for _ in range(6)])
    remove(rig, box, 1, 2, 4, 5)
    back(rig, acts(rig)[0], 2, 3, 4, 99)
    assert kept(rig) == [("INBOX", [1, 5])]
    assert rig.run(restore.forget, rig.anna, acts(rig)[0].id, (1, 2)) == 1
    assert kept(rig) == [("INBOX", [5])]


def test_nobody_else_gets_it(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email()])
    remove(rig, box, 1)
    act = acts(rig)[0].id
    assert rig.read(restore.acts, rig.ben) == []
    assert rig.run(restore.restore, rig.ben, act, (1,), NOW) is None
    assert rig.run(restore.forget, rig.ben, act, (1,)) == 0
    assert kept(rig) == [("INBOX", [1])]


def test_a_refusal_changes_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    box = rig.box("Work")
    rig.run(emails.add, box, [rig.email()])
    rig.run(mailboxes.delete, rig.anna, "Work", KEPT)
    gc.purge_all(rig.store)
    monkeypatch.setattr(mailboxes, "MAILBOXES", 3)
    with pytest.raises(OverQuota):
        rig.run(restore.restore, rig.anna, acts(rig)[0].id, (1,), NOW)
    assert kept(rig) == [("Work", [1])]


def test_its_time_ends_the_oldest_first(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email() for _ in range(7)])
    remove(rig, box, 1, 2, 3, at=HOUR)
    remove(rig, box, 4, at=0)
    remove(rig, box, 5, 6, at=2 * HOUR)
    assert rig.run(removed.end, Millis(NOW)) == (0, removed.FORGOTTEN, False)
    assert rig.run(removed.end, Millis(NOW + HOUR + 1), 2) == (2, NOW + HOUR, True)
    assert kept(rig) == [("INBOX", [5, 6]), ("INBOX", [2, 3])]
    assert rig.run(removed.end, Millis(NOW + HOUR + 1), 2) == (2, NOW + HOUR, True)
    assert rig.run(removed.end, Millis(NOW + HOUR + 1), 2).more is False
    assert kept(rig) == [("INBOX", [5, 6])]
    rig.run(gc.mark, NOW)
    assert rig.run(gc.collect, LATER)[0] == 4


def test_octets_stay_while_it_is_kept(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email()])
    remove(rig, box, 1)
    rig.run(gc.mark, NOW)
    assert rig.run(gc.collect, LATER)[0] == 0
    back(rig, acts(rig)[0], 1)
    [(_, blob)] = rig.read(emails.fetch, box, ALL, [Column.BLOB])
    assert b"lorem ipsum" in rig.store.octets(blob)


def test_a_removed_user_leaves_nothing(rig: Rig) -> None:
    for name in ("INBOX", "Work"):
        rig.run(emails.add, rig.box(name), [rig.email(), rig.email()])
    remove(rig, rig.box(), 1)
    rig.run(mailboxes.delete, rig.anna, "Work", KEPT)
    rig.run(accounts.remove_account, address("anna@home.test"))
    gc.purge_all(rig.store)
    for table in ("email", "removed", "removal", "header", "summary", "placement"):
        assert rig.read(count, table) == 0, table


def count(table: str) -> Script[int]:
    [(number,)] = yield sql(f"SELECT count(*) FROM {table}")
    return int(number)


def test_without_keeping_it_ends_at_once(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email()])
    rig.run(emails.expunge, box, marked=False)
    assert rig.read(count, "email") == rig.read(count, "removal") == 0


def test_flags_of_an_act_are_those_of_its_end(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email(), rig.email()])
    rig.run(emails.store_flags, box, ALL, FlagChange(Mode.ADD, SEEN_BIT, ("last",)))
    remove(rig, box)
    back(rig, acts(rig)[0], 1, 2)
    assert in_box(rig, box) == [(3, SEEN_BIT, "last"), (4, SEEN_BIT, "last")]
    assert rig.read(mailboxes.get, box).unseen == 0


def test_the_oldest_of_too_much_goes(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email() for _ in range(9)])
    sizes = dict(rig.read(emails.fetch, box, ALL, [Column.SIZE]))
    remove(rig, box, 1, 2, 3, at=HOUR)
    remove(rig, box, 4, at=0)
    remove(rig, box, 5, 6, at=2 * HOUR)
    assert rig.read(removed.next_account, AccountId(0)) == rig.anna
    assert rig.read(removed.next_account, rig.anna) is None
    assert rig.read(removed.kept_of, rig.anna) == (6, sum(sizes[uid] for uid in range(1, 7)))
    assert rig.read(removed.kept_of, rig.ben) == (0, 0)
    assert rig.run(removed.end_oldest, rig.anna, 5) == (1, sizes[4])
    assert rig.run(removed.end_oldest, rig.anna, sizes[1] + 1) == (2, sizes[1] + sizes[2])
    assert kept(rig) == [("INBOX", [5, 6]), ("INBOX", [3])]
    assert rig.run(removed.end_oldest, rig.anna, 1 << 40, 2) == (2, sizes[3] + sizes[5])
    assert rig.run(removed.end_oldest, rig.ben, 1 << 40) == (0, 0)
    assert rig.run(removed.end_oldest, rig.anna, 1 << 40) == (1, sizes[6])
    assert acts(rig) == []


def test_it_counts_for_nobody_until_it_is_back(rig: Rig) -> None:
    def used() -> tuple[int, int]:
        standing = rig.read(quota.of, rig.anna, quota.Rules())
        return standing.usage.octets, standing.usage.messages

    box = rig.box()
    rig.run(emails.add, box, [rig.email()])
    before = used()
    remove(rig, box, 1)
    assert used() == (0, 0)
    back(rig, acts(rig)[0], 1)
    assert used() == before
    assert before[1] == 1
