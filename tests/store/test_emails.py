"""Arriving, reading, flags, COPY, MOVE, EXPUNGE, changes."""

import pytest

from posthouse.mail.ids import AccountId, MailboxId, ModSeq
from posthouse.mail.keyword import DELETED_BIT, FLAGGED_BIT, SEEN_BIT
from posthouse.store import emails, mailboxes
from posthouse.store.blobs import NewBlob
from posthouse.store.emails import ALL, Column, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.script import NotFound, OverQuota, Refused, sql
from store_rig import NOW, Rig, message


def count(rig: Rig, table: str) -> int:
    def script():  # type: ignore[no-untyped-def]  # a one-line script
        [(number,)] = yield sql(f"SELECT count(*) FROM {table}")
        return number

    return int(rig.read(script))


def fill(rig: Rig, box: Box, number: int, flags: int = 0, keywords: tuple[str, ...] = ()) -> tuple[int, ...]:
    return rig.run(emails.add, box, [rig.email(flags=flags, keywords=keywords) for _ in range(number)]).uids


def shown(rig: Rig, box: Box) -> dict[int, tuple[int, str]]:
    return {uid: (bits, words) for uid, bits, words, _ in rig.read(emails.flags, box, ALL)}


def keywords_used(rig: Rig, box: Box) -> set[str]:
    return {word for _, words in shown(rig, box).values() for word in words.split()}


def test_add_counts_and_fetch_gives_what_came(rig: Rig) -> None:
    box = rig.box()
    octets = message()
    new = rig.email(octets, SEEN_BIT | DELETED_BIT, ("$Forwarded", "work"))
    appended = rig.run(emails.add, box, [new, rig.email()])
    assert appended.uids == (1, 2)
    row = rig.read(mailboxes.get, box)
    assert (row.total, row.unseen, row.deleted, row.uidnext) == (2, 1, 1, 3)
    assert row.uidvalidity == appended.uidvalidity
    assert row.modseq == appended.modseq
    columns = [Column.FLAGS, Column.KEYWORDS, Column.SIZE, Column.ENVELOPE, Column.HEADER, Column.BLOB, Column.RECEIVED]
    first, second = rig.read(emails.fetch, box, ALL, columns)
    assert first[:6] == (1, 17, "$forwarded work", len(octets), new.description.envelope, new.header)
    assert rig.store.octets(first[6]) == octets
    assert first[7] == 1_700_000_000_000
    assert second[0] == 2
    assert keywords_used(rig, box) == {"$forwarded", "work"}
    assert rig.read(emails.first_unseen, box) == 2


def test_fetch_is_bounded_and_goes_on_from_there(rig: Rig) -> None:
    box = rig.box()
    fill(rig, box, 10)
    rows = rig.read(emails.fetch, box, ((2, 4), (7, 0xFFFFFFFF)), [Column.FLAGS], 5)
    assert [uid for uid, _ in rows] == [2, 3, 4, 7, 8]
    rows = rig.read(emails.fetch, box, ((9, 0xFFFFFFFF),), [Column.FLAGS], 5)
    assert [uid for uid, _ in rows] == [9, 10]


def test_a_box_of_another_account_is_not_found(rig: Rig) -> None:
    box = rig.box()
    fill(rig, box, 1)
    wrong = Box(rig.ben, box.mailbox)
    for verb in (emails.uids, mailboxes.get, emails.first_unseen, emails.expunge):
        with pytest.raises(NotFound):
            rig.run(verb, wrong)
    with pytest.raises(NotFound):
        rig.read(emails.fetch, wrong, ALL, [Column.FLAGS])
    with pytest.raises(NotFound):
        rig.read(emails.changes, wrong, ModSeq(0), 1)
    with pytest.raises(NotFound):
        rig.run(emails.add, wrong, [rig.email()])
    with pytest.raises(NotFound):
        rig.run(emails.store_flags, wrong, ALL, FlagChange(Mode.ADD, SEEN_BIT))
    bens = rig.read(mailboxes.find, rig.ben, "INBOX")
    assert bens is not None
    for copying in (emails.copy, emails.move):
        with pytest.raises(NotFound):
            rig.run(copying, box, ALL, bens.id, NOW)
    with pytest.raises(NotFound):
        rig.run(emails.add, Box(AccountId(99), MailboxId(99)), [rig.email()])


def test_a_failed_script_leaves_nothing(rig: Rig) -> None:
    before = count(rig, "email"), count(rig, "blob")
    with pytest.raises(NotFound):
        rig.run(emails.deliver, [(rig.box(), rig.email()), (Box(rig.anna, MailboxId(99)), rig.email())])
    assert (count(rig, "email"), count(rig, "blob")) == before


def test_deliver_to_many_keeps_the_octets_once(rig: Rig) -> None:
    bens = rig.read(mailboxes.find, rig.ben, "INBOX")
    assert bens is not None
    new = rig.email()
    assert rig.run(emails.deliver, [(bens.box, new), (rig.box(), new), (bens.box, new)]) == [1, 1, 2]
    assert count(rig, "blob") == 1
    assert count(rig, "octets") == 1
    assert count(rig, "email") == 3


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("bits", [SEEN_BIT, DELETED_BIT, SEEN_BIT | FLAGGED_BIT | DELETED_BIT, 0])
@pytest.mark.parametrize("words", [(), ("a",), ("B", "c")])
def test_store_flags_is_what_the_words_say(rig: Rig, mode: Mode, bits: int, words: tuple[str, ...]) -> None:
    box = rig.box()
    fill(rig, box, 2)
    fill(rig, box, 2, SEEN_BIT | DELETED_BIT, ("a", "z"))
    fill(rig, box, 1, FLAGGED_BIT, ("b", "c"))
    rig.run(emails.copy, box, ((3, 4),), rig.box("Other").mailbox, NOW)
    before = shown(rig, box)
    since = rig.read(mailboxes.get, box).modseq
    stored = rig.run(emails.store_flags, box, ((1, 3), (5, 5)), FlagChange(mode, bits, words))
    keywords = {word.lower() for word in words}
    expected = dict(before)
    for uid in (1, 2, 3, 5):
        have, old = before[uid][0], set(before[uid][1].split())
        if mode is Mode.SET:
            new, now = bits, keywords
        elif mode is Mode.ADD:
            new, now = have | bits, old | keywords
        else:
            new, now = have & ~bits, old - keywords
        expected[uid] = (new, " ".join(sorted(now)))
    assert shown(rig, box) == expected
    different = [uid for uid in expected if expected[uid] != before[uid]]
    assert stored.count == len(different)
    changes = rig.read(emails.changes, box, since, 6)
    assert [uid for uid, *_ in changes.changed] == different
    assert (stored.modseq > since) == bool(different)


def test_many_different_keyword_sets_are_cut_into_pieces(rig: Rig) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email(keywords=(f"k{i // 2}",)) for i in range(200)])
    stored = rig.run(emails.store_flags, box, ALL, FlagChange(Mode.ADD, SEEN_BIT, ("x",)))
    assert stored.count == 200
    assert all(bits == SEEN_BIT and words == f"k{(uid - 1) // 2} x" for uid, (bits, words) in shown(rig, box).items())


def test_keywords_are_bounded_and_checked(rig: Rig) -> None:
    box = rig.box()
    fill(rig, box, 1)
    for bad in ("", "two words", "\\Seen", "ü", "a" * 101, "x\x00", "a(b"):
        with pytest.raises(Refused):
            rig.run(emails.store_flags, box, ALL, FlagChange(Mode.ADD, 0, (bad,)))
    rig.run(emails.store_flags, box, ALL, FlagChange(Mode.ADD, 0, tuple(f"k{i}" for i in range(60))))
    with pytest.raises(OverQuota):
        rig.run(emails.store_flags, box, ALL, FlagChange(Mode.ADD, 0, tuple(f"l{i}" for i in range(60))))
    assert len(keywords_used(rig, box)) == 60


def test_keywords_of_a_copy_are_those_of_the_original(rig: Rig) -> None:
    box, other = rig.box(), rig.box("Other")
    fill(rig, box, 3, DELETED_BIT)
    copied = rig.run(emails.copy, box, ((2, 3),), other.mailbox, NOW)
    assert (copied.source, copied.target) == ((2, 3), (1, 2))
    assert copied.uidvalidity == rig.read(mailboxes.get, other).uidvalidity
    rig.run(emails.store_flags, other, ((1, 1),), FlagChange(Mode.SET, SEEN_BIT, ("work",)))
    assert shown(rig, box) == {1: (16, ""), 2: (17, "work"), 3: (16, "")}
    assert shown(rig, other) == {1: (1, "work"), 2: (16, "")}
    assert rig.read(mailboxes.get, box).unseen == 2


def test_marking_a_copy_deleted_gives_the_email_one_modseq(rig: Rig) -> None:
    box, other = rig.box(), rig.box("Other")
    rig.run(
        emails.add, box, [rig.email(flags=SEEN_BIT, keywords=("a",)), rig.email(flags=SEEN_BIT, keywords=("a", "x"))]
    )
    rig.run(emails.copy, box, ALL, other.mailbox, NOW)
    rig.run(emails.store_flags, box, ALL, FlagChange(Mode.ADD, DELETED_BIT, ("x",)))
    assert shown(rig, other) == {1: (1, "a x"), 2: (1, "a x")}
    assert {row[3] for row in rig.read(emails.flags, other, ALL)} == {rig.read(mailboxes.get, box).modseq}


def test_copies_in_one_mailbox_change_together(rig: Rig) -> None:
    box = rig.box()
    fill(rig, box, 2)
    assert rig.run(emails.copy, box, ALL, box.mailbox, NOW).target == (3, 4)
    rig.run(emails.store_flags, box, ((1, 1), (4, 4)), FlagChange(Mode.ADD, SEEN_BIT | DELETED_BIT))
    assert shown(rig, box) == {1: (17, ""), 2: (1, ""), 3: (1, ""), 4: (17, "")}
    assert rig.read(mailboxes.get, box).unseen == 0
    assert rig.run(emails.expunge, box).uids == (1, 4)


def test_the_email_goes_with_its_last_placement(rig: Rig) -> None:
    box, other = rig.box(), rig.box("Other")
    fill(rig, box, 2, DELETED_BIT)
    rig.run(emails.copy, box, ((1, 1),), other.mailbox, NOW)
    assert rig.run(emails.expunge, box).uids == (1, 2)
    assert (count(rig, "email"), count(rig, "header"), count(rig, "blob WHERE refs > 0")) == (1, 1, 1)
    rig.run(emails.expunge, other)
    assert (count(rig, "email"), count(rig, "header"), count(rig, "blob WHERE refs > 0")) == (0, 0, 0)
    row = rig.read(mailboxes.get, box)
    assert (row.total, row.unseen, row.deleted, row.size, row.uidnext) == (0, 0, 0, 0, 3)


def test_expunge_takes_only_what_is_marked_and_asked_for(rig: Rig) -> None:
    box = rig.box()
    fill(rig, box, 5)
    assert rig.run(emails.expunge, box).uids == ()
    rig.run(emails.store_flags, box, ((1, 3),), FlagChange(Mode.ADD, DELETED_BIT))
    assert rig.run(emails.expunge, box, ((2, 2), (4, 9))).uids == (2,)
    assert rig.run(emails.expunge, box, ((5, 5),)).uids == ()
    assert rig.run(emails.expunge, box).uids == (1, 3)
    assert list(rig.read(emails.uids, box)) == [4, 5]
    assert fill(rig, box, 1) == (6,)


def test_move_leaves_each_message_in_one_mailbox(rig: Rig) -> None:
    box, other = rig.box(), rig.box("Other")
    fill(rig, box, 6, SEEN_BIT, ("k",))
    since = rig.read(mailboxes.get, box).modseq
    moved = rig.run(emails.move, box, ((2, 3), (6, 0xFFFFFFFF)), other.mailbox, NOW)
    assert (moved.source, moved.target) == ((2, 3, 6), (1, 2, 3))
    assert list(rig.read(emails.uids, box)) == [1, 4, 5]
    assert shown(rig, other) == dict.fromkeys((1, 2, 3), (1, "k"))
    assert rig.read(emails.changes, box, since, 7).vanished == (2, 3, 6)
    again = rig.run(emails.move, box, ALL, box.mailbox, NOW)
    assert (again.source, again.target) == ((1, 4, 5), (7, 8, 9))
    assert list(rig.read(emails.uids, box)) == [7, 8, 9]
    assert rig.run(emails.move, box, ((1, 6),), other.mailbox, NOW).source == ()


def test_changes_are_new_messages_flags_and_vanished(rig: Rig) -> None:
    box = rig.box()
    fill(rig, box, 5)
    start = rig.read(mailboxes.get, box)
    nothing = rig.read(emails.changes, box, start.modseq, start.uidnext)
    assert (nothing.arrived, nothing.changed, nothing.vanished, nothing.modseq) == ((), (), (), start.modseq)
    rig.run(emails.store_flags, box, ((2, 2),), FlagChange(Mode.ADD, SEEN_BIT))
    rig.run(emails.store_flags, box, ((4, 4),), FlagChange(Mode.ADD, DELETED_BIT))
    rig.run(emails.expunge, box)
    fill(rig, box, 2, FLAGGED_BIT)
    found = rig.read(emails.changes, box, start.modseq, start.uidnext)
    assert [row[:3] for row in found.arrived] == [(6, FLAGGED_BIT, ""), (7, FLAGGED_BIT, "")]
    assert [row[:3] for row in found.changed] == [(2, SEEN_BIT, "")]
    assert found.vanished == (4,)
    assert (found.total, found.uidnext) == (6, 8)
    then = rig.read(emails.changes, box, found.modseq, found.uidnext)
    assert (then.arrived, then.changed, then.vanished) == ((), (), ())


def test_what_came_and_went_unseen_is_not_told(rig: Rig) -> None:
    box = rig.box()
    start = rig.read(mailboxes.get, box)
    fill(rig, box, 1, DELETED_BIT)
    rig.run(emails.expunge, box)
    found = rig.read(emails.changes, box, start.modseq, start.uidnext)
    assert (found.arrived, found.vanished, found.uidnext, found.total) == ((), (), 2, 0)


def test_add_is_a_script_one_can_drive_by_hand(rig: Rig) -> None:
    new = rig.email()._replace(blob=NewBlob(rig.email().blob.id, 10, b"", None))
    script = emails.add(Box(AccountId(1), MailboxId(2)), [new])
    first = next(script)
    assert first == sql("UPDATE account SET modseq = modseq + 1 WHERE id = $1 RETURNING modseq", 1)
    with pytest.raises(NotFound):
        script.send([])
