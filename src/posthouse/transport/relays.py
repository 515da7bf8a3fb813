"""Smart hosts: which server of the administrator's choice takes a message, if one does (RFC 5321 §2.3.10)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

from posthouse.mail.address import Domain
from posthouse.mail.status import Status
from posthouse.transport.mailhosts import find_addresses
from posthouse.transport.target import RelayLogin, Target, TlsDemand, TlsLevel, Unreachable
from posthouse.trust.resolver import Resolver

IMPLICIT_TLS_PORT = 465  # RFC 8314 §7.3
CONFIGURATION = Status(4, 3, 5)  # RFC 3463 §3.4: mail waits until the settings are mended
DIRECTORY = Status(4, 4, 3)


class Use(Enum):
    """When the smart host of everything is used."""

    ALWAYS = "always"
    BLOCKED = "blocked"  # only while port 25 does not lead out


@dataclass(frozen=True, slots=True)
class Relay:
    """A smart host, or with `host` "" the direct way."""

    host: str
    port: int = 587
    login: RelayLogin | None = None
    tls: TlsLevel = TlsLevel.VERIFIED


async def never_blocked() -> bool:
    """Port 25 leads out."""
    return False


@dataclass(frozen=True, slots=True)
class RelayPlan:
    """`routes`: destination domains and their smart hosts, the first that fits; a domain with a dot in front means
    those below it. `everything` is for all others, as `use` says."""

    routes: tuple[tuple[frozenset[str], Relay], ...] = ()
    everything: Relay | None = None
    use: Use = Use.ALWAYS
    blocked: Callable[[], Awaitable[bool]] = field(default=never_blocked)

    async def choose(self, destination: Domain) -> Relay | None:
        """The smart host for this destination; None: the direct way."""
        for domains, relay in self.routes:
            if _fits(destination.name, domains):
                return relay if relay.host else None
        if self.everything is None or (self.use is Use.BLOCKED and not await self.blocked()):
            return None
        return self.everything


def _fits(name: str, domains: frozenset[str]) -> bool:
    labels = name.split(".")
    return name in domains or any("." + ".".join(labels[at:]) in domains for at in range(1, len(labels)))


async def relay_target(relay: Relay, resolver: Resolver) -> Target | Unreachable:
    """The smart host as a Target. It was named by the administrator, so its addresses may be private."""
    demand = TlsDemand(relay.tls, (relay.host,), why="the setting of this smart host")
    ips: tuple[str, ...] = (relay.host,)
    if not _is_ip(relay.host):
        found = await find_addresses(relay.host, resolver)
        if not found.ips:
            return _lost(relay, failed=found.failure is not None)
        ips = found.ips
    implicit = relay.port == IMPLICIT_TLS_PORT
    return Target(relay.host, ips, relay.port, tls=demand, implicit_tls=implicit, login=relay.login)


def _is_ip(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _lost(relay: Relay, *, failed: bool) -> Unreachable:
    if failed:
        return Unreachable(
            DIRECTORY, f"The DNS does not answer where the smart host {relay.host} is; asked again later"
        )
    return Unreachable(
        CONFIGURATION,
        f"The smart host {relay.host} has no address in the DNS. The administrator has to look at [relay] in the "
        "settings; the message waits",
    )
