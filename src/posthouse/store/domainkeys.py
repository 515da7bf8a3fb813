"""The keys that domains of this house sign with: kept, found, and what the DNS has of them (RFC 6376 §3.1, §5.2).

A key signs when its record was seen in the DNS, and until the record of a newer one of its algorithm was seen
(decision 0117). After that its record stays published for KEPT, for mail that is still on its way.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.store.script import Exists, NotFound, Script, sql

KEYS = 16  # of one domain: the pair that signs, the next one, and some that were forgotten
KEPT = 7 * 86_400_000  # milliseconds that a record stays after its key: longer than mail waits in a queue (5 days)

_COLUMNS = "domain, selector, algorithm, private, public, made, seen, looked, found"


class DomainKey(NamedTuple):
    """A key, as the table has it."""

    domain: str
    selector: str
    algorithm: str
    private: bytes
    public: bytes
    made: Millis
    seen: Millis | None = None
    looked: Millis = Millis(0)
    found: str = ""


class KeyPhase(Enum):
    """What a key is good for now."""

    WAITING = "waiting"  # its record was never seen in the DNS
    SIGNING = "signing"
    REPLACED = "replaced"  # a newer one signs; its record must stay for a while
    OVER = "over"  # nobody needs its record any more


def phases(keys: Sequence[DomainKey], now: Millis) -> list[tuple[DomainKey, KeyPhase]]:
    """What each key of a domain is good for; `keys` are in the order in which they were made."""
    found = []
    for place, key in enumerate(keys):
        newer = [one.seen for one in keys[place + 1 :] if one.algorithm == key.algorithm and one.seen is not None]
        if key.seen is None:
            phase = KeyPhase.WAITING
        elif not newer:
            phase = KeyPhase.SIGNING
        else:
            phase = KeyPhase.REPLACED if now - min(newer) < KEPT else KeyPhase.OVER
        found.append((key, phase))
    return found


def add(domain: str, keys: Sequence[DomainKey]) -> Script[None]:
    """Keep new keys. Raises Exists (a selector that was used before, or too many keys)."""
    [(count,)] = yield sql("SELECT count(*) FROM dkim_key WHERE domain = $1", domain)
    if count + len(keys) > KEYS:
        raise Exists(f"{domain} has {count} keys; remove those that are over first")
    for key in keys:
        fresh = yield sql(
            "INSERT INTO dkim_selector VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING selector", domain, key.selector
        )
        if not fresh:
            raise Exists(f"the selector {key.selector} of {domain} was used before")
        yield sql(f"INSERT INTO dkim_key ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", *key)


def used(domain: str) -> Script[frozenset[str]]:
    """The selectors that a domain has or had."""
    rows = yield sql("SELECT selector FROM dkim_selector WHERE domain = $1", domain)
    return frozenset(selector for (selector,) in rows)


def of(domain: str) -> Script[list[DomainKey]]:
    """The keys of a domain, the oldest first."""
    rows = yield sql(f"SELECT {_COLUMNS} FROM dkim_key WHERE domain = $1 ORDER BY made, selector", domain)
    return [DomainKey(*row) for row in rows]


def every() -> Script[list[DomainKey]]:
    """All keys, those of a domain beside each other, the oldest first."""
    rows = yield sql(f"SELECT {_COLUMNS} FROM dkim_key ORDER BY domain, made, selector")
    return [DomainKey(*row) for row in rows]


def signing(domains: Sequence[str]) -> Script[list[DomainKey]]:
    """The keys that sign for the first of these domains that has some."""
    for domain in domains:  # few, and in the thread of the database
        keys = yield from of(domain)
        found = [key for key, phase in phases(keys, Millis(0)) if phase is KeyPhase.SIGNING]
        if found:
            return found
    return []


def unseen(domains: Sequence[str]) -> Script[str | None]:
    """The first of these domains that has keys, of which none signs."""
    for domain in domains:  # as above
        if (yield from of(domain)):
            return domain
    return None


def looked(key: DomainKey, found: str, at: Millis, *, good: bool) -> Script[None]:
    """What the DNS has of a key; nothing where the key is gone meanwhile."""
    yield sql(
        "UPDATE dkim_key SET looked = $3, found = $4, seen = CASE WHEN $5 THEN coalesce(seen, $3) ELSE seen END"
        " WHERE domain = $1 AND selector = $2",
        key.domain, key.selector, at, found, int(good),
    )  # fmt: skip


def remove(domain: str, selector: str | None = None) -> Script[list[str]]:
    """Forget a key, or all of a domain: the selectors of what is gone. Raises NotFound."""
    keys = yield from of(domain)
    gone = [key.selector for key in keys if selector in (None, key.selector)]
    if not gone:
        raise NotFound(f"{domain} has no key {selector}" if selector else f"{domain} has no keys")
    yield from forget(domain, selector)
    return gone


def forget(domain: str, selector: str | None = None) -> Script[None]:
    """The same, whether there is one or not."""
    yield sql("DELETE FROM dkim_key WHERE domain = $1 AND ($2 IS NULL OR selector = $2)", domain, selector)
