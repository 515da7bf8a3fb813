"""kill -9 at each of the store's crash points: accepted is there, refused or unanswered is there once or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from posthouse.mail.keyword import DELETED_BIT
from posthouse.store import emails, gc, mailboxes, restore
from posthouse.store.crashpoint import CRASHPOINTS, crashpoint
from posthouse.store.emails import ALL, Column, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.script import Script, sql
from posthouse.store.store import SyncStore, open_sync
from store.fsck import blob_keys, consistency, damaged
from store_rig import NOW, Rig

# The child adds messages with all large and small, changes flags, copies, moves, expunges, renames, deletes, purges,
# collects garbage, restores and moves the log, in rounds, and says after each operation that it was answered.
CHILD = """
import asyncio, os, sys
from pathlib import Path
from posthouse.mail.ids import Millis
from posthouse.store import emails, gc, mailboxes, removed_users, restore, store as rooms
from posthouse.store.emails import ALL, FlagChange, Mode
from posthouse.store.mailboxes import Box
from posthouse.store.removed import Removal
from posthouse.store.store import Store
from store_rig import NOW, address, message, new_email

BEN = address("ben@home.test")
rooms.CHECKPOINT_PAGES = 1

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # in one piece, whatever kills us

async def main():
    store = await Store.open(Path(sys.argv[1]))
    account = int(sys.argv[2])
    inbox = await store.read(mailboxes.find, account, "INBOX")
    other = await store.read(mailboxes.find, account, "Archive")
    safe = await store.read(mailboxes.find, account, "Sent")
    for number in range(1, 20):
        small = message().replace(b"Subject: ", b"Subject: r%d " % number)
        large = small + os.urandom(1 << 20)
        for octets in (small, large, small):
            say("adding")
            added = await store.run(emails.add, inbox.box, [new_email(store, octets)])
            say("added", *added.uids)
        last = added.uids[-1]
        await store.run(emails.store_flags, inbox.box, ((last, last),), FlagChange(Mode.ADD, 1, ("k%d" % number,)))
        say("flagged", last, number)
        copied = await store.run(emails.copy, inbox.box, ((last, last),), other.id, NOW)
        say("copied", *copied.target)
        moved = await store.run(emails.move, inbox.box, ((last - 1, last - 1),), other.id, NOW)
        say("moved", *moved.source, *moved.target)
        await store.run(emails.store_flags, inbox.box, ((last - 2, last - 2),), FlagChange(Mode.ADD, 16))
        gone = await store.run(emails.expunge, inbox.box)
        say("expunged", *gone.uids)
        await store.run(mailboxes.create, account, "work%d/below" % number)
        await store.run(mailboxes.rename, account, "work%d" % number, "done%d" % number, NOW)
        say("renamed", number)
        scratch = await store.run(mailboxes.create, account, "scratch")
        await store.run(emails.add, scratch.box, [new_email(store, message(1 << 21)) for _ in range(2)])
        await store.run(mailboxes.delete, account, "scratch")
        say("deleted")
        await store.run(emails.add, safe.box, [new_email(store, message())])
        say("kept")
        await store.run(emails.expunge, safe.box, marked=False, kept=Removal(NOW, "anna"))
        [act] = [act for act in await store.read(restore.acts, account) if act.name == "Sent"]
        was = [row.uid for row in await store.read(restore.kept, act.id, 1 << 32)]
        back = await store.run(restore.restore, account, act.id, was, NOW)
        say("restored", *back.uids)
        await store.run(removed_users.set_aside, BEN, NOW)
        say("aside")
        [gone] = await store.read(removed_users.list_removed)
        await store.run(removed_users.bring_back, gone.account, BEN)
        say("back")
        await gc.collect_garbage(store, Millis(1000 * 3600_000 * number))
        await asyncio.sleep(0.02)
    await store.close()

asyncio.run(main())
"""

MINE = [name for name in CRASHPOINTS if name.startswith("store.") and name != "store.inside_migration"]


def run_child(rig: Rig, crash: str) -> tuple[int, list[list[str]]]:
    """Its exit code and what it said."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "POSTHOUSE_CRASH": crash}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(rig.store.directory), str(rig.anna)],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, [line.split() for line in done.stdout.splitlines()]


def keyword_of(rig: Rig, box: Box, uid: int) -> str:
    [row] = rig.read(emails.fetch, box, ((uid, uid),), [Column.KEYWORDS])
    return str(row[1])


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("number", [1, 3])
def test_killed(rig: Rig, name: str, number: int) -> None:
    inbox, archive = rig.box(), rig.box("Archive")
    code, said = run_child(rig, f"{name}:{number}")
    assert code == -signal.SIGKILL, (name, said)
    answered = [line for line in said if line[0] == "added"]
    attempts = [line for line in said if line[0] == "adding"]
    uids = [int(uid) for _, uid in answered]
    assert len(set(uids)) == len(uids)
    with open_sync(rig.store.directory) as store:
        assert store.read(consistency) == []
        verify_answered(rig, said, inbox, archive)
        row = store.read(mailboxes.get, inbox)
        assert len(uids) <= row.uidnext - 1 <= len(attempts)
        gc.purge_all(store)
        assert store.read(damaged, store.blobs, store.read(blob_keys, 0)) == []
        assert store.read(consistency) == []
        after = store.run(emails.add, inbox, [rig.email()])
        assert after.uids[0] not in uids
        assert after.uids[0] >= row.uidnext
        every_blob_reads(store, inbox)


def verify_answered(rig: Rig, said: list[list[str]], inbox: Box, archive: Box) -> None:
    """Each answered operation is in force."""
    here = set(rig.read(emails.uids, inbox))
    there = set(rig.read(emails.uids, archive))
    names = {row.name for row in rig.read(mailboxes.list_mailboxes, rig.anna)}
    left = {int(uid) for line in said if line[0] == "expunged" for uid in line[1:]}
    left |= {int(line[1]) for line in said if line[0] == "moved"}
    safe = 0
    last = next((line[0] for line in reversed(said)), "")
    for word, *numbers in said:
        if word == "added" and int(numbers[0]) not in left and last in ("added", "adding", "deleted"):
            assert int(numbers[0]) in here
        if word == "flagged":
            assert keyword_of(rig, inbox, int(numbers[0])) == f"k{numbers[1]}"
        if word == "copied":
            assert int(numbers[0]) in there
        if word == "moved":
            assert int(numbers[0]) not in here
            assert int(numbers[1]) in there
        if word == "expunged":
            assert here.isdisjoint(map(int, numbers))
        if word == "kept":
            safe += 1
        if word == "renamed":
            assert {f"done{numbers[0]}", f"done{numbers[0]}/below"} <= names
    attempts = len([line for line in said if line[0] == "deleted"])
    assert safe <= kept_or_here(rig) <= attempts


def kept_or_here(rig: Rig) -> int:
    """Messages of Sent: each is there, or recently deleted, and never both (fsck says so)."""
    acts = [act for act in rig.read(restore.acts, rig.anna) if act.name == "Sent"]
    return len(rig.read(emails.uids, rig.box("Sent"))) + sum(
        len(rig.read(restore.kept, act.id, 1 << 32)) for act in acts
    )


def every_blob_reads(store: SyncStore, box: Box) -> None:
    for _, blob, size in store.read(emails.fetch, box, ALL, [Column.BLOB, Column.SIZE]):
        assert len(store.octets(blob)) == size


def test_large_moves_are_whole_or_not_at_all(rig: Rig) -> None:
    """F-04: a MOVE of 1,000 messages, and a second process that dies inside one."""
    inbox, other = rig.box(), rig.box("Other")
    rig.run(emails.add, inbox, [rig.email() for _ in range(1000)])
    child = (
        "import sys; from pathlib import Path; from posthouse.store import emails;"
        "from posthouse.store.mailboxes import Box; from posthouse.store.store import open_sync;"
        "s = open_sync(Path(sys.argv[1])); s.run(emails.move, Box(int(sys.argv[2]), int(sys.argv[3])),"
        " emails.ALL, int(sys.argv[4]), 1)"
    )
    arguments = [str(rig.store.directory), str(inbox.account), str(inbox.mailbox), str(other.mailbox)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for crash, moved in (("store.inside_move:1", 0), ("store.before_commit:1", 0), ("store.after_commit:1", 1000)):
        done = subprocess.run(
            [sys.executable, "-c", child, *arguments], env=environment | {"POSTHOUSE_CRASH": crash}, check=False
        )
        assert done.returncode == -signal.SIGKILL
        assert rig.read(mailboxes.get, other).total == moved
        assert rig.read(mailboxes.get, inbox).total == 1000 - moved
        assert rig.read(consistency) == []


def test_a_point_that_is_not_armed_does_nothing() -> None:
    for name in CRASHPOINTS:
        crashpoint(name)


def test_an_unknown_point_is_found(rig: Rig) -> None:
    environment = os.environ | {"POSTHOUSE_CRASH": "store.no_such_point:1"}
    done = subprocess.run(
        [sys.executable, "-c", "import posthouse.store.crashpoint"],
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "names no crash point" in done.stderr


def test_what_the_check_is_worth(tmp_path: Path) -> None:
    """consistency() finds what is made wrong by hand."""

    def by_hand(text: str) -> Script[None]:
        yield sql(text)

    with open_sync(tmp_path) as store:
        rig = Rig(store)
        box = rig.box()
        rig.run(emails.add, box, [rig.email(), rig.email()])
        rig.run(emails.copy, box, ((1, 1),), rig.box("Other").mailbox, NOW)
        rig.run(emails.store_flags, box, ((2, 2),), FlagChange(Mode.ADD, DELETED_BIT))
        assert rig.read(consistency) == rig.read(consistency, rig.anna) == []
        for text in (
            "UPDATE mailbox SET total = total + 1 WHERE name = 'INBOX'",
            "UPDATE mailbox SET unseen = unseen - 1 WHERE name = 'INBOX'",
            "UPDATE mailbox SET deleted = 0",
            "UPDATE mailbox SET uidnext = 1 WHERE name = 'INBOX'",
            "UPDATE mailbox SET size = 0",
            "UPDATE mailbox SET modseq = 1, flags_modseq = 1, expunged_modseq = 1",
            "UPDATE account SET modseq = 1",
            "UPDATE placement SET flags = 1 WHERE uid = 1 AND mailbox = 1",
            "UPDATE placement SET shared = 0",
            "UPDATE placement SET shared = 1",
            "UPDATE blob SET refs = refs + 1",
            "DELETE FROM octets",
            "DELETE FROM header",
            "DELETE FROM placement WHERE uid = 2",
            "DELETE FROM email",
            "DELETE FROM mailbox WHERE name = 'INBOX'",
            "INSERT INTO octets VALUES (99, x'00')",
            "INSERT INTO header (email, block) VALUES (99, x'00')",
            "INSERT INTO expunged VALUES (1, 999, 1, 1)",
            "UPDATE mailbox SET uidvalidity = 5",
        ):
            store._database.connection.execute("SAVEPOINT probe")
            store._database.connection.execute(text)
            found = [step for step in drive(store)]
            store._database.connection.execute("ROLLBACK TO probe")
            store._database.connection.execute("RELEASE probe")
            assert found, text
        assert rig.read(consistency) == []
        rig.run(by_hand, "UPDATE mailbox SET total = 7 WHERE name = 'Sent'")
        assert "mailbox counters" in rig.read(consistency, rig.anna)[0]


def drive(store: SyncStore) -> list[str]:
    """consistency() inside the open savepoint."""
    script = consistency()
    step = next(script)
    try:
        while True:
            assert not isinstance(step, tuple) or len(step) == 2
            step = script.send(store._database.connection.execute(step[0]).fetchall())  # type: ignore[call-overload]
    except StopIteration as end:
        return list(end.value)
