"""What leaves in the name of this house is signed: mail of users by the domain of its From, and what the house itself
has to say by the domain of its own name (RFC 6376 §5, RFC 8460 §3).

A domain signs while it has keys whose records were seen in the DNS (decision 0117); `keep_looking` looks.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from mmap import mmap
from typing import NamedTuple

from posthouse.mail import header
from posthouse.mail.address import Domain, parse_address
from posthouse.mail.address_list import mailboxes
from posthouse.mail.ids import Millis
from posthouse.store import domainkeys
from posthouse.store.domainkeys import DomainKey
from posthouse.store.script import StoreError
from posthouse.store.store import Store
from posthouse.transport.recent import Recent
from posthouse.trust.dkim import Algorithm, Signer, Times, record_name, sign
from posthouse.trust.resolver import Resolver
from posthouse.trust.tags import Published, published

DOMAINS = 1_000  # whose keys are remembered: about 4 MiB
REMEMBERED_SECONDS = 30.0  # after so long a key that was seen signs in every worker
SIGNED_ON_LOOP = 262_144  # octets of a body that is hashed at once; a larger one in a thread
SPARE = 2 * 86_400  # seconds that a signature holds after the last try, for queues and readers elsewhere
LOOK_SECONDS = 300.0  # between two rounds of looking at the DNS
AGAIN = 3_600_000  # milliseconds until a record that was seen is looked at again; others in each round
AT_ONCE = 20  # questions to the DNS
FROM = 1_000  # octets of a From field that are looked at: one author, and a long name

log = logging.getLogger(__name__)


class Keys(NamedTuple):
    """Who signs for a domain; where nobody does: why, in words for the administrator."""

    signers: tuple[Signer, ...]
    why_not: str = ""


#: Mail of others, which is sent on.
STRANGERS = Keys((), "it is only sent on, and a signature with which it came goes along")
UNSIGNABLE = Keys((), "its header has too many fields")


class Signing:
    """The keys of this house, as of a moment ago. One per worker. `now` is a clock that never goes back, in seconds."""

    __slots__ = ("_known", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: Recent[tuple[str, ...], Keys] = Recent(DOMAINS, REMEMBERED_SECONDS)

    async def keys(self, domains: Sequence[str], store: Store) -> Keys:
        """Those of the first of these domains that has some. Raises Unavailable."""
        names, now = tuple(domains), self._now()
        known = self._known.get(names, now)
        if known is None:
            known = await _keys(names, store)
            self._known.put(names, known, now)
        return known


async def _keys(names: tuple[str, ...], store: Store) -> Keys:
    if not names:
        return Keys((), "its From field names no domain")
    signing = await store.read(domainkeys.signing, names)
    signers = [signer for signer in map(_signer, signing) if signer is not None]
    if signers:
        # RSA on top: some verifiers look at the first signature alone, and not all know Ed25519.
        return Keys(tuple(sorted(signers, key=lambda signer: signer.algorithm is not Algorithm.RSA)))
    if signing:
        return Keys((), f"the keys of {signing[0].domain} cannot be read")
    unseen = await store.read(domainkeys.unseen, names)
    if unseen is not None:
        return Keys((), f"the records of the keys of {unseen} were not seen in the DNS yet")
    return Keys((), f"{names[0]} has no keys")


def _signer(key: DomainKey) -> Signer | None:
    """None for a key that cannot be read: mail goes out without it rather than not at all."""
    from posthouse.net.dkimkeys import make_seal  # here: a worker without keys starts sooner without cryptography

    try:
        return Signer(Domain(key.domain), key.selector, Algorithm(key.algorithm), make_seal(key.private))
    except ValueError as error:
        log.error("a key cannot be read: %s", error, extra={"domain": key.domain, "selector": key.selector})
        return None


def above(hostname: str) -> tuple[str, ...]:
    """The domains that may sign for the host itself: its own name, then those above it (RFC 6376 §3.10)."""
    labels = hostname.lower().split(".")
    return tuple(".".join(labels[at:]) for at in range(max(1, len(labels) - 1)))


def author_domain(head: bytes) -> tuple[str, ...]:
    """The domain of the author, whose signature is believed for the From field (RFC 5322 §3.6.2)."""
    value = (header.first(head, b"from") or b"")[:FROM]
    found = next(iter(mailboxes(value)), None)
    address = None if found is None else parse_address(found.addr_spec)
    return () if address is None else (address.domain.name,)


async def signatures(head: bytes, body: tuple[bytes | mmap, int], signers: Sequence[Signer], times: Times) -> bytes:
    """DKIM-Signature fields for the front of a message; b"" where nobody signs. `head`: its whole header; `body`:
    octets, and where in them it begins."""
    if not signers:
        return b""
    octets, start = body
    if len(octets) - start > SIGNED_ON_LOOP:
        return await asyncio.to_thread(sign, head, body, signers, times)
    return sign(head, body, signers, times)


def times(now: Millis, lifetime: int) -> Times:
    """A signature holds as long as its message may wait here, and a little longer (RFC 6376 §3.5)."""
    return Times(now // 1_000, (now + lifetime) // 1_000 + SPARE)


# --- the DNS


async def look(key: DomainKey, resolver: Resolver) -> Published | None:
    """What the DNS has of the record of a key; None where it does not answer."""
    from posthouse.net.dkimkeys import record

    answer = await resolver.txt(record_name(key.selector, Domain(key.domain)))
    if answer.temporary:
        return None
    return published(answer.records, record(Algorithm(key.algorithm), key.public).encode())


async def look_at(keys: Iterable[DomainKey], resolver: Resolver, now: Millis, store: Store) -> None:
    """Look, and note what is seen. Raises Unavailable."""
    wanted = list(keys)
    for at in range(0, len(wanted), AT_ONCE):  # one chunk after the other: nobody waits for them
        some = wanted[at : at + AT_ONCE]
        answers = await asyncio.gather(*[look(key, resolver) for key in some])
        for key, found in zip(some, answers, strict=True):
            if found is not None:
                await store.run(domainkeys.looked, key, found.name, now, good=found is Published.GOOD)
            if found is Published.GOOD and key.seen is None:
                log.info("a key signs from now on", extra={"domain": key.domain, "selector": key.selector})


def due(keys: Iterable[DomainKey], now: Millis) -> list[DomainKey]:
    """Those whose records are looked at now; a clock that was set back makes them due."""
    found = Published.GOOD.name
    return [key for key in keys if key.seen is None or key.found != found or not 0 <= now - key.looked < AGAIN]


async def keep_looking(store: Store, resolver: Resolver, clock: Callable[[], Millis]) -> None:
    """Look from time to time whether the records of our keys are in the DNS."""
    while True:
        try:
            now = clock()
            await look_at(due(await store.read(domainkeys.every), now), resolver, now, store)
        except StoreError as error:
            log.warning("the records of DKIM keys were not looked at: %s", error)
        await asyncio.sleep(LOOK_SECONDS * (0.5 + secrets.randbelow(1_000) / 1_000))
