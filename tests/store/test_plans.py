"""What workers ask over and over finds its rows by an index, however many there are: as SQLite plans it."""

from collections.abc import Callable
from typing import Any

import pytest

from posthouse.mail.ids import AccountId, Millis, QueueId
from posthouse.store import accounts, devices, emails, expiry, logins, quota, removed, restore, together
from posthouse.store.emails import ALL
from posthouse.store.logins import Batch, Times, Visit
from posthouse.store.quota import Asked, Rules
from posthouse.store.removed import Removal
from posthouse.store.script import Script, Sql, sql
from store_rig import NOW, Rig, address

ANNA = address("anna@home.test")
AGENT = Removal(NOW, "anna by IMAP")
LATER = Millis(NOW + 1)
VISIT = Visit(AccountId(1), "192.0.2.7", "imap", "PLAIN", "", "", "", "wrong password")
BATCH = Batch(visits=[(VISIT, Times(NOW, NOW, 1))], guesses=[(7, NOW, 1)], homes=[(AccountId(1), "192.0.2.0/24", NOW)])
CONSTANT = ("SCAN CONSTANT ROW", "SCAN ended")  # no table


def planned(plans: list[str], verb: Callable[..., Script[Any]], *args: object, **kwargs: object) -> Script[Any]:
    """The script itself, and how each of its statements finds rows."""
    script = verb(*args, **kwargs)
    step = next(script)
    try:
        while True:
            if isinstance(step, Sql):
                rows = yield sql(f"EXPLAIN QUERY PLAN {step.text}", *step.args)
                plans += [f"{row[3]}: {step.text}" for row in rows]
            step = script.send((yield step))
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        (accounts.resolve, (ANNA,)),
        (devices.find_entrance, (ANNA,)),
        (devices.look, (devices.Asked(ANNA, (8, 9), "192.0.2.0/24", suspect=True), NOW)),
        (logins.record, (BATCH,)),
        (logins.forget, (LATER, 0)),
        (expiry.inbox_days, (AccountId(1),)),
        (quota.quotas_of, ([AccountId(1)],)),
        (quota.begin, ({AccountId(1): quota.Usage(1, 1)}, Asked(Rules()))),
        (removed.end, (LATER,)),
        (removed.end_oldest, (AccountId(1), 1 << 40)),
        (removed.next_account, (AccountId(0),)),
        (removed.kept_of, (AccountId(1),)),
        (restore.acts, (AccountId(1),)),
        (together.under_way, (NOW, (QueueId(1), "trail", 1, b"{}"))),
        (together.first_attempt_over, (NOW, (QueueId(1), "trail", 1, b"{}"))),
    ],
)
def test_nothing_is_looked_through(rig: Rig, verb: Callable[..., Script[Any]], args: tuple[object, ...]) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email(), rig.email()])
    rig.run(emails.expunge, box, ALL, marked=False, kept=AGENT)
    plans: list[str] = []
    rig.run(planned, plans, verb, *args)
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN") and not plan.startswith(CONSTANT)] == []


@pytest.mark.parametrize(("verb", "args"), [(removed.end_oldest, (AccountId(1), 1 << 40)), (removed.end, (LATER,))])
def test_the_oldest_act_is_found_without_sorting_all(
    rig: Rig, verb: Callable[..., Script[Any]], args: tuple[object, ...]
) -> None:
    box = rig.box()
    rig.run(emails.add, box, [rig.email()])
    rig.run(emails.expunge, box, ALL, marked=False, kept=AGENT)
    plans: list[str] = []
    rig.run(planned, plans, verb, *args)
    assert [plan for plan in plans if "ORDER BY" in plan.partition(":")[0]] == []


def test_an_expunge_of_what_stands_elsewhere_too(rig: Rig) -> None:
    box, other = rig.box(), rig.box("Archive")
    rig.run(emails.add, box, [rig.email(), rig.email()])
    rig.run(emails.copy, box, ALL, other.mailbox, NOW)
    plans: list[str] = []
    rig.run(planned, plans, emails.expunge, box, ALL, marked=False, kept=AGENT)
    assert [plan for plan in plans if plan.startswith("SCAN") and not plan.startswith((*CONSTANT, "SCAN c:"))] == []
