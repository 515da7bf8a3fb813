"""Which hosts take the mail of a domain, by the DNS alone (RFC 5321 §5, RFC 7505)."""

import asyncio
import ipaddress
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from posthouse.mail.address import DOMAIN_LENGTH
from posthouse.mail.status import Status
from posthouse.net.reach import Network, may_reach
from posthouse.transport.target import Unreachable
from posthouse.trust.resolver import Answer, Found, Mx, Resolver

HOSTS = 10  # of one domain that are tried; the largest providers have five
MX_RECORDS = 100  # that are sorted; beyond it nobody means it
ADDRESSES = 16  # of one host and family

NO_SUCH_DOMAIN = Status(5, 1, 2)
NULL_MX = Status(5, 1, 10)  # RFC 7505 §4.2
NO_ROUTE = Status(5, 4, 4)
LOOP = Status(5, 4, 6)
DIRECTORY = Status(4, 4, 3)


@dataclass(frozen=True, slots=True)
class Ourselves:
    """What this house is known by: names (lower case) and addresses at which it takes mail (RFC 5321 §5.1)."""

    names: frozenset[str] = frozenset()
    ips: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lookup:
    """How hosts are looked for. `allowed` are networks that are no part of the Internet and may be reached all the
    same (decision 0082)."""

    resolver: Resolver
    ourselves: Ourselves = Ourselves()
    allowed: tuple[Network, ...] = ()
    chance: random.Random = field(default_factory=random.SystemRandom)


class MailHost(NamedTuple):
    """A host that takes mail. `authentic`: each answer that led to its addresses was (RFC 7672 §2.2.2).
    `end` is where CNAMEs lead, `host` itself where there are none."""

    host: str
    preference: int
    ips: tuple[str, ...]
    authentic: bool = False
    end: str = ""


class MailHosts(NamedTuple):
    """The hosts of a domain, best first. `authentic`: that these are its hosts is (RFC 7672 §2.2.1); `implicit`: the
    domain itself is the host."""

    hosts: tuple[MailHost, ...]
    authentic: bool = False
    implicit: bool = False


async def find_hosts(domain: str, lookup: Lookup) -> MailHosts | Unreachable:
    """MX by preference, or the domain itself where it has none, with their addresses (RFC 5321 §5.1)."""
    answer = await lookup.resolver.mx(domain)
    refusal = _refusal(domain, answer)
    if refusal is not None:
        return refusal
    if answer.found is Found.NO_DATA:
        return await _with_addresses(domain, MailHosts((), implicit=True), (Mx(0, domain),), lookup)
    records = _before_us(sorted(set(answer.records[:MX_RECORDS])), lookup.ourselves)
    if not records:
        return _loop(domain, answer.records)
    return await _with_addresses(domain, MailHosts((), answer.authentic), _in_order(records, lookup.chance), lookup)


def _refusal(domain: str, answer: Answer[Mx]) -> Unreachable | None:
    if answer.temporary:
        return _no_answer(f"who takes mail for {domain}", (answer,))
    if answer.found is Found.NXDOMAIN:
        return Unreachable(NO_SUCH_DOMAIN, f"There is no domain {domain}. Look for a typing error behind the @")
    if answer.found is Found.RECORDS and all(not mx.host for mx in answer.records):
        return Unreachable(NULL_MX, f"{domain} takes no mail at all: it says so in the DNS (null MX)")
    return None


def _no_answer(what: str, answers: Iterable[Answer[object]]) -> Unreachable:
    silent = any(answer.found is Found.TIMEOUT for answer in answers)
    why = "did not answer in time" if silent else "failed (SERVFAIL)"
    return Unreachable(DIRECTORY, f"The DNS was asked {what} and {why}; it is asked again later")


def _before_us(records: Sequence[Mx], ourselves: Ourselves) -> list[Mx]:
    """Those that are preferred to us: otherwise two servers would send a message to each other for ever."""
    ours = [mx.preference for mx in records if mx.host in ourselves.names]
    return [mx for mx in records if not ours or mx.preference < min(ours)]


def _loop(domain: str, records: Iterable[Mx]) -> Unreachable:
    named = ", ".join(sorted({mx.host for mx in records if mx.host})[:3])
    return Unreachable(
        LOOP,
        f"The DNS says that mail for {domain} is taken by this server ({named}), which does not know that domain. "
        "Its administrator has to add it here, or to change the MX records",
    )


def _in_order(records: Iterable[Mx], chance: random.Random) -> tuple[Mx, ...]:
    """By preference, equal ones in a random order (RFC 5321 §5.1); "" beside other records is no host (RFC 7505 §3)."""
    shuffled = sorted((mx for mx in records if mx.host), key=lambda mx: (mx.preference, chance.random()))
    return tuple(shuffled[:HOSTS])


# --- addresses


async def _with_addresses(
    domain: str, found: MailHosts, records: Sequence[Mx], lookup: Lookup
) -> MailHosts | Unreachable:
    if len(records) == 1:  # no task for each where there is one
        looked = [await find_addresses(records[0].host, lookup.resolver)]
    else:
        looked = await asyncio.gather(*[find_addresses(mx.host, lookup.resolver) for mx in records])
    ours = [mx.preference for mx, one in zip(records, looked, strict=True) if lookup.ourselves.ips & set(one.ips)]
    hosts, private = [], []
    for mx, one in zip(records, looked, strict=True):
        ips = tuple(ip for ip in one.ips if may_reach(ip, lookup.allowed))
        if ours and mx.preference >= min(ours):
            continue
        if ips:
            hosts.append(MailHost(mx.host, mx.preference, ips, one.authentic, one.name))
        private += [ip for ip in one.ips if ip not in ips]
    if hosts:
        authentic = found.authentic or (found.implicit and hosts[0].authentic)
        return MailHosts(tuple(hosts), authentic, found.implicit)
    if ours:
        return _loop(domain, records)
    failed = [one.failure for one in looked if one.failure is not None]
    if failed:
        return _no_answer(f"for the addresses of the mail servers of {domain}", failed)
    return _nowhere(domain, found, records, private)


def _nowhere(domain: str, found: MailHosts, records: Sequence[Mx], private: Sequence[str]) -> Unreachable:
    names = ", ".join(mx.host[:DOMAIN_LENGTH] for mx in records[:3])
    if private:
        reason = (
            f"The mail servers of {domain} have addresses that are not part of the Internet ({private[0]}). "
            "If they are in a network of your own, the administrator can allow it (sending.private_networks)"
        )
    elif found.implicit:
        reason = f"{domain} has no mail server: the DNS has neither MX records nor an address for it"
    else:
        reason = (
            f"The mail servers of {domain} have no address in the DNS ({names}); its administrator has to mend that"
        )
    return Unreachable(NO_ROUTE, reason)


class Addresses(NamedTuple):
    """Addresses of a host, IPv6 first. `failure`: some question had no answer; `name`: where CNAMEs lead."""

    ips: tuple[str, ...]
    authentic: bool
    name: str
    failure: Answer[str] | None = None


async def find_addresses(host: str, resolver: Resolver) -> Addresses:
    """The addresses of a host, of both families. An address where a name should be is no host (RFC 5321 §5.1)."""
    if _is_address(host):
        return Addresses((), False, host)
    six, four = await asyncio.gather(resolver.aaaa(host), resolver.a(host))
    ips = (*six.records[:ADDRESSES], *four.records[:ADDRESSES])
    failure = six if six.temporary else four if four.temporary else None
    answers = [answer for answer in (six, four) if answer.found is Found.RECORDS]
    authentic = all(answer.authentic for answer in (answers or (six, four)))
    return Addresses(ips, authentic, (answers or (four,))[0].name or host, failure)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
