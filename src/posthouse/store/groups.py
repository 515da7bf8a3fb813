"""Groups: addresses that lead to users of this house, with a rule who may write to them (RFC 5321 §3.9).

A group is an alias (accounts.py) with a row in `grouping`, so mail for it is resolved and kept as mail for any alias:
one transaction for all. Its sender stays as it is (RFC 5321 §3.9.1): answers go to who wrote.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from posthouse.mail.address import Address, Domain
from posthouse.store import accounts, aliases
from posthouse.store.accounts import (
    DUTIES,
    EVERYBODY,
    TARGETS,
    VISITS,
    Elsewhere,
    Nobody,
    Overfull,
    Senders,
    at_home,
    canonical,
    fold,
)
from posthouse.store.script import NotFound, Refused, Script, sql


class GroupRow(NamedTuple):
    """A group and its members; none of them: everybody of its domain."""

    address: Address
    senders: Senders
    members: tuple[str, ...]
    everyone: bool


def add_group(address: Address, members: Sequence[Address], senders: Senders) -> Script[None]:
    """A group of these members; none: all users of the domain, also those who come later. Raises NotFound (the
    domain), Exists, Refused (a member who is not here, a circle, a name that strangers must be able to write to)."""
    yield from accounts.require_domain(address.domain)
    yield from accounts.require_free(address)
    yield from _put(address, members, senders)


def set_group(address: Address, members: Sequence[Address] | None, senders: Senders | None) -> Script[None]:
    """Other members, or other senders; None leaves them as they are. Raises NotFound, Refused as add_group does."""
    before = yield from _require(address)
    if members is None:
        yield from _senders(address, senders or before)
        return
    yield from aliases.forget_targets(address)
    yield from _put(address, members, senders or before)


def add_members(address: Address, members: Sequence[Address]) -> Script[None]:
    """Members beside those who are there. Raises NotFound, Refused as add_group does, and where everybody is one."""
    yield from _change(address, members, ())


def remove_members(address: Address, members: Sequence[Address]) -> Script[None]:
    """Members less. Raises NotFound (the group, or who is no member), Refused (nobody would be left)."""
    yield from _change(address, (), members)


def remove_group(address: Address) -> Script[None]:
    """Raises NotFound, Refused while an alias, a group or a catch-all leads to it."""
    yield from _require(address)
    yield from aliases.remove_alias(address)


def opened_by(address: Address) -> Script[list[GroupRow]]:
    """The groups that a stranger reaches over this alias, though their own rule says otherwise: the rule of the address
    that was written to counts (decision 0111). None for a group, which has a rule itself."""
    if (yield from accounts.senders_of(address)) is not None:
        return []
    found: list[GroupRow] = []
    pending, visited = [address], set[str]()
    while pending and len(visited) < VISITS:
        here = yield from at_home(pending.pop())
        if here is None or canonical(here) in visited:
            continue
        visited.add(canonical(here))
        senders = yield from accounts.senders_of(here)
        if senders is None or senders is Senders.ANYONE:
            pending += yield from accounts.targets_of(here)
        else:
            found.append(_row(here, senders, []))
    return sorted(found, key=lambda row: canonical(row.address))


def openers(group: Address) -> Script[list[Address]]:
    """The aliases over which strangers reach a group, directly or over other aliases."""
    found: dict[str, Address] = {}
    pending = [canonical(group)]
    while pending and len(found) < VISITS:
        rows = yield sql(
            "SELECT a.local, a.domain FROM alias a WHERE a.target = $1 AND NOT EXISTS"
            " (SELECT 1 FROM grouping g WHERE g.domain = a.domain AND g.fold = a.fold) ORDER BY a.domain, a.fold",
            pending.pop(),
        )
        for local, domain in rows:
            alias = Address(local, Domain(domain))
            if canonical(alias) not in found:
                found[canonical(alias)] = alias
                pending.append(canonical(alias))
    return list(found.values())


def list_groups() -> Script[list[GroupRow]]:
    """Sorted by domain, then local part."""
    rows = yield sql(
        "SELECT a.local, a.domain, g.senders, a.target FROM grouping g"
        " JOIN alias a ON a.domain = g.domain AND a.fold = g.fold ORDER BY a.domain, a.fold, a.target"
    )
    found: dict[tuple[str, str, str], list[str]] = {}
    for local, domain, senders, target in rows:
        found.setdefault((local, domain, senders), []).append(target)
    return [_row(Address(local, Domain(domain)), Senders(s), t) for (local, domain, s), t in found.items()]


def _row(address: Address, senders: Senders, targets: list[str]) -> GroupRow:
    everyone = targets == [_everybody(address.domain)]
    return GroupRow(address, senders, () if everyone else tuple(targets), everyone)


def _everybody(domain: Domain) -> str:
    return str(Address(EVERYBODY, domain))


def _require(address: Address) -> Script[Senders]:
    senders = yield from accounts.senders_of(address)
    if senders is None:
        raise NotFound(f"there is no group {address}")
    return senders


def _put(address: Address, members: Sequence[Address], senders: Senders) -> Script[None]:
    _demand_few(members)
    spellings = set()
    for member in members:  # inside one script, in the writer's thread
        spellings.add((yield from _member(address, member)))
    yield from aliases.put_targets(address, sorted(spellings) or [_everybody(address.domain)])
    yield from _senders(address, senders)


def _demand_few(members: Collection[object]) -> None:
    if len(members) > TARGETS:
        raise Refused(f"a group has at most {TARGETS} members; a group of groups can have more")


def _member(group: Address, member: Address) -> Script[str]:
    """How a member is stored. Raises Refused, with the reason."""
    here = yield from at_home(member)
    if here is None:
        raise Refused(f"{member} is not of this server; for addresses elsewhere there is posthouse alias add")
    found = yield from accounts.resolve(here, catch_all=False)
    if isinstance(found, Elsewhere):
        raise Refused(f"{member} leads to another server, and the members of a group are here")
    if canonical(here) == canonical(group) or (yield from aliases.leads_to(here, group)):
        raise Refused(f"{member} leads to {group}, which would lead to itself")
    if isinstance(found, Overfull):
        raise Refused(f"{member} leads to more users than one message can be for")
    if isinstance(found, Nobody):
        raise Refused(f"{member} leads nowhere; make the user or the group first")
    return canonical(here)


def _senders(address: Address, senders: Senders) -> Script[None]:
    if fold(address.local) in DUTIES and senders is not Senders.ANYONE:
        raise Refused(f"everybody must be able to write to {address} (RFC 5321 §4.5.1); say --from anyone")
    [(caught,)] = yield sql("SELECT count(*) FROM domain WHERE catch_all = $1", canonical(address))
    if caught and senders is not Senders.ANYONE:
        raise Refused(f"{address} has what is written to nobody, so everybody must be able to write to it")
    place = (address.domain.name, fold(address.local))
    yield sql("DELETE FROM grouping WHERE domain = $1 AND fold = $2", *place)
    yield sql("INSERT INTO grouping (domain, fold, senders) VALUES ($1, $2, $3)", *place, senders.value)


def _change(address: Address, more: Sequence[Address], less: Sequence[Address]) -> Script[None]:
    senders = yield from _require(address)
    rows = yield sql(
        "SELECT target FROM alias WHERE domain = $1 AND fold = $2", address.domain.name, fold(address.local)
    )
    there = {target for (target,) in rows}
    if there == {_everybody(address.domain)}:
        raise Refused(f"all users of {address.domain} are members of {address}; posthouse group set names others")
    for member in less:
        here = (yield from at_home(member)) or member
        if canonical(here) not in there:
            raise NotFound(f"{member} is no member of {address}")
        there.discard(canonical(here))
    if not there:
        raise Refused(f"{address} would have no members; remove it: posthouse group remove {address}")
    for member in more:  # inside one script, in the writer's thread
        there.add((yield from _member(address, member)))
    _demand_few(there)
    yield from aliases.forget_targets(address)
    yield from aliases.put_targets(address, sorted(there))
    yield from _senders(address, senders)
