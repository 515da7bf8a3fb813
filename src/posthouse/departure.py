"""The way out of one worker: routes, TLS policies, sender and the runner of the queue, made from the settings."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from mmap import mmap
from typing import Any

from posthouse.config import QueueSection, Settings
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Outcome
from posthouse.outgoing import authorities, dane, make_https, make_resolver, make_routing
from posthouse.store.queue import Patience, QueueItem
from posthouse.store.script import StoreError
from posthouse.store.settlement import Rules
from posthouse.transport import bounce, journey
from posthouse.transport.bounce import Letter
from posthouse.transport.connection import Connection, Sending
from posthouse.transport.house import House
from posthouse.transport.policies import Policies
from posthouse.transport.queue import QueueLimits, QueueRunner
from posthouse.transport.remembered import Remembered
from posthouse.transport.reports import keep_reporting
from posthouse.transport.send import Sender
from posthouse.transport.targets import find_targets
from posthouse.transport.tlscount import TlsCount
from posthouse.wire.smtp.conversation import Conversation

REFRESH_SECONDS = 3_600.0  # between two looks for policies that grow old (RFC 8461 §10.2)

log = logging.getLogger("posthouse.queue")


class Departure:
    """Everything that sends. `run` goes on until `stop`."""

    def __init__(self, settings: Settings, house: House) -> None:
        """Raises OSError where a file that the settings name cannot be read."""
        self._house = house
        self._closed = asyncio.Event()
        self._resolver = make_resolver(settings)
        self._https = make_https(settings, self._resolver)
        self._count = TlsCount(house.store, house.clock)
        self._policies = Policies(house.store, self._https, house.clock, self._count.no_policy)
        self._remembered = Remembered(house.store, house.clock)
        self._routing = make_routing(settings, self._resolver, self._policies, self._remembered)
        sending = Sending(
            settings.hostname,
            dane=dane(house.clock),
            authorities=authorities(settings),
            saw_tls=self._count.saw_tls,
            listen=lambda target, ip: Conversation(house.clock),
            ended=self._over,
        )
        self._sender = Sender(partial(find_targets, routing=self._routing), sending, house.clock)
        report = partial(_report, hostname=settings.hostname, clock=house.clock)
        self._runner = QueueRunner(house, self._attempt, report, limits(settings.queue))

    async def run(self) -> None:
        """Send what is due, and keep what belongs to it."""
        duties = [
            asyncio.create_task(_logged(duty))
            for duty in (self._count.keep(), keep_reporting(self._house, self._https), self._refresh())
        ]
        try:
            await _logged(self._runner.run())
        finally:
            await self._sender.close()
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            await self._policies.close()
            await self._resolver.close()
            self._closed.set()

    async def stop(self, seconds: float) -> None:
        """Begin nothing new; what is under way has so long to end, and all is closed then."""
        await self._runner.stop(seconds)
        await self._closed.wait()

    async def _attempt(self, item: QueueItem, octets: bytes | mmap) -> tuple[Outcome, ...]:
        """One attempt, and what it shows of the TLS of a domain's own servers."""
        outcomes = await self._sender.attempt(item, octets)
        direct = not item.destination.literal and await self._routing.relays.choose(item.destination) is None
        if direct:
            try:
                await self._remembered.learn(item.destination.name, outcomes)
            except StoreError as error:  # what became of the message is known all the same
                log.warning("the TLS of %s could not be remembered: %s", item.destination, error)
        return outcomes

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._policies.refresh()
            except StoreError as error:
                log.warning("TLS policies were not renewed: %s", error)

    def _over(self, connection: Connection) -> None:
        """Keep what was said on a connection, if it was about a message."""
        conversation, house = connection.engine.conversation, self._house
        if conversation is not None and connection.trails:
            peer = f"{connection.target.host} [{connection.ip}]"
            house.journey.note(journey.wire(house.clock(), conversation, connection.trails, peer))


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """A mistake of ours ends one duty, and the log says so."""
    try:
        await work
    except Exception:
        log.exception("a duty of sending has ended")


def _report(
    item: QueueItem, outcomes: Sequence[Outcome], octets: bytes | mmap, *, hostname: str, clock: Callable[[], Millis]
) -> Letter | None:
    return bounce.report(bounce.of_item(item, octets), outcomes, hostname, clock())


def patience(section: QueueSection) -> Patience:
    """How long mail waits, from the settings."""
    return Patience(_millis(section.delay_notice_seconds), _millis(section.lifetime_seconds))


def limits(section: QueueSection) -> QueueLimits:
    """How much is done at a time, and how long waits are, from the settings."""
    rules = Rules(
        section.destination_connections,
        section.failures,
        _millis(section.first_rest_seconds),
        _millis(section.longest_rest_seconds),
        _millis(section.lease_seconds),
    )
    return QueueLimits(
        section.attempts, _millis(section.first_retry_seconds), _millis(section.longest_retry_seconds), rules
    )


def _millis(seconds: float) -> int:
    return max(1, int(seconds * 1000))
