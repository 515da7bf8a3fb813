"""Nothing is lost: SIGKILL at every crash point, and at random under load."""

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from posthouse.store.crashpoint import CRASHPOINTS
from system.activity import Activity
from system.running import START_WAIT, Person, Running

# Crash points that no client reaches within seconds; the tests of the store's own room die there.
WITHOUT_CLIENTS = {
    "store.inside_migration",
    "store.before_checkpoint",
    "store.after_checkpoint",
    "store.blob_unlinked",
    "store.inside_purge",
    "store.inside_restore",
    "store.inside_set_aside",
    "store.inside_bring_back",
    "queue.inside_claim",  # these are in test_queue.py, beside this file
    "queue.claimed",
    "queue.before_settle",
    "queue.inside_settle",
    "queue.before_letter",
}
ROUNDS = 10


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A store with one user, made once and copied for each crash."""
    running = Running(tmp_path_factory.mktemp("template"))
    running.command("domain", "add", "home.test")
    running.person()
    return running


@pytest.fixture
def copied(template: Running, tmp_path: Path) -> Iterator[Callable[[int], tuple[Running, Person]]]:
    """Makes an instance with that user in it; ended at the end."""
    made: list[Running] = []

    def make(workers: int) -> tuple[Running, Person]:
        running = Running(tmp_path, workers)
        shutil.copytree(template.data, running.data)
        made.append(running)
        return running, Person(running, "person1@home.test", "a-good-password-1")

    yield make
    for running in made:
        if running.process is not None and running.process.poll() is None:
            running.kill()


@pytest.mark.parametrize(("n", "everything"), [(1, True), (1, False), (2, False), (3, False)])
@pytest.mark.parametrize("name", [name for name in CRASHPOINTS if name not in WITHOUT_CLIENTS])
def test_killed_at(copied: Callable[[int], tuple[Running, Person]], name: str, n: int, everything: bool) -> None:
    """The worker dies at the n-th pass; its supervisor dies with it, or starts a new one. Then all is counted."""
    running, anna = copied(1)
    running.start(POSTHOUSE_CRASH=f"{name}:{n}")
    activity = Activity(anna)
    alive = activity.send(20, large_every=3) and activity.use_mailboxes(3)
    # On a slow machine the worker's own housekeeping may pass the point before the first client comes.
    assert not alive or "ended (SIGKILL)" in running.log.read_text(), "the crash point was never reached"
    if not everything:
        activity.wait_for_server()
        activity.check()
    running.kill()
    running.start()
    activity.check()
    assert activity.send(3)
    assert activity.use_mailboxes(1)
    activity.check()


class Sender(threading.Thread):
    """Sends until told to stop, and remembers what was answered."""

    def __init__(self, anna: Person, name: str, stop: threading.Event) -> None:
        super().__init__()
        self.activity, self.stop_asked = Activity(anna, name), stop
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop_asked.is_set():
                self.activity.send(5, large_every=5)
                self.activity.wait_for_server()
        except BaseException as failure:  # told in the main thread
            self.failure = failure


@pytest.mark.timeout(600)
def test_random_kills_under_load(copied: Callable[[int], tuple[Running, Person]]) -> None:
    """Ten rounds: four senders, a worker or everything is killed at a moment of chance."""
    running, anna = copied(2)
    seed = int(os.environ.get("POSTHOUSE_SEED", "0")) or random.randrange(1, 1 << 32)
    chance = random.Random(seed)
    activities: list[Activity] = []
    uids: dict[int, str] = {}
    validities = set()
    for number in range(ROUNDS):
        running.start()
        stop = threading.Event()
        senders = [Sender(anna, f"r{number}s{i}", stop) for i in range(4)]
        for sender in senders:
            sender.start()
        time.sleep(chance.uniform(0.3, 1.5))
        if number % 2:  # a worker, later everything
            kill_one(running, chance)
            time.sleep(chance.uniform(0.3, 1.0))
        running.kill()
        stop.set()
        running.start()  # for the senders' sake, who wait until somebody answers
        for sender in senders:
            sender.join(START_WAIT)
        assert [sender.failure for sender in senders] == [None] * 4
        activities += [sender.activity for sender in senders]
        validity, now = anna.uids()
        validities.add(validity)
        assert uids.items() <= now.items(), f"a UID was lost or used twice (seed {seed})"
        uids = now
        running.kill()
    running.start()
    for activity in activities:
        activity.check()
    accepted = sum(len(activity.accepted) for activity in activities)
    unanswered = sum(len(activity.unanswered) for activity in activities)
    print(f"seed {seed}: accepted {accepted}, lost 0, duplicated 0, unanswered {unanswered}")
    assert accepted > ROUNDS
    assert len(validities) == 1


def kill_one(running: Running, chance: random.Random) -> None:
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(chance.choice(running.worker_pids()), signal.SIGKILL)


def test_a_killed_worker_is_back_at_once(copied: Callable[[int], tuple[Running, Person]]) -> None:
    running, anna = copied(2)
    running.start()
    before = running.worker_pids()
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + START_WAIT  # how soon: make bench
    while len(after := running.worker_pids()) < 2 or before[0] in after:
        assert time.monotonic() < deadline, "the worker is not back"
        time.sleep(0.01)
    activity = Activity(anna)
    assert activity.send(10)
    activity.check()
