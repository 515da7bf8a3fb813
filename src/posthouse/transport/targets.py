"""From a destination to the servers to try: smart host, address literal, or MX with DANE and MTA-STS (RFC 5321 §5)."""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from posthouse.mail.address import Domain
from posthouse.mail.envelope import Envelope
from posthouse.net.reach import may_reach
from posthouse.transport.mailhosts import LOOP, NO_ROUTE, Lookup, find_hosts
from posthouse.transport.relays import CONFIGURATION, RelayPlan, relay_target
from posthouse.transport.target import SMTP_PORT, Target, TlsLevel, Unreachable
from posthouse.transport.tlspolicy import ENCRYPTION_NEEDED, Wanted, applied, demands
from posthouse.trust.mtasts import Policy


async def no_policy(domain: str) -> Policy | None:
    """Nobody has an MTA-STS policy."""
    return None


async def nothing_remembered(domain: str) -> TlsLevel:
    """Nothing is remembered of any domain."""
    return TlsLevel.OPPORTUNISTIC


@dataclass(frozen=True, slots=True)
class Routing:
    """All that decides where mail goes. `sources`: from which addresses the mail of a sender's domain leaves; "*" is
    everybody's. `policy` and `remembered` say what is known of a domain's TLS."""

    lookup: Lookup
    relays: RelayPlan = field(default_factory=RelayPlan)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    policy: Callable[[str], Awaitable[Policy | None]] = no_policy
    remembered: Callable[[str], Awaitable[TlsLevel]] = nothing_remembered
    port: int = SMTP_PORT


async def find_targets(destination: Domain, envelope: Envelope, routing: Routing) -> tuple[Target, ...] | Unreachable:
    """The servers to try, best first, or why there is none."""
    relay = await routing.relays.choose(destination)
    if relay is not None:
        target = await relay_target(relay, routing.lookup.resolver)
        found: tuple[Target, ...] | Unreachable = target if isinstance(target, Unreachable) else (target,)
    elif destination.literal:
        found = _literal(destination, envelope, routing)
    else:
        found = await _by_mx(destination.name, envelope, routing)
    return found if isinstance(found, Unreachable) else _from_sources(found, envelope, routing)


def _literal(destination: Domain, envelope: Envelope, routing: Routing) -> tuple[Target, ...] | Unreachable:
    """RFC 5321 §4.1.3: the address itself, asked of nobody."""
    ip = str(ipaddress.ip_address(destination.name.strip("[]").removeprefix("IPv6:")))
    if ip in routing.lookup.ourselves.ips:
        return Unreachable(LOOP, f"{destination} is an address of this server, which has no mailbox for it")
    if not may_reach(ip, routing.lookup.allowed):
        return Unreachable(
            NO_ROUTE,
            f"{destination} is not part of the Internet. If it is in a network of your own, the administrator can "
            "allow it (sending.private_networks)",
        )
    if envelope.require_tls:
        return Unreachable(ENCRYPTION_NEEDED, f"REQUIRETLS was asked for, and {destination} cannot prove who it is")
    return (Target(destination.name, (ip,), routing.port),)


async def _by_mx(domain: str, envelope: Envelope, routing: Routing) -> tuple[Target, ...] | Unreachable:
    found = await find_hosts(domain, routing.lookup)
    if isinstance(found, Unreachable):
        return found
    if envelope.tls_optional:  # RFC 8689 §4.2.2: TLS where it can be had, and no policy stands in the way
        return tuple(Target(host.host, host.ips, routing.port, host.preference) for host in found.hosts)
    # RFC 8689 §4.2.1: a bounce goes on without what its message required
    required = envelope.require_tls and envelope.sender.address is not None
    policy = await routing.policy(domain)
    wanted = Wanted(policy, await routing.remembered(domain), required)
    decided = await demands(domain, found, wanted, routing.lookup.resolver, routing.port)
    if isinstance(decided, Unreachable):
        return decided
    return tuple(
        Target(host.host, host.ips, routing.port, host.preference, demand, applied=applied(domain, demand, policy))
        for host, demand in decided
    )


def _from_sources(
    targets: tuple[Target, ...], envelope: Envelope, routing: Routing
) -> tuple[Target, ...] | Unreachable:
    """Each from the addresses that the sender's domain has, one Target for each of them that can reach it."""
    sender = envelope.sender.address
    name = "*" if sender is None else sender.domain.name
    sources = routing.sources.get(name, routing.sources.get("*", ()))
    if not sources:
        return targets
    pairs = [(target, source, _of_family(target.ips, source)) for target in targets for source in sources]
    found = tuple(replace(target, source=source, ips=ips) for target, source, ips in pairs if ips)
    if found:
        return found
    return Unreachable(
        CONFIGURATION,
        f"The addresses from which this server sends ({', '.join(sources)}) are of another kind than those of the "
        "other side: one has IPv4, one IPv6. The administrator has to look at sending.sources; the message waits",
    )


def _of_family(ips: tuple[str, ...], source: str) -> tuple[str, ...]:
    return tuple(ip for ip in ips if (":" in ip) == (":" in source))
