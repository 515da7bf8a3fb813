"""Aliases: addresses that lead to other addresses, here or elsewhere (RFC 5321 §3.9.1). How they are followed is in
accounts.py.

What leads to an address is asked only by commands, which look through all aliases: of 100,000 in 4 ms, so there is no
index by target, which every alias would pay for.
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.address import Address, Domain
from posthouse.store.accounts import (
    EVERYBODY,
    READERS,
    TAG,
    TARGETS,
    VISITS,
    Elsewhere,
    Nobody,
    Overfull,
    at_home,
    canonical,
    find,
    fold,
    leading_to,
    readable,
    require_domain,
    require_free,
    resolve,
    spellings_of,
    targets_of,
)
from posthouse.store.script import NotFound, Refused, Script, sql


class AliasRow(NamedTuple):
    """An alias and where it leads."""

    address: Address
    targets: tuple[Address, ...]


def add_alias(address: Address, targets: Sequence[Address]) -> Script[None]:
    """Raises NotFound (the domain), Exists (a user or alias has the name), Refused (no target, too many, one leading
    nowhere or to a machine that is no domain, a loop)."""
    yield from require_domain(address.domain)
    yield from require_free(address)
    if not 0 < len(targets) <= TARGETS:
        raise Refused(f"an alias has 1 to {TARGETS} targets")
    for target in targets:
        yield from _accept_target(address, target)
    yield from put_targets(address, (yield from _spellings(targets)))


def put_targets(address: Address, spellings: Sequence[str]) -> Script[None]:
    """Lead an address to targets that are spelled as they are stored; nothing is asked any more."""
    for spelling in spellings:
        yield sql(
            "INSERT INTO alias (domain, fold, target, local) VALUES ($1, $2, $3, $4)",
            address.domain.name, fold(address.local), spelling, unicodedata.normalize("NFC", address.local),
        )  # fmt: skip


def _spellings(targets: Sequence[Address]) -> Script[list[str]]:
    """As they are stored: of those elsewhere only their server knows whether case matters (RFC 5321 §2.4)."""
    found = set()
    for target in targets:  # inside one script, in the writer's thread
        here = yield from at_home(target)
        found.add(str(target) if here is None else canonical(here))
    return sorted(found)


def set_alias(address: Address, targets: Sequence[Address]) -> Script[None]:
    """Other targets for an alias. Raises NotFound, Refused as add_alias does."""
    if not (yield from targets_of(address)):
        raise NotFound(f"there is no alias {address}")
    yield from forget_targets(address)
    yield from add_alias(address, targets)


def forget_targets(address: Address) -> Script[None]:
    """The address leads nowhere, and opens no account that once had it."""
    place = (address.domain.name, fold(address.local))
    yield sql("DELETE FROM alias WHERE domain = $1 AND fold = $2", *place)
    yield sql("DELETE FROM former WHERE domain = $1 AND fold = $2", *place)


def _accept_target(address: Address, target: Address) -> Script[None]:
    here = yield from at_home(target)
    if here is None:
        if target.domain.literal:
            raise Refused(f"{target} names a machine and no domain; only mail for domains is sent on")
        yield from _may_leave(address, target)
        return
    if here.local == EVERYBODY:
        raise Refused(f"only a group has all users of a domain: posthouse group add {address} --everyone")
    if canonical(here) == canonical(address):
        raise Refused(f"{address} would lead to itself")
    if (yield from leads_to(here, address)):
        raise Refused(f"{target} leads to {address}, which would lead to itself")
    found = yield from resolve(here, catch_all=False)
    if isinstance(found, Overfull):
        raise Refused(f"{target} leads to more than {READERS} users")
    if isinstance(found, Nobody):
        raise Refused(f"{target} leads nowhere; make the user or the alias first")
    if isinstance(found, Elsewhere):
        yield from _may_leave(address, target)


def _may_leave(address: Address, target: Address) -> Script[None]:
    """Whether what leads to the address, over others or directly, may lead to another server. Raises Refused."""
    pending, visited = [canonical(address)], set[str]()
    while pending and len(visited) < VISITS:
        name = pending.pop()
        if name not in visited:
            visited.add(name)
            pending += yield from _above(name, address, target)


def _above(name: str, address: Address, target: Address) -> Script[list[str]]:
    """The aliases that lead to this name in any spelling. Raises Refused where groups or catch-alls do."""
    above: list[str] = []
    for text in (name, *(yield from spellings_of(readable(name)))):
        caught = yield sql("SELECT name FROM domain WHERE catch_all = $1 LIMIT 1", text)
        if caught:
            raise Refused(f"{target} is on another server, which would get all that is written to nobody: the catch-all"
                          f" of {caught[0][0]} leads to {address}")  # fmt: skip
        rows = yield sql(
            "SELECT a.local, a.domain, g.fold FROM alias a LEFT JOIN grouping g"
            " ON g.domain = a.domain AND g.fold = a.fold WHERE a.target = $1",
            text,
        )
        for local, domain, group in rows:
            if group is not None:
                raise Refused(f"{target} is on another server, and the members of the group {local}@{domain} are here")
            above.append(canonical(Address(local, Domain(domain))))
    return above


def leads_to(start: Address, wanted: Address) -> Script[bool]:
    """Whether aliases and groups lead from one address to another."""
    pending, visited = [start], set[str]()
    while pending and len(visited) < VISITS:
        address = pending.pop()
        if canonical(address) in visited:
            continue
        visited.add(canonical(address))
        targets = yield from targets_of(address)
        base, tag, _ = address.local.partition(TAG)
        if not targets and tag and base and (yield from find(address)) is None:
            targets = [Address(base, address.domain)]
        pending += targets
    return canonical(wanted) in visited


def list_aliases() -> Script[list[AliasRow]]:
    """Those that are no groups, sorted by domain, then local part."""
    rows = yield sql(
        "SELECT local, domain, target FROM alias a WHERE NOT EXISTS"
        " (SELECT 1 FROM grouping g WHERE g.domain = a.domain AND g.fold = a.fold) ORDER BY domain, fold, target"
    )
    found: dict[Address, list[Address]] = {}
    for local, domain, target in rows:
        found.setdefault(Address(local, Domain(domain)), []).append(readable(target))
    return [AliasRow(address, tuple(targets)) for address, targets in found.items()]


def remove_alias(address: Address) -> Script[None]:
    """Raises NotFound, Refused while another alias or a catch-all leads to it."""
    if not (yield from targets_of(address)):
        raise NotFound(f"there is no alias {address}")
    leading = yield from leading_to(address)
    if leading:
        raise Refused(f"{leading} leads to {address}; change or remove it first")
    yield from forget_targets(address)
    yield sql("DELETE FROM grouping WHERE domain = $1 AND fold = $2", address.domain.name, fold(address.local))
