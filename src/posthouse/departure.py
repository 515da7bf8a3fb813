"""The way out of one worker: resolver, routes, sender and the runner of the queue, made from the settings."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from mmap import mmap
from pathlib import Path

from posthouse.config import QueueSection, Settings
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Outcome
from posthouse.net.chain import dane_verified
from posthouse.net.peer import verified_context
from posthouse.outgoing import make_resolver, make_routing
from posthouse.store.queue import Patience, QueueItem
from posthouse.store.settlement import Rules
from posthouse.transport import bounce
from posthouse.transport.bounce import Letter
from posthouse.transport.connection import Sending
from posthouse.transport.house import House
from posthouse.transport.queue import QueueLimits, QueueRunner
from posthouse.transport.send import Sender
from posthouse.transport.target import TlsDemand
from posthouse.transport.targets import find_targets

log = logging.getLogger("posthouse.queue")


class Departure:
    """Everything that sends. `run` goes on until `stop`."""

    def __init__(self, settings: Settings, house: House) -> None:
        """Raises OSError where a file that the settings name cannot be read."""
        self._resolver = make_resolver(settings)
        routing = make_routing(settings, self._resolver)
        authorities = Path(settings.sending.authorities) if settings.sending.authorities else None
        sending = Sending(settings.hostname, dane=_shows_dane, verified=verified_context(authorities))
        self._sender = Sender(partial(find_targets, routing=routing), sending, house.clock)
        report = partial(_report, hostname=settings.hostname, clock=house.clock)
        self._runner = QueueRunner(house, self._sender.attempt, report, limits(settings.queue))

    async def run(self) -> None:
        """Send what is due."""
        try:
            await self._runner.run()
        except Exception:  # a mistake of ours; the others go on, and the log says why this worker sends nothing
            log.exception("this worker sends no mail any more")
        finally:
            self._sender.close()
            await self._resolver.close()

    async def stop(self, seconds: float) -> None:
        """Begin nothing new; what is under way has so long to end."""
        await self._runner.stop(seconds)


def _shows_dane(chain: Sequence[bytes], demand: TlsDemand) -> bool:
    return dane_verified(chain, demand.tlsa, demand.names, datetime.now(UTC))


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
