"""How much one peer may ask of us: connections, new connections, unknown recipients, failed logins (limits.md).

`Peers` is the one place that hands out what holds now: under stress (stress.py) strangers may do less than usual.

All counting here is in the memory of one worker. The kernel spreads connections over workers, so each worker gets its
share of the limits of addresses, and the whole of those of users (`share`); what that loses in exactness it gains by
needing no counter that two processes touch. Failed logins of an hour and a day the workers tell each other, seconds
later, by the store (logbook.py).
Every table is bounded by TABLE entries: the oldest is forgotten first.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import lru_cache

from posthouse.net.link import Link
from posthouse.serve.stress import Stress, StressLimits
from posthouse.wire.imap.assembler import ImapLimits
from posthouse.wire.imap.grammar import GrammarLimits
from posthouse.wire.smtp.server import SmtpLimits

TABLE = 65_536  # peers remembered in each table; an attacker with more addresses only forgets their own history
GOOD_SECONDS = 30 * 86_400.0  # how long a good login is remembered, of an address and of a user from there
LEAST_SHARE = 4  # a worker never has less than this part of a limit of addresses, however many workers there are
# Limits that are not divided among workers. Those that count a user and not an address: a mail program has one
# connection or two, which are on one worker or two. And those whose counts the workers tell each other (logbook.py).
WHOLE = frozenset(
    {
        "login_failures_day",
        "imap_connections_of_user",
        "pop3_connections_of_user",
        "account_failures_hour",
        "domain_failures_hour",
        "messages_hour",
        "recipients_day",
        "first_recipients_day",
    }
)
# Failed logins are counted for an address and its networks: prefix lengths (IPv4, IPv6) and how often the limit.
FAILURE_NETWORKS = (((32, 64), 1), ((24, 48), 3), ((16, 32), 9))


class Refusal(Enum):
    """Why a connection or a login is refused. errors.py has the words."""

    WRONG = "wrong user name or password"
    MALFORMED = "not an answer to the challenge"
    CANCELLED = "the client gave up"
    MECHANISM = "unknown mechanism"
    FAILURES = "too many failed logins"
    BUSY = "too many logins being checked"
    DIRECTORY = "the directory of users does not answer"
    PROVIDER = "the token could not be checked"
    CONNECTIONS = "too many connections"
    RATE = "too many new connections"
    FULL = "all connections of this worker are taken"
    STRESS = "the worker is under stress, and the peer is a stranger"


class Service(Enum):
    """Connections are counted apart for each kind of service."""

    SMTP = "smtp"
    IMAP = "imap"
    POP3 = "pop3"


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """What one IP address may do (IPv4 /32, IPv6 /64). Counts, and seconds where the name says so."""

    smtp_connections: int = 50
    imap_connections: int = 100
    imap_connections_of_user: int = 20  # one user from one address
    pop3_connections: int = 100
    pop3_connections_of_user: int = 20  # one user from one address
    new_connections: int = 300  # a minute
    new_connections_wide: int = 900  # a minute, of a /24 or /48
    unknown_recipients: int = 60  # an hour, over all sessions
    unknown_recipients_seconds: int = 600  # how long every RCPT is then deferred
    login_failures_minute: int = 10
    login_failures_day: int = 50
    account_failures_hour: int = 100  # one account, over all addresses: then each refusal takes longer
    domain_failures_hour: int = 1_000  # all names of a domain, over all addresses: the same
    messages_hour: int = 200  # of one user, on submission
    recipients_day: int = 2_000  # of one user, on submission
    first_recipients_day: int = 500  # of one user, on submission: those the user has never written to before
    offences: int = 3  # sessions in an hour that ended for errors or failed logins, or began a harvest: bad reputation
    recipients_of_offender: int = 100  # of one message, from an address with a bad reputation
    rate_refusal_seconds: float = 1.0  # how late "too many new connections" is said
    refusal_seconds: float = 2.0  # from a login to "no", whatever the reason
    slow_refusal_seconds: float = 15.0  # the same for an account or a domain that is guessed at from everywhere
    exempt_loopback: bool = False  # benchmarks, tests and `posthouse try` are many clients on one address


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one SMTP session may do. Counts, and seconds where the name says so."""

    soft_errors: int = 5  # from here on each error is answered late
    hard_errors: int = 20
    error_delay_seconds: float = 1.0  # doubled with each error
    error_delay_most_seconds: float = 10.0
    junk_commands: int = 100  # RSET, NOOP, HELP, VRFY, EHLO … since the last message
    transactions: int = 1_000
    age_seconds: float = 3_600.0
    unknown_recipients: int = 20
    login_failures: int = 3
    command_seconds: float = 300.0  # RFC 5321 §4.5.3.2.7
    greeting_seconds: float = 30.0  # until EHLO: who opens a connection has something to say
    slow_window_seconds: float = 60.0  # DATA slower than `slow_octets` a second over this time is given up
    slow_octets: int = 1_024
    command_line: int = 4_096
    auth_line: int = 12_288
    swallowed: int = 65_536  # octets of one line too long before the connection is given up
    text_line: int = 1024 * 1024
    discarded: int = 256 * 1024 * 1024  # octets beyond the message size that are read to say 552 in order

    def engine(self, message_size: int) -> SmtpLimits:
        """Those the engine looks after."""
        return SmtpLimits(
            self.command_line, self.auth_line, self.swallowed, self.text_line, message_size, self.discarded
        )


@dataclass(frozen=True, slots=True)
class ImapSessionLimits:
    """What one IMAP session may do. Octets and counts, and seconds where the name says so."""

    before_login_seconds: float = 60.0  # from the greeting to the login
    sasl_seconds: float = 180.0  # the same while a SASL exchange runs: a person may have to look for a token
    idle_seconds: float = 35 * 60.0  # RFC 9051 §5.4 asks for 30 minutes
    login_failures: int = 3
    append_size: int = 100 * 1024 * 1024  # all messages of one APPEND
    append_messages: int = 1_000
    messages: int = 1_000_000  # one command works on; more than a mailbox has (RFC 9738 §4.2)
    line: int = 65_536
    line_before_login: int = 8_192
    literal: int = 65_536  # of any command, messages of APPEND and texts of CATENATE apart
    literal_before_login: int = 4_096
    literals: int = 500
    command: int = 1024 * 1024
    search_depth: int = 50
    search_keys: int = 1_000
    number_ranges: int = 10_000  # of one set of message numbers, merged
    contexts: int = 10  # searches whose results are kept up to date, of one session (RFC 5267 §4.3.1)

    @property
    def engine(self) -> ImapLimits:
        """Those the engine looks after."""
        return ImapLimits(
            self.line,
            self.line_before_login,
            self.literal,
            self.literal_before_login,
            self.literals,
            self.command,
            self.append_messages,
            GrammarLimits(self.search_depth, self.search_keys, self.number_ranges),
        )


@dataclass(frozen=True, slots=True)
class Pop3SessionLimits:
    """What one POP3 session may do. Octets and counts, and seconds where the name says so."""

    before_login_seconds: float = 60.0  # from the greeting to the login
    sasl_seconds: float = 180.0  # the same while a SASL exchange runs
    idle_seconds: float = 600.0  # RFC 1939 §3 asks for 10 minutes at least
    login_failures: int = 3
    mistakes: int = 50  # malformed commands, and what a stranger says without getting in
    line: int = 1_024


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker may hold. Counts and octets."""

    connections: int = 5_000
    reserved_descriptors: int = 200  # not for connections: the store, the log, spool files
    memory: int = 1024 * 1024 * 1024
    restart_percent: int = 95  # of the memory: then the worker drains and another takes its place
    hash_threads: int = 2  # each needs 19 MiB and a core; hashing before login is itself a way to attack
    hash_queue: int = 32  # logins waiting for a thread: about half a second of work


def share(limits: PeerLimits, workers: int) -> PeerLimits:
    """One worker's part of limits meant for the whole server: rounded up, never below a quarter, so that clients whose
    few connections come to one worker are served. Limits of users are not divided: somebody with connections to all
    workers gets more than meant, which is better than a user who gets a sixteenth."""
    divisor = min(workers, LEAST_SHARE)
    parts = {f.name: -(-getattr(limits, f.name) // divisor) for f in fields(limits) if _divided(f.name)}
    return replace(limits, **parts)


@lru_cache(64)
def under_stress(limits: SessionLimits, stress: StressLimits) -> SessionLimits:
    """What a stranger's SMTP session may do while the worker is under stress."""
    return replace(
        limits,
        command_seconds=min(limits.command_seconds, stress.command_seconds),
        hard_errors=min(limits.hard_errors, stress.errors),
        junk_commands=min(limits.junk_commands, stress.junk_commands),
    )


def _divided(name: str) -> bool:
    if name.endswith("_seconds") or name in WHOLE:
        return False
    return name not in ("exempt_loopback", "recipients_of_offender")


@lru_cache(4_096)
def network(ip: str, v4: int, v6: int) -> str:
    """The network an address is counted under, by prefix length: `192.0.2.0/24`. What is no address is itself."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    prefix = v4 if address.version == 4 else v6
    return str(ipaddress.ip_network((address, prefix), strict=False))


@lru_cache(4_096)
def loopback(ip: str) -> bool:
    """Whether a connection comes from this machine itself; a Unix socket has no address and does."""
    try:
        return not ip or ipaddress.ip_address(ip).is_loopback
    except ValueError:
        return False


class Window:
    """How often something happened to a key in the last `seconds`, exactly, up to `most` times each."""

    __slots__ = ("_most", "_seconds", "_times")

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, key: str, now: float) -> int:
        """Count one more; returns how many there are now (at most `most` + 1, older ones are forgotten)."""
        times = self._times.get(key)
        if times is None:
            times = self._times[key] = deque(maxlen=self._most + 1)
            if len(self._times) > TABLE:
                self._times.popitem(last=False)
        self._times.move_to_end(key)  # many keys that are new push out those where it is quiet
        times.append(now)
        return self.count(key, now)

    def count(self, key: str, now: float) -> int:
        """How many there are within the window."""
        times = self._times.get(key)
        if times is None:
            return 0
        while times and times[0] <= now - self._seconds:
            times.popleft()
        if not times:
            del self._times[key]
        return len(times)


class Peers:
    """What every peer is doing on this worker right now and did lately. One per worker, shared by all sessions.

    `now` is a clock that never goes back, in seconds. `connections` are what this worker takes in all.
    """

    def __init__(
        self,
        limits: PeerLimits | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        connections: int = WorkerLimits().connections,
        stress: Stress | None = None,
    ) -> None:
        self.limits = limits or PeerLimits()
        self.now = now
        self.connections = connections
        self.stress = stress or Stress()
        self.open = 0  # connections now, of everybody
        self._open: dict[tuple[str, str], int] = {}
        self._new = Window(60.0, self.limits.new_connections)
        self._new_wide = Window(60.0, self.limits.new_connections_wide)
        self._unknown = Window(3_600.0, self.limits.unknown_recipients)
        self._deferred: OrderedDict[str, float] = OrderedDict()
        self._offences = Window(3_600.0, self.limits.offences)
        self._failures = [
            (prefix, Window(seconds, most * factor), most * factor)
            for seconds, most in ((60.0, self.limits.login_failures_minute), (86_400.0, self.limits.login_failures_day))
            for prefix, factor in FAILURE_NETWORKS
        ]
        self._account_failures = Window(3_600.0, self.limits.account_failures_hour)
        self._domain_failures = Window(3_600.0, self.limits.domain_failures_hour)
        self._good: OrderedDict[str, float] = OrderedDict()
        self._at_home: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._delivered: OrderedDict[str, None] = OrderedDict()

    def exempt(self, ip: str) -> bool:
        """Whether nothing is counted for this peer."""
        return (self.limits.exempt_loopback or not ip) and loopback(ip)

    @contextmanager
    def connection(self, ip: str, service: Service, *, admitted: bool = False) -> Iterator[Refusal | None]:
        """Count a connection while the block runs. Gives the reason when it must not be: answer it with 421 or BYE, and
        close.

        Ports that begin with TLS ask before the handshake, which is the costly part, and close without a word; the
        session then says that the connection was `admitted`, so that it is no new one."""
        self.open += 1
        try:
            with self._one_more(ip, service) as fits:
                yield self._judge(ip, fits=fits, admitted=admitted)
        finally:
            self.open -= 1

    @contextmanager
    def _one_more(self, ip: str, service: Service) -> Iterator[bool]:
        if self.exempt(ip):
            yield True
            return
        with self._counted((service.value, network(ip, 32, 64)), self._connections_of(service)) as fits:
            yield fits

    def _connections_of(self, service: Service) -> int:
        if service is Service.SMTP:
            return self.limits.smtp_connections
        return self.limits.imap_connections if service is Service.IMAP else self.limits.pop3_connections

    def _judge(self, ip: str, *, fits: bool, admitted: bool) -> Refusal | None:
        if self.open > self.connections:
            return Refusal.FULL
        if not fits:
            return Refusal.CONNECTIONS
        if admitted or self.exempt(ip):
            return None
        room = -(-self.connections * self.stress.limits.connections_percent // 100)
        if (self.stress.on or self.open > room) and not self.good(ip):
            return Refusal.STRESS
        return self._judge_new(ip)

    @contextmanager
    def user_connection(self, user: str, ip: str, service: Service = Service.IMAP) -> Iterator[Refusal | None]:
        """Count a connection of one user from one address while the block runs, for each service apart."""
        if self.exempt(ip):
            yield None
            return
        imap = service is Service.IMAP
        most = self.limits.imap_connections_of_user if imap else self.limits.pop3_connections_of_user
        with self._counted((f"{service.value} {user}", network(ip, 32, 64)), most) as fits:
            yield None if fits else Refusal.CONNECTIONS

    @contextmanager
    def _counted(self, key: tuple[str, str], most: int) -> Iterator[bool]:
        count = self._open[key] = self._open.get(key, 0) + 1
        try:
            yield count <= most
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def _judge_new(self, ip: str) -> Refusal | None:
        now = self.now()
        narrow = self._new.add(network(ip, 32, 64), now) > self.limits.new_connections
        wide = self._new_wide.add(network(ip, 24, 48), now) > self.limits.new_connections_wide
        return Refusal.RATE if narrow or wide else None

    def unknown_recipient(self, ip: str) -> None:
        """Somebody at `ip` asked for a user who is not there; too many of these and `deferred` says so."""
        if self.exempt(ip):
            return
        key, now = network(ip, 32, 64), self.now()
        if self._unknown.add(key, now) >= self.limits.unknown_recipients:
            if key not in self._deferred:
                self.offended(ip)
            self._deferred[key] = now + self.limits.unknown_recipients_seconds
            if len(self._deferred) > TABLE:
                self._deferred.popitem(last=False)

    def deferred(self, ip: str) -> bool:
        """Whether every RCPT of this peer is answered 450 for a while (directory harvest)."""
        if not self._deferred:
            return False
        key = network(ip, 32, 64)
        until = self._deferred.get(key)
        if until is not None and until <= self.now():
            del self._deferred[key]
            return False
        return until is not None

    def offended(self, ip: str) -> None:
        """A session of this address had to be ended, or all its recipients deferred."""
        if not self.exempt(ip):
            self._offences.add(network(ip, 32, 64), self.now())

    def offender(self, ip: str) -> bool:
        """Whether this address has a bad reputation: several offences in an hour, and no login that went well."""
        key, now = network(ip, 32, 64), self.now()
        return self._offences.count(key, now) >= self.limits.offences and self._good.get(key, now) <= now

    def delivered(self, ip: str) -> None:
        """A message from this address was accepted: it is no stranger any more."""
        if self.exempt(ip):
            return
        key = network(ip, 32, 64)
        self._delivered[key] = None
        self._delivered.move_to_end(key)
        if len(self._delivered) > TABLE:
            self._delivered.popitem(last=False)

    def good(self, ip: str) -> bool:
        """Whether this address has a good history here: it logged in, or delivered mail, and has no bad reputation."""
        key, now = network(ip, 32, 64), self.now()
        known = key in self._delivered or self._good.get(key, now) > now
        return self.exempt(ip) or (known and not self.offender(ip))

    def _strained(self, ip: str) -> bool:
        return self.stress.on and not self.exempt(ip)

    def patience(self, ip: str, limits: SessionLimits) -> SessionLimits:
        """What a stranger's SMTP session may do now, where `limits` are the usual."""
        return under_stress(limits, self.stress.limits) if self._strained(ip) else limits

    def recipients(self, ip: str, most: int) -> int:
        """How many recipients a stranger's message may have now, where `most` is the usual."""
        if self.offender(ip):
            most = min(most, self.limits.recipients_of_offender)
        return min(most, self.stress.limits.recipients) if self._strained(ip) else most

    def before_login(self, ip: str, seconds: float) -> float:
        """How long a stranger may take to log in now, where `seconds` is the usual."""
        return min(seconds, self.stress.limits.command_seconds) if self._strained(ip) else seconds

    def login_failed(self, name: str, ip: str, domain: str = "") -> dict[tuple[str, str], int]:
        """Count a failed login; `domain` is that of the name where it is served here. Gives how many this worker has
        counted of late for the name, for the domain, and for each network."""
        if self.exempt(ip):
            return {}
        now, counts = self.now(), {}
        for (v4, v6), window, _ in self._failures:
            net = network(ip, v4, v6)
            counts["network", net] = window.add(net, now)
        if name:
            counts["name", name] = self._account_failures.add(name, now)
        if domain:
            counts["domain", domain] = self._domain_failures.add(domain, now)
        return counts

    def guessed(self, name: str, of_all: int) -> bool:
        """Whether an account is being guessed at so much that every refusal takes longer; all workers have counted
        `of_all`."""
        most = self.limits.account_failures_hour
        return bool(name) and max(of_all, self._account_failures.count(name, self.now())) > most

    def searched(self, domain: str, of_all: int) -> bool:
        """Whether the same holds for all names of a domain together."""
        most = self.limits.domain_failures_hour
        return bool(domain) and max(of_all, self._domain_failures.count(domain, self.now())) > most

    def logged_in(self, ip: str, user: str) -> None:
        """A login of `user` from `ip` went well: for GOOD_SECONDS this user is not locked out there, and the address
        has a good history. Its failures stay counted: whoever has an account could guess at all others otherwise."""
        if self.exempt(ip):
            return
        key, until = network(ip, 32, 64), self.now() + GOOD_SECONDS
        self._good[key] = until
        self._good.move_to_end(key)
        if len(self._good) > TABLE:
            self._good.popitem(last=False)
        self._at_home[key, user] = until
        self._at_home.move_to_end((key, user))
        if len(self._at_home) > TABLE:
            self._at_home.popitem(last=False)

    def known_homes(self, homes: Sequence[tuple[str, int]]) -> None:
        """Networks from which somebody has logged in well, at any worker, and how many days ago; the newest first."""
        now = self.now()
        for key, days in reversed(homes[:TABLE]):
            self._good[key] = max(self._good.get(key, now), now + GOOD_SECONDS - days * 86_400.0)
            self._good.move_to_end(key)
        while len(self._good) > TABLE:
            self._good.popitem(last=False)

    def failure_networks(self, ip: str) -> tuple[str, ...]:
        """What failures from there are counted under, narrow to wide; nothing where none are counted."""
        return () if self.exempt(ip) else tuple(network(ip, v4, v6) for (v4, v6), _ in FAILURE_NETWORKS)

    def failures_left(self, ip: str) -> list[tuple[str, int]]:
        """For each network of `ip`: how many failures more there are until logins are refused; nothing where none are
        counted."""
        if self.exempt(ip):
            return []
        now = self.now()
        nets = [(network(ip, v4, v6), window, most) for (v4, v6), window, most in self._failures]
        return [(net, most - window.count(net, now)) for net, window, most in nets]

    def locked_out(self, ip: str, user: str, of_all: Sequence[int] = (), *, at_home: bool = False) -> bool:
        """Whether logins of `user` from `ip` are refused without a look at the password. `of_all`: how many all workers
        have counted in a day for each of `failure_networks`; `at_home`: the user has come in from there before."""
        if self.exempt(ip):
            return False
        now = self.now()
        if at_home or self._at_home.get((network(ip, 32, 64), user), now) > now:
            return False
        day = self.limits.login_failures_day
        if any(count >= day * factor for count, (_, factor) in zip(of_all, FAILURE_NETWORKS, strict=False)):
            return True
        return any(window.count(network(ip, v4, v6), now) >= most for (v4, v6), window, most in self._failures)


async def turn_away(link: Link, peers: Peers, refused: Refusal, say: Callable[[], None]) -> None:
    """A connection more than the peer may have: `say` says so, late where too many come at once. It must cost nothing
    afterwards: no time to wait for the peer's end."""
    if refused is Refusal.RATE:
        await asyncio.sleep(peers.limits.rate_refusal_seconds)
    say()
    await link.flush()
    link.abort()
