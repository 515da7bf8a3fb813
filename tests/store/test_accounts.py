"""Domains, users, aliases, and where addresses lead."""

import pytest

from posthouse.mail.address import Domain
from posthouse.store import accounts, aliases, emails, gc, mailboxes
from posthouse.store.accounts import Credential, Elsewhere, NoSuchDomain, NoSuchUser, ScramSecret
from posthouse.store.script import Exists, NotFound, Refused, Script, sql
from store_rig import CREDENTIAL, NOW, Rig, address

HOME = Domain("home.test")


def to(rig: Rig, text: str) -> object:
    """Where it leads: local parts of users, or the kind of refusal."""
    found = rig.read(accounts.resolve, address(text))
    if isinstance(found, NoSuchDomain | NoSuchUser | Elsewhere):
        return type(found)
    return [target.address.local for target in found]


def test_domains(rig: Rig) -> None:
    rig.run(accounts.add_domain, Domain("work.test"))
    with pytest.raises(Exists):
        rig.run(accounts.add_domain, HOME)
    with pytest.raises(Refused):
        rig.run(accounts.add_domain, Domain("[192.0.2.1]"))
    assert [(row.name.name, row.accounts) for row in rig.read(accounts.list_domains)] == [
        ("home.test", 2),
        ("work.test", 0),
    ]
    with pytest.raises(Refused):
        rig.run(accounts.remove_domain, HOME)
    with pytest.raises(NotFound):
        rig.run(accounts.remove_domain, Domain("none.test"))
    rig.run(accounts.remove_domain, Domain("work.test"))
    assert to(rig, "x@work.test") is NoSuchDomain


def test_users_are_found_in_any_case(rig: Rig) -> None:
    login = rig.read(accounts.find_login, address("ANNA@Home.Test"))
    assert login is not None
    assert (login.account, login.address, login.credential) == (rig.anna, address("anna@home.test"), CREDENTIAL)
    assert rig.read(accounts.find_login, address("anna+x@home.test")) is None
    rig.run(accounts.add_account, address("Straße@home.test"), CREDENTIAL)
    assert to(rig, "STRASSE@home.test") == ["Straße"]
    with pytest.raises(Exists):
        rig.run(accounts.add_account, address("strasse@home.test"), CREDENTIAL)
    with pytest.raises(NotFound):
        rig.run(accounts.add_account, address("x@none.test"), CREDENTIAL)


def test_passwords(rig: Rig) -> None:
    new = Credential("other", ScramSecret(b"1", 2, b"3", b"4"))
    rig.run(accounts.set_password, address("Anna@home.test"), new)
    login = rig.read(accounts.find_login, address("anna@home.test"))
    assert login is not None
    assert login.credential == new
    with pytest.raises(NotFound):
        rig.run(accounts.set_password, address("none@home.test"), new)


def test_tags_aliases_and_catch_all(rig: Rig) -> None:
    assert to(rig, "anna+list@home.test") == ["anna"]
    assert to(rig, "+list@home.test") is NoSuchUser
    assert to(rig, "carl@home.test") is NoSuchUser
    rig.run(aliases.add_alias, address("sales@home.test"), (address("Anna@home.test"), address("ben@home.test")))
    rig.run(aliases.add_alias, address("all@home.test"), (address("sales@home.test"), address("anna+x@home.test")))
    assert to(rig, "ALL+tag@home.test") == ["anna", "ben"]
    rig.run(accounts.add_account, address("anna+list@home.test"), CREDENTIAL)
    assert to(rig, "anna+list@home.test") == ["anna+list"]
    rig.run(accounts.set_catch_all, HOME, address("ben@home.test"))
    assert to(rig, "carl@home.test") == ["ben"]
    assert rig.read(accounts.list_domains)[0].catch_all == address("ben@home.test")
    with pytest.raises(NotFound):
        rig.run(accounts.set_catch_all, HOME, address("none@home.test"))
    rig.run(accounts.set_catch_all, HOME, None)
    assert to(rig, "carl@home.test") is NoSuchUser


def test_alias_refusals(rig: Rig) -> None:
    a, b = address("a@home.test"), address("b@home.test")
    rig.run(aliases.add_alias, a, (address("anna@home.test"),))
    for name, targets, error in (
        (a, (address("anna@home.test"),), Exists),
        (address("ANNA@home.test"), (b,), Exists),
        (address("x@none.test"), (a,), NotFound),
        (b, (), Refused),
        (b, (b,), Refused),
        (b, (address("none@home.test"),), Refused),
        (b, (address("x@[192.0.2.1]"),), Refused),
        (b, tuple(address(f"u{i}@home.test") for i in range(1001)), Refused),
    ):
        with pytest.raises(error):
            rig.run(aliases.add_alias, name, targets)
    rig.run(aliases.add_alias, b, (a,))
    with pytest.raises(Exists):
        rig.run(accounts.add_account, b, CREDENTIAL)
    with pytest.raises(Refused, match=r"b@home\.test leads to"):
        rig.run(aliases.remove_alias, a)
    with pytest.raises(NotFound):
        rig.run(aliases.remove_alias, address("none@home.test"))
    assert [(str(r.address), [*map(str, r.targets)]) for r in rig.read(aliases.list_aliases)] == [
        ("a@home.test", ["anna@home.test"]),
        ("b@home.test", ["a@home.test"]),
    ]
    rig.run(aliases.set_alias, a, (address("ben@home.test"),))
    with pytest.raises(Refused, match="would lead to itself"):
        rig.run(aliases.set_alias, a, (b,))  # b leads to a alone
    assert to(rig, "b@home.test") == ["ben"]
    rig.run(aliases.remove_alias, b)
    rig.run(aliases.remove_alias, a)
    assert rig.read(aliases.list_aliases) == []


def put_alias(name: str, target: str) -> Script[None]:
    """As a later version, or a hand, may have stored it."""
    yield sql("INSERT INTO alias (domain, fold, target, local) VALUES ('home.test', $1, $2, $1)", name, target)


def test_stored_loops_end_and_targets_outside_are_said(rig: Rig) -> None:
    rig.run(put_alias, "x", "y@home.test")
    rig.run(put_alias, "y", "x@home.test")
    assert to(rig, "x@home.test") is NoSuchUser
    rig.run(put_alias, "y", "ben@home.test")
    assert to(rig, "x@home.test") == ["ben"]
    rig.run(put_alias, "y", "far@elsewhere.test")
    found = rig.read(accounts.resolve, address("x@home.test"))
    assert isinstance(found, Elsewhere)
    assert [*map(str, found.addresses)] == ["far@elsewhere.test"]
    assert [user.account for user in found.users] == [rig.ben]
    assert rig.read(accounts.may_send_as, rig.ben, address("x@home.test"))


def test_postmaster_and_abuse_always_lead_somewhere(rig: Rig) -> None:
    assert to(rig, "Postmaster@home.test") == ["anna"]
    assert to(rig, "abuse+x@home.test") == ["anna"]
    rig.run(aliases.add_alias, address("postmaster@home.test"), (address("ben@home.test"),))
    assert to(rig, "postmaster@home.test") == ["ben"]
    assert to(rig, "abuse@home.test") == ["ben"]
    rig.run(accounts.add_domain, Domain("empty.test"))
    assert to(rig, "postmaster@empty.test") is NoSuchUser


def test_postmaster_of_the_server(rig: Rig) -> None:
    """RFC 5321 §4.5.1: at the hostname, the domain it lies in, or else where the first user is."""

    def reached(host: str) -> object:
        found = rig.read(accounts.resolve_postmaster, Domain(host))
        return [target.address.local for target in found] if isinstance(found, tuple) else type(found)

    rig.run(accounts.add_domain, Domain("empty.test"))
    rig.run(accounts.add_domain, Domain("work.test"))
    rig.run(accounts.add_account, address("carl@work.test"), CREDENTIAL)
    assert reached("work.test") == ["carl"]
    assert reached("a.mail.work.test") == ["carl"]
    assert reached("mail.empty.test") == ["anna"]
    assert reached("mail.elsewhere.test") == ["anna"]
    assert reached("[192.0.2.1]") == ["anna"]
    for who in ("anna", "ben"):
        rig.run(accounts.remove_account, address(f"{who}@home.test"))
    rig.run(accounts.remove_account, address("carl@work.test"))
    assert reached("mail.home.test") is NoSuchUser


def test_may_send_as(rig: Rig) -> None:
    rig.run(aliases.add_alias, address("sales@home.test"), (address("ben@home.test"),))
    rig.run(accounts.set_catch_all, HOME, address("anna@home.test"))
    own = [
        (rig.anna, "Anna@home.test", True),
        (rig.anna, "anna+x@home.test", True),
        (rig.anna, "ben@home.test", False),
        (rig.anna, "sales@home.test", False),
        (rig.anna, "anything@home.test", False),
        (rig.anna, "anna@elsewhere.test", False),
        (rig.ben, "sales@home.test", True),
        (rig.ben, "sales+x@home.test", True),
    ]
    for account, text, expected in own:
        assert rig.read(accounts.may_send_as, account, address(text)) is expected, text


def test_removing_a_user_removes_all_mail(rig: Rig) -> None:
    work = rig.box("Work")
    rig.run(emails.add, rig.box(), [rig.email() for _ in range(3)])
    rig.run(emails.copy, rig.box(), ((1, 2),), work.mailbox, NOW)
    rig.run(aliases.add_alias, address("a@home.test"), (address("anna@home.test"),))
    with pytest.raises(Refused, match=r"a@home\.test leads to anna"):
        rig.run(accounts.remove_account, address("anna@home.test"))
    rig.run(aliases.remove_alias, address("a@home.test"))
    assert rig.read(accounts.list_accounts)[0].messages == 5
    rig.run(accounts.remove_account, address("anna@home.test"))
    gc.purge_all(rig.store)

    def left() -> Script[list[tuple[int, ...]]]:
        return (
            yield sql(
                "SELECT (SELECT count(*) FROM email), (SELECT count(*) FROM placement), (SELECT count(*) FROM header),"
                " (SELECT count(*) FROM expunged), (SELECT count(*) FROM discarded),"
                " (SELECT count(*) FROM mailbox WHERE account = $1)",
                rig.anna,
            )
        )

    assert rig.read(left) == [(0, 0, 0, 0, 0, 0)]
    assert [str(row.address) for row in rig.read(accounts.list_accounts)] == ["ben@home.test"]
    assert rig.run(accounts.add_account, address("anna@home.test"), CREDENTIAL) > rig.ben
    assert rig.read(mailboxes.find, rig.anna, "INBOX") is None


def test_aliases_that_lead_to_other_servers(rig: Rig) -> None:
    """RFC 5321 §2.4: only that server knows whether case matters."""
    club, more, carl = address("club@home.test"), address("more@home.test"), address("Carl@Elsewhere.test")
    rig.run(aliases.add_alias, club, (carl,))
    rig.run(aliases.add_alias, more, (club, address("Anna@home.test")))
    found = rig.read(accounts.resolve, more)
    assert isinstance(found, Elsewhere)
    assert found.addresses == (carl,)
    assert [user.account for user in found.users] == [rig.anna]
    assert [alias.targets for alias in rig.read(aliases.list_aliases)] == [(carl,), (address("anna@home.test"), club)]
    with pytest.raises(Refused, match="leads to another server"):
        rig.run(accounts.set_catch_all, Domain("home.test"), club)
