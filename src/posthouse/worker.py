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
import ssl
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import msgspec

from posthouse import log as logs
from posthouse.config_directory import DirectorySection, source_of
from posthouse.config_quota import QuotaSection, rules_of
from posthouse.config_sections import QueueSection, RetentionSection, millis
from posthouse.identity import make_tokens, server_contexts
from posthouse.mail.address import parse_address
from posthouse.net.link import LinkLimits
from posthouse.net.listen import Listener, OnLink, inherited, serve
from posthouse.net.tls import CertificateError
from posthouse.orders import BEAT, CANNOT_START, LEAVING, LEFT, READY, Orders, read_orders
from posthouse.serve import logbook
from posthouse.serve.imap.session import session as imap_session
from posthouse.serve.limits import (
    ImapSessionLimits,
    PeerLimits,
    Peers,
    Pop3SessionLimits,
    Service,
    SessionLimits,
    WorkerLimits,
    share,
)
from posthouse.serve.login import Door, load_secret
from posthouse.serve.pop3.session import session as pop3_session
from posthouse.serve.smtp.session import session as smtp_session
from posthouse.serve.stress import Stress, StressLimits
from posthouse.store.access import identifier
from posthouse.store.expiry import Rules
from posthouse.store.gc import collect_garbage
from posthouse.store.indexer import keep_index
from posthouse.store.moment import wall_clock
from posthouse.store.queue import Patience
from posthouse.store.script import StoreError
from posthouse.store.store import Store
from posthouse.transport import journey
from posthouse.transport.directory import Directory, DirectoryLimits
from posthouse.transport.house import ForgedNotices, House, MessageLimits, QuotaPolicy, SmtpRole, SubmissionRules
from posthouse.transport.retention import Retention, keep_rules
from posthouse.transport.warn import keep_warning
from posthouse.vitals import DiskWatch, Vitals, resident

if TYPE_CHECKING:
    from posthouse.departure import Departure

BEAT_SECONDS = 1.0  # between two heartbeats
ORPHAN_DRAIN = 1.0  # seconds for the sessions when the supervisor is gone: its successor wants the ports
COLLECT_SECONDS = 3600.0  # between two collections of garbage
TLS_SERVICES = frozenset({"submissions", "imaps", "pop3s"})  # TLS from the first octet

# How connections are counted; all others are SMTP.
_KINDS = {"imap": Service.IMAP, "imaps": Service.IMAP, "pop3": Service.POP3, "pop3s": Service.POP3}

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


def _fell(duty: asyncio.Task[None]) -> None:
    """A duty that ended by an error is a bug of ours: the log must have it, for the rest goes on without it."""
    if not duty.cancelled() and (error := duty.exception()) is not None:
        log.error("a duty of this worker has ended", exc_info=error)


class Worker:
    """One process that listens."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._settings = settings = orders.settings
        self._stop = asyncio.Event()
        self._drain = settings.drain_seconds
        self._status = 0
        self._due = 0.0  # when the next heartbeat should be
        self._vitals: Vitals | None = None
        self._listeners: list[Listener] = []
        self._duties: list[asyncio.Task[None]] = []
        self._departure: Departure | None = None
        self._contexts: Mapping[str, ssl.SSLContext] = {}
        self._directory: Directory | None = None

    async def work(self) -> int:
        """Open everything, say so, listen until SIGTERM, close everything. The exit status."""
        loop, settings = asyncio.get_running_loop(), self._settings
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_reader(sys.stdin.fileno(), self._supervisor_spoke)
        self._beat()
        try:
            self._contexts = server_contexts(settings)
            store = await Store.open(settings.folder)
            self._directory = _users_elsewhere(settings.directory, store)
        except (CertificateError, StoreError, OSError, ValueError) as error:
            log.error("cannot start: %s", error)
            return CANNOT_START
        if self._orders.slot == 0:
            self._duties += [loop.create_task(self._collect(store)), loop.create_task(journey.sort_keys(store))]
        self._duties.append(loop.create_task(keep_index(store)))
        try:
            await self._listen(store)
        finally:
            for duty in self._duties:
                duty.cancel()
            await asyncio.gather(*self._duties, return_exceptions=True)
            if self._directory is not None:
                self._directory.close()
            await store.close()
        return self._status

    async def _listen(self, store: Store) -> None:
        settings, limits = self._settings, self._settings.limits
        ours = _plain(WorkerLimits, limits.worker)
        peers = Peers(
            share(_plain(PeerLimits, limits.peer), settings.workers),
            connections=connections(ours),
            stress=Stress(_plain(StressLimits, limits.stress)),
        )
        secret = load_secret(settings.folder)
        door = self._furnish(Door(store, peers, secret=secret, limits=ours))
        house = House(
            store,
            settings.hostname,
            wall_clock,
            self._contexts[""],
            _plain(MessageLimits, limits.message),
            settings.login.allow_plaintext,
            settings.submission.add_sender,
            settings.imap.unauthenticate,
            withheld=frozenset(settings.imap.withheld),
            leave=settings.queue.leave,
            patience=_patience(settings.queue),
            secret=secret,
            forged_notices=ForgedNotices(settings.smtp.forged_notices),
            dsn_for_strangers=settings.smtp.dsn,
            submission=SubmissionRules(settings.submission.highest_priority, settings.submission.longest_hold_seconds),
            keep_removed=settings.retention.removed_days > 0,
            quota=_quota(settings.quota),
            directory=self._directory,
        )
        watch = DiskWatch(house, first=self._orders.slot == 0, room=settings.retention.room)
        loop = asyncio.get_running_loop()
        self._duties += [
            loop.create_task(watch.watch()),
            loop.create_task(house.journey.keep(store)),
            loop.create_task(door.logbook.keep()),
            loop.create_task(logbook.keep_recalling(store, peers)),
        ]
        if self._orders.slot == 0:
            self._duties.append(loop.create_task(keep_rules(house, _retention(settings.retention))))
            self._duties.append(loop.create_task(keep_warning(house)))
        self._listeners = [self._serve(service, sockets, house, door) for service, sockets in self._sockets()]
        self._vitals = Vitals(store, peers, ours)
        gc.freeze()  # what is here stays: no collection needs to look at it again
        try:
            os.write(self._orders.heartbeat, READY)
        except BrokenPipeError:
            self._abandoned()
        if settings.login.providers:
            self._duties.append(loop.create_task(self._check_tokens(door)))
        if settings.queue.leave:
            self._duties.append(loop.create_task(self._leave(house)))
        for duty in self._duties:
            duty.add_done_callback(_fell)
        await self._stop.wait()
        ending = [listener.drain(self._drain) for listener in self._listeners]
        if self._departure is not None:
            ending.append(self._departure.stop(self._drain))
        await asyncio.gather(*ending)
        door.close()

    def _furnish(self, door: Door) -> Door:
        """What the settings say of sign-in."""
        door.directory = self._directory
        door.withheld = frozenset(self._settings.login.withheld)
        door.devices_with_totp = self._settings.login.totp_wants_devices
        return door

    async def _check_tokens(self, door: Door) -> None:
        """Tokens open the door once this worker listens: until then they are not announced."""
        from posthouse.outgoing import make_resolver

        resolver = make_resolver(self._settings)
        try:
            door.tokens = await asyncio.to_thread(make_tokens, self._settings, resolver)
            await asyncio.Event().wait()  # until the worker ends
        except OSError as error:
            log.error("tokens cannot be checked: %s", error)
        finally:
            if door.tokens is not None:
                await door.tokens.close()
            await resolver.close()

    async def _leave(self, house: House) -> None:
        """Mail leaves once this worker listens: what sending needs takes as long to load as all the rest."""
        kind = await asyncio.to_thread(_departure)
        try:
            self._departure = kind(self._settings, house)
        except OSError as error:  # a password or certificates
            log.error("mail cannot leave: %s", error)
            self._status = CANNOT_START
            self._stop.set()
            return
        gc.freeze()
        await self._departure.run(afresh=self._orders.afresh)

    def _serve(self, service: str, sockets: list[socket.socket], house: House, door: Door) -> Listener:
        kind = _KINDS.get(service, Service.SMTP)
        house = replace(house, tls=self._contexts.get(service, house.tls))
        return serve(
            sockets,
            self._session(service, house, door),
            house.tls if service in TLS_SERVICES else None,
            lambda ip: door.peers.connection(ip, kind),
            _plain(LinkLimits, self._settings.limits.link),
        )

    def _sockets(self) -> Iterator[tuple[str, list[socket.socket]]]:
        services: dict[str, list[socket.socket]] = {}
        for service, descriptor in self._orders.sockets:
            services.setdefault(service, []).append(inherited(descriptor))
        yield from services.items()

    def _session(self, service: str, house: House, door: Door) -> OnLink:
        """What is done with a connection of each service."""
        if service in ("imap", "imaps"):
            imap_limits = _plain(ImapSessionLimits, self._settings.limits.imap)
            return lambda link: imap_session(link, house, door, imap_limits)
        if service in ("pop3", "pop3s"):
            pop3_limits = _plain(Pop3SessionLimits, self._settings.limits.pop3)
            return lambda link: pop3_session(link, house, door, pop3_limits)
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
        loop = asyncio.get_running_loop()
        if self._vitals is not None and not self._stop.is_set():
            self._look(self._vitals, max(0.0, loop.time() - self._due))
        self._due = loop.time() + BEAT_SECONDS
        loop.call_at(self._due, self._beat)

    def _look(self, vitals: Vitals, late: float) -> None:
        """Under stress sessions of strangers must hear of it; and a worker that can do no more good ends."""
        memory = resident()
        if vitals.look(late, memory):
            for link in [link for listener in self._listeners for link in listener.links]:
                link.wake()
        reason = vitals.why_end(memory)
        if reason is None:
            return
        log.error("this worker ends: %s", reason)
        self._status = LEFT
        with contextlib.suppress(OSError):
            os.write(self._orders.heartbeat, LEAVING)
        self._stop.set()

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
        kept = self._settings.journal
        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            try:
                await journey.forget(store, wall_clock(), kept.days, kept.wire_days)
                await logbook.forget(store, wall_clock(), self._settings.login.logbook_days)
                swept = await collect_garbage(store, wall_clock())
            except StoreError as error:
                log.warning("garbage was not collected: %s", error)
            else:
                log.info("garbage collected", extra=swept._asdict())


def connections(limits: WorkerLimits) -> int:
    """How many connections this process takes: what is set, if there are descriptors for it."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return limits.connections
    return max(1, min(limits.connections, descriptors - limits.reserved_descriptors))


def _departure() -> "type[Departure]":
    from posthouse.departure import Departure

    return Departure


def _patience(section: QueueSection) -> Patience:
    """How long mail waits, from the settings."""
    return Patience(millis(section.delay_notice_seconds), millis(section.lifetime_seconds))


def _retention(section: RetentionSection) -> Retention:
    return Retention(Rules(section.trash_days, section.junk_days), section.removed_days, section.removed_size)


def _quota(section: QuotaSection) -> QuotaPolicy:
    """How quotas are kept, from the settings."""
    found = (parse_address(name) for name in section.administrators)
    administrators = frozenset(identifier(address) for address in found if address is not None)
    return QuotaPolicy(rules_of(section), section.refuse == "permanent", section.warn_percent, administrators)


def _users_elsewhere(section: DirectorySection, store: Store) -> Directory | None:
    """The directory of users, where there is one. Raises ValueError."""
    if not section.url:
        return None
    limits = DirectoryLimits(section.seconds, section.remember_seconds, section.threads, section.waiting)
    return Directory(source_of(section), store, limits)


def _plain(kind: type[T], section: msgspec.Struct) -> T:
    """The same values as the dataclass a lower room knows."""
    return kind(**msgspec.structs.asdict(section))


if __name__ == "__main__":
    sys.exit(main())
