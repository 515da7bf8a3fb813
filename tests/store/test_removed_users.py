"""Removed users are kept whole for a while, and nothing leads to them (decision 0139)."""

from collections.abc import Callable

import pytest

from posthouse.mail.ids import AccountId, Millis
from posthouse.mail.keyword import SEEN_BIT
from posthouse.store import (
    access,
    accounts,
    aliases,
    annotations,
    devices,
    emails,
    expiry,
    gc,
    groups,
    logins,
    mailboxes,
    names,
    quota,
    removed_users,
    renaming,
    restore,
    totp,
    urlkeys,
)  # fmt: skip
from posthouse.store.accounts import NoSuchUser, ScramSecret, Senders
from posthouse.store.devices import NewDevice
from posthouse.store.emails import ALL
from posthouse.store.expiry import Rules
from posthouse.store.logins import Batch, Times, Visit
from posthouse.store.mailboxes import Box
from posthouse.store.names import Reader
from posthouse.store.quota import Limits, Whose
from posthouse.store.removed import Removal
from posthouse.store.removed_users import RemovedUser
from posthouse.store.script import Exists, NotFound, Refused, Row, Script, sql
from store_rig import CREDENTIAL, NOW, Rig, address

ANNA, BEN, ELSE = (address(f"{name}@home.test") for name in ("anna", "ben", "else"))
NEW = NewDevice("phone", frozenset({"imap"}), None, b"digest", ScramSecret(b"salt", 4096, b"a", b"b"))
# What says the same before and after. The ModSeq moves on, what others allow is compared by itself.
TABLES = (
    "SELECT id, domain, fold, local, devices_only, octets, messages, mailboxes, most_octets, limit_octets, warned"
    " FROM account",
    "SELECT id, account, name, role, uidvalidity, uidnext, total, unseen, size FROM mailbox",
    "SELECT mailbox, uid, email, flags, keywords, shared, created, modseq, saved FROM placement",
    *(f"SELECT * FROM {table}" for table in (
        "credential", "scram_sha1", "directory_user", "device", "totp", "recovery", "login", "access", "subscription",
        "annotation", "retention_rule", "removal", "removed", "email",
    )),
)  # fmt: skip


def reader(rig: Rig, account: AccountId, name: str) -> Reader:
    return Reader(account, access.identifier(address(name)))


def everything() -> Script[list[list[Row]]]:
    found = []
    for text in TABLES:
        found.append(sorted((yield sql(text)), key=str))
    return found


@pytest.fixture
def furnished(rig: Rig) -> Rig:
    """Anna has of everything something."""
    inbox, work = rig.box(), rig.box("Work/Plans")
    rig.run(emails.add, inbox, [rig.email(flags=SEEN_BIT, keywords=("blue",)), rig.email(), rig.email()])
    rig.run(emails.copy, inbox, ((1, 1),), work.mailbox, NOW)
    rig.run(emails.expunge, inbox, ((3, 3),), marked=False, kept=Removal(NOW, "anna"))
    rig.run(access.put, work, "ben@home.test", frozenset("lrs"))
    bens = rig.run(mailboxes.create, rig.ben, "Shared").box
    rig.run(access.put, bens, "anna@home.test", frozenset("lrsw"))
    rig.run(access.put, bens, "-anna@home.test", frozenset("x"))
    rig.run(names.subscribe, reader(rig, rig.ben, "ben@home.test"), "Other Users/anna@home.test/Work/Plans",
            subscribed=True)  # fmt: skip
    rig.run(devices.add, ANNA, NEW, NOW)
    rig.run(totp.enable, ANNA, b"s" * 20, [b"code"], NOW)
    rig.run(annotations.write, reader(rig, rig.anna, "anna@home.test"), "", [("/private/comment", b"mine")])
    rig.run(expiry.set_rule, inbox, 9)
    rig.run(quota.set_limits, Whose(rig.anna), Limits(10**9, None, None))
    visit = Visit(rig.anna, "192.0.2.1", "imap", "PLAIN", "", "", "", "")
    rig.run(logins.record, Batch([(visit, Times(NOW, NOW, 1))]))
    return rig


def only(rig: Rig) -> RemovedUser:
    [one] = rig.read(removed_users.list_removed)
    return one


def test_all_comes_back_as_it_was(furnished: Rig) -> None:
    rig = furnished
    before = rig.read(everything)
    old = rig.read(mailboxes.find, rig.anna, "INBOX")
    rig.run(removed_users.set_aside, address("Anna@home.test"), NOW)
    assert only(rig) == RemovedUser(rig.anna, ANNA, NOW, 3, rig_size(before), False)
    rig.run(removed_users.bring_back, rig.anna, ANNA)
    assert rig.read(everything) == before
    assert rig.read(removed_users.list_removed) == []
    now = rig.read(mailboxes.find, rig.anna, "INBOX")
    assert old is not None
    assert now is not None
    assert (old.uidvalidity, old.uidnext, old.modseq) == (now.uidvalidity, now.uidnext, now.modseq)
    after = rig.run(emails.add, old.box, [rig.email()])
    assert after.uids == (old.uidnext,)
    [act] = rig.read(restore.acts, rig.anna)
    assert rig.run(restore.restore, rig.anna, act.id, (3,), NOW) is not None


def rig_size(tables: list[list[Row]]) -> int:
    return sum(row[-1] for row in tables[1] if row[6])


def test_nothing_leads_to_who_is_removed(furnished: Rig) -> None:
    rig = furnished
    box, plans = rig.box(), rig.box("Work/Plans")
    rig.run(urlkeys.put, rig.ben, plans, b"k" * 32, replace=False)
    rig.run(removed_users.set_aside, ANNA, NOW)
    for found in (accounts.find, accounts.known_as, accounts.find_login, devices.find_entrance):
        assert rig.read(found, ANNA) is None
    assert isinstance(rig.read(accounts.resolve, ANNA), NoSuchUser)
    assert [row.address for row in rig.read(accounts.list_accounts)] == [BEN]
    assert rig.read(accounts.users_of, ANNA.domain) == [(rig.ben, BEN)]
    postmaster = rig.read(accounts.resolve, address("postmaster@home.test"))
    assert postmaster == ((rig.ben, BEN),)  # anna was the first user
    ben = reader(rig, rig.ben, "ben@home.test")
    assert rig.read(names.visible, ben) == []
    assert rig.read(names.find, ben, "Other Users/anna@home.test/Work/Plans") is None
    assert rig.read(mailboxes.list_subscribed, rig.ben).count("Other Users/anna@home.test/Work/Plans") == 0
    assert not any("anna" in str(row) for row in rig.read(rows, "SELECT * FROM access"))
    for verb in (emails.fetch, emails.flags):  # a session of somebody else's that has it open
        with pytest.raises(NotFound):
            rig.read(verb, plans, ALL, ()) if verb is emails.fetch else rig.read(verb, plans, ALL)
    with pytest.raises(NotFound):
        rig.run(emails.add, box, [rig.email()])
    assert rig.read(expiry.ruled, Rules(1, 1), 0) == []
    assert rig.read(expiry.least_inbox_days) == 0
    rig.run(urlkeys.forget, rig.ben)


def rows(text: str) -> Script[list[Row]]:
    return (yield sql(text))


def test_the_name_is_free(furnished: Rig) -> None:
    rig = furnished
    rig.run(removed_users.set_aside, ANNA, NOW)
    other = rig.run(accounts.add_account, ANNA, CREDENTIAL)
    assert other != rig.anna
    with pytest.raises(Exists, match="exists"):
        rig.run(removed_users.bring_back, rig.anna, ANNA)
    rig.run(removed_users.bring_back, rig.anna, ELSE)
    given = rig.read(rows, "SELECT identifier FROM access WHERE identifier LIKE '%@%' ORDER BY identifier")
    assert given == [("-else@home.test",), ("ben@home.test",), ("else@home.test",)]
    assert "Other Users/else@home.test/Work/Plans" in rig.read(mailboxes.list_subscribed, rig.ben)
    rig.run(removed_users.set_aside, ANNA, Millis(NOW + 1))
    rig.run(removed_users.set_aside, ELSE, Millis(NOW + 2))
    assert [one.account for one in rig.read(removed_users.list_removed)] == [rig.anna, other]


def test_what_has_gone_meanwhile_does_not_come_back(furnished: Rig) -> None:
    rig = furnished
    rig.run(removed_users.set_aside, ANNA, NOW)
    rig.run(removed_users.set_aside, BEN, Millis(NOW + 1))
    rig.run(removed_users.bring_back, rig.anna, ANNA)  # ben is not there: his mailbox is, and keeps its list
    assert len(rig.read(rows, "SELECT 1 FROM access WHERE identifier LIKE '%anna@home.test'")) == 2
    assert len(rig.read(rows, f"SELECT 1 FROM subscription WHERE account = {rig.ben} AND name LIKE 'Other%'")) == 1
    rig.run(removed_users.set_aside, ANNA, NOW)
    rig.run(removed_users.end, rig.ben)
    gc.purge_all(rig.store)
    rig.run(removed_users.bring_back, rig.anna, ANNA)
    assert rig.read(rows, "SELECT 1 FROM access WHERE identifier LIKE '%anna@home.test'") == []
    assert rig.read(rows, f"SELECT 1 FROM subscription WHERE account = {rig.ben}") == []
    rig.run(removed_users.set_aside, ANNA, NOW)
    rig.run(accounts.remove_domain, ANNA.domain)
    with pytest.raises(NotFound):
        rig.run(removed_users.bring_back, rig.anna, ANNA)
    rig.run(accounts.add_domain, address("x@work.test").domain)
    rig.run(removed_users.bring_back, rig.anna, address("anna@work.test"))
    assert list(rig.read(emails.uids, rig.box())) == [1, 2]


def test_a_user_of_a_directory(rig: Rig) -> None:
    carl = address("carl@home.test")
    account = rig.run(accounts.add_account, carl, None)
    rig.run(devices.add, carl, NEW, NOW)
    rig.run(removed_users.set_aside, carl, NOW)
    assert only(rig).directory
    rig.run(removed_users.bring_back, account, carl)
    entrance = rig.read(devices.find_entrance, carl)
    assert entrance is not None
    assert entrance.elsewhere
    assert [device.name for device in entrance.devices] == ["phone"]


def test_former_names_go_along_and_come_back(rig: Rig) -> None:
    other = address("bernard@home.test")
    rig.run(renaming.rename_user, BEN, ELSE, keep=True)
    rig.run(renaming.rename_user, ELSE, other, keep=True)
    before = rig.read(aliases.list_aliases)
    assert [row.address for row in before] == [BEN, ELSE]
    rig.run(groups.add_group, address("team@home.test"), [BEN], Senders.USERS)  # by the old name
    with pytest.raises(Refused, match="leads to ben@home"):
        rig.run(removed_users.set_aside, other, NOW)
    assert rig.read(aliases.list_aliases)[: len(before)] == before
    rig.run(groups.remove_group, address("team@home.test"))
    rig.run(removed_users.set_aside, other, NOW)
    assert rig.read(aliases.list_aliases) == []
    assert rig.read(accounts.known_as, BEN) is None
    assert rig.run(removed_users.bring_back, rig.ben, other) == (BEN, ELSE)
    assert rig.read(aliases.list_aliases) == before
    assert rig.read(accounts.known_as, BEN) == (rig.ben, other)
    rig.run(removed_users.set_aside, other, NOW)
    rig.run(accounts.add_account, BEN, CREDENTIAL)
    assert rig.run(removed_users.bring_back, rig.ben, ELSE) == (), "one is somebody else's, one the user's own again"
    rig.run(renaming.rename_user, ELSE, other, keep=True)
    rig.run(removed_users.remove, other)
    assert rig.read(accounts.known_as, ELSE) is None
    assert rig.read(removed_users.list_removed) == []


@pytest.mark.parametrize("how", ["alias", "catch-all"])
def test_while_something_leads_there_nobody_is_removed(rig: Rig, how: str) -> None:
    if how == "alias":
        rig.run(aliases.add_alias, ELSE, [BEN])
    else:
        rig.run(accounts.set_catch_all, ELSE.domain, BEN)
    with pytest.raises(Refused, match="change or remove it first"):
        rig.run(removed_users.set_aside, BEN, NOW)
    assert rig.read(removed_users.list_removed) == []


def _ended(rig: Rig) -> None:
    rig.run(removed_users.end, rig.anna)


def _ended_first(rig: Rig) -> None:
    found = rig.run(removed_users.end_first)
    assert found is not None
    assert found.address == ANNA
    assert rig.run(removed_users.end_first) is None, "its rows are still going"


@pytest.mark.parametrize("end", [_ended, _ended_first])
def test_for_good(furnished: Rig, end: Callable[[Rig], None]) -> None:
    rig = furnished
    rig.run(removed_users.set_aside, ANNA, NOW)
    assert rig.read(removed_users.overdue, NOW) == []
    assert rig.read(removed_users.overdue, Millis(NOW + 1)) == [only(rig)]
    end(rig)
    gc.purge_all(rig.store)
    with pytest.raises(NotFound):
        rig.run(removed_users.bring_back, rig.anna, ANNA)
    for table, column in (
        ("email", "account"), ("device", "account"), ("totp", "account"), ("login", "account"), ("removal", "account"),
        ("annotation", "reader"), ("subscription", "account"),
    ):  # fmt: skip
        assert rig.read(rows, f"SELECT 1 FROM {table} WHERE {column} = {rig.anna}") == [], table
    assert rig.run(removed_users.end_first) is None


def test_a_purge_that_goes_on_meanwhile(furnished: Rig) -> None:
    """Of a mailbox that was deleted before: its number of changes goes on without the account."""
    rig = furnished
    rig.run(emails.copy, rig.box(), ALL, rig.run(mailboxes.create, rig.anna, "Old").box.mailbox, NOW)
    rig.run(mailboxes.delete, rig.anna, "Old")
    rig.run(removed_users.set_aside, ANNA, NOW)
    while rig.run(gc.purge, 1):
        pass
    rig.run(removed_users.bring_back, rig.anna, ANNA)
    row = rig.read(mailboxes.get, Box(rig.anna, rig.box().mailbox))
    assert row.total == 2
