"""vitals.py: what a worker measures, and the end of a worker that can do no more good. Partly as a real process."""

import mmap
import os
import resource
import smtplib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from household import one_worker, open_store
from posthouse.config_sections import Settings
from posthouse.mail.address import Address, Domain
from posthouse.net.listen import bind
from posthouse.orders import LEAVING, LEFT, READY, Orders, print_orders
from posthouse.serve.limits import PeerLimits, Peers, WorkerLimits
from posthouse.serve.passwords import make_credential
from posthouse.store import accounts
from posthouse.store.store import Store, open_sync
from posthouse.vitals import Vitals, resident
from posthouse.worker import connections

PATIENCE = 60.0
MIB = 1024 * 1024
LIMITS = WorkerLimits(memory=100 * MIB)
ANNA = Address("anna", Domain("home.test"))
# A worker whose store fails when a file appears: what an fsync that fails does to it (tests/store/test_store.py).
FAILING = """
import pathlib, sys
from posthouse import worker
from posthouse.store.store import Store
flag = pathlib.Path(sys.argv[1])
Store.failed = property(lambda store: "the disk failed: EIO" if flag.exists() else None)
sys.exit(worker.main())
"""


class Time:
    now = 0.0


@pytest.fixture
def peers() -> Peers:
    Time.now = 0.0
    return Peers(PeerLimits(), lambda: Time.now, connections=10)


async def test_connections_begin_stress(tmp_path: Path, peers: Peers) -> None:
    store = await open_store(tmp_path / "store")
    vitals = Vitals(store, peers, LIMITS)
    assert not vitals.look(0.0, 10 * MIB)
    peers.open = 9
    assert vitals.look(0.0, 10 * MIB)
    assert peers.stress.on
    peers.open = 0
    assert not vitals.look(0.0, 10 * MIB)
    Time.now = 61.0
    assert vitals.look(0.0, 10 * MIB)
    assert not peers.stress.on
    await store.close()


async def test_memory_a_late_loop_and_slow_commits_begin_stress(tmp_path: Path, peers: Peers) -> None:
    store = await open_store(tmp_path / "store")
    assert store.commits
    assert Vitals(store, peers, LIMITS).look(0.0, 81 * MIB)
    assert not store.commits
    for slow in ("loop", "commits"):
        peers.stress.on = False
        vitals = Vitals(store, peers, LIMITS)
        found = []
        for second in range(100, 104):
            Time.now = float(second)
            if slow == "commits":
                store.commits.append((Time.now, 2.5))
            found.append(vitals.look(1.5 if slow == "loop" else 0.0, 10 * MIB))
        assert found == [False, False, True, False]
    await store.close()


async def test_a_worker_ends_for_its_memory_or_its_store(
    tmp_path: Path, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(tmp_path / "store")
    vitals = Vitals(store, peers, LIMITS)
    assert vitals.why_end(95 * MIB) is None
    assert vitals.why_end(96 * MIB) == "it has taken 96 MiB of memory"
    monkeypatch.setattr(Store, "failed", "EIO")
    assert vitals.why_end(0) == "the store cannot write until a restart: EIO"
    await store.close()


def test_resident_memory() -> None:
    before = resident()
    with mmap.mmap(-1, 50 * MIB) as ballast:  # pages of its own; malloc might give what is resident already
        for _ in range(50):
            ballast.write(b"x" * MIB)
        assert 40 * MIB < resident() - before < 100 * MIB


def test_connections_leave_descriptors_for_the_store() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert connections(WorkerLimits(connections=3)) == 3
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1_000), hard))
    try:
        assert connections(WorkerLimits(connections=5_000)) == min(soft, 1_000) - 200
        assert connections(WorkerLimits(reserved_descriptors=10_000)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- real workers


def settings_for(folder: Path, **worker: object) -> Settings:
    return one_worker(folder, limits={"worker": worker})


class Work:
    """A worker that listens for SMTP, and what it tells its supervisor."""

    def __init__(self, settings: Settings, program: list[str]) -> None:
        (self.sock,) = bind("127.0.0.1", 0, 1)
        self.said, theirs = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, *program],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs, self.sock.fileno()],
        )
        os.close(theirs)
        assert self.process.stdin is not None
        self.process.stdin.write(print_orders(Orders(settings, [("smtp", self.sock.fileno())], theirs, 0)))
        self.process.stdin.flush()

    @property
    def port(self) -> int:
        port: int = self.sock.getsockname()[1]
        return port

    def hears(self, wanted: bytes) -> bool:
        """Until the worker has said this, or has ended."""
        while more := os.read(self.said, 100):
            if wanted in more:
                return True
        return False

    def ended(self) -> tuple[int, str]:
        """The exit status and the log."""
        status = self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        log = self.process.stderr.read().decode()
        for stream in (self.process.stdin, self.process.stderr):
            assert stream is not None
            stream.close()
        os.close(self.said)
        self.sock.close()
        return status, log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_sync(tmp_path / "data") as store:
        store.run(accounts.add_domain, ANNA.domain)
        store.run(accounts.add_account, ANNA, make_credential("secret"))
    return tmp_path


def test_a_worker_whose_store_has_failed_ends_to_be_replaced(folder: Path) -> None:
    flag = folder / "failed"
    work = Work(settings_for(folder), ["-c", FAILING, str(flag)])
    assert work.hears(READY)
    with smtplib.SMTP("127.0.0.1", work.port) as client:
        client.sendmail("eve@far.test", [str(ANNA)], b"Subject: one\r\n\r\none\r\n")
        flag.touch()
        assert work.hears(LEAVING)
        assert client.getreply() == (421, b"4.3.2 The server is closing down; try again in a moment")
    status, log = work.ended()
    assert status == LEFT
    assert "this worker ends: the store cannot write until a restart: the disk failed: EIO" in log
    assert "Traceback" not in log


def test_a_worker_that_has_taken_too_much_memory_ends_to_be_replaced(folder: Path) -> None:
    work = Work(settings_for(folder, memory="1 MiB"), ["-m", "posthouse.worker"])
    assert work.hears(LEAVING)
    status, log = work.ended()
    assert status == LEFT
    assert "this worker ends: it has taken " in log


def test_a_worker_that_is_full_says_so(folder: Path) -> None:
    """Real sockets: the second connection of a worker that takes one."""
    work = Work(settings_for(folder, connections=1), ["-m", "posthouse.worker"])
    assert work.hears(READY)
    first = socket.create_connection(("127.0.0.1", work.port), PATIENCE)
    second = socket.create_connection(("127.0.0.1", work.port), PATIENCE)
    assert b"421 4.3.2 This server has no room" in first.recv(1_000) + second.recv(1_000)
    first.close()
    second.close()
    assert work.process.stdin is not None
    work.process.terminate()
    assert work.ended()[0] == 0
