"""What is written on all placements of an Email: along a mailbox where there is no gap, one by one elsewhere."""

import pytest

from posthouse.mail.ids import ModSeq
from posthouse.mail.keyword import DELETED_BIT, SEEN_BIT
from posthouse.store import emails, mailboxes, siblings
from posthouse.store.emails import ALL, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.script import Script, sql
from store_rig import NOW, Rig

Placement = tuple[int, int, int]


@pytest.fixture(params=[0, siblings.MANY], ids=["few are many", "few"], autouse=True)
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test also with few Emails looked for as many are."""
    monkeypatch.setattr(siblings, "MANY", request.param)


def placements(rig: Rig, box: Box) -> list[Placement]:
    """(uid, shared, modseq)."""

    def script() -> Script[list[Placement]]:
        rows = yield sql("SELECT uid, shared, modseq FROM placement WHERE mailbox = $1 ORDER BY uid", box.mailbox)
        return [(uid, shared, modseq) for uid, shared, modseq in rows]

    return rig.read(script)


def copied(rig: Rig, number: int, *spans: tuple[int, int]) -> tuple[Box, list[Box]]:
    """INBOX with so many messages, and for each of the spans a mailbox with copies of them."""
    inbox = rig.box()
    rig.run(emails.add, inbox, [rig.email() for _ in range(number)])
    boxes = [rig.box(f"copy{place}") for place in range(len(spans))]
    for box, span in zip(boxes, spans, strict=True):
        rig.run(emails.copy, inbox, (span,), box.mailbox, NOW)
    return inbox, boxes


def test_a_whole_copy_expunged_leaves_the_originals_alone(rig: Rig) -> None:
    inbox, [copy] = copied(rig, 5, (1, 5))
    gone = rig.run(emails.expunge, copy, None, marked=False)
    assert placements(rig, inbox) == [(uid, 0, gone.modseq) for uid in range(1, 6)]


def test_with_a_third_placement_they_stay_shared(rig: Rig) -> None:
    inbox, [first, second] = copied(rig, 5, (1, 5), (1, 5))
    gone = rig.run(emails.expunge, first, None, marked=False)
    for box in (inbox, second):
        assert placements(rig, box) == [(uid, 1, gone.modseq) for uid in range(1, 6)]


def test_some_alone_and_some_shared(rig: Rig) -> None:
    inbox, [first, second] = copied(rig, 5, (1, 5), (2, 3))
    gone = rig.run(emails.expunge, first, None, marked=False)
    assert placements(rig, inbox) == [(uid, int(uid in (2, 3)), gone.modseq) for uid in range(1, 6)]
    assert placements(rig, second) == [(1, 1, gone.modseq), (2, 1, gone.modseq)]


def test_what_stands_between_them_is_not_touched(rig: Rig) -> None:
    inbox, [copy] = copied(rig, 5, (1, 5))
    before = placements(rig, inbox)
    gone = rig.run(emails.expunge, copy, ((1, 1), (4, 4)), marked=False)
    after = [(1, 0, gone.modseq), before[1], before[2], (4, 0, gone.modseq), before[4]]
    assert placements(rig, inbox) == after


def test_two_placements_in_one_mailbox_stand_without_a_gap(rig: Rig) -> None:
    inbox, [copy] = copied(rig, 2, (1, 2))
    rig.run(emails.copy, copy, ALL, copy.mailbox, NOW)
    gone = rig.run(emails.expunge, inbox, None, marked=False)
    assert placements(rig, copy) == [(uid, 1, gone.modseq) for uid in range(1, 5)]


@pytest.mark.parametrize("between", [False, True])
def test_emails_of_others_that_arrived_between_stay(rig: Rig, between: bool) -> None:
    inbox, other = rig.box(), rig.run(mailboxes.create, rig.ben, "other").box
    rig.run(emails.add, inbox, [rig.email()])
    if between:
        rig.run(emails.add, other, [rig.email()])
    rig.run(emails.add, inbox, [rig.email()])
    rig.run(emails.add, other, [rig.email()])
    assert rig.run(emails.expunge, inbox, None, marked=False).uids == (1, 2)
    assert len(placements(rig, other)) == 1 + between
    assert rig.read(emails.fetch, other, ALL, [emails.Column.HEADER])


def test_all_copies_in_one_mailbox_end_the_email(rig: Rig) -> None:
    inbox, [copy] = copied(rig, 2, (1, 1))
    rig.run(emails.copy, inbox, ((2, 2),), inbox.mailbox, NOW)
    gone = rig.run(emails.expunge, inbox, None, marked=False)
    assert gone.uids == (1, 2, 3)
    assert placements(rig, copy) == [(1, 0, gone.modseq)]  # consistency at the end: the second Email is gone


def test_changes_of_siblings_are_found_by_the_log(rig: Rig) -> None:
    inbox, [copy] = copied(rig, 5, (2, 4))
    since = rig.read(mailboxes.get, inbox).modseq
    stored = rig.run(emails.store_flags, copy, ALL, FlagChange(Mode.ADD, SEEN_BIT))
    found = rig.read(emails.changes, inbox, since, 6)
    assert [(uid, flags) for uid, flags, *_ in found.changed] == [(uid, SEEN_BIT) for uid in (2, 3, 4)]
    assert found.modseq == stored.modseq > ModSeq(since)


def test_in_another_order_or_with_others_between_they_are_found_too(rig: Rig) -> None:
    inbox, [turned, mixed, whole] = copied(rig, 4, (3, 4), (1, 2), (1, 4))
    rig.run(emails.copy, inbox, ((1, 2),), turned.mailbox, NOW)
    rig.run(emails.add, mixed, [rig.email()])
    rig.run(emails.copy, inbox, ((3, 4),), mixed.mailbox, NOW)
    before = placements(rig, mixed)
    gone = rig.run(emails.expunge, whole, None, marked=False)
    for box in (inbox, turned):
        assert placements(rig, box) == [(uid, 1, gone.modseq) for uid in range(1, 5)]
    assert placements(rig, mixed) == [(uid, 1, gone.modseq) if uid != 3 else before[2] for uid in range(1, 6)]


def test_one_email_twice_does_not_stand_for_one_that_is_absent(rig: Rig) -> None:
    """Of the Emails 1 to 4 the mailbox has 1 and 4, each twice: as many placements as ids between."""
    inbox, [copy] = copied(rig, 4, (1, 1))
    for span in ((1, 1), (4, 4), (4, 4)):
        rig.run(emails.copy, inbox, (span,), copy.mailbox, NOW)
    before = placements(rig, inbox)
    gone = rig.run(emails.expunge, copy, None, marked=False)
    assert placements(rig, inbox) == [(1, 0, gone.modseq), before[1], before[2], (4, 0, gone.modseq)]


def test_a_copy_moved_takes_the_originals_along(rig: Rig) -> None:
    inbox, [copy] = copied(rig, 5, (1, 5))
    target = rig.box("target")
    moved = rig.run(emails.move, copy, ALL, target.mailbox, NOW)
    for box in (inbox, target):
        assert placements(rig, box) == [(uid, 1, moved.modseq) for uid in range(1, 6)]


def test_copies_of_what_has_a_gap_get_uids_without_one(rig: Rig) -> None:
    inbox, [copy] = copied(rig, 5, (1, 5))
    rig.run(emails.expunge, copy, ((2, 3),), marked=False)
    target = rig.box("target")
    moved = rig.run(emails.move, copy, ALL, target.mailbox, NOW)
    assert (moved.source, moved.target) == ((1, 4, 5), (1, 2, 3))
    again = rig.run(emails.copy, target, ((2, 3),), copy.mailbox, NOW)
    assert (again.source, again.target) == ((2, 3), (6, 7))
    assert [row[:2] for row in placements(rig, inbox)] == [(1, 1), (2, 0), (3, 0), (4, 1), (5, 1)]


def test_all_marked_or_all_but_one(rig: Rig) -> None:
    inbox, [copy, other] = copied(rig, 5, (1, 5), (1, 5))
    for box, last in ((copy, 5), (other, 4)):
        rig.run(emails.store_flags, box, ((1, last),), FlagChange(Mode.ADD, DELETED_BIT))
        assert rig.run(emails.expunge, box, ((2, 3),)).uids == (2, 3)
        assert rig.run(emails.expunge, box).uids == (1, 4, 5)[: last - 2]
    assert [uid for uid, *_ in placements(rig, other)] == [5]
    assert len(placements(rig, inbox)) == 5
