"""Access control lists: the algebra of rights, COPY and MOVE between accounts, users who go (RFC 4314)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.keyword import DELETED_BIT, FLAGGED_BIT, SEEN_BIT
from posthouse.store import access, accounts, across, emails, mailboxes, names
from posthouse.store.across import Crossing, cross
from posthouse.store.emails import ALL, Column, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.names import Reader
from posthouse.store.script import NotFound, OverQuota, sql
from store_rig import NOW, Rig, address

WHO = "ben@home.test"
RIGHTS = st.frozensets(st.sampled_from(access.LETTERS))
BITS = st.sampled_from([0, SEEN_BIT, DELETED_BIT, FLAGGED_BIT, SEEN_BIT | FLAGGED_BIT, SEEN_BIT | DELETED_BIT])


@given(st.lists(st.tuples(st.sampled_from(access.names_of(WHO)), RIGHTS.map("".join)), max_size=6), RIGHTS)
def test_negative_rights_always_win_and_order_never_matters(
    entries: list[tuple[str, str]], more: frozenset[str]
) -> None:
    given_ = access.combined(entries)
    assert given_ == access.combined(reversed(entries))
    taken = frozenset().union(*(letters for name, letters in entries if name.startswith("-")))
    assert given_.isdisjoint(taken)
    assert access.combined([*entries, ("anyone", "".join(more))]) == given_ | more - taken
    assert access.combined([*entries, ("-anyone", "".join(more))]) == given_ - more


@given(st.sampled_from(Mode), BITS, st.sampled_from([(), ("work",)]), RIGHTS)
def test_a_change_of_flags_never_goes_beyond_the_rights(
    mode: Mode, bits: int, words: tuple[str, ...], rights: frozenset[str]
) -> None:
    left = access.restrict(FlagChange(mode, bits, words), rights)
    if left is None:
        assert rights.isdisjoint("wst") or mode is not Mode.SET
        return
    touched = left.bits if mode is not Mode.SET else left.among
    assert not touched & SEEN_BIT or "s" in rights
    assert not touched & DELETED_BIT or "t" in rights
    assert not touched & FLAGGED_BIT or "w" in rights
    assert not left.keywords or "w" in rights


def foreign(rig: Rig) -> Box:
    return rig.run(mailboxes.create, rig.ben, "Team").box


@pytest.mark.parametrize("move", [False, True])
def test_across_accounts_new_emails_share_nothing_but_the_octets(rig: Rig, move: bool) -> None:
    box, target = rig.box(), foreign(rig)
    new = [rig.email(flags=SEEN_BIT | FLAGGED_BIT | DELETED_BIT, keywords=("work",)) for _ in range(3)]
    rig.run(emails.add, box, new)
    copied = rig.run(cross, box, ((1, 1), (3, 9)), target, Crossing(access.EVERY, NOW, move))
    assert (copied.source, copied.target) == ((1, 3), (1, 2))
    assert copied.uidvalidity == rig.read(mailboxes.get, target).uidvalidity
    assert len(rig.read(emails.uids, box)) == (1 if move else 3)
    rows = rig.read(emails.fetch, target, ALL, [Column.FLAGS, Column.KEYWORDS, Column.BLOB, Column.HEADER])
    assert [row[1:3] for row in rows] == [(SEEN_BIT | FLAGGED_BIT | DELETED_BIT, "work")] * 2
    assert rows[0][4] == new[0].header
    rig.run(emails.store_flags, target, ALL, FlagChange(Mode.SET, 0))
    assert all(bits for _, bits, *_ in rig.read(emails.flags, box, ALL))


def test_what_the_rights_do_not_allow_is_dropped(rig: Rig) -> None:
    box, target = rig.box(), foreign(rig)
    rig.run(emails.add, box, [rig.email(flags=SEEN_BIT | FLAGGED_BIT | DELETED_BIT, keywords=("work",))])
    wanted = [("i", 0, ""), ("is", SEEN_BIT, ""), ("it", DELETED_BIT, ""), ("iw", FLAGGED_BIT, "work")]
    for letters, bits, words in wanted:
        copied = rig.run(cross, box, ALL, target, Crossing(frozenset(letters), NOW, False))
        [(_, *row, _)] = rig.read(emails.flags, target, [(copied.target[0], copied.target[0])])
        assert tuple(row) == (bits, words)


def test_a_message_that_lives_in_two_mailboxes_leaves_one(rig: Rig) -> None:
    box, other, target = rig.box(), rig.box("Other"), foreign(rig)
    rig.run(emails.add, box, [rig.email()])
    rig.run(emails.copy, box, ALL, other.mailbox, NOW)
    rig.run(cross, box, ALL, target, Crossing(access.EVERY, NOW, True))
    assert [len(rig.read(emails.uids, each)) for each in (box, other, target)] == [0, 1, 1]


def test_a_crossing_is_all_or_none_and_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    box, target = rig.box(), foreign(rig)
    rig.run(emails.add, box, [rig.email() for _ in range(4)])
    monkeypatch.setattr(across, "MESSAGES", 3)
    with pytest.raises(OverQuota):
        rig.run(cross, box, ALL, target, Crossing(access.EVERY, NOW, True))
    monkeypatch.setattr(across, "HEADERS", 50)
    with pytest.raises(OverQuota):
        rig.run(cross, box, ((1, 2),), target, Crossing(access.EVERY, NOW, False))
    assert rig.run(cross, box, ((9, 9),), target, Crossing(access.EVERY, NOW, True)).source == ()
    assert rig.read(mailboxes.get, target).total == 0
    rig.run(mailboxes.delete, rig.ben, "Team")
    with pytest.raises(NotFound):
        rig.run(cross, box, ((1, 1),), target, Crossing(access.EVERY, NOW, True))
    assert rig.read(mailboxes.get, box).total == 4


def test_entries_of_a_list_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    box = rig.box()
    monkeypatch.setattr(access, "ENTRIES", 20)
    for number in range(20):
        rig.run(access.put, box, f"user{number}@home.test", frozenset("lr"))
    with pytest.raises(OverQuota):
        rig.run(access.put, box, "anyone", frozenset("lr"))
    rig.run(access.put, box, "user1@home.test", frozenset("l"))
    assert len(rig.read(access.entries, box.mailbox)) == 20


def test_shared_with_anyone_thousands_of_mailboxes_are_not_all_listed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "VISIBLE", 5)
    for number in range(12):
        rig.run(access.put, rig.box(f"Box{number:02}"), "anyone", frozenset("l"))
    rig.run(access.put, rig.box("Mine"), WHO, frozenset("l"))
    rig.run(access.put, rig.box("Box00"), "-" + WHO, frozenset("l"))
    seen = [place.local for place in rig.read(names.visible, Reader(rig.ben, WHO))]
    assert "Mine" in seen
    assert "Box00" not in seen
    assert len(seen) <= 5


def rows(text: str):  # type: ignore[no-untyped-def]  # a one-line script
    return (yield sql(text))


def test_a_user_who_goes_is_in_no_list_and_nobody_is_subscribed_to_his_mailboxes(rig: Rig) -> None:
    box = rig.box()
    for name in (WHO, "-" + WHO, "anyone"):
        rig.run(access.put, box, name, frozenset("lr"))
    team = foreign(rig)
    rig.run(access.put, team, "anyone", frozenset("lr"))
    anna = Reader(rig.anna, "anna@home.test")
    rig.run(names.subscribe, anna, "Other Users/ben@home.test/Team", subscribed=True)
    assert "Other Users/ben@home.test/Team" in rig.read(mailboxes.list_subscribed, rig.anna)
    rig.run(accounts.remove_account, address(WHO))
    assert rig.read(rows, "SELECT identifier FROM access") == [("anyone",)]
    assert not [name for name in rig.read(mailboxes.list_subscribed, rig.anna) if name.startswith("Other Users")]
