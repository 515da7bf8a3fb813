"""Stand-ins for the world: a clock, a loop whose time can be pushed, a stream to a session without a network, and a DNS
made of a zone."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import dns.name
import dns.rdataset
import dns.rdatatype
import dns.zone

from posthouse.mail.ids import Millis
from posthouse.net.dns_message import RECORD, Kind
from posthouse.net.link import Link, open_link
from posthouse.trust.resolver import Answer, Found, Mx, Tlsa

PATIENCE = 60.0  # seconds for a session to end, or to say what is waited for
START = Millis(1_700_000_000_000)  # Tue, 14 Nov 2023 22:13:20 +0000
CHUNK = 65_536  # octets read at once


@dataclass(slots=True)
class FakeClock:
    """A wall clock that stands still until it is pushed: hand `clock.now` to whoever wants `Callable[[], Millis]`."""

    millis: Millis = field(default_factory=lambda: START)

    def now(self) -> Millis:
        """The time it shows."""
        return self.millis

    def advance(self, seconds: float) -> None:
        """Push it."""
        self.millis = Millis(self.millis + int(seconds * 1000))


class Seconds:
    """A clock that never goes back, in seconds, and stands still until it is pushed: it is called itself."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class WarpLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers can be made to fire at once: `loop.warp(1800)` and half an hour has passed for it.

    Use: `asyncio.Runner(loop_factory=WarpLoop)`."""

    warped = 0.0

    def time(self) -> float:
        """Seconds, with all that was jumped over."""
        return super().time() + self.warped

    def warp(self, seconds: float) -> None:
        """Jump."""
        self.warped += seconds


async def warp(seconds: float) -> None:
    """`wait` for `run_transcript`, on a WarpLoop: timers that fall due fire before the next line is read."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WarpLoop), "(wait ...) needs a WarpLoop"
    loop.warp(seconds)
    await asyncio.sleep(0)


class Stream(Protocol):
    """A client's end of a connection, as the transcript runner needs it."""

    async def write(self, octets: bytes) -> None:
        """Send, and let the other side take it before going on."""

    async def read(self) -> bytes:
        """Some octets; b"" when the server has closed."""

    async def starttls(self) -> None:
        """The client's side of a TLS handshake; the certificate is not checked."""

    def deflate(self) -> None:
        """From now on compress and inflate (RFC 4978)."""

    async def close(self) -> None:
        """Hang up."""


class SocketStream:
    """A Stream over a connected socket, of a pair or to a real worker."""

    def __init__(self, sock: socket.socket, server: ssl.SSLContext | None = None) -> None:
        """`server`: this is the server's end, and TLS begins with these certificates."""
        sock.setblocking(False)
        self._sock = sock
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._deflate: zlib._Compress | None = None
        self._inflate: zlib._Decompress | None = None

    async def write(self, octets: bytes) -> None:
        """Send; two rounds of the loop let a session on the same loop see these octets before the next."""
        if self._deflate is not None:
            octets = self._deflate.compress(octets) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        try:
            if self._tls is None:
                await self._loop.sock_sendall(self._sock, octets)
            else:
                self._tls.write(octets)
                await self._flush()
        except (BrokenPipeError, ConnectionResetError):
            return  # the server has closed: what it said last is still to be read
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def read(self) -> bytes:
        """Some octets; b"" when the server has closed."""
        if self._inflate is None:
            return await self._read()
        while octets := await self._read():
            inflated = self._inflate.decompress(octets)
            if inflated:
                return inflated
        return b""

    def deflate(self) -> None:
        """From now on compress and inflate (RFC 4978)."""
        self._deflate = zlib.compressobj(wbits=-15)
        self._inflate = zlib.decompressobj(wbits=-15)

    async def _read(self) -> bytes:
        if self._tls is None:
            return await self._receive()
        while True:
            try:
                return self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                octets = await self._receive()
            except ssl.SSLZeroReturnError:
                return b""
            if not octets:
                return b""
            self._incoming.write(octets)

    async def starttls(self) -> None:
        """This side of a TLS handshake; the certificate of a server is not checked."""
        context = self._server or ssl.create_default_context()
        if self._server is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=self._server is not None)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                octets = await self._receive()
                if not octets:
                    raise ConnectionResetError("the server closed during the TLS handshake") from None
                self._incoming.write(octets)
        await self._flush()

    async def close(self) -> None:
        """Hang up."""
        self._sock.close()

    async def _receive(self) -> bytes:
        try:
            return await self._loop.sock_recv(self._sock, CHUNK)
        except ConnectionResetError:
            return b""

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._sock, self._outgoing.read())


async def comes_true(true: Callable[[], object]) -> None:
    """Wait until it is so, by the doings of others on this loop."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def memory_link(
    serve: Callable[[Link], Coroutine[Any, Any, None]],
) -> AsyncIterator[Callable[[], Awaitable[Stream]]]:
    """A `connect` for `run_transcript`: each call begins `serve(link)` on one end of a socket pair and gives the other.

    At the end all sessions must have ended by themselves, and what one raised is raised."""
    tasks: list[asyncio.Task[None]] = []
    links: list[Link] = []

    async def connect() -> Stream:
        ours, theirs = socket.socketpair()
        link = await open_link(theirs)
        links.append(link)
        tasks.append(asyncio.create_task(serve(link)))
        return SocketStream(ours)

    try:
        yield connect
    finally:
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=PATIENCE)
            for task in late:
                task.cancel()
            assert not late, f"{len(late)} sessions did not end after their client had hung up"
        for link in links:
            await link.wait_closed()  # a socket left to the garbage collector is blamed on another test
    for task in tasks:
        task.result()


class ZoneResolver:
    """A Resolver (trust/resolver.py) made of a zone text with whole names: `home.test. MX 10 mx.home.test.`.

    Names at and below those of `secure` are answered, and denied, as authentic. `failing` says how a question ends that
    gets no answer: of one type, `{"home.test MX": Found.SERVFAIL}`, or of all, `{"home.test": Found.TIMEOUT}`; it may
    be changed later. `asked` are the questions so far."""

    def __init__(self, text: str, *, secure: Sequence[str] = (), failing: Mapping[str, Found] | None = None) -> None:
        self.failing = dict(failing or {})
        self.secure = tuple(dns.name.from_text(name) for name in secure)
        self.asked: list[str] = []
        self.replace(text)

    def replace(self, text: str) -> None:
        """Another zone instead."""
        lines = "\n".join(line.strip() for line in text.splitlines())
        self._zone = dns.zone.from_text(f"$TTL 3600\n{lines}\n", ".", relativize=False, check_origin=False)

    async def mx(self, name: str) -> Answer[Mx]:
        return self._answer(name, Kind.MX)

    async def a(self, name: str) -> Answer[str]:
        return self._answer(name, Kind.A)

    async def aaaa(self, name: str) -> Answer[str]:
        return self._answer(name, Kind.AAAA)

    async def cname(self, name: str) -> Answer[str]:
        return self._answer(name, Kind.CNAME)

    async def txt(self, name: str) -> Answer[bytes]:
        return self._answer(name, Kind.TXT)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return self._answer(name, Kind.TLSA)

    async def ptr(self, ip: str) -> Answer[str]:
        return self._answer(ipaddress.ip_address(ip).reverse_pointer, Kind.PTR)

    def _answer(self, text: str, kind: Kind) -> Answer[Any]:
        text = text.rstrip(".").lower()
        self.asked.append(f"{text} {kind.name}")
        name, authentic = dns.name.from_text(text + "."), True
        for _ in range(9):
            spelled = name.to_text(omit_final_dot=True)
            failed = self.failing.get(f"{spelled} {kind.name}") or self.failing.get(spelled)
            if failed is not None:
                return Answer(failed, name=spelled)
            authentic = authentic and any(name.is_subdomain(top) for top in self.secure)
            found = self._rdataset(name, kind.value)
            if found is not None:
                return Answer(Found.RECORDS, tuple(RECORD[kind](one) for one in found), authentic, spelled, 3600)
            alias = self._rdataset(name, dns.rdatatype.CNAME)
            if alias is None:
                there = any(node.is_subdomain(name) for node in self._zone)
                return Answer(Found.NO_DATA if there else Found.NXDOMAIN, (), authentic, spelled, 300)
            name = alias[0].target
        return Answer(Found.SERVFAIL, name=text)

    def _rdataset(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rdataset.Rdataset | None:
        return self._zone.get_rdataset(name, kind)
