"""transport/retention.py: rules are applied in steps, told to the journal, and stop anywhere unharmed."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from household import ANNA, HELLO, HOSTNAME, INFO, NOW, open_store
from posthouse import trace
from posthouse.mail.ids import AccountId, MailboxId, Millis
from posthouse.store import accounts, aliases, emails, expiry, journal, mailboxes, removed_users, restore
from posthouse.store.emails import ALL, Column
from posthouse.store.expiry import DAY, Rules
from posthouse.store.mailboxes import Box
from posthouse.store.store import Store
from posthouse.transport import journey, retention
from posthouse.transport.accept import prepare
from posthouse.transport.house import House
from posthouse.transport.retention import Retention, Round, keep_rules, work
from store.fsck import consistency

RULES = Retention(Rules(trash=30, junk=7), removed_days=30, removed_size=1 << 40)


class Home:
    """A house whose clock is moved by hand."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = int(NOW)
        self.house = House(store, HOSTNAME, lambda: Millis(self.now))
        self.anna = AccountId(0)

    async def box(self, name: str) -> Box:
        row = await self.store.read(mailboxes.find, self.anna, name)
        return (row or await self.store.run(mailboxes.create, self.anna, name)).box

    async def put(self, name: str, *days: float) -> Box:
        """Messages that came into the mailbox so many days ago."""
        box = await self.box(name)
        new = [await prepare(self.store, b"Subject: %d\r\n\r\nx" % n, NOW) for n in range(len(days))]
        saved = [Millis(int(NOW - age * DAY)) for age in days]
        await self.store.run(emails.add, box, [one._replace(saved=at) for one, at in zip(new, saved, strict=True)])
        return box

    async def uids(self, box: Box) -> list[int]:
        return list(await self.store.read(emails.uids, box))

    async def kept(self) -> list[tuple[str, str, int]]:
        acts = await self.store.read(restore.acts, self.anna)
        return [(act.name, act.agent, len(await self.store.read(restore.kept, act.id, 1 << 32))) for act in acts]


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    store = await open_store(tmp_path / "data")
    home = Home(store)
    login = await store.read(accounts.find_login, ANNA)
    assert login is not None
    home.anna = login.account
    return home


async def test_a_round(home: Home) -> None:
    trash = await home.put("Trash", 29, 30.5, 31, 29.5)
    junk = await home.put("Junk", 6, 8)
    inbox = await home.put("INBOX", 400)
    assert await work(home.house, RULES, []) == Round(expired=3, ended=0)
    assert await home.uids(trash) == [1, 4]
    assert await home.uids(junk) == [1]
    assert await home.uids(inbox) == [1]
    assert sorted(await home.kept()) == [
        ("Junk", "the rule of Junk after 7 days", 1), ("Trash", "the rule of Trash after 30 days", 2),
    ]  # fmt: skip
    assert await work(home.house, RULES, []) == Round(0, 0)
    home.now += 30 * DAY + 1
    assert await work(home.house, RULES, []) == Round(expired=3, ended=3)
    assert await home.store.read(consistency) == []
    await home.store.close()


async def test_a_removed_user_has_his_days(home: Home) -> None:
    """And the rules wait for him: he could not look after his mail meanwhile (decision 0139)."""
    trash = await home.put("Trash", 29, 31)
    for alias in (HELLO, INFO):
        await home.store.run(aliases.remove_alias, alias)
    await home.store.run(removed_users.set_aside, ANNA, Millis(home.now))
    home.now += 30 * DAY
    assert await work(home.house, RULES, []) == Round(0, 0)
    await home.store.run(removed_users.bring_back, home.anna, ANNA)
    assert await home.uids(trash) == [1, 2]
    assert await work(home.house, RULES, []) == Round(expired=2, ended=0)
    await home.store.run(removed_users.set_aside, ANNA, Millis(home.now))
    home.now += 30 * DAY + 1
    assert await work(home.house, RULES, []) == Round(expired=0, ended=2, users=1)
    assert await home.store.read(removed_users.list_removed) == []
    assert await home.store.read(consistency) == []
    await home.store.close()


async def test_its_own_rule_wins_and_0_is_never(home: Home) -> None:
    trash = await home.put("Trash", 400)
    lists = await home.put("Lists", 3, 1)
    await home.store.run(expiry.set_rule, trash, 0)
    await home.store.run(expiry.set_rule, lists, 2)
    assert await work(home.house, Retention(Rules(trash=1, junk=0), 30, 1 << 40), []) == Round(1, 0)
    assert await home.uids(trash) == [1]
    assert await home.kept() == [("Lists", 'the rule of "Lists" after 2 days', 1)]
    await home.store.close()


async def test_many_are_removed_in_steps(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)
    trash = await home.put("Trash", *[40 if n % 3 else 1 for n in range(1_700)])
    assert (await work(home.house, RULES, [])).expired == 1_133
    assert len(await home.kept()) == 3
    assert len(await home.uids(trash)) == 567
    await home.store.close()


async def test_two_workers_at_a_time_do_no_harm(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)
    await home.put("Trash", *[40] * 1_100)
    other = await Store.open(home.store.directory)
    beside = House(other, HOSTNAME, lambda: Millis(home.now))
    rounds = await asyncio.gather(work(home.house, RULES, []), work(beside, RULES, []))
    assert sum(one.expired for one in rounds) == 1_100
    assert sum(number for *_, number in await home.kept()) == 1_100
    assert await other.read(consistency) == []
    await other.close()
    await home.store.close()


async def test_without_keeping_it_is_gone_at_once(home: Home) -> None:
    await home.put("Trash", 40)
    house = House(home.store, HOSTNAME, lambda: Millis(home.now), keep_removed=False)
    assert await work(house, RULES._replace(removed_days=0), []) == Round(1, 0)
    assert await home.kept() == []
    await home.store.close()


async def test_of_too_much_the_oldest_goes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)
    await home.put("Trash", *[40] * 1_100)
    sizes = [row[1] for row in await home.store.read(emails.fetch, await home.box("Trash"), ALL, [Column.SIZE], 2_000)]
    assert await work(home.house, RULES._replace(removed_size=sum(sizes[800:])), []) == Round(1_100, 800)
    assert sum(number for *_, number in await home.kept()) == 300
    assert await home.store.read(consistency) == []
    await home.store.close()


async def test_gaps_are_minded(home: Home) -> None:
    trash = await home.put("Trash", 20)
    before = home.now
    home.now += 3_650 * DAY
    assert await work(home.house, RULES, [(before, home.now)]) == Round(0, 0)
    assert await home.uids(trash) == [1]
    await home.store.close()


async def test_the_duty_looks_and_works(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a new server nothing goes before its time; the round after that takes what is due."""
    monkeypatch.setattr(retention, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(retention, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(retention, "WORK_SECONDS", 0.0)
    trash = await home.put("Trash", 400)
    up = 0

    def moment(now: Millis) -> expiry.Moment:
        return expiry.Moment(now, Millis(up), "boot")

    house = House(home.store, HOSTNAME, lambda: Millis(home.now), moment=moment)
    duty = asyncio.create_task(keep_rules(house, RULES))
    await asyncio.sleep(0.1)
    assert await home.uids(trash) == [1]
    home.now, up = home.now + 31 * DAY, up + 31 * DAY
    for _ in range(3_000):
        await asyncio.sleep(0.02)
        if not await home.uids(trash):
            break
    assert await home.uids(trash) == []
    duty.cancel()
    await home.store.close()


async def test_the_journal_tells_both_ways(home: Home) -> None:
    trash = await home.put("Trash", 40)
    await work(home.house, RULES, [])
    [act] = await home.store.read(restore.acts, home.anna)
    back = await home.store.run(retention.bring_back, act, home.anna, [1], Millis(home.now))
    assert back is not None
    assert await home.uids(trash) == [2]
    rows = await home.store.read(journal.find, [journey.mailbox_key(trash.mailbox)], Millis(0), Millis(home.now))
    told = [line for row in rows for line in trace.sentences(journey.read(row))]
    assert told == [
        "removed from Trash by the rule of Trash after 30 days",
        "brought back to Trash, by `posthouse restore`",
    ]
    assert await work(home.house, RULES, []) == Round(0, 0), "it has its time again"
    assert len(await home.store.read(emails.flags, trash, ALL)) == 1
    assert await home.store.read(expiry.ruled, RULES.rules, MailboxId(0)) != []
    await home.store.close()


CHILD = """
import asyncio, sys
from pathlib import Path
from posthouse.mail.ids import Millis
from posthouse.store.expiry import Rules
from posthouse.store.store import Store
from posthouse.transport import retention
from posthouse.transport.house import House

async def main():
    store = await Store.open(Path(sys.argv[1]))
    house = House(store, "mail.home.test", lambda: Millis(int(sys.argv[2])))
    print(*await retention.work(house, retention.Retention(Rules(30, 7), 30, 1 << 40), []))

asyncio.run(main())
"""


@pytest.mark.parametrize("crash", ["store.inside_expunge:2", "store.before_commit:2", "store.after_commit:1"])
async def test_killed_in_the_middle_it_goes_on(home: Home, crash: str) -> None:
    await home.put("Trash", *[40] * 1_200)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, str(home.store.directory), str(home.now)]
    killed = await asyncio.to_thread(
        subprocess.run, command, env=environment | {"POSTHOUSE_CRASH": crash}, check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    assert await home.store.read(consistency) == []
    assert sum(number for *_, number in await home.kept()) == 500
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, check=True, timeout=60, capture_output=True
    )
    assert done.stdout == b"700 0 0\n"
    assert await home.store.read(consistency) == []
    assert sum(number for *_, number in await home.kept()) == 1_200
    await home.store.close()
