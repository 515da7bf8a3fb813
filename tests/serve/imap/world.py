"""Two workers over one directory, and the rows themselves: for the model-based test of many devices."""

import asyncio
import itertools
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from household import HOSTNAME, NOW, credential, everybody
from posthouse.mail.address import Address, Domain
from posthouse.mail.keyword import FLAG_BITS
from posthouse.net.link import Link, open_link
from posthouse.serve.imap.session import session
from posthouse.serve.limits import PeerLimits, Peers
from posthouse.serve.login import Door
from posthouse.store import accounts
from posthouse.store.script import Script, sql
from posthouse.store.store import Store, SyncStore, open_sync
from posthouse.transport.house import House
from serve.conftest import no_sleep
from serve.imap.dialogue import Client
from store.fsck import consistency

WORKERS = 2

Truth = dict[str, tuple[int, dict[int, frozenset[str]]]]


class World:
    """Two workers over one directory, for all examples."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.run: Callable[[Any], Any] = self.runner.run
        self.directory = folder
        self.houses: list[tuple[House, Door]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.run(self._open())
        self.judge = open_sync(folder)
        self.people = itertools.count(1)

    async def _open(self) -> None:
        for number in range(WORKERS):
            store = await Store.open(self.directory)
            if number == 0:
                await store.run(everybody)
            door = Door(store, Peers(PeerLimits(exempt_loopback=True)), secret=b"s" * 32, sleep=no_sleep)
            self.houses.append((House(store, HOSTNAME, lambda: NOW, allow_plaintext_login=True), door))

    def person(self) -> Address:
        """A new user."""
        address = Address(f"person{next(self.people)}", Domain("home.test"))
        self.judge.run(accounts.add_account, address, credential())
        return address

    async def connect(self, worker: int, user: Address) -> Client:
        """A client that is logged in."""
        house, door = self.houses[worker]
        ours, theirs = socket.socketpair()
        link = await open_link(theirs)
        task = asyncio.create_task(_serve(link, house, door))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        client = Client(*await asyncio.open_connection(sock=ours))
        await client.response()
        await client.do(f'LOGIN {user} "correct horse"')
        return client

    def truth(self, user: Address) -> Truth:
        """What the rows say."""
        return truth(self.judge, user)

    def modseqs(self, user: Address, folder: str) -> dict[int, int]:
        """The ModSeq of each message."""
        return dict(self.judge.read(modseqs, user, folder))

    def close(self) -> None:
        """End, and see whether the rows agree with each other."""
        self.run(self._close())
        faults = self.judge.read(consistency)
        self.judge.close()
        self.runner.close()
        assert not faults, faults

    async def _close(self) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=60)
        for house, door in self.houses:
            door.close()
            await house.store.close()


def truth(judge: SyncStore, user: Address) -> Truth:
    """Every folder of a user by name: UIDNEXT, and UID to flags."""
    found: Truth = {}
    for folder, uidnext, uid, bits, words in judge.read(rows, user):
        messages = found.setdefault(folder, (uidnext, {}))[1]
        if uid is not None:
            flags = [name.decode().lower() for name, bit in FLAG_BITS if bits & bit]
            messages[uid] = frozenset([*flags, *words.split()])
    return found


async def _serve(link: Link, house: House, door: Door) -> None:
    """One session, and the end of its socket, which would else be left to the garbage collector."""
    await session(link, house, door)
    await link.wait_closed()


def rows(user: Address) -> Script[list[tuple[str, int, int | None, int, str]]]:
    """Every message of every folder, and folders without any."""
    return (yield sql(
        "SELECT m.name, m.uidnext, p.uid, p.flags, p.keywords FROM mailbox m JOIN account a ON a.id = m.account"
        " LEFT JOIN placement p ON p.mailbox = m.id WHERE a.fold = $1 AND m.noselect = 0 ORDER BY m.name, p.uid",
        user.local,
    ))  # fmt: skip


def modseqs(user: Address, folder: str) -> Script[list[tuple[int, int]]]:
    """UID and ModSeq."""
    return (yield sql(
        "SELECT p.uid, p.modseq FROM mailbox m JOIN account a ON a.id = m.account JOIN placement p ON p.mailbox = m.id"
        " WHERE a.fold = $1 AND m.name = $2",
        user.local, folder,
    ))  # fmt: skip
