"""kill -9 between claim and settle: what was enqueued is there until it was settled, and settled it is gone, once."""

import os
import signal
import subprocess
import sys

import pytest

from posthouse.mail.ids import QueueId
from posthouse.store import settlement
from posthouse.store.crashpoint import CRASHPOINTS
from posthouse.store.queue import State
from posthouse.store.store import open_sync
from store.fsck import consistency
from store.queue_rig import QueueRig
from store_rig import Rig

CHILD = """
import os, sys
from pathlib import Path
from posthouse.mail.outcome import Action
from posthouse.store.settlement import Feedback
from posthouse.store.store import open_sync
from store.queue_rig import QueueRig

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # in one piece, whatever kills us

with open_sync(Path(sys.argv[1])) as store:
    line = QueueRig(store)
    for number in range(10):
        say("enqueuing")
        say("enqueued", *line.send("a@one.test", "b@one.test", "c@two.test"))
        line.sleep(600_000)
        claimed = line.claim()
        say("claimed", *(one.item.id for one in claimed))
        for one in claimed:
            say("settling", one.item.id)
            if number % 2 and len(one.item.envelope.recipients) == 2:
                line.end(one, Action.RELAYED, Action.DELAYED, feedback=Feedback.BAD)
                say("later", one.item.id)
            else:
                line.relay(one)
                say("done", one.item.id)
"""

# In the store's own commit, and between the statements of the queue's scripts.
MINE = [*(name for name in CRASHPOINTS if name.startswith("queue.inside")), "store.before_commit", "store.after_commit"]


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("number", [1, 2, 5, 9])
def test_killed(rig: Rig, name: str, number: int) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "POSTHOUSE_CRASH": f"{name}:{number}"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(rig.store.directory)],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    with open_sync(rig.store.directory) as store:
        assert store.read(consistency) == []
        line = QueueRig(store)
        there = verify(line, said)
        line.uptime += line.rules.lease  # the lease of the dead runs out, and another goes on
        line.sleep(24 * 3_600_000)
        store.run(settlement.recover, line.at, line.rules)
        while claimed := line.claim():
            for one in claimed:
                there.remove(one.item.id)
                assert line.relay(one)
        assert there == set()
        assert line.blobs() == 0


def verify(line: QueueRig, said: list[list[str]]) -> set[QueueId]:
    """Each answered operation is in force, the one under way is or is not; gives what must still go out."""
    enqueued = {QueueId(int(item)) for word, *items in said if word == "enqueued" for item in items}
    done = {QueueId(int(item)) for word, *items in said if word == "done" for item in items}
    later = {QueueId(int(item)) for word, *items in said if word == "later" for item in items} - done
    assert {line.state(item) for item in done} <= {None}
    last = said[-1]
    open_items = enqueued - done
    if last[0] == "settling" and line.state(QueueId(int(last[1]))) is None:
        open_items.remove(QueueId(int(last[1])))
    assert None not in {line.state(item) for item in open_items}
    assert {line.state(item) for item in later} <= {State.LATER, State.LEASED}
    if last[0] == "enqueuing":  # nobody was told of it
        newest = max(enqueued, default=0)
        open_items |= {QueueId(newest + more) for more in (1, 2) if line.state(QueueId(newest + more)) is not None}
    return open_items
