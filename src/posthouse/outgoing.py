"""From settings to the way out: resolver, smart hosts, source addresses and TLS policies as transport knows them."""

import asyncio
import errno
import functools
import logging
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from posthouse.config_out import EVERYBODY, RelaySection, Route
from posthouse.config_sections import Settings
from posthouse.mail.address import Domain
from posthouse.mail.envelope import Envelope
from posthouse.mail.ids import Millis
from posthouse.mail.outcome import Outcome
from posthouse.mail.status import Status
from posthouse.net.dns import DnsLimits, NetworkResolver
from posthouse.net.https import Https, https_context
from posthouse.net.nameservers import Server, Trust, servers_of, system_servers
from posthouse.net.peer import TlsFailure
from posthouse.net.reach import networks
from posthouse.store.script import StoreError
from posthouse.transport.house import House
from posthouse.transport.mailhosts import Lookup, Ourselves
from posthouse.transport.policies import Policies, keep_policies
from posthouse.transport.port25 import Port25, probe
from posthouse.transport.relays import Relay, RelayPlan, Use
from posthouse.transport.remembered import Remembered
from posthouse.transport.reports import keep_reporting
from posthouse.transport.signing import keep_looking
from posthouse.transport.target import SMTP_PORT, RelayLogin, Target, TlsDemand, TlsLevel, Unreachable
from posthouse.transport.targets import Routing, find_targets, no_policy, nothing_remembered
from posthouse.transport.tlscount import TlsCount
from posthouse.trust.resolver import Resolver

NOT_NOW = Status(4, 3, 0)  # RFC 3463 §3.4
PASSWORD_OCTETS = 4_096  # of a password file; only its first line counts

log = logging.getLogger(__name__)


def make_resolver(settings: Settings) -> NetworkResolver:
    """The resolver of a worker."""
    limits = settings.limits.dns
    return NetworkResolver(
        functools.partial(_servers, settings),
        DnsLimits(limits.try_seconds, limits.tries, limits.name_seconds, limits.questions, limits.cache_size),
    )


def _servers(settings: Settings) -> tuple[Server, ...]:
    trust = Trust(settings.dns.trust)
    return servers_of(settings.dns.servers, trust) or system_servers(trust)


def make_https(settings: Settings, resolver: Resolver) -> Https:
    """How policies are fetched and reports handed over. Raises OSError for authorities that cannot be read."""
    return Https(resolver, believed(settings), networks(settings.sending.private_networks))


def believed(settings: Settings) -> ssl.SSLContext:
    """For HTTPS. Raises OSError, which names the file, for authorities that cannot be read."""
    file = authorities(settings)
    try:
        return https_context(file)
    except OSError as error:  # ssl.SSLError is one; neither names the file
        raise OSError(error.errno, error.strerror or str(error), str(file or "")) from error


def authorities(settings: Settings) -> Path | None:
    """The file of authorities that are believed of others; None: the system's."""
    return Path(settings.sending.authorities) if settings.sending.authorities else None


def make_relays(settings: Settings) -> tuple[Relay, ...]:
    """Every smart host of the settings, once. Raises OSError for a password file that cannot be read."""
    named: list[Route | RelaySection] = [settings.relay, *settings.relay.routes]
    return tuple(dict.fromkeys(_relay(one) for one in named if one.host))


def make_routing(
    settings: Settings, resolver: Resolver, policies: Policies | None = None, remembered: Remembered | None = None
) -> Routing:
    """Where the mail of this house goes. Raises OSError for a password file that cannot be read."""
    sending = settings.sending
    look = functools.partial(probe, sending.probes, resolver)
    sources = {source.domain: source.addresses for source in sending.sources}
    return Routing(
        Lookup(resolver, ourselves(settings), networks(sending.private_networks)),
        _plan(settings.relay, Port25(look)),
        {EVERYBODY: (), **sources} if sources else {},
        no_policy if policies is None else policies.find,
        nothing_remembered if remembered is None else remembered.level,
    )


def dane(clock: Callable[[], Millis]) -> Callable[[Sequence[bytes], TlsDemand], bool]:
    """`Sending.dane`: whether a chain is what the TLSA records of a demand stand for."""

    def verified(chain: Sequence[bytes], demand: TlsDemand) -> bool:
        from posthouse.net.chain import dane_verified  # here, because a worker starts sooner without cryptography

        return dane_verified(chain, demand.tlsa, demand.names, datetime.fromtimestamp(clock() / 1000, UTC))

    return verified


def ourselves(settings: Settings) -> Ourselves:
    """Our name, and the addresses at which other servers reach port 25 of this server."""
    ips: set[str] = set()
    for listen in settings.smtp.listen:
        if listen.port == SMTP_PORT:
            ips.update(_interface_addresses() if listen.host == "*" else [listen.host])
    return Ourselves(frozenset({settings.hostname.lower()}), frozenset(ips))


def _interface_addresses() -> Iterable[str]:
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family.name in ("AF_INET", "AF_INET6"):
                yield one.address.partition("%")[0]


def _plan(relay: RelaySection, port25: Port25) -> RelayPlan:
    routes = tuple((frozenset(name.lower() for name in route.domains), _relay(route)) for route in relay.routes)
    everything = _relay(relay) if relay.host else None
    return RelayPlan(routes, everything, Use(relay.use), port25.blocked)


def _relay(one: Route | RelaySection) -> Relay:
    password = _first_line(one.password_file) if one.password_file else one.password
    login = RelayLogin(one.user, password, channel_binding=one.channel_binding) if one.user else None
    return Relay(one.host.lower(), one.port, login, TlsLevel(one.tls))


def _first_line(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8") as opened:
            return opened.readline(PASSWORD_OCTETS).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "it is not UTF-8", file) from error


class WayOut:
    """All that says where the mail of one worker goes, and what is known of the servers there."""

    def __init__(self, settings: Settings, house: House) -> None:
        """Raises OSError where a file that the settings name cannot be read."""
        self.resolver = make_resolver(settings)
        self._house = house
        self._https = make_https(settings, self.resolver)
        self._reporting = settings.sending.tls_reports
        self.count = TlsCount(house.store, house.clock)
        self.policies = Policies(house.store, self._https, house.clock, self.count.no_policy)
        self.remembered = Remembered(house.store, house.clock)
        routing = make_routing(settings, self.resolver, self.policies, self.remembered)
        self.routing = replace(routing, unnamed=self.count.unnamed)

    async def find(self, destination: Domain, envelope: Envelope) -> tuple[Target, ...] | Unreachable:
        """The servers to try. A store that cannot answer lets mail wait."""
        try:
            return await find_targets(destination, envelope, self.routing)
        except StoreError as error:
            return Unreachable(NOT_NOW, f"This server cannot look up what it knows of {destination} ({error})")

    def saw_tls(self, target: Target, ip: str, failure: TlsFailure | None) -> None:
        """`Sending.saw_tls`."""
        if self._reporting:
            self.count.saw_tls(target, ip, failure)

    async def learn(self, destination: Domain, outcomes: Sequence[Outcome]) -> None:
        """Remember what an attempt has shown, if it was with the destination's own servers."""
        if destination.literal or await self.routing.relays.choose(destination) is not None:
            return
        try:
            await self.remembered.learn(destination.name, outcomes)
        except StoreError as error:
            log.warning("the TLS of a domain was not remembered: %s", error, extra={"domain": destination.name})

    async def run(self) -> None:
        """Refresh policies, look at the records of our keys, count sessions and send reports, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(keep_policies(self.policies, self._house.store, self._house.clock))
            group.create_task(keep_looking(self._house.store, self.resolver, self._house.clock))
            if self._reporting:
                group.create_task(self.count.keep())
                group.create_task(keep_reporting(self._house, self._https))

    async def close(self) -> None:
        """End what is being asked and fetched."""
        await self.policies.close()
        await self.resolver.close()
