"""Connections that can be used again, for a short while (RFC 5321 §3.3: one mail transaction after the other).

A connection is the same only where server, address, login and everything that TLS had to show are.
"""

import asyncio
import contextlib
from collections import deque

from posthouse.transport.connection import Connection, SendLimits
from posthouse.transport.target import Target

GOODBYE = 1.0  # seconds in which all servers may close their side at the end
KEPT = 100  # connections of one worker; the oldest is closed for a new one

Key = tuple[object, ...]


def key_of(target: Target, ip: str) -> Key:
    """What must be equal. `why` of the demand is only words."""
    demand = target.tls
    tls = (demand.level, demand.names, demand.tlsa, target.implicit_tls)
    return (target.host, ip, target.port, tls, target.login, target.source)


class Idle:
    """The connections that wait for another message, each at most `limits.idle_seconds` seconds."""

    __slots__ = ("_kept", "_limits", "_timer")

    def __init__(self, limits: SendLimits) -> None:
        self._limits = limits
        self._kept: deque[tuple[float, Key, Connection]] = deque()  # since when; the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._kept)

    def keep(self, connection: Connection) -> None:
        """Take a connection that has just been used; one that cannot be used again is closed."""
        loop = asyncio.get_running_loop()
        limits, announced = self._limits, connection.engine.announced
        most = min(limits.transactions, announced.mail_max or limits.transactions)  # RFC 9422 §4.1
        worn = connection.transactions >= most or loop.time() - connection.began > limits.age_seconds
        if worn or not connection.usable or connection.engine.waiting:
            connection.leave()
            return
        connection.kept = True
        self._kept.append((loop.time(), key_of(connection.target, connection.ip), connection))
        if len(self._kept) > KEPT:
            self._kept.popleft()[2].leave()
        if self._timer is None:
            self._timer = loop.call_later(limits.idle_seconds, self._sweep)

    def take(self, target: Target, domain: str) -> Connection | None:
        """The connection used last for this target, if one stands and may be used for this domain."""
        keys = {key_of(target, ip) for ip in target.ips}
        for at in range(len(self._kept) - 1, -1, -1):
            _, key, connection = self._kept[at]
            if key not in keys or not _takes(connection, domain):
                continue
            del self._kept[at]
            if connection.quiet():
                return connection
            connection.leave()
            return self.take(target, domain)
        return None

    async def close(self) -> None:
        """Say goodbye on all of them, and wait a moment for the servers to hear it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        links = [connection.link for _, _, connection in self._kept]
        while self._kept:
            self._kept.pop()[2].leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE):
                for link in links:
                    await link.wait_closed()

    def _sweep(self) -> None:
        """Close what has waited long enough."""
        loop = asyncio.get_running_loop()
        while self._kept and self._kept[0][0] + self._limits.idle_seconds <= loop.time():
            self._kept.popleft()[2].leave()
        again = None if not self._kept else self._kept[0][0] + self._limits.idle_seconds
        self._timer = None if again is None else loop.call_at(again, self._sweep)


def _takes(connection: Connection, domain: str) -> bool:
    """RCPTDOMAINMAX bounds the domains of one session (RFC 9422 §4.3)."""
    most = connection.engine.announced.rcpt_domain_max
    return not most or len(connection.domains | {domain}) <= most
