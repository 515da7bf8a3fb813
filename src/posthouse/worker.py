"""One worker: the store, the listeners, a graceful end. Started by the supervisor, never by hand.

Standard input brings the orders (orders.py) and then stays open: its end means that the supervisor is gone.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from posthouse import log as logs
from posthouse.mail.ids import Millis
from posthouse.net.listen import OnLink, inherited, serve
from posthouse.net.tls import CertificateError, CertificateFiles, Certificates
from posthouse.orders import BEAT, CANNOT_START, READY, Orders, read_orders
from posthouse.serve.imap.session import session as imap_session
from posthouse.serve.limits import PeerLimits, Peers, SessionLimits, share
from posthouse.serve.login import Door, load_secret
from posthouse.serve.smtp import session as smtp_session
from posthouse.store.gc import collect_garbage
from posthouse.store.script import StoreError
from posthouse.store.store import Store
from posthouse.transport.house import House, MessageLimits, SmtpRole

BEAT_SECONDS = 1.0  # between two heartbeats
ORPHAN_DRAIN = 1.0  # seconds for the sessions when the supervisor is gone: its successor wants the ports
COLLECT_SECONDS = 3600.0  # between two collections of garbage
TLS_SERVICES = frozenset({"submissions", "imaps"})  # TLS from the first octet

T = TypeVar("T")

log = logging.getLogger(__name__)


def main() -> int:
    """Read the orders and work until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's business
    orders = read_orders(sys.stdin.fileno())
    logs.set_up(orders.settings.log.level, orders.settings.log.format)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    return _run(Worker(orders))


def _run(worker: "Worker") -> int:
    try:
        import uvloop
    except ImportError:  # not on every system; asyncio's own loop does the same, slower
        return asyncio.run(worker.work())
    return uvloop.run(worker.work())


class Worker:
    """One process that listens."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._settings = settings = orders.settings
        self._stop = asyncio.Event()
        self._drain = settings.drain_seconds

    async def work(self) -> int:
        """Open everything, say so, listen until SIGTERM, close everything. The exit status."""
        loop, settings = asyncio.get_running_loop(), self._settings
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_reader(sys.stdin.fileno(), self._supervisor_spoke)
        self._beat()
        try:
            certificates = Certificates(
                [CertificateFiles(Path(c.certificate), Path(c.key)) for c in settings.tls.certificates]
            )
            store = await Store.open(settings.directory)
        except (CertificateError, StoreError, OSError) as error:
            log.error("cannot start: %s", error)
            return CANNOT_START
        duty = loop.create_task(self._collect(store)) if self._orders.slot == 0 else None
        try:
            await self._listen(store, certificates)
        finally:
            if duty is not None:
                duty.cancel()
                await asyncio.wait([duty])
            await store.close()
        return 0

    async def _listen(self, store: Store, certificates: Certificates) -> None:
        settings = self._settings
        peers = Peers(share(_plain(PeerLimits, settings.limits.peer), settings.workers))
        door = Door(store, peers, secret=load_secret(settings.directory))
        house = House(
            store,
            settings.hostname,
            now,
            certificates.context,
            _plain(MessageLimits, settings.limits.message),
            settings.login.allow_plaintext,
            settings.submission.add_sender,
        )
        listeners = [
            serve(sockets, self._session(service, house, door), house.tls if service in TLS_SERVICES else None)
            for service, sockets in self._sockets()
        ]
        gc.freeze()  # what is here stays: no collection needs to look at it again
        os.write(self._orders.heartbeat, READY)
        await self._stop.wait()
        await asyncio.gather(*(listener.drain(self._drain) for listener in listeners))
        door.close()

    def _sockets(self) -> Iterator[tuple[str, list[socket.socket]]]:
        services: dict[str, list[socket.socket]] = {}
        for service, descriptor in self._orders.sockets:
            services.setdefault(service, []).append(inherited(descriptor))
        yield from services.items()

    def _session(self, service: str, house: House, door: Door) -> OnLink:
        """What is done with a connection of each service."""
        if service in ("imap", "imaps"):
            return lambda link: imap_session(link, house, door)
        role = SmtpRole.MX if service == "smtp" else SmtpRole(service)
        limits = _plain(SessionLimits, self._settings.limits.session)
        return lambda link: smtp_session(link, house, door, role, limits)

    def _beat(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                os.write(self._orders.heartbeat, BEAT)
            except BrokenPipeError:
                self._abandoned()
                return
        asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def _supervisor_spoke(self) -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self._abandoned()

    def _abandoned(self) -> None:
        log.warning("the supervisor is gone; this worker ends")
        self._drain = min(self._drain, ORPHAN_DRAIN)
        self._stop.set()

    async def _collect(self, store: Store) -> None:
        """One worker removes what nobody needs any more."""
        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            try:
                swept = await collect_garbage(store, now())
            except StoreError as error:
                log.warning("garbage was not collected: %s", error)
            else:
                log.info("garbage collected", extra=swept._asdict())


def now() -> Millis:
    """The wall clock."""
    return Millis(time.time_ns() // 1_000_000)


def _plain(kind: type[T], section: msgspec.Struct) -> T:
    """The same values as the dataclass a lower room knows."""
    return kind(**msgspec.structs.asdict(section))


if __name__ == "__main__":
    sys.exit(main())
