"""What a worker measures of itself once a second: is it under stress, and must it end so that another takes its place?

Stress: limits.md. A worker whose store has failed ends (durability.md): only a restart may write again.
"""

import logging
import os
from contextlib import suppress

from posthouse.serve.limits import Peers, WorkerLimits
from posthouse.serve.stress import Load, Recent
from posthouse.store.store import Store

WINDOW = 30.0  # seconds that count for the 95th percentiles
MEASUREMENTS = 1_000  # of these at most
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
