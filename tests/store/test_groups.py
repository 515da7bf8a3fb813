"""Groups: who is in them, who may write to them, and what they must not be."""

import pytest

from posthouse.mail.address import Domain
from posthouse.store import accounts, aliases, groups
from posthouse.store.accounts import Closed, NoSuchUser, Overfull, Senders
from posthouse.store.groups import GroupRow
from posthouse.store.script import Exists, NotFound, Refused
from store_rig import CREDENTIAL, Rig, address

TEAM = address("team@home.test")
ANNA, BEN = address("anna@home.test"), address("ben@home.test")


def to(rig: Rig, text: str) -> list[str]:
    found = rig.read(accounts.resolve, address(text))
    targets = found.users if isinstance(found, Closed) else found
    assert isinstance(targets, tuple)
    return [str(target.address) for target in targets]


def test_a_group_leads_to_its_members_and_says_who_may_write(rig: Rig) -> None:
    rig.run(groups.add_group, TEAM, [address("Ben@Home.test"), ANNA], Senders.USERS)
    found = rig.read(accounts.resolve, address("Team+x@home.test"))
    assert isinstance(found, Closed)
    assert (found.senders, [user.account for user in found.users]) == (Senders.USERS, [rig.anna, rig.ben])
    assert rig.read(groups.list_groups) == [GroupRow(TEAM, Senders.USERS, (str(ANNA), str(BEN)), False)]
    assert rig.read(aliases.list_aliases) == []
    assert not rig.read(accounts.may_send_as, rig.anna, TEAM)
    rig.run(groups.set_group, TEAM, None, Senders.ANYONE)
    assert rig.read(accounts.resolve, TEAM) == found.users
    rig.run(groups.set_group, TEAM, [BEN], None)
    assert rig.read(groups.list_groups) == [GroupRow(TEAM, Senders.ANYONE, (str(BEN),), False)]
    rig.run(groups.remove_group, TEAM)
    assert isinstance(rig.read(accounts.resolve, TEAM), NoSuchUser)
    assert rig.read(accounts.senders_of, TEAM) is None


def test_members_come_and_go(rig: Rig) -> None:
    rig.run(groups.add_group, TEAM, [ANNA], Senders.MEMBERS)
    rig.run(groups.add_members, TEAM, [BEN, ANNA])
    assert to(rig, "team@home.test") == [str(ANNA), str(BEN)]
    rig.run(groups.remove_members, TEAM, [address("ANNA@home.test")])
    assert rig.read(groups.list_groups)[0].members == (str(BEN),)
    with pytest.raises(NotFound, match=r"anna@home\.test is no member"):
        rig.run(groups.remove_members, TEAM, [ANNA])
    with pytest.raises(Refused, match="would have no members"):
        rig.run(groups.remove_members, TEAM, [BEN])
    assert rig.read(groups.list_groups)[0] == GroupRow(TEAM, Senders.MEMBERS, (str(BEN),), False)
    with pytest.raises(Refused, match=r"the group team@home\.test leads to ben@home\.test"):
        rig.run(accounts.remove_account, BEN)


def test_everyone_are_also_those_who_come_later(rig: Rig) -> None:
    rig.run(accounts.add_domain, Domain("work.test"))
    rig.run(accounts.add_account, address("dora@work.test"), CREDENTIAL)
    rig.run(groups.add_group, TEAM, [], Senders.USERS)
    rig.run(accounts.add_account, address("carl@home.test"), CREDENTIAL)
    assert to(rig, "team@home.test") == ["anna@home.test", "ben@home.test", "carl@home.test"]
    assert rig.read(groups.list_groups) == [GroupRow(TEAM, Senders.USERS, (), True)]
    with pytest.raises(Refused, match=r"all users of home\.test are members"):
        rig.run(groups.add_members, TEAM, [BEN])
    # What stands for everybody inside is nobody to who writes to it, and no alias leads there.
    assert isinstance(rig.read(accounts.resolve, address("*@home.test")), NoSuchUser)
    with pytest.raises(Refused, match="only a group has all users"):
        rig.run(aliases.add_alias, address("x@home.test"), [address("*@home.test")])
    with pytest.raises(Refused, match="stands for all users"):
        rig.run(accounts.add_account, address("*@home.test"), CREDENTIAL)


def test_groups_in_groups_go_in_no_circle(rig: Rig) -> None:
    inner, outer = address("inner@home.test"), address("outer@home.test")
    rig.run(groups.add_group, inner, [ANNA], Senders.MEMBERS)
    rig.run(groups.add_group, outer, [inner, BEN], Senders.ANYONE)
    assert to(rig, "outer@home.test") == [str(ANNA), str(BEN)]
    with pytest.raises(Refused, match=r"outer@home\.test leads to inner@home\.test"):
        rig.run(groups.set_group, inner, [outer], None)
    with pytest.raises(Refused, match="would lead to itself"):
        rig.run(groups.add_members, inner, [inner])
    assert to(rig, "inner@home.test") == [str(ANNA)]
    with pytest.raises(Refused, match=r"the group outer@home\.test leads to inner@home\.test"):
        rig.run(groups.remove_group, inner)


def test_members_are_here(rig: Rig) -> None:
    rig.run(aliases.add_alias, address("out@home.test"), [address("x@elsewhere.example")])
    for member, why in (
        ("x@elsewhere.example", "not of this server"),
        ("out@home.test", "leads to another server"),
        ("nobody@home.test", "leads nowhere"),
    ):
        with pytest.raises(Refused, match=why):
            rig.run(groups.add_group, TEAM, [address(member)], Senders.USERS)
    with pytest.raises(Exists, match=r"the user anna@home\.test exists"):
        rig.run(groups.add_group, ANNA, [BEN], Senders.USERS)
    with pytest.raises(NotFound):
        rig.run(groups.add_group, address("x@none.test"), [BEN], Senders.USERS)
    rig.run(groups.add_group, TEAM, [BEN], Senders.USERS)
    with pytest.raises(Exists, match=r"the group team@home\.test exists"):
        rig.run(accounts.add_account, TEAM, CREDENTIAL)


def test_an_alias_of_a_group_changes_into_nothing_that_no_member_may_be(rig: Rig) -> None:
    within, via = address("within@home.test"), address("via@home.test")
    rig.run(aliases.add_alias, within, [ANNA])
    rig.run(aliases.add_alias, via, [within])
    rig.run(aliases.add_alias, address("out@home.test"), [address("x@elsewhere.example")])
    rig.run(groups.add_group, TEAM, [address("via+tag@home.test")], Senders.MEMBERS)
    for target, why in (
        ("x@elsewhere.example", r"the members of the group team@home\.test are here"),
        ("out@home.test", r"the members of the group team@home\.test are here"),
        ("team@home.test", r"team@home\.test leads to within@home\.test, which would lead to itself"),
        ("via@home.test", r"via@home\.test leads to within@home\.test, which would lead to itself"),
    ):
        with pytest.raises(Refused, match=why):
            rig.run(aliases.set_alias, within, [BEN, address(target)])
    assert to(rig, "team@home.test") == [str(ANNA)]
    rig.run(aliases.set_alias, within, [BEN])
    assert to(rig, "team@home.test") == [str(BEN)]


def test_an_alias_of_the_catch_all_leads_to_no_other_server(rig: Rig) -> None:
    caught = address("caught@home.test")
    rig.run(aliases.add_alias, caught, [ANNA])
    rig.run(accounts.set_catch_all, Domain("home.test"), caught)
    with pytest.raises(Refused, match=r"the catch-all of home\.test leads to caught@home\.test"):
        rig.run(aliases.set_alias, caught, [address("x@elsewhere.example")])


def test_a_group_of_everybody_where_nobody_is_yet_takes_no_mail(rig: Rig) -> None:
    rig.run(accounts.add_domain, Domain("new.test"))
    group = address("all@new.test")
    rig.run(groups.add_group, group, [], Senders.USERS)
    assert isinstance(rig.read(accounts.resolve, group), NoSuchUser)
    rig.run(accounts.add_account, address("first@new.test"), CREDENTIAL)
    assert to(rig, "all@new.test") == ["first@new.test"]


def test_strangers_reach_the_postmaster_and_the_catch_all(rig: Rig) -> None:
    with pytest.raises(Refused, match="everybody must be able to write"):
        rig.run(groups.add_group, address("Postmaster@home.test"), [ANNA], Senders.USERS)
    rig.run(groups.add_group, TEAM, [ANNA, BEN], Senders.USERS)
    with pytest.raises(Refused, match="not everybody may write"):
        rig.run(accounts.set_catch_all, Domain("home.test"), TEAM)
    rig.run(groups.set_group, TEAM, None, Senders.ANYONE)
    rig.run(accounts.set_catch_all, Domain("home.test"), TEAM)
    with pytest.raises(Refused, match="what is written to nobody"):
        rig.run(groups.set_group, TEAM, None, Senders.MEMBERS)


def test_more_than_one_message_can_be_for_is_refused_and_never_cut(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.run(groups.add_group, TEAM, [], Senders.ANYONE)
    monkeypatch.setattr(accounts, "READERS", 1)
    assert isinstance(rig.read(accounts.resolve, TEAM), Overfull)
    monkeypatch.setattr(accounts, "READERS", 2)
    assert to(rig, "team@home.test") == [str(ANNA), str(BEN)]


def test_so_many_members(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "TARGETS", 1)
    with pytest.raises(Refused, match="at most 1 members"):
        rig.run(groups.add_group, TEAM, [ANNA, BEN], Senders.USERS)
    rig.run(groups.add_group, TEAM, [ANNA], Senders.USERS)
    with pytest.raises(Refused, match="at most 1 members"):
        rig.run(groups.add_members, TEAM, [BEN])
