"""Names, CREATE, DELETE, RENAME, subscriptions, roles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.ids import AccountId, ModSeq
from posthouse.mail.keyword import DELETED_BIT
from posthouse.store import emails, gc, mailboxes
from posthouse.store.emails import ALL, FlagChange, Mode
from posthouse.store.mailboxes import COMPONENT_OCTETS, DEPTH, MAILBOXES, canonical_name
from posthouse.store.script import Exists, NotFound, OverQuota, Refused, Script, UseRefused, sql
from store_rig import NOW, Rig


def names(rig: Rig) -> list[str]:
    return [row.name for row in rig.read(mailboxes.list_mailboxes, rig.anna)]


NEW = ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]


def test_a_new_account_has_its_mailboxes_with_roles_and_is_subscribed(rig: Rig) -> None:
    rows = rig.read(mailboxes.list_mailboxes, rig.anna)
    assert {row.name: row.role for row in rows} == {name: name.lower() for name in NEW}
    assert all(row.subscribed and not row.noselect for row in rows)
    assert len({row.uidvalidity for row in rows}) == len(rows)
    sent = rig.read(mailboxes.find_role, rig.anna, "sent")
    assert sent is not None
    assert sent.name == "Sent"


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("inbox", "INBOX"),
        ("InBox/Work", "INBOX/Work"),
        ("work/inbox", "work/inbox"),
        ("a\u0308", "ä"),
        ("Entwürfe & mehr", "Entwürfe & mehr"),
        ("%*", "%*"),
        ("", None),
        ("/a", None),
        ("a/", None),
        ("a//b", None),
        ("a\x00b", None),
        ("a\nb", None),
        ("a\x7fb", None),
        ("a\u2028b", None),
        ("a\ud800", None),
        ("x" * COMPONENT_OCTETS, "x" * COMPONENT_OCTETS),
        ("x" * (COMPONENT_OCTETS + 1), None),
        ("ü" * 128, None),
        ("/".join("a" * DEPTH), "/".join("a" * DEPTH)),
        ("/".join("a" * (DEPTH + 1)), None),
        ("/".join(["x" * 250] * 5), None),
    ],
)
def test_canonical_name(given_name: str, stored: str | None) -> None:
    assert canonical_name(given_name) == stored


@given(st.text(st.characters(), max_size=40))
def test_a_canonical_name_stays_as_it_is(name: str) -> None:
    canonical = canonical_name(name)
    if canonical is not None:
        assert canonical_name(canonical) == canonical
        canonical.encode("utf-8")


def test_create_makes_superior_names(rig: Rig) -> None:
    row = rig.run(mailboxes.create, rig.anna, "a/b/c/")
    assert (row.name, row.uidnext, row.total) == ("a/b/c", 1, 0)
    assert names(rig) == sorted([*NEW, "a", "a/b", "a/b/c"])
    with pytest.raises(Exists):
        rig.run(mailboxes.create, rig.anna, "a/b")
    with pytest.raises(Exists):
        rig.run(mailboxes.create, rig.anna, "inbox")
    with pytest.raises(Refused):
        rig.run(mailboxes.create, rig.anna, "a//b")
    with pytest.raises(UseRefused):
        rig.run(mailboxes.create, rig.anna, "Sent 2", "sent")


@pytest.mark.parametrize(
    ("given_name", "reason"),
    [
        ("", "it is empty"),
        ("/abs", "a level of the name is empty"),
        ("a//b", "a level of the name is empty"),
        ("a\x07", "it has control characters"),
        ("a\ud800", "it has control characters"),
        ("/".join("a" * (DEPTH + 1)), "it has more than 20 levels"),
        ("a/" + "é" * 128, "a level of the name is longer than 255 octets"),
        ("/".join(["x" * 250] * 5), "it is longer than 1000 octets"),
    ],
)
def test_a_refused_name_hears_the_reason_that_applies(rig: Rig, given_name: str, reason: str) -> None:
    with pytest.raises(Refused, match=f"cannot be the name of a mailbox: {reason}"):
        rig.run(mailboxes.create, rig.anna, given_name)


def test_a_mailbox_of_special_use_made_again_has_its_role_again(rig: Rig) -> None:
    rig.run(mailboxes.delete, rig.anna, "Sent")
    rig.run(mailboxes.delete, rig.anna, "Trash")
    assert rig.run(mailboxes.create, rig.anna, "Sent").role == "sent"
    rig.run(mailboxes.create, rig.anna, "Trash/old")
    assert [rig.read(mailboxes.find, rig.anna, name).role for name in ("Trash", "Trash/old")] == ["trash", None]
    rig.run(mailboxes.rename, rig.anna, "Junk", "Spam", NOW)
    assert rig.run(mailboxes.create, rig.anna, "Junk").role is None


def test_a_special_use_name_that_stayed_for_its_inferiors_has_its_role_again(rig: Rig) -> None:
    rig.run(mailboxes.create, rig.anna, "Sent/2026")
    rig.run(mailboxes.delete, rig.anna, "Sent")
    assert rig.run(mailboxes.create, rig.anna, "Sent").role == "sent"


def test_the_number_of_mailboxes_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "MAILBOXES", 8)
    rig.run(mailboxes.create, rig.anna, "x/y")
    with pytest.raises(OverQuota):
        rig.run(mailboxes.create, rig.anna, "z")
    assert MAILBOXES > 1000


def test_a_recreated_name_has_a_new_uidvalidity(rig: Rig) -> None:
    first = rig.run(mailboxes.create, rig.anna, "Work")
    rig.run(emails.add, first.box, [rig.email(), rig.email()])
    gone = rig.run(mailboxes.delete, rig.anna, "Work")
    assert gone.total == 2
    assert rig.read(mailboxes.find, rig.anna, "Work") is None
    second = rig.run(mailboxes.create, rig.anna, "Work")
    assert second.uidvalidity > first.uidvalidity
    assert second.id != first.id
    with pytest.raises(NotFound):
        rig.read(emails.uids, first.box)
    assert gc.purge_all(rig.store) >= 2
    assert list(rig.read(emails.uids, second.box)) == []


def test_inbox_and_absent_names_are_not_deleted(rig: Rig) -> None:
    with pytest.raises(Refused):
        rig.run(mailboxes.delete, rig.anna, "inbox")
    with pytest.raises(NotFound):
        rig.run(mailboxes.delete, rig.anna, "none")
    with pytest.raises(NotFound):
        rig.run(mailboxes.delete, AccountId(99), "Work")


def test_a_deleted_name_with_inferiors_stays_as_noselect(rig: Rig) -> None:
    rig.run(mailboxes.create, rig.anna, "a/b")
    box = rig.box("a")
    rig.run(emails.add, box, [rig.email()])
    rig.run(mailboxes.delete, rig.anna, "a")
    row = rig.read(mailboxes.find, rig.anna, "a")
    assert row is not None
    assert row.noselect
    with pytest.raises(NotFound):
        rig.run(emails.add, row.box, [rig.email()])
    with pytest.raises(Refused):
        rig.run(mailboxes.delete, rig.anna, "a")
    again = rig.run(mailboxes.create, rig.anna, "a")
    assert not again.noselect
    assert again.uidvalidity > row.uidvalidity
    rig.run(mailboxes.delete, rig.anna, "a/b")
    rig.run(mailboxes.delete, rig.anna, "a")
    assert names(rig) == NEW


def test_deleting_shares_nothing_of_a_copy(rig: Rig) -> None:
    box, work = rig.box(), rig.box("Work")
    rig.run(emails.add, box, [rig.email()])
    rig.run(emails.copy, box, ALL, work.mailbox, NOW)
    rig.run(mailboxes.delete, rig.anna, "Work")
    rig.run(emails.store_flags, box, ALL, FlagChange(Mode.ADD, DELETED_BIT, ("k",)))
    gc.purge_all(rig.store)
    assert rig.read(emails.flags, box, ALL)[0][1:3] == (DELETED_BIT, "k")
    assert rig.run(emails.expunge, box).uids == (1,)


def test_rename_takes_inferiors_along_and_keeps_uids(rig: Rig) -> None:
    rig.run(mailboxes.create, rig.anna, "a/b/c")
    rig.run(mailboxes.create, rig.anna, "a0")
    rig.run(mailboxes.create, rig.anna, "ab/c")
    box = rig.box("a/b")
    rig.run(emails.add, box, [rig.email()])
    before = rig.read(mailboxes.get, box)
    rig.run(mailboxes.rename, rig.anna, "a", "x/y", NOW)
    assert names(rig) == sorted([*NEW, "x", "x/y", "x/y/b", "x/y/b/c", "a0", "ab", "ab/c"])
    after = rig.read(mailboxes.get, box)
    assert (after.name, after.uidvalidity, after.uidnext) == ("x/y/b", before.uidvalidity, before.uidnext)
    for old, new, error in (
        ("none", "n", NotFound),
        ("a0", "x", Exists),
        ("x", "x/z", Refused),
        ("x", "\x01", Refused),
        ("x", "/".join(["q" * 200] * 5), Refused),
        ("x", "inbox", Exists),
    ):
        with pytest.raises(error):
            rig.run(mailboxes.rename, rig.anna, old, new, NOW)
    assert rig.read(mailboxes.get, box).name == "x/y/b"


def test_renaming_inbox_moves_its_messages(rig: Rig) -> None:
    box = rig.box()
    rig.run(mailboxes.create, rig.anna, "INBOX/below")
    rig.run(emails.add, box, [rig.email(), rig.email(flags=DELETED_BIT)])
    rig.run(emails.copy, box, ((1, 1),), rig.box("Other").mailbox, NOW)
    before = rig.read(mailboxes.get, box)
    rig.run(mailboxes.rename, rig.anna, "INBOX", "Old/mail", NOW)
    inbox = rig.read(mailboxes.get, box)
    assert (inbox.name, inbox.total, inbox.uidnext, inbox.uidvalidity) == ("INBOX", 0, 3, before.uidvalidity)
    assert rig.read(emails.changes, box, before.modseq, 3).vanished == (1, 2)
    moved = rig.read(mailboxes.find, rig.anna, "Old/mail")
    assert moved is not None
    assert (moved.total, moved.unseen, moved.deleted, moved.size) == (2, 2, 1, before.size)
    assert moved.uidvalidity > before.uidvalidity
    assert [row[:2] for row in rig.read(emails.flags, moved.box, ALL)] == [(1, 0), (2, DELETED_BIT)]
    assert "INBOX/below" in names(rig)


def test_a_subscription_outlives_its_mailbox(rig: Rig) -> None:
    rig.run(mailboxes.create, rig.anna, "Work")
    with pytest.raises(NotFound):
        rig.run(mailboxes.subscribe, rig.anna, "none", subscribed=True)
    rig.run(mailboxes.subscribe, rig.anna, "Work", subscribed=True)
    rig.run(mailboxes.subscribe, rig.anna, "Work", subscribed=True)
    rig.run(mailboxes.delete, rig.anna, "Work")
    assert "Work" in rig.read(mailboxes.list_subscribed, rig.anna)
    rig.run(mailboxes.subscribe, rig.anna, "Work", subscribed=False)
    assert rig.read(mailboxes.list_subscribed, rig.anna) == NEW


def test_every_change_takes_the_accounts_next_modseq(rig: Rig) -> None:
    def modseq() -> Script[ModSeq]:
        [(now,)] = yield sql("SELECT modseq FROM account WHERE id = $1", rig.anna)
        return ModSeq(now)

    seen = [rig.read(modseq)]
    for verb, *args in (
        (mailboxes.create, "a/b"),
        (mailboxes.rename, "a", "c", NOW),
        (mailboxes.delete, "c/b"),
        (mailboxes.delete, "c"),
    ):
        rig.run(verb, rig.anna, *args)
        seen.append(rig.read(modseq))
    assert seen == list(range(seen[0], seen[0] + 5))
