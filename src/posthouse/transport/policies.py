"""MTA-STS policies of the domains we send to: found, fetched, kept and refreshed (RFC 8461 §3.3, §5.1, §10.2).

A policy that was fetched counts until it expires, whatever the DNS says meanwhile: whoever can suppress the record
could else suppress the policy.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from posthouse.mail.ids import Millis
from posthouse.net.https import Https, Request, Response, exchange
from posthouse.store import tlsmemory
from posthouse.store.script import StoreError
from posthouse.store.store import Store
from posthouse.store.tlsmemory import DAY, KeptPolicy
from posthouse.transport.recent import Recent
from posthouse.trust import mtasts
from posthouse.trust.mtasts import Policy, parse_policy
from posthouse.trust.resolver import Found

PATH = "/.well-known/mta-sts.txt"  # RFC 8461 §3.2
TRY_AGAIN = 300_000  # milliseconds between two tries to fetch a policy (RFC 8461 §3.3)
FRESH = DAY  # a policy fetched so long ago is fetched anew, also where its id is the same
IN_USE = 30 * DAY  # policies of domains without mail for so long are not refreshed
REFRESHED_AT_ONCE = 200  # domains of one round
ROUND_SECONDS = 3_600.0
SEEN_KEPT = 180 * DAY  # what is remembered of a domain's TLS goes after so long without mail, well after it counts
FAILED = 10_000  # domains whose last failure is remembered

log = logging.getLogger(__name__)


def _unheard(domain: str, reason: str) -> None:
    """Nobody counts failures."""


class Policies:
    """The policies of one worker, with those of all workers in the store."""

    def __init__(
        self, store: Store, https: Https, clock: Callable[[], Millis], told: Callable[[str, str], None] = _unheard
    ) -> None:
        """`told` hears of each policy that could not be had: the domain, and why (RFC 8460 §4.3.2.2)."""
        self._told = told
        self._store = store
        self._https = https
        self._clock = clock
        self._kept: Recent[str, tuple[KeptPolicy | None]] = Recent()
        self._failed: OrderedDict[str, tuple[Millis, str]] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[Policy | str]] = {}

    async def find(self, domain: str) -> Policy | None:
        """The policy that holds for mail to this domain now, fetched where it has to be."""
        kept = await self._find_kept(domain)
        held = self._held(kept)
        answer = await self._https.resolver.txt(mtasts.owner(domain))
        announced = mtasts.record_id(answer.records) if answer.found is Found.RECORDS else None
        if held is not None and kept is not None:
            await self._note_use(domain, kept)
            stale = kept.fetched + FRESH < self._clock()
            if announced is None or (announced == kept.id and not stale):
                return held
        if announced is None:
            return None
        found = await self._fetch(domain, announced)
        return held if isinstance(found, str) else found

    async def _find_kept(self, domain: str) -> KeptPolicy | None:
        known = self._kept.get(domain, self._clock())
        if known is None:
            known = (await self._store.read(tlsmemory.policy, domain),)
            self._kept.put(domain, known, self._clock())
        return known[0]

    def failure(self, domain: str) -> str:
        """Why the policy that a domain announces could not be had when it was last tried; "" where it could."""
        return self._failed.get(domain, (0, ""))[1]

    async def refresh(self) -> None:
        """Fetch anew what is in use and some days old, so that it does not expire (RFC 8461 §10.2)."""
        now = self._clock()
        stale = await self._store.read(
            tlsmemory.stale_policies,
            now,
            older=Millis(now - FRESH),
            used_since=Millis(now - IN_USE),
            many=REFRESHED_AT_ONCE,
        )
        for domain in stale:  # one after the other: nobody waits for it
            answer = await self._https.resolver.txt(mtasts.owner(domain))
            announced = mtasts.record_id(answer.records) if answer.found is Found.RECORDS else None
            if announced is not None:
                await self._fetch(domain, announced)

    async def close(self) -> None:
        """End what is being fetched."""
        fetching = list(self._fetching.values())
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)

    def _held(self, kept: KeptPolicy | None) -> Policy | None:
        if kept is None or kept.expires <= self._clock():
            return None
        policy = parse_policy(kept.text.encode())
        return policy if isinstance(policy, Policy) else None

    async def _note_use(self, domain: str, kept: KeptPolicy) -> None:
        if kept.used + DAY < self._clock():
            await self._store.run(tlsmemory.use_policy, domain, self._clock())
            self._kept.forget(domain)

    async def _fetch(self, domain: str, announced: str) -> Policy | str:
        """Fetch and keep it; what many ask for at the same time is fetched once, and a failure is not repeated soon."""
        at, failure = self._failed.get(domain, (0, ""))
        if failure and at + TRY_AGAIN > self._clock():
            return failure
        task = self._fetching.get(domain)
        if task is None:
            task = asyncio.create_task(self._fetch_and_keep(domain, announced))
            self._fetching[domain] = task
            task.add_done_callback(lambda _: self._fetching.pop(domain, None))
        return await asyncio.shield(task)

    async def _fetch_and_keep(self, domain: str, announced: str) -> Policy | str:
        found = await fetch_policy(domain, self._https)
        self._failed.pop(domain, None)
        if isinstance(found, str):
            log.info("an MTA-STS policy could not be fetched", extra={"domain": domain, "reason": found})
            self._told(domain, found)
            self._failed[domain] = (self._clock(), found)
            while len(self._failed) > FAILED:
                self._failed.popitem(last=False)
            return found
        now = self._clock()
        kept = KeptPolicy(announced, "\n".join(found.lines), now, Millis(now + found.max_age * 1000), now)
        try:
            await self._store.run(tlsmemory.keep_policy, domain, kept)
        except StoreError as error:
            log.warning("an MTA-STS policy could not be kept", extra={"domain": domain, "reason": str(error)})
        self._kept.forget(domain)
        return found


async def keep_policies(policies: Policies, store: Store, clock: Callable[[], Millis]) -> None:
    """Refresh what is in use and forget what is old, from time to time. Any worker may: who comes second finds nothing
    to do."""
    while True:
        await asyncio.sleep(ROUND_SECONDS)
        try:
            await policies.refresh()
            await store.run(tlsmemory.forget_old, clock(), Millis(clock() - SEEN_KEPT))
        except StoreError as error:
            log.warning("MTA-STS policies were not refreshed: %s", error)


async def fetch_policy(domain: str, https: Https) -> Policy | str:
    """The policy from its well-known place, or what is wrong (RFC 8461 §3.3)."""
    answer = await exchange(Request(mtasts.policy_host(domain), PATH, mtasts.POLICY_OCTETS), https)
    if not isinstance(answer, Response):
        return answer
    if answer.status != 200:
        return f"{mtasts.policy_host(domain)} answers with HTTP status {answer.status}"
    if answer.kind != "text/plain":
        return f"{mtasts.policy_host(domain)} gives no text/plain"
    return parse_policy(answer.content)
