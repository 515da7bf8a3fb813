"""Which TLS the hosts of a domain must show: DANE before MTA-STS before what is remembered (RFC 7672 §2, RFC 8461 §2).

A host whose TLSA records cannot be had is not tried: whoever suppresses them would else win (RFC 7672 §2.1.2).
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.status import Status
from posthouse.transport.mailhosts import MailHost, MailHosts
from posthouse.transport.target import SMTP_PORT, TlsDemand, TlsLevel, Unreachable
from posthouse.trust import dane
from posthouse.trust.mtasts import Mode, Policy, matches_policy
from posthouse.trust.reports import Applied, PolicyType
from posthouse.trust.resolver import Found, Resolver

NO_TLSA = Status(4, 4, 3)
POLICY = Status(4, 7, 5)  # RFC 3463 §3.8: what cryptography must show cannot be had; its administrator can mend it
ENCRYPTION_NEEDED = Status(5, 7, 10)  # RFC 8689 §4.2.1


class Wanted(NamedTuple):
    """What counts beside the DNS: the MTA-STS policy of the domain, the least level that is remembered of it, and
    whether the message itself requires TLS (RFC 8689)."""

    policy: Policy | None = None
    remembered: TlsLevel = TlsLevel.OPPORTUNISTIC
    require_tls: bool = False


async def demands(
    domain: str, found: MailHosts, wanted: Wanted, resolver: Resolver, port: int = SMTP_PORT
) -> list[tuple[MailHost, TlsDemand]] | Unreachable:
    """The hosts that may be tried, each with what it must show."""
    if found.authentic:
        asked = await asyncio.gather(*[_dane(domain, host, resolver, port) for host in found.hosts])
    else:  # anybody may have changed the answer: their certificates would prove nothing
        asked = [TlsDemand() for _ in found.hosts]
    kept = [(host, demand) for host, demand in zip(found.hosts, asked, strict=True) if demand is not None]
    if not kept:
        return Unreachable(
            NO_TLSA,
            f"The DNS does not answer which certificates the mail servers of {domain} have (TLSA records); without "
            "that answer the message could be stolen, so it waits",
        )
    kept = _by_policy(domain, kept, wanted.policy)
    if not kept:
        return Unreachable(
            POLICY,
            f"No mail server of {domain} is one that its MTA-STS policy names. Somebody changes the DNS, or its "
            "administrator has to mend the policy; the message waits",
        )
    kept = [(host, _at_least(domain, demand, wanted.remembered)) for host, demand in kept]
    return _required(domain, found, kept) if wanted.require_tls else kept


async def _dane(domain: str, host: MailHost, resolver: Resolver, port: int) -> TlsDemand | None:
    """What the TLSA records ask of this host; None: they cannot be had (RFC 7672 §2.2)."""
    for name in await _bases(host, resolver):
        answer = await resolver.tlsa(dane.owner(name, port))
        if answer.temporary:
            return None
        if answer.found is not Found.RECORDS or not answer.authentic:
            continue
        usable = dane.usable(answer.records)
        if not usable:
            return TlsDemand(TlsLevel.ENCRYPTED, why=f"DANE of {name}, no TLSA record of which can be used,")
        names = tuple(dict.fromkeys((name, host.host, domain)))
        return TlsDemand(TlsLevel.DANE, names, usable, f"DANE of {name}")
    return TlsDemand()


async def _bases(host: MailHost, resolver: Resolver) -> list[str]:
    """The names below which TLSA records may stand: where CNAMEs lead first, then the host's own (RFC 7672 §2.2.3).
    Where a signed alias leads to what is not signed, only its own (§2.2.2)."""
    if host.authentic:
        return list(dict.fromkeys((host.end or host.host, host.host)))
    if host.end in ("", host.host):
        return []
    alias = await resolver.cname(host.host)
    return [host.host] if alias.found is Found.RECORDS and alias.authentic else []


def _by_policy(
    domain: str, hosts: Sequence[tuple[MailHost, TlsDemand]], policy: Policy | None
) -> list[tuple[MailHost, TlsDemand]]:
    """RFC 8461 §5: hosts that the policy does not name are not tried; DANE goes before (§2)."""
    if policy is None or policy.mode is not Mode.ENFORCE:
        return list(hosts)
    kept = []
    for host, demand in hosts:
        if demand.level is TlsLevel.DANE:
            kept.append((host, demand))
        elif matches_policy(policy, host.host):
            kept.append((host, TlsDemand(TlsLevel.VERIFIED, (host.host,), why=f"MTA-STS of {domain}")))
    return kept


def _at_least(domain: str, demand: TlsDemand, remembered: TlsLevel) -> TlsDemand:
    """What is remembered never falls silently (decision 0083)."""
    if demand.level is not TlsLevel.OPPORTUNISTIC or remembered is TlsLevel.OPPORTUNISTIC:
        return demand
    return TlsDemand(TlsLevel.ENCRYPTED, why=f"our memory of the TLS of {domain}")


def _required(
    domain: str, found: MailHosts, hosts: Sequence[tuple[MailHost, TlsDemand]]
) -> list[tuple[MailHost, TlsDemand]] | Unreachable:
    """RFC 8689 §4.2.1: the name of the server is known for sure, and its certificate shows it."""
    sure = found.authentic or found.implicit
    kept = []
    for host, demand in hosts:
        if demand.level in (TlsLevel.DANE, TlsLevel.VERIFIED):
            kept.append((host, demand))
        elif sure:
            kept.append((host, TlsDemand(TlsLevel.VERIFIED, (host.host,), why="REQUIRETLS of the message")))
    if kept:
        return kept
    return Unreachable(
        ENCRYPTION_NEEDED,
        f"Encryption all the way was asked for (REQUIRETLS), and {domain} has neither DNSSEC nor MTA-STS by which its "
        "servers could prove who they are",
    )


def applied(domain: str, demand: TlsDemand, policy: Policy | None) -> Applied:
    """As what a session under this demand is reported (RFC 8460 §4.4)."""
    if demand.tlsa:
        records = (f"{t.usage} {t.selector} {t.matching} {t.association.hex()}" for t in demand.tlsa)
        return Applied(domain, PolicyType.TLSA, tuple(records))
    if policy is not None and policy.mode is not Mode.NONE:
        return Applied(domain, PolicyType.STS, policy.lines, policy.patterns)
    return Applied(domain, PolicyType.NONE)
