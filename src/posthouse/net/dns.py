"""The Resolver over the network: asks recursive servers by UDP and TCP, and remembers what they say (RFC 1035 §7).

A question that is being asked is not asked twice. Servers are tried in turn, by UDP from a random port, by TCP where
an answer is cut short or somebody seems to be guessing (RFC 5452 §9). The AD bit is believed only from a server that
is trusted (RFC 7672 §2.2.1, decision 0081).

It does NOT validate DNSSEC itself and asks no authoritative servers: a recursive server such as Unbound does.
"""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import dns.name

from posthouse.net import dns_message
from posthouse.net.dns_message import Asked, Kind, Reading, Unanswered
from posthouse.net.nameservers import Server
from posthouse.trust.resolver import Answer, Found, Mx, Tlsa

DATAGRAM = 65_535  # octets; no UDP message has more
FORGED = 20  # answers to other questions during one try; beyond it somebody guesses, and TCP is asked
LARGE = 8_192  # octets; reading such an answer takes milliseconds, so a thread does it
TCP_ANSWER = 65_535  # octets, RFC 1035 §4.2.2
SHORTEST, LONGEST = 60, 86_400  # seconds that records are believed, whatever their TTL (limits.md)
SHORTEST_DENIAL, LONGEST_DENIAL = 10, 300  # and denials (RFC 2308 §5)
FAILURE = 10  # seconds in which a question that failed is not asked again (RFC 2308 §7 allows 300)
ENTRY = 500  # octets that an answer takes in memory beside its records
PORT_TRIES = 5  # random ports, before the kernel chooses
PORTS = range(16_384, 65_536)
REREAD = 30.0  # seconds after which servers that do not answer are read anew


@dataclass(frozen=True, slots=True)
class DnsLimits:
    """How long answers are waited for, and how much is remembered."""

    try_seconds: float = 2.0
    tries: int = 3
    name_seconds: float = 10.0  # for one question with all its CNAMEs, and with waiting for its turn
    questions: int = 200  # asked at the same time; each takes a socket
    cache_size: int = 16 * 1024 * 1024  # octets of remembered answers


class _Remembered(NamedTuple):
    answer: Answer[Any]
    until: float
    size: int


class NetworkResolver:
    """A Resolver (trust/resolver.py) with a cache, shared by all that one worker does."""

    def __init__(self, servers: Callable[[], tuple[Server, ...]], limits: DnsLimits | None = None) -> None:
        self._find_servers = servers
        self._servers = servers()
        self._limits = limits or DnsLimits()
        self._first = 0  # the server that is asked first: one that answered
        self._read_at = 0.0
        self._cache: OrderedDict[tuple[str, Kind], _Remembered] = OrderedDict()
        self._cached = 0
        self._asking: dict[tuple[str, Kind], asyncio.Task[Answer[Any]]] = {}
        self._turns = asyncio.Semaphore(self._limits.questions)

    async def mx(self, name: str) -> Answer[Mx]:
        """MX records, in no order."""
        return await self._answer(name, Kind.MX)

    async def a(self, name: str) -> Answer[str]:
        """IPv4 addresses."""
        return await self._answer(name, Kind.A)

    async def aaaa(self, name: str) -> Answer[str]:
        """IPv6 addresses."""
        return await self._answer(name, Kind.AAAA)

    async def cname(self, name: str) -> Answer[str]:
        """Where the name itself leads, one step."""
        return await self._answer(name, Kind.CNAME)

    async def txt(self, name: str) -> Answer[bytes]:
        """TXT records, the character-strings of each joined."""
        return await self._answer(name, Kind.TXT)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records."""
        return await self._answer(name, Kind.TLSA)

    async def ptr(self, ip: str) -> Answer[str]:
        """Names of an address."""
        return await self._answer(ipaddress.ip_address(ip).reverse_pointer, Kind.PTR)

    @property
    def servers(self) -> tuple[Server, ...]:
        """Who is asked."""
        return self._servers

    def forget(self) -> None:
        """Ask everything anew from now on."""
        self._cache.clear()
        self._cached = 0

    async def close(self) -> None:
        """End what is being asked."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    # --- what is known, and what is being asked

    async def _answer(self, text: str, kind: Kind) -> Answer[Any]:
        name = dns_message.parse_name(text)
        if name is None:
            return Answer(Found.NXDOMAIN, name=text)
        key = dns_message.spelled(name), kind
        known = self._cache.get(key)
        if known is not None and known.until > asyncio.get_running_loop().time():
            self._cache.move_to_end(key)
            return known.answer
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._find(name, kind))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return await asyncio.shield(task)  # whoever else waits for it goes on when this one is cancelled

    async def _find(self, name: dns.name.Name, kind: Kind) -> Answer[Any]:
        size = 0
        try:
            async with asyncio.timeout(self._limits.name_seconds), self._turns:
                answer, size = await self._chase(name, kind)
        except TimeoutError:
            answer = Answer(Found.TIMEOUT, name=dns_message.spelled(name))
        if answer.found is Found.TIMEOUT:
            self._reread()
        self._remember((dns_message.spelled(name), kind), answer, size)
        return answer

    async def _chase(self, name: dns.name.Name, kind: Kind) -> tuple[Answer[Any], int]:
        """Ask, and ask again where an answer ends in the middle of a chain of CNAMEs."""
        links, ttl, authentic = 0, LONGEST, True
        while True:
            reading, server, size = await self._ask(name, kind)
            if isinstance(reading, Found):
                return Answer(reading, name=dns_message.spelled(name)), size
            links, ttl = links + reading.links, min(ttl, reading.ttl)
            authentic = authentic and reading.authentic and server.trusted
            name = reading.end
            if links > dns_message.CNAMES:
                return Answer(Found.SERVFAIL, name=dns_message.spelled(name)), size
            if not reading.unfinished:
                break
        least, most = (SHORTEST, LONGEST) if reading.found is Found.RECORDS else (SHORTEST_DENIAL, LONGEST_DENIAL)
        spelled = dns_message.spelled(name)
        return Answer(reading.found, reading.records, authentic, spelled, max(least, min(ttl, most))), size

    def _remember(self, key: tuple[str, Kind], answer: Answer[Any], size: int) -> None:
        now = asyncio.get_running_loop().time()
        self._forget(key)
        self._cache[key] = _Remembered(answer, now + (FAILURE if answer.temporary else answer.ttl), ENTRY + 2 * size)
        self._cached += ENTRY + 2 * size
        while self._cached > self._limits.cache_size:
            self._forget(next(iter(self._cache)))

    def _forget(self, key: tuple[str, Kind]) -> None:
        gone = self._cache.pop(key, None)
        if gone is not None:
            self._cached -= gone.size

    def _reread(self) -> None:
        """Nobody answers: perhaps this machine has moved to another network."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at > REREAD:
            self._read_at = now
            self._servers, self._first = self._find_servers(), 0

    # --- one question

    async def _ask(self, name: dns.name.Name, kind: Kind) -> tuple[Reading | Found, Server, int]:
        """The reading, or how it failed, the server that spoke, and the octets of its answer."""
        servers, first, edns = self._servers, self._first, True
        failure = Found.TIMEOUT
        server = servers[first % len(servers)]
        turn = first
        for _ in range(self._limits.tries):
            server = servers[turn % len(servers)]
            answer, size = await self._try(server, name, kind, edns=edns)
            if isinstance(answer, Reading):
                self._first = turn % len(servers)
                return answer, server, size
            if answer is Unanswered.NO_EDNS and edns:
                edns = False  # the same server once more, without
                continue
            if answer is not None:
                failure = Found.SERVFAIL
            turn += 1
        if failure is Found.TIMEOUT:
            self._first = (first + 1) % len(servers)
        return failure, server, 0

    async def _try(
        self, server: Server, name: dns.name.Name, kind: Kind, *, edns: bool
    ) -> tuple[Reading | Unanswered | None, int]:
        """One try with one server; None: it says nothing."""
        asked = dns_message.ask(name, kind, edns=edns)
        try:
            async with asyncio.timeout(self._limits.try_seconds):
                answer, size = await _by_udp(server, asked)
                if answer in (Unanswered.TRUNCATED, Unanswered.OTHER_CASE, Unanswered.FOREIGN):
                    answer, size = await _by_tcp(server, dns_message.ask(name, kind, edns=edns))
        except (TimeoutError, OSError, EOFError):
            return None, 0
        return answer, size


async def _by_udp(server: Server, asked: Asked) -> tuple[Reading | Unanswered, int]:
    """Raises OSError. A plain socket: a transport that is being made when the question is given up would stay open."""
    loop = asyncio.get_running_loop()
    with _udp_socket(server) as sock:
        await loop.sock_sendall(sock, asked.octets)
        foreign = 0
        while True:
            octets = await loop.sock_recv(sock, DATAGRAM)
            answer = dns_message.read(asked, octets)
            if answer is not Unanswered.FOREIGN or foreign == FORGED:
                return answer, len(octets)
            foreign += 1


def _udp_socket(server: Server) -> socket.socket:
    """Connected, so that the kernel drops what others send; on a random port (RFC 5452 §9.2)."""
    family, _, _, _, address = socket.getaddrinfo(
        server.host, server.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
    )[0]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for _ in range(PORT_TRIES):
            with contextlib.suppress(OSError):
                sock.bind(("", secrets.choice(PORTS)))
                break
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _by_tcp(server: Server, asked: Asked) -> tuple[Reading | Unanswered, int]:
    """Raises OSError and EOFError."""
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=TCP_ANSWER)
    try:
        writer.write(len(asked.octets).to_bytes(2, "big") + asked.octets)
        octets = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
    if len(octets) > LARGE:
        return await asyncio.to_thread(dns_message.read, asked, octets), len(octets)
    return dns_message.read(asked, octets), len(octets)
