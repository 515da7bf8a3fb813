"""The machine of serve/imap/test_devices.py with two real workers: ten clients over TLS, random commands, and every
response held against the small model (RFC 9051 §7.5.1, RFC 7162 §3.2)."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import psutil

from household import credential
from posthouse.mail.address import Address, Domain
from posthouse.store import accounts
from posthouse.store.store import open_sync
from serve.imap.dialogue import Client
from serve.imap.test_devices import play
from serve.imap.world import Truth, modseqs, truth
from store.fsck import consistency
from system.running import Running
from thorough import examples

EXAMPLES = examples(30)
CONNECTIONS = 60  # within which the kernel must have given one to each worker


class Processes:
    """A running Posthouse of two workers, and the rows in its store."""

    def __init__(self, running: Running) -> None:
        self.runner = asyncio.Runner()
        self.run: Callable[[Any], Any] = self.runner.run
        self.tasks: set[asyncio.Task[None]] = set()
        self.running = running
        self.pids = running.worker_pids()
        self.judge = open_sync(running.data, create=False)
        self.people = itertools.count(1)
        self.writers: list[asyncio.StreamWriter] = []

    def person(self) -> Address:
        """A new user."""
        address = Address(f"owner{next(self.people)}", Domain("home.test"))
        self.judge.run(accounts.add_account, address, credential())
        return address

    async def connect(self, worker: int, user: Address) -> Client:
        """A client that is logged in at this worker; the kernel chooses, so it may take some connections."""
        for _ in range(CONNECTIONS):
            client = Client(
                *await asyncio.open_connection(
                    "127.0.0.1", self.running.ports.imaps, ssl=self.running.trust(), server_hostname="localhost"
                )
            )
            self.writers.append(client.writer)
            assert (await client.response()).startswith(b"* OK")
            port = client.writer.get_extra_info("sockname")[1]
            if port in {c.raddr.port for c in psutil.Process(self.pids[worker]).net_connections("tcp") if c.raddr}:
                await client.do(f'LOGIN {user} "correct horse"')
                return client
            client.writer.close()
        raise AssertionError("one worker takes all connections")

    def truth(self, user: Address) -> Truth:
        """What the rows say."""
        return truth(self.judge, user)

    def modseqs(self, user: Address, folder: str) -> dict[int, int]:
        """The ModSeq of each message."""
        return dict(self.judge.read(modseqs, user, folder))

    async def _hang_up(self) -> None:
        """No socket is left to the garbage collector, which would blame another test."""
        for writer in self.writers:
            writer.transport.abort()
        for writer in self.writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def close(self) -> None:
        """End, and see whether the rows agree with each other."""
        self.run(self._hang_up())
        faults = self.judge.read(consistency)
        self.judge.close()
        self.runner.close()
        assert not faults, faults


def test_many_devices_on_two_workers(fresh: Running) -> None:
    stage = Processes(fresh)
    try:
        play(stage, EXAMPLES)
    finally:
        stage.close()
    assert "Traceback" not in fresh.log.read_text()
    assert fresh.worker_pids() == stage.pids
