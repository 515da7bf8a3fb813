"""The TLS of a domain is remembered, and never falls silently (decision 0083).

A domain that has taken mail over TLS must go on doing so for REMEMBERED. Where it does not, mail waits, and its sender
is told why; when it has refused for PATIENCE without a pause, it gets mail in plain text again, with a warning in the
log.
"""

import logging
from collections.abc import Callable, Sequence

from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.store import tlsmemory
from posthouse.store.moment import format_minute
from posthouse.store.store import Store
from posthouse.store.tlsmemory import DAY, Seen
from posthouse.transport.recent import Recent
from posthouse.transport.target import TlsLevel

REMEMBERED = 90 * DAY  # after the last message over TLS
PATIENCE = 3 * DAY  # below the five days after which the queue gives up

log = logging.getLogger(__name__)

NOTHING = Seen(Millis(0), Millis(0), Millis(0))


class Remembered:
    """What one worker knows of the TLS of domains; the store keeps it for all."""

    def __init__(self, store: Store, clock: Callable[[], Millis]) -> None:
        self._store = store
        self._clock = clock
        self._seen: Recent[str, Seen] = Recent()

    async def level(self, domain: str) -> TlsLevel:
        """The least that this domain must show."""
        seen = await self._find(domain)
        if not seen.last or seen.last + REMEMBERED < self._clock():
            return TlsLevel.OPPORTUNISTIC
        return TlsLevel.OPPORTUNISTIC if given_up(seen) else TlsLevel.ENCRYPTED

    async def learn(self, domain: str, outcomes: Sequence[Outcome]) -> None:
        """Take in what an attempt has shown of the domain's own servers."""
        taken = [outcome for outcome in outcomes if outcome.action is Action.RELAYED]
        seen, now = await self._find(domain), self._clock()
        if any(outcome.tls for outcome in taken):
            if seen.failing or seen.last + DAY < now:
                await self._store.run(tlsmemory.saw_tls, domain, now)
                self._seen.put(domain, Seen(now, Millis(0), Millis(0)), now)
        elif taken and seen.last:
            log.warning(
                "a domain that had TLS takes mail without it",
                extra={"domain": domain, "last_tls": format_minute(seen.last)} | _since(seen),
            )
            await self._store.run(tlsmemory.forget_tls, domain)
            self._seen.forget(domain)
        elif seen.last and any(outcome.where == "tls" for outcome in outcomes):
            known = {"domain": domain, "last_tls": format_minute(seen.last)}
            log.warning("a domain that had TLS refuses it now", extra=known)
            await self._store.run(tlsmemory.missed_tls, domain, now)
            self._seen.forget(domain)

    async def _find(self, domain: str) -> Seen:
        now = self._clock()
        known = self._seen.get(domain, now)
        if known is None:
            known = await self._store.read(tlsmemory.seen, domain) or NOTHING
            self._seen.put(domain, known, now)
        return known


def _since(seen: Seen) -> dict[str, str]:
    return {"refused_since": format_minute(seen.failing)} if seen.failing else {}


def given_up(seen: Seen) -> bool:
    """It has refused TLS for so long that it is believed."""
    return bool(seen.failing) and seen.missed - seen.failing >= PATIENCE
