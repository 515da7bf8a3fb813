"""Quotas in the store: what counts, who sets limits, what does not fit, and a model (RFC 9208 §5)."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from posthouse.mail.address import Domain
from posthouse.mail.ids import AccountId
from posthouse.store import accounts, across, emails, gc, mailboxes, quota
from posthouse.store.access import EVERY
from posthouse.store.across import Crossing
from posthouse.store.emails import ALL, NewEmail
from posthouse.store.mailboxes import Box
from posthouse.store.quota import LARGEST, UNLIMITED, Asked, Limits, Quota, Rules, Usage, Whose
from posthouse.store.script import Full, NotFound, OverQuota, Script, sql
from posthouse.store.store import open_sync
from store.fsck import consistency
from store_rig import CREDENTIAL, NOW, Rig, address, message
from thorough import examples

RULES = Rules(Limits(1_000, 10), overdraft_percent=10, overdraft_octets=200, overdraft_messages=2)
HOME = Domain("home.test")


def stands(rig: Rig, account: AccountId | None = None, rules: Rules = RULES) -> Quota:
    return rig.read(quota.of, rig.anna if account is None else account, rules)


def test_what_counts(rig: Rig) -> None:
    """Each message in each mailbox, with its octets; a deleted mailbox counts no more at once."""
    octets = message(400)
    rig.run(emails.add, rig.box(), [rig.email(octets)])
    assert stands(rig).usage == Usage(len(octets), 1, 6)
    rig.run(emails.copy, rig.box(), ALL, rig.box("Archive").mailbox, NOW)
    assert stands(rig).usage == Usage(2 * len(octets), 2, 6)
    rig.run(emails.move, rig.box(), ALL, rig.box("a/b").mailbox, NOW)
    assert stands(rig).usage == Usage(2 * len(octets), 2, 8)
    rig.run(mailboxes.delete, rig.anna, "a/b")
    assert stands(rig).usage == Usage(len(octets), 1, 7)
    gc.purge_all(rig.store)
    rig.run(emails.expunge, rig.box("Archive"), ALL, marked=False)
    assert stands(rig).usage == Usage(0, 0, 7)


def test_the_first_who_says_something_is_heard(rig: Rig) -> None:
    assert stands(rig).limits == Limits(1_000, 10, mailboxes.MAILBOXES)
    assert stands(rig, rules=Rules()).limits == Limits(None, None, mailboxes.MAILBOXES)
    rig.run(quota.set_limits, Whose(), Limits(octets=900))
    rig.run(quota.set_limits, Whose(domain=HOME), Limits(messages=8, mailboxes=100))
    rig.run(quota.set_limits, Whose(rig.anna), Limits(mailboxes=10**9))
    assert stands(rig).limits == Limits(900, 8, mailboxes.MAILBOXES)
    assert stands(rig, rig.ben).limits == Limits(900, 8, 100)
    rig.run(quota.set_limits, Whose(rig.anna), Limits(UNLIMITED, UNLIMITED, UNLIMITED))
    assert stands(rig).limits == Limits(None, None, mailboxes.MAILBOXES)
    rig.run(quota.set_limits, Whose(rig.anna), Limits())
    assert stands(rig).limits == Limits(900, 8, 100)
    assert rig.read(quota.own_limits, Whose(domain=HOME)) == Limits(None, 8, 100)


def moved() -> Script[None]:
    """What renaming a user does, or the worker of an older Posthouse."""
    yield sql("UPDATE account SET domain = 'work.test' WHERE local = 'anna'")


def test_what_holds_follows_the_domain(rig: Rig) -> None:
    """New users and those who move have the limits of their domain at once."""
    rig.run(accounts.add_domain, Domain("work.test"))
    rig.run(quota.set_limits, Whose(domain=Domain("work.test")), Limits(7, 8, 9))
    carl = rig.run(accounts.add_account, address("carl@work.test"), CREDENTIAL)
    assert stands(rig, carl).limits == Limits(7, 8, 9)
    assert stands(rig).limits == Limits(1_000, 10, mailboxes.MAILBOXES)
    rig.run(moved)
    assert stands(rig).limits == Limits(7, 8, 9)


@pytest.mark.parametrize("whose", [Whose(AccountId(999)), Whose(domain=Domain("nowhere.test"))])
def test_nobody_has_no_limits(rig: Rig, whose: Whose) -> None:
    with pytest.raises(NotFound):
        rig.run(quota.set_limits, whose, Limits(1))


def test_what_does_not_fit_is_not_kept(rig: Rig) -> None:
    octets = message(450)
    new = [rig.email(octets), rig.email(message(450)), rig.email(message(450))]
    with pytest.raises(Full) as refused:
        rig.run(emails.add, rig.box(), new, Asked(RULES))
    assert refused.value.accounts == {rig.anna}
    assert stands(rig).usage == Usage(0, 0, 6)
    rig.run(emails.add, rig.box(), new[:2], Asked(RULES))
    with pytest.raises(Full):
        rig.run(emails.add, rig.box(), new[2:], Asked(RULES))
    assert stands(rig).usage.messages == 2


def test_a_promise_may_pass_the_limit_and_not_the_overdraft(rig: Rig) -> None:
    """The whole overdraft of messages, and not one more."""
    few = Rules(Limits(None, 3), overdraft_messages=2)
    for _ in range(5):
        rig.run(emails.deliver, [(rig.box(), rig.email())], Asked(few, promised=True))
    with pytest.raises(Full):
        rig.run(emails.deliver, [(rig.box(), rig.email())], Asked(few, promised=True))
    rig.run(emails.deliver, [(rig.box(), rig.email())])  # what nobody asks for is let in
    assert stands(rig).usage.messages == 6


def test_all_or_nobody_and_all_who_are_full_are_named(rig: Rig) -> None:
    ben = rig.read(mailboxes.find, rig.ben, "INBOX")
    assert ben is not None
    items = [(rig.box(), rig.email()), (ben.box, rig.email())]
    with pytest.raises(Full) as refused:
        rig.run(emails.deliver, items, Asked(Rules(Limits(10), overdraft_octets=0)))
    assert refused.value.accounts == {rig.anna, rig.ben}
    rig.run(quota.set_limits, Whose(rig.anna), Limits(UNLIMITED))
    with pytest.raises(Full) as refused:
        rig.run(emails.deliver, items, Asked(Rules(Limits(10), overdraft_octets=0)))
    assert refused.value.accounts == {rig.ben}
    assert stands(rig).usage.messages == stands(rig, rig.ben).usage.messages == 0


def test_the_largest_limit_can_be_counted(rig: Rig) -> None:
    rig.run(quota.set_limits, Whose(rig.anna), Limits(LARGEST, (1 << 63) - 1, (1 << 63) - 1))
    rig.run(emails.add, rig.box(), [rig.email()], Asked(RULES, promised=True))
    assert stands(rig).limits == Limits(LARGEST, (1 << 63) - 1, mailboxes.MAILBOXES)
    assert stands(rig).percent == 0
    assert LARGEST < 1 << 63


def test_a_limit_of_nothing(rig: Rig) -> None:
    """RFC 9208 §3.1.2: 0 prohibits any usage."""
    none = Rules(Limits(0), overdraft_octets=0, overdraft_messages=0)
    assert stands(rig, rules=none).full
    assert stands(rig, rules=none).percent == 100
    with pytest.raises(Full):
        rig.run(emails.add, rig.box(), [rig.email()], Asked(none, promised=True))


def grow(box: Box, new: NewEmail) -> Script[bool]:
    """Something comes in, and is looked at afterwards."""
    before = yield from quota.of(box.account, RULES)
    yield from emails.add(box, [new])
    return (yield from quota.demand(box.account, Asked(RULES), before.usage))


def test_what_did_not_grow_is_no_matter(rig: Rig) -> None:
    """After a limit was lowered, whoever is above it may still put something smaller in the place of something."""
    rig.run(emails.add, rig.box(), [rig.email(message(2_000))])
    assert stands(rig).full
    with pytest.raises(Full):
        rig.run(grow, rig.box(), rig.email(message(150)))
    assert rig.run(quota.demand, rig.anna, Asked(RULES), stands(rig).usage) is False


def test_mailboxes_are_limited(rig: Rig) -> None:
    rules = Rules(Limits(mailboxes=6))
    rig.run(quota.demand_mailboxes, rig.anna, rules)
    rig.box("one more")
    with pytest.raises(OverQuota, match="at most 6 mailboxes"):
        rig.run(quota.demand_mailboxes, rig.anna, rules)
    rig.run(quota.demand_mailboxes, rig.anna, rules, 7)


def spoil() -> Script[None]:
    """What no script does."""
    yield sql("UPDATE mailbox SET size = size + 5, unseen = 9 WHERE name = 'INBOX'")
    yield sql("UPDATE account SET octets = octets + 1, messages = -1, mailboxes = 0")


def test_a_recount_finds_and_mends(rig: Rig) -> None:
    rig.run(emails.add, rig.box(), [rig.email()])
    assert rig.run(quota.recount, rig.anna) == []
    right = stands(rig).usage
    rig.run(spoil)
    found = rig.run(quota.recount, rig.anna)
    assert [(each.mailbox, each.counter) for each in found] == [
        ("INBOX", "unseen"),
        ("INBOX", "size"),
        ("", "octets"),
        ("", "messages"),
        ("", "mailboxes"),
    ]
    assert stands(rig).usage == right
    assert rig.run(quota.recount, rig.anna) == []
    rig.run(quota.recount, rig.ben)
    assert rig.run(quota.recount, AccountId(999)) == []


def test_only_those_near_a_limit_are_concerned(rig: Rig) -> None:
    rig.run(emails.add, rig.box(), [rig.email(message(850))])
    percent = stands(rig).percent
    assert percent > 50

    def concerned(rules: Rules, percent: int = percent) -> list[AccountId]:
        return [row.id for row in rig.read(quota.concerned, rules, percent, AccountId(0), 10)]

    assert concerned(RULES) == [rig.anna]
    assert concerned(RULES, percent + 1) == []
    assert concerned(Rules()) == []
    rig.run(quota.set_limits, Whose(rig.anna), Limits(UNLIMITED))
    assert concerned(RULES) == []
    rig.run(quota.set_warned, rig.ben, 80)
    assert concerned(Rules()) == [rig.ben]


def test_deleted_octets(rig: Rig) -> None:
    """RFC 9208 §4.1.4."""
    some = [rig.email(message(400), flags=16), rig.email(message(500)), rig.email(message(600), flags=16)]
    rig.run(emails.add, rig.box(), some)
    found = rig.read(quota.deleted_octets, [rig.box().mailbox, rig.box("Trash").mailbox])
    assert list(found.values()) == [some[0].blob.size + some[2].blob.size, 0]


def test_a_removed_user_leaves_nothing(rig: Rig) -> None:
    rig.run(emails.add, rig.box(), [rig.email()])
    rig.run(quota.set_limits, Whose(rig.anna), Limits(5))
    rig.run(accounts.remove_account, address("anna@home.test"))
    gc.purge_all(rig.store)
    with pytest.raises(NotFound):
        stands(rig)
    assert rig.read(quota.quotas_of, [rig.anna, rig.ben]).keys() == {rig.ben}


class Counters(RuleBasedStateMachine):
    """Two accounts near their limits, whatever happens to their mail, against sums of a few lines."""

    @initialize()
    def begin(self) -> None:
        """A store in a new directory; the model has octets of each message by mailbox."""
        self.directory = tempfile.TemporaryDirectory()
        self.rig = Rig(open_sync(Path(self.directory.name)))
        self.who = (self.rig.anna, self.rig.ben)
        self.model: dict[tuple[AccountId, str], list[int]] = {}

    def teardown(self) -> None:
        """Close it."""
        if hasattr(self, "rig"):
            self.rig.store.close()
            self.directory.cleanup()

    def box(self, account: AccountId, name: str) -> Box:
        """The mailbox, perhaps new."""
        found = self.rig.read(mailboxes.find, account, name)
        row = found or self.rig.run(mailboxes.create, account, name)
        self.model.setdefault((account, name), [])
        return row.box

    def total(self, account: AccountId) -> tuple[int, int]:
        """Octets and messages of the model."""
        sizes = [size for (whose, _), some in self.model.items() if whose == account for size in some]
        return sum(sizes), len(sizes)

    someone = st.integers(0, 1)
    named = st.sampled_from(["INBOX", "a", "b"])

    @rule(
        who=someone, name=named, sizes=st.lists(st.integers(150, 900), min_size=1, max_size=3), promised=st.booleans()
    )
    def arrive(self, who: int, name: str, sizes: list[int], promised: bool) -> None:
        """APPEND and delivery: whole or not at all, within what there may be."""
        account = self.who[who]
        box = self.box(account, name)
        new = [self.rig.email(message(size)) for size in sizes]
        coming = [email.blob.size for email in new]
        octets, messages = self.total(account)
        most = (1_200, 12) if promised else (1_000, 10)
        fits = octets + sum(coming) <= most[0] and messages + len(coming) <= most[1]
        try:
            self.rig.run(emails.add, box, new, Asked(RULES, promised))
        except Full:
            assert not fits
        else:
            assert fits
            self.model[account, name] += coming

    @rule(who=someone, name=named, where=named, moving=st.booleans())
    def transfer(self, who: int, name: str, where: str, moving: bool) -> None:
        """COPY and MOVE of everything inside an account."""
        account = self.who[who]
        source, target = self.box(account, name), self.box(account, where)
        self.rig.run(emails.move if moving else emails.copy, source, ALL, target.mailbox, NOW)
        taken = list(self.model[account, name])
        if moving:
            self.model[account, name] = []
        self.model[account, where] += taken
        self.shrink(account, where)

    def shrink(self, account: AccountId, name: str) -> None:
        """Copies of copies would be too many."""
        if len(self.model[account, name]) > 8:
            self.rig.run(emails.expunge, self.box(account, name), ALL, marked=False)
            self.model[account, name] = []

    @rule(who=someone, name=named, moving=st.booleans())
    def cross(self, who: int, name: str, moving: bool) -> None:
        """COPY and MOVE between accounts."""
        account, other = self.who[who], self.who[1 - who]
        source, target = self.box(account, name), self.box(other, "a")
        self.rig.run(across.cross, source, ALL, target, Crossing(EVERY, NOW, moving))
        taken = list(self.model[account, name])
        if moving:
            self.model[account, name] = []
        self.model[other, "a"] += taken
        self.shrink(other, "a")

    @rule(who=someone, name=st.sampled_from(["a", "b"]), purging=st.booleans())
    def delete(self, who: int, name: str, purging: bool) -> None:
        """DELETE, with or without the purge behind it."""
        account = self.who[who]
        self.box(account, name)
        self.rig.run(mailboxes.delete, account, name)
        del self.model[account, name]
        if purging:
            gc.purge_all(self.rig.store)

    @rule(who=someone)
    def rename_inbox(self, who: int) -> None:
        """RENAME INBOX to a name that is deleted first."""
        account = self.who[who]
        self.box(account, "INBOX")
        self.box(account, "b")
        self.rig.run(mailboxes.delete, account, "b")
        self.rig.run(mailboxes.rename, account, "INBOX", "b", NOW)
        self.model[account, "b"], self.model[account, "INBOX"] = self.model[account, "INBOX"], []

    @invariant()
    def agrees(self) -> None:
        """The counters are those of the model, and of a fresh count."""
        if not hasattr(self, "rig"):
            return
        for account in self.who:
            usage = self.rig.read(quota.of, account, RULES).usage
            assert usage[:2] == self.total(account)
            assert self.rig.run(quota.recount, account) == []
        assert self.rig.read(consistency) == []


TestCounters = Counters.TestCase
TestCounters.settings = settings(max_examples=examples(40), stateful_step_count=25, deadline=None)
