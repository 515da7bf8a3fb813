"""Users and domains get other names: everything else stays."""

import pytest

from posthouse.mail.address import Domain
from posthouse.store import access, accounts, aliases, emails, groups, mailboxes, renaming
from posthouse.store.accounts import NoSuchDomain, NoSuchUser, Senders
from posthouse.store.namespace import prefix_of
from posthouse.store.script import Exists, NotFound, Refused, Script, sql
from store_rig import CREDENTIAL, Rig, address

ANNA, BEN = address("anna@home.test"), address("ben@home.test")
ANNE = address("Anne@work.test")
HOME, WORK, NEW = Domain("home.test"), Domain("work.test"), Domain("new.test")


def to(rig: Rig, text: str) -> object:
    found = rig.read(accounts.resolve, address(text))
    return [str(target.address) for target in found] if isinstance(found, tuple) else type(found)


def furnish(rig: Rig) -> None:
    """Anna has mail, shares it with Ben, is shared with by Ben, and stands in an alias, a group and a catch-all."""
    rig.run(accounts.add_domain, WORK)
    box, his = rig.box(), rig.read(mailboxes.find, rig.ben, "INBOX").box
    rig.run(emails.add, box, [rig.email(flags=1)])
    rig.run(access.put, box, str(BEN), frozenset("lr"))
    rig.run(access.put, his, str(ANNA), frozenset("lrs"))
    rig.run(access.put, his, f"-{ANNA}", frozenset("t"))
    rig.run(mailboxes.subscribe, rig.ben, prefix_of(ANNA) + "INBOX", subscribed=True, known=True)
    rig.run(aliases.add_alias, address("a@home.test"), [ANNA])
    rig.run(groups.add_group, address("team@home.test"), [ANNA, BEN], Senders.ANYONE)
    rig.run(accounts.set_catch_all, HOME, ANNA)


def names(rig: Rig, text: str, *args: object) -> list[object]:
    def script():  # type: ignore[no-untyped-def]
        return (yield sql(text, *args))

    return [row[0] for row in rig.read(script)]


def limited(domain: Domain):  # type: ignore[no-untyped-def]  # a one-line script
    yield sql("UPDATE domain SET most_octets = 1000000 WHERE name = $1", domain.name)


def test_a_user_keeps_everything_but_the_name(rig: Rig) -> None:
    furnish(rig)
    before = rig.read(mailboxes.list_mailboxes, rig.anna)
    rig.run(renaming.rename_user, ANNA, ANNE, keep=True)
    login = rig.read(accounts.find_login, ANNE)
    assert login is not None
    assert (login.account, login.address, login.credential) == (rig.anna, ANNE, CREDENTIAL)
    assert rig.read(mailboxes.list_mailboxes, rig.anna) == before
    his = rig.read(mailboxes.find, rig.ben, "INBOX").box
    assert rig.read(access.entries, his.mailbox) == [
        ("-anne@work.test", frozenset("t")),
        ("anne@work.test", frozenset("lrs")),
    ]
    assert rig.read(access.entries, rig.box().mailbox) == [(str(BEN), frozenset("lr"))]
    assert names(rig, "SELECT name FROM subscription WHERE account = $1 AND name LIKE 'Other%'", rig.ben) == [
        "Other Users/Anne@work.test/INBOX"
    ]
    for old in ("a@home.test", "anna@home.test", "anna+x@home.test", "unknown@home.test"):
        assert to(rig, old) == [str(ANNE)], old
    assert to(rig, "team@home.test") == [str(ANNE), str(BEN)]


def test_the_old_name_logs_in_as_long_as_it_leads_to_the_user(rig: Rig) -> None:
    rig.run(accounts.add_domain, WORK)
    rig.run(renaming.rename_user, ANNA, ANNE, keep=True)
    login = rig.read(accounts.find_login, address("ANNA@home.test"))
    assert login is not None
    assert login.address == ANNE  # a session that began as anna@home.test has to log in again
    assert rig.read(access.resolve, "anna@home.test", must_exist=True) == "anne@work.test"
    rig.run(renaming.rename_user, ANNE, address("annette@work.test"), keep=True)
    again = rig.read(accounts.find_login, ANNA)
    assert again is not None
    assert again.account == rig.anna
    rig.run(aliases.set_alias, ANNA, [BEN])
    assert rig.read(accounts.find_login, ANNA) is None
    rig.run(aliases.remove_alias, ANNE)
    assert rig.read(accounts.find_login, ANNE) is None
    rig.run(aliases.remove_alias, ANNA)
    rig.run(accounts.add_account, ANNA, CREDENTIAL)  # the name is free, and somebody else's
    assert rig.read(accounts.find_login, ANNA).account != rig.anna


def test_there_and_back(rig: Rig) -> None:
    furnish(rig)
    state = "SELECT domain || fold || target FROM alias ORDER BY 1"
    before = names(rig, state)
    rig.run(renaming.rename_user, ANNA, ANNE, keep=True)
    rig.run(renaming.rename_user, ANNE, ANNA, keep=False)
    assert names(rig, state) == before
    assert names(rig, "SELECT fold FROM former") == []
    assert rig.read(accounts.find_login, ANNE) is None


def test_without_keep_the_old_name_is_nobody(rig: Rig) -> None:
    rig.run(renaming.rename_user, ANNA, address("anne@home.test"), keep=False)
    assert to(rig, "anna@home.test") is NoSuchUser
    assert rig.read(accounts.find_login, ANNA) is None


def test_a_name_that_is_taken_is_refused(rig: Rig) -> None:
    rig.run(aliases.add_alias, address("both@home.test"), [ANNA, BEN])
    rig.run(groups.add_group, address("team@home.test"), [ANNA], Senders.USERS)
    for taken in ("ben", "both", "team"):
        with pytest.raises(Exists, match=rf"{taken}@home\.test exists"):
            rig.run(renaming.rename_user, ANNA, address(f"{taken}@home.test"), keep=True)
    with pytest.raises(NotFound):
        rig.run(renaming.rename_user, ANNA, ANNE, keep=True)
    with pytest.raises(NotFound, match=r"there is no user nobody@home\.test"):
        rig.run(renaming.rename_user, address("nobody@home.test"), ANNA, keep=True)
    rig.run(aliases.add_alias, address("ann@home.test"), [ANNA])  # who has an alias of the name alone gets it
    rig.run(renaming.rename_user, ANNA, address("ann@home.test"), keep=True)
    assert to(rig, "anna@home.test") == ["ann@home.test"]


def test_another_name_of_a_domain(rig: Rig) -> None:
    rig.run(renaming.name_domain, NEW, HOME)
    assert to(rig, "ANNA@new.test") == [str(ANNA)]
    assert to(rig, "nobody@new.test") is NoSuchUser
    login = rig.read(accounts.find_login, address("anna@new.test"))
    assert login is not None
    assert login.address == ANNA
    assert rig.read(accounts.may_send_as, rig.anna, address("anna@new.test"))
    assert not rig.read(accounts.may_send_as, rig.ben, address("anna@new.test"))
    with pytest.raises(Refused, match=r"new\.test is another name of home\.test"):
        rig.run(accounts.add_account, address("x@new.test"), CREDENTIAL)
    with pytest.raises(Refused, match="another name"):
        rig.run(renaming.name_domain, Domain("third.test"), NEW)
    with pytest.raises(Refused, match="another name of itself"):
        rig.run(renaming.name_domain, HOME, HOME)
    rig.run(accounts.add_domain, WORK)
    with pytest.raises(Refused, match=r"new\.test is another name of home\.test; remove that first"):
        rig.run(renaming.name_domain, HOME, WORK)
    rig.run(aliases.add_alias, address("x@home.test"), [address("anna@new.test")])
    assert names(rig, "SELECT target FROM alias") == [str(ANNA)]
    rig.run(accounts.remove_domain, NEW)
    assert to(rig, "anna@new.test") is NoSuchDomain
    with pytest.raises(Refused, match="still has 2 users"):
        rig.run(renaming.name_domain, HOME, WORK)


def test_what_leads_to_a_user_in_another_spelling_follows(rig: Rig) -> None:
    """With a tag, and a catch-all as it was typed, here or in another name of the domain."""
    rig.run(renaming.name_domain, NEW, HOME)
    rig.run(accounts.add_domain, WORK)
    rig.run(accounts.add_account, address("anna+own@home.test"), CREDENTIAL)
    rig.run(aliases.add_alias, address("x@home.test"), [address("Anna+shop@new.test"), ANNA])
    rig.run(aliases.add_alias, address("own@home.test"), [address("anna+own@home.test")])
    rig.run(accounts.set_catch_all, HOME, address("ANNA@new.test"))
    rig.run(accounts.set_catch_all, WORK, address("anna+lost@home.test"))
    rig.run(renaming.rename_user, ANNA, address("Anne@home.test"), keep=False)
    for name in ("x@home.test", "nobody@home.test", "nobody@work.test"):
        assert to(rig, name) == ["Anne@home.test"], name
    assert to(rig, "own@home.test") == ["anna+own@home.test"]
    assert names(rig, "SELECT target FROM alias WHERE fold = 'x'") == ["anne@home.test"]


def test_a_user_to_whom_something_leads_by_a_tag_is_not_removed(rig: Rig) -> None:
    rig.run(aliases.add_alias, address("x@home.test"), [address("anna+shop@home.test")])
    with pytest.raises(Refused, match=r"the alias x@home\.test leads to anna@home\.test"):
        rig.run(accounts.remove_account, ANNA)
    rig.run(accounts.add_account, address("anna+shop@home.test"), CREDENTIAL)
    rig.run(accounts.remove_account, ANNA)


def test_a_catch_all_that_was_typed_in_capitals_before(rig: Rig) -> None:
    rig.run(put_catch_all, "ANNA@Home.test")
    with pytest.raises(Refused, match=r"the catch-all of home\.test leads to anna@home\.test"):
        rig.run(accounts.remove_account, ANNA)
    rig.run(renaming.rename_user, ANNA, address("anne@home.test"), keep=False)
    assert to(rig, "nobody@home.test") == ["anne@home.test"]


def put_catch_all(text: str) -> Script[None]:
    """As version 4 stored it."""
    yield sql("UPDATE domain SET catch_all = $1", text)


def test_an_alias_that_led_to_another_server_before_its_domain_was_here(rig: Rig) -> None:
    rig.run(aliases.add_alias, address("x@home.test"), [ANNA, address("Ben@new.test")])
    rig.run(renaming.name_domain, NEW, HOME)
    assert to(rig, "x@home.test") == [str(ANNA), str(BEN)]


def test_a_domain_moves_with_all_that_is_in_it(rig: Rig) -> None:
    furnish(rig)
    rig.run(groups.add_group, address("all@home.test"), [], Senders.ANYONE)
    rig.run(aliases.add_alias, address("a@work.test"), [ANNA])
    rig.run(renaming.name_domain, Domain("house.test"), HOME)
    rig.run(limited, HOME)
    assert rig.run(renaming.rename_domain, HOME, NEW, keep=True) == 2
    assert names(rig, "SELECT DISTINCT limit_octets FROM account") == [1_000_000]
    for name in ("anna@new.test", "anna@home.test", "anna@house.test", "a@new.test", "a@work.test", "none@new.test"):
        assert to(rig, name) == ["anna@new.test"], name
    for name in ("team@new.test", "all@new.test", "team@home.test"):
        assert to(rig, name) == ["anna@new.test", "ben@new.test"], name
    login = rig.read(accounts.find_login, ANNA)
    assert login is not None
    assert (login.account, login.address, login.credential) == (rig.anna, address("anna@new.test"), CREDENTIAL)
    his = rig.read(mailboxes.find, rig.ben, "INBOX").box
    assert [name for name, _ in rig.read(access.entries, his.mailbox)] == ["-anna@new.test", "anna@new.test"]
    assert names(rig, "SELECT name FROM subscription WHERE name LIKE 'Other%'") == ["Other Users/anna@new.test/INBOX"]
    assert rig.run(renaming.rename_domain, NEW, HOME, keep=False) == 2
    assert to(rig, "anna@home.test") == [str(ANNA)]
    assert to(rig, "anna@new.test") is NoSuchDomain


def test_what_is_taken_in_both_domains_is_named(rig: Rig) -> None:
    rig.run(accounts.add_domain, WORK)
    rig.run(accounts.add_account, address("anna@work.test"), CREDENTIAL)
    rig.run(aliases.add_alias, address("x@work.test"), [BEN])
    rig.run(aliases.add_alias, address("x@home.test"), [BEN])
    with pytest.raises(Exists, match=r"anna@work\.test, x@work\.test"):
        rig.run(renaming.rename_domain, HOME, WORK, keep=True)
    assert to(rig, "ben@home.test") == [str(BEN)]
    rig.run(accounts.remove_account, address("anna@work.test"))
    rig.run(aliases.remove_alias, address("x@work.test"))
    assert rig.run(renaming.rename_domain, HOME, WORK, keep=True) == 2
    with pytest.raises(Refused, match="another name of"):
        rig.run(renaming.rename_domain, HOME, NEW, keep=True)
    with pytest.raises(NotFound):
        rig.run(renaming.rename_domain, Domain("none.test"), NEW, keep=True)
