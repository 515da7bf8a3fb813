"""`posthouse domain dkim`: the keys of domains made, shown, looked for in the DNS, replaced and removed."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from posthouse.admin import ADD_IT, Refused, confirmed, domain_of, require_domain
from posthouse.cli_parts import Place
from posthouse.config import load
from posthouse.mail.address import Domain
from posthouse.mail.ids import Millis
from posthouse.net.dkimkeys import make_pair, record
from posthouse.outgoing import make_resolver
from posthouse.store import domainkeys
from posthouse.store.domainkeys import KEPT, DomainKey, KeyPhase, phases
from posthouse.store.moment import format_minute, wall_clock
from posthouse.store.store import SyncStore
from posthouse.transport.signing import AT_ONCE, look
from posthouse.trust.dkim import Algorithm, record_name
from posthouse.trust.resolver import Resolver
from posthouse.trust.tags import Published

STRING = 255  # octets of one character-string of a TXT record (RFC 1035 §3.3.14)
TIMES = 100  # that keys of one domain are made in one day

_LETTERS = {Algorithm.RSA: "r", Algorithm.ED25519: "e"}
_NAMES = {Algorithm.RSA: "RSA", Algorithm.ED25519: "Ed25519"}
_PHASES = {
    KeyPhase.WAITING: "does not sign yet: its record was not seen in the DNS",
    KeyPhase.SIGNING: "signs",
    KeyPhase.REPLACED: "was replaced; leave its record in the DNS until {}",
    KeyPhase.OVER: "is over: remove its record, then the key: posthouse domain dkim remove {} {}",
}


def host(place: Place) -> str:
    """The name of the server, which may have keys of its own."""
    return load(place.config).hostname.lower()


def resolver_of(place: Place) -> Callable[[], Resolver]:
    """The DNS, as the server asks it; made where it is used, inside a loop."""
    settings = load(place.config)
    return lambda: make_resolver(settings)


# --- commands


def add(store: SyncStore, name: str, hostname: str) -> None:
    """posthouse domain dkim add. Raises Refused."""
    domain = domain_of(name)
    if domain.literal:
        raise Refused("an address literal cannot sign")
    if domain.name != hostname:
        require_domain(store, domain, ADD_IT)
    if store.read(domainkeys.of, domain.name):
        raise Refused(f"{domain} has keys already; for new ones: posthouse domain dkim rotate {domain}")
    _make(store, domain)
    print(f"Made two keys for {domain}. Publish these records; mail is signed as soon as they are seen in the DNS.")
    show_keys(store, domain.name, as_json=False)


def rotate(store: SyncStore, name: str) -> None:
    """posthouse domain dkim rotate. Raises Refused."""
    domain = domain_of(name)
    found = _keys(store, domain.name)
    if any(phase is KeyPhase.WAITING for _, phase in found):
        raise Refused(
            f"{domain} has new keys already, whose records are not in the DNS yet: posthouse domain dkim show"
        )
    _make(store, domain)
    print(
        f"Made two new keys for {domain}. Publish their records beside the old ones, which stay for now: the old keys"
    )
    print("sign until the records of the new ones are seen in the DNS.")
    show_keys(store, domain.name, as_json=False)


def remove(store: SyncStore, name: str, selector: str | None, *, sure: bool) -> None:
    """posthouse domain dkim remove. Raises Refused."""
    domain = domain_of(name)
    found = [(key, phase) for key, phase in _keys(store, domain.name) if selector in (None, key.selector)]
    signing = any(phase is KeyPhase.SIGNING for _, phase in found)
    question = f"Mail of {domain} is signed by this; others may refuse mail that is not. Remove it?"
    if signing and not sure and not confirmed(question):
        raise Refused("nothing was removed")
    gone = store.run(domainkeys.remove, domain.name, selector)
    print(f"Removed {', '.join(gone)} of {domain}.")
    if signing:
        print("A running server signs with it for half a minute more. Leave the record in the DNS for a week: mail is")
        print("still on its way that is signed by it.")
    elif any(phase is KeyPhase.REPLACED for _, phase in found):
        print("It has signed until lately: leave its record in the DNS for a week, unless somebody else has the key.")


def show_keys(store: SyncStore, name: str | None, *, as_json: bool) -> None:
    """posthouse domain dkim show. Raises Refused."""
    found = _keys(store, None if name is None else domain_of(name).name)
    _print(found, as_json=as_json)


def check(store: SyncStore, name: str | None, resolver: Callable[[], Resolver], *, as_json: bool) -> None:
    """posthouse domain dkim check. Raises Refused."""
    wanted = None if name is None else domain_of(name).name
    keys, now = [key for key, _ in _keys(store, wanted)], wall_clock()
    for key, found in zip(keys, asyncio.run(_look(keys, resolver)), strict=True):
        if found is not None:
            store.run(domainkeys.looked, key, found.name, now, good=found is Published.GOOD)
        elif not as_json:
            print(f"The DNS does not answer for {record_name(key.selector, Domain(key.domain))}.")
    _print(_keys(store, wanted), as_json=as_json)


async def _look(keys: Sequence[DomainKey], make: Callable[[], Resolver]) -> list[Published | None]:
    resolver = make()
    answers: list[Published | None] = []
    for at in range(0, len(keys), AT_ONCE):
        answers += await asyncio.gather(*[look(key, resolver) for key in keys[at : at + AT_ONCE]])
    return answers


# --- keys


def _make(store: SyncStore, domain: Domain) -> None:
    """A pair of keys with selectors that were never used. Raises Refused."""
    now, taken = wall_clock(), store.read(domainkeys.used, domain.name)
    day = datetime.fromtimestamp(now / 1_000, UTC).strftime("%Y%m%d")
    stems = [day, *(f"{day}-{number}" for number in range(2, TIMES))]
    stem = next((stem for stem in stems if not any(stem + letter in taken for letter in _LETTERS.values())), None)
    if stem is None:
        raise Refused(f"keys of {domain} were made {TIMES} times today; do so tomorrow")
    made = []
    for algorithm, letter in _LETTERS.items():
        private, public = make_pair(algorithm)
        made.append(DomainKey(domain.name, stem + letter, algorithm.value, private, public, now))
    store.run(domainkeys.add, domain.name, made)


def _keys(store: SyncStore, domain: str | None) -> list[tuple[DomainKey, KeyPhase]]:
    """Those of a domain, or all. Raises Refused where a domain has none."""
    rows = store.read(domainkeys.every) if domain is None else store.read(domainkeys.of, domain)
    if domain is not None and not rows:
        raise Refused(f"{domain} has no keys; make some: posthouse domain dkim add {domain}")
    now = wall_clock()
    return [each for _, keys in groupby(rows, key=lambda key: key.domain) for each in phases(list(keys), now)]


# --- in words


def text_of(key: DomainKey) -> str:
    """The value of its record (RFC 6376 §3.6.1)."""
    return record(Algorithm(key.algorithm), key.public)


def name_of(key: DomainKey) -> str:
    """The name at which its record stands."""
    return record_name(key.selector, Domain(key.domain))


def zone_line(key: DomainKey) -> str:
    """The record as a line of a zone file, in strings that are short enough (RFC 1035 §5.1)."""
    text = text_of(key)
    strings = " ".join(f'"{text[at : at + STRING]}"' for at in range(0, len(text), STRING))
    return f"{name_of(key)}. IN TXT ( {strings} )"


def _print(found: Sequence[tuple[DomainKey, KeyPhase]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([_as_json(key, phase) for key, phase in found], indent=2))
        return
    if not found:
        print("There are none.")
    for key, phase in found:
        print(f"\n{key.selector} of {key.domain} ({_NAMES[Algorithm(key.algorithm)]}) {_phase(key, phase, found)}.")
        if key.found and key.found != Published.GOOD.name:
            print(f"  looked: {format_minute(key.looked)}, and it {Published[key.found].value}")
        print(f"  name:   {name_of(key)}\n  type:   TXT\n  value:  {text_of(key)}\n  in a zone file:\n{zone_line(key)}")


def _phase(key: DomainKey, phase: KeyPhase, found: Sequence[tuple[DomainKey, KeyPhase]]) -> str:
    later = [
        one.seen
        for one, _ in found
        if (one.domain, one.algorithm) == (key.domain, key.algorithm) and one.made > key.made and one.seen is not None
    ]
    until = format_minute(Millis(min(later) + KEPT)) if phase is KeyPhase.REPLACED else key.domain
    return _PHASES[phase].format(until, key.selector)


def _as_json(key: DomainKey, phase: KeyPhase) -> dict[str, object]:
    return {
        "domain": key.domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "name": name_of(key),
        "value": text_of(key),
        "zone": zone_line(key),
        "state": phase.value,
        "made": key.made,
        "seen": key.seen,
        "looked": key.looked or None,
        "dns": key.found.lower() or None,
    }
