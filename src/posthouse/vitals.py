"""What a worker measures of itself once a second: is it under stress, and must it end so that another takes its place?

Stress: limits.md. The disk: mail is refused while it is too full, and the first worker makes room; while it is only
nearly full, at the cost of what is recently deleted. A worker whose store
has failed ends (durability.md): only a restart may write again.
"""

import asyncio
import logging
import os
import time
from contextlib import suppress

from posthouse.mail.ids import Millis
from posthouse.serve.limits import Peers, WorkerLimits
from posthouse.serve.stress import Load, Recent
from posthouse.store import removed, removed_users
from posthouse.store.gc import make_room, reusable
from posthouse.store.moment import format_minute
from posthouse.store.script import StoreError
from posthouse.store.store import Store
from posthouse.transport.house import House
from posthouse.transport.spool import needed

WINDOW = 30.0  # seconds that count for the 95th percentiles
MEASUREMENTS = 1_000  # of these at most
DISK_SECONDS = 1.0  # between two looks at the disk
ROOM_LOOKS = 5  # so many in a row must find room before the log says so: less noise at the border
GIVE_UP_CHUNK = 200  # messages in one step, so that not many more go than are in the way
GIVE_UP_SECONDS = 1.0  # at one look, then the disk is looked at again for everybody
LATER = Millis(1 << 62)  # than any removal
STATM = "/proc/self/statm"

log = logging.getLogger(__name__)


class Vitals:
    """One worker's measurements, and what follows from them."""

    def __init__(self, store: Store, peers: Peers, limits: WorkerLimits) -> None:
        self._store = store
        self._peers = peers
        self._limits = limits
        self._commits = Recent(WINDOW, MEASUREMENTS)
        self._waits = Recent(WINDOW, MEASUREMENTS)

    def look(self, late: float, memory: int) -> bool:
        """Take what was measured: how late the event loop is, in seconds (a new connection waits as long for its
        greeting), and the memory in octets. Whether stress has begun or ended."""
        now, stress = self._peers.now(), self._peers.stress
        with suppress(IndexError):
            while True:
                self._commits.add(*self._store.commits.popleft())
        self._waits.add(now, late)
        load = Load(
            self._peers.open / self._peers.connections,
            memory / self._limits.memory,
            self._commits.p95(now),
            self._waits.p95(now),
        )
        changed = stress.measured(load, now)
        if changed:
            log.warning("stress %s: %s", "begins" if stress.on else "is over", _worded(load))
        return changed

    def why_end(self, memory: int) -> str | None:
        """The reason for which this worker must end and be replaced."""
        if self._store.failed is not None:
            return f"the store cannot write until a restart: {self._store.failed}"
        if memory * 100 > self._limits.memory * self._limits.restart_percent:
            return f"it has taken {memory >> 20} MiB of memory"
        return None


class DiskWatch:
    """Looks at the disk once a second. Every worker must know whether there is room; the first one of them says so in
    the log, when it changes, and removes what nobody needs."""

    def __init__(self, house: House, *, first: bool, room: int = 0) -> None:
        self._house = house
        self._first = first
        self._room = room  # octets free beyond what one message needs; with less the disk is nearly full
        self._full = False  # as the log says
        self._roomy = 0  # looks in a row that found room
        self._failed = False  # collecting, since the disk is full

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            with suppress(OSError):  # sessions meet the same error and say so
                await self.look()
            await asyncio.sleep(DISK_SECONDS)

    async def look(self) -> None:
        """Measure, and when there is too little: say so once and make room. Raises OSError."""
        house = self._house
        store, disk, size = house.store, house.disk, house.limits.message_size
        with suppress(StoreError):
            disk.reusable = await store.read(reusable)
        free = disk.measure(store.directory)
        if not self._first:
            return
        if free < needed(size):
            store.shorten_log()
        full = not disk.room(store.directory, size)
        self._say(free, full=full)
        if full:
            await self._make_room()
        if self._spare() < self._room:
            with suppress(StoreError):
                await self._give_up_kept()

    def _spare(self) -> int:
        """Octets free beyond what one message needs. Raises OSError."""
        disk = self._house.disk
        return disk.measure(self._house.store.directory) + disk.reusable - needed(self._house.limits.message_size)

    async def _give_up_kept(self) -> None:
        """End what is recently deleted, the oldest first, until there is enough room. Raises StoreError, OSError."""
        store, messages, at, more = self._house.store, 0, Millis(0), True
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while more and self._spare() < self._room and time.monotonic() < deadline:
            ended = await store.run(removed.end, LATER, GIVE_UP_CHUNK)
            if ended.emails:
                messages, at = messages + ended.emails, ended.at
                await make_room(store, self._house.clock())
                self._house.disk.reusable = await store.read(reusable)
            more = ended.more or await self._give_up_user()
        if messages:
            fields = {"messages": messages, "removed_until": format_minute(at)}
            log.warning("the disk is nearly full: recently deleted mail is gone for good, the oldest", extra=fields)
            store.shorten_log()

    async def _give_up_user(self) -> bool:
        """When nothing else is left to give up: the user who was removed first; whether there was one. Raises
        StoreError."""
        store = self._house.store
        gone = await store.run(removed_users.end_first)
        if gone is not None:
            log.warning("the disk is nearly full: a removed user is gone for good", extra={"user": str(gone.address)})
        await make_room(store, self._house.clock())  # also of one before, whose rows are still going
        self._house.disk.reusable = await store.read(reusable)
        return gone is not None

    def _say(self, free: int, *, full: bool) -> None:
        self._roomy = 0 if full else self._roomy + 1
        disk, size = self._house.disk, self._house.limits.message_size
        fields = {"free": free, "free_in_database": disk.reusable, "needed": needed(size)}
        if full and not self._full:
            log.warning("the disk is too full: new mail is refused until there is room", extra=fields)
            self._full = True
        elif self._full and self._roomy >= ROOM_LOOKS:
            log.info("the disk has room again: new mail is accepted", extra=fields)
            self._full = self._failed = False

    async def _make_room(self) -> None:
        store = self._house.store
        try:
            blobs = await make_room(store, self._house.clock())
        except (StoreError, OSError) as error:
            if not self._failed:
                log.warning("no room could be made on the disk: %s", error)
            self._failed = True
            return
        if blobs:
            log.info("garbage collected, because the disk is too full", extra={"blobs": blobs})
            store.shorten_log()


def _worded(load: Load) -> str:
    return (
        f"connections {load.connections:.0%}, memory {load.memory:.0%}, commit {load.commit_seconds:.2f} s, "
        f"greeting {load.greeting_seconds:.2f} s"
    )


def resident() -> int:
    """The memory of this process, in octets (RSS); 0 where the system has no /proc."""
    try:
        with open(STATM, "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0
