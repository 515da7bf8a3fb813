"""The way out of one worker: routes, TLS policies, sender and the runner of the queue, made from the settings."""

import asyncio
import logging
from collections.abc import Coroutine
from mmap import mmap
from typing import Any

import msgspec

from posthouse.config_sections import QueueSection, Settings, millis
from posthouse.mail.outcome import Outcome
from posthouse.outgoing import WayOut, authorities, dane
from posthouse.store.queue import QueueItem
from posthouse.store.settlement import Rules
from posthouse.transport import bounce, journey
from posthouse.transport.afresh import try_afresh
from posthouse.transport.connection import Connection, Sending, SendLimits
from posthouse.transport.home import at_home_first
from posthouse.transport.house import House
from posthouse.transport.queue import QueueLimits, QueueRunner
from posthouse.transport.send import Sender
from posthouse.wire.smtp.conversation import Conversation

# After a reload the workers before this one, which know the old settings, claim no more by then.
SUCCEEDED_SECONDS = 10.0

log = logging.getLogger("posthouse.queue")


class Departure:
    """Everything that sends. `run` goes on until `stop`."""

    def __init__(self, settings: Settings, house: House) -> None:
        """Raises OSError where a file that the settings name cannot be read."""
        self._house = house
        self._closed = asyncio.Event()
        self._way = WayOut(settings, house)
        sending = Sending(
            settings.hostname,
            SendLimits(**msgspec.structs.asdict(settings.limits.send)),
            dane=dane(house.clock),
            authorities=authorities(settings),
            saw_tls=self._way.saw_tls,
            listen=lambda target, ip: Conversation(house.clock),
            ended=self._over,
        )
        self._sender = Sender(self._way.find, sending, house.clock)
        report = bounce.reporter(settings.hostname, house.clock)
        self._runner = QueueRunner(house, at_home_first(house, self._attempt), report, limits(settings.queue))

    async def run(self, *, afresh: bool) -> None:
        """Send what is due, and keep what belongs to it. `afresh`: settings may have been mended."""
        beside = [asyncio.create_task(_logged(self._way.run()))]
        if afresh:
            beside.append(asyncio.create_task(_logged(self._try_afresh())))
        try:
            await _logged(self._runner.run())
        finally:
            await self._sender.close()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._way.close()
            self._closed.set()

    async def _try_afresh(self) -> None:
        await asyncio.sleep(SUCCEEDED_SECONDS)
        await try_afresh(self._way.routing.relays, self._house)

    async def stop(self, seconds: float) -> None:
        """Begin nothing new; what is under way has so long to end, and all is closed then."""
        await self._runner.stop(seconds)
        await self._closed.wait()

    async def _attempt(self, item: QueueItem, octets: bytes | mmap) -> tuple[Outcome, ...]:
        """One attempt, and what it shows of the servers of the destination."""
        outcomes = await self._sender.attempt(item, octets)
        await self._way.learn(item.destination, outcomes)
        return outcomes

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


def limits(section: QueueSection) -> QueueLimits:
    """How much is done at a time, and how long waits are, from the settings."""
    rules = Rules(
        section.destination_connections,
        section.failures,
        millis(section.first_rest_seconds),
        millis(section.longest_rest_seconds),
        millis(section.lease_seconds),
    )
    return QueueLimits(
        section.attempts, millis(section.first_retry_seconds), millis(section.longest_retry_seconds), rules
    )
