"""From a destination to the servers to try: smart host, address literal, or MX with DANE and MTA-STS (RFC 5321 §5)."""

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from posthouse.mail.address import Domain
from posthouse.mail.envelope import Envelope
from posthouse.net.reach import may_reach
from posthouse.transport.mailhosts import LOOP, NO_ROUTE, Lookup, MailHost, MailHosts, find_hosts
from posthouse.transport.relays import CONFIGURATION, RelayPlan, relay_target
from posthouse.transport.target import SMTP_PORT, Target, TlsDemand, TlsLevel, Unreachable
from posthouse.transport.tlspolicy import ENCRYPTION_NEEDED, Wanted, applied, demands
from posthouse.trust.mtasts import Mode, Policy, matches_policy
from posthouse.trust.reports import Applied

TESTED = 3  # hosts that a policy in mode `testing` is tried with: more would leave no tries for going without it


async def no_policy(domain: str) -> Policy | None:
    """Nobody has an MTA-STS policy."""
    return None


async def nothing_remembered(domain: str) -> TlsLevel:
    """Nothing is remembered of any domain."""
    return TlsLevel.OPPORTUNISTIC


@dataclass(frozen=True, slots=True)
class Routing:
    """All that decides where mail goes. `sources`: from which addresses the mail of a sender's domain leaves; "*" is
    everybody's. `policy` and `remembered` say what is known of a domain's TLS. `unnamed` hears of hosts that a policy
    does not name."""

    lookup: Lookup
    relays: RelayPlan = field(default_factory=RelayPlan)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    policy: Callable[[str], Awaitable[Policy | None]] = no_policy
    remembered: Callable[[str], Awaitable[TlsLevel]] = nothing_remembered
    unnamed: Callable[[Applied, str], None] = lambda shown, host: None
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
        return Unreachable(
            ENCRYPTION_NEEDED,
            f"Encryption all the way was asked for (REQUIRETLS), and {destination} cannot prove who it is",
        )
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
    if policy is not None and policy.mode is not Mode.NONE:
        _tell_unnamed(domain, found, policy, decided, routing)
    if isinstance(decided, Unreachable):
        return decided
    targets: list[Target] = []
    for at, (host, demand) in enumerate(decided):
        targets += _targets(Target(host.host, host.ips, routing.port, host.preference, demand), domain, policy, at)
    return tuple(targets)


def _tell_unnamed(
    domain: str,
    found: MailHosts,
    policy: Policy,
    decided: Sequence[tuple[MailHost, TlsDemand]] | Unreachable,
    routing: Routing,
) -> None:
    """Hosts that the policy does not name are reported, whether they are tried or not (RFC 8461 §5)."""
    dane = [] if isinstance(decided, Unreachable) else [h for h, demand in decided if demand.level is TlsLevel.DANE]
    for host in found.hosts:
        if host not in dane and not matches_policy(policy, host.host):
            routing.unnamed(applied(domain, TlsDemand(), policy), host.host)


def _targets(plain: Target, domain: str, policy: Policy | None, at: int) -> list[Target]:
    """The host as a Target. A policy in mode `testing` is tried first, and its failure is only reported: the same host
    follows without it (RFC 8461 §5)."""
    plain = replace(plain, applied=applied(domain, plain.tls, policy))
    if policy is None or policy.mode is not Mode.TESTING:
        return [plain]
    plain = replace(plain, preference=2 * plain.preference + 1)
    if plain.tls.level in (TlsLevel.DANE, TlsLevel.VERIFIED):
        return [plain]
    loose = replace(plain, applied=None)
    if at >= TESTED or not matches_policy(policy, plain.host):
        return [loose]
    demand = TlsDemand(TlsLevel.VERIFIED, (plain.host,), why=f"MTA-STS of {domain}, which is being tested,")
    return [replace(plain, preference=plain.preference - 1, tls=demand), loose]


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
