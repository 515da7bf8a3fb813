"""Listening sockets: bind them, hand them on, accept from them.

The supervisor binds (one socket a worker with SO_REUSEPORT, so that the kernel spreads connections), workers accept.
What it does NOT do: it knows no limits by address. Where a port begins with TLS it asks before the costly handshake,
and closes without a word; all other refusals and their words belong to the sessions.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from posthouse.net.link import Link, LinkLimits, open_link

BACKLOG = 4096  # connections the kernel keeps for us; what somaxconn allows at most
ACCEPT_BATCH = 64  # connections taken in one turn of the loop, so that a flood does not starve the sessions
BACK_OFF = 1.0  # seconds without accepting when descriptors or memory have run out: no busy loop
FAREWELL = 1.0  # seconds for sessions that were cancelled, and for octets that are still to be sent, at the end
KEEPALIVE = (60, 15, 4)  # seconds idle, seconds between probes, probes: a half-open peer is noticed in two minutes
FREE_PORT_TRIES = 200  # ports looked at above a taken one, in search of a free one
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)

#: What is done with a new connection; `Link` is closed when it returns.
OnLink = Callable[[Link], Coroutine[Any, Any, None]]
#: Asked with the peer's address before a TLS handshake, and left after it: anything but None refuses the connection.
Admit = Callable[[str], AbstractContextManager[object]]


def everybody(_: str) -> AbstractContextManager[None]:
    """Refuse nobody."""
    return contextlib.nullcontext()


class PortTaken(Exception):
    """Another process listens there already."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is in use by another process")
        self.host = host
        self.port = port


def bind(host: str, port: int, count: int, *, shared: bool = False) -> list[socket.socket]:
    """`count` listening sockets on one address and port, each with its own queue of connections (SO_REUSEPORT).

    `host` "*" means every address, IPv6 and IPv4. Port 0 takes a free one. With `shared`, sockets of our own may be
    there already. Raises PortTaken, and OSError (no such address, no permission for a port below 1024).
    """
    family, address = _family(host)
    if not shared and port:
        _probe(family, address, port)
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(_listening(family, address, port))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for sock in sockets:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port) from error
        raise
    return sockets


def _family(host: str) -> tuple[socket.AddressFamily, str]:
    if host == "*":
        return (socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return found[0][0], str(found[0][4][0])


def _socket(family: socket.AddressFamily, address: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
    return sock


def _probe(family: socket.AddressFamily, address: str, port: int) -> None:
    """SO_REUSEPORT would let us share the port with any other process of the same user that has set it, such as a
    second Posthouse. A socket without it may not."""
    with _socket(family, address) as sock:
        try:
            sock.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken(address, port) from error
            raise


def taken(host: str, port: int) -> bool:
    """Whether another process holds the port, whatever it allows others."""
    try:
        _probe(*_family(host), port)
    except PortTaken:
        return True
    return False


def _listening(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = _socket(family, address)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Accepted sockets inherit these on Linux: no system call for each connection.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), KEEPALIVE, strict=True):
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unix(path: Path, mode: int = 0o660) -> socket.socket:
    """A listening Unix socket at `path` (for LMTP), with these permissions; one that a dead process left is replaced.
    Raises PortTaken when a living process listens there, and OSError."""
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(errno.EEXIST, "not a socket, so it is left alone", str(path))
        if _answers(path):
            raise PortTaken(str(path), 0)
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(mode)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        return sock.connect_ex(str(path)) == 0


def inherited(descriptor: int) -> socket.socket:
    """A listening socket the supervisor has handed over. The descriptor is the socket's from now on."""
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    os.set_inheritable(descriptor, False)
    return sock


def free_port(host: str, wanted: int, avoid: frozenset[int] = frozenset()) -> int:
    """The next free port above `wanted`; any free one when the next FREE_PORT_TRIES are taken."""
    family, address = _family(host)
    for port in range(wanted + 1, min(wanted + 1 + FREE_PORT_TRIES, 65536)):
        if port in avoid:
            continue
        try:
            _probe(family, address, port)
        except (PortTaken, PermissionError):
            continue
        return port
    with _socket(family, address) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


class Listener:
    """Some listening sockets, and the one task of each connection that came in by them."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        on_link: OnLink,
        tls: ssl.SSLContext | None,
        admit: Admit,
        limits: LinkLimits,
    ) -> None:
        self._sockets = tuple(sockets)
        self._on_link = on_link
        self._tls = tls
        self._admit = admit
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._open = True
        self._leaving: list[Link] = []  # closed while draining: their last words may still be on the way
        self.links: set[Link] = set()
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    @property
    def connections(self) -> int:
        """Connections now, those in a TLS handshake included."""
        return len(self._tasks)

    def stop(self) -> None:
        """Accept no more. The sockets of this process are closed; the supervisor's copies go on queueing."""
        if not self._open:
            return
        self._open = False
        for timer in self._resting.values():
            timer.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()

    async def drain(self, seconds: float) -> None:
        """Accept no more, ask every session to say goodbye, and cancel those that are there after `seconds`. Their
        last words have FAREWELL seconds to leave."""
        self.stop()
        for link in self.links:
            link.drain()
        tasks = set(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=FAREWELL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._last_words()

    async def _last_words(self) -> None:
        for link in self._leaving:
            if link.unsent:
                await link.wait_closed()

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._rest(sock, error)
                    return
                continue  # the peer has gone while it waited (ECONNABORTED and its kin, accept(2))
            task = self._loop.create_task(self._run(accepted, _ip(address)))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _rest(self, sock: socket.socket, error: OSError) -> None:
        log.warning("accepting pauses for %.0f s: %s", BACK_OFF, error.strerror)
        self._loop.remove_reader(sock.fileno())
        self._resting[sock] = self._loop.call_later(BACK_OFF, self._resume, sock)

    def _resume(self, sock: socket.socket) -> None:
        del self._resting[sock]
        self._loop.add_reader(sock.fileno(), self._accept, sock)

    async def _opened(self, accepted: socket.socket, ip: str) -> Link | None:
        """None where the connection is refused, or its handshake fails."""
        with everybody(ip) if self._tls is None else self._admit(ip) as refused:
            if refused is None:
                with contextlib.suppress(ConnectionError):
                    return await open_link(accepted, self._tls, self._limits)
        accepted.close()
        return None

    async def _run(self, accepted: socket.socket, ip: str) -> None:
        link = await self._opened(accepted, ip)
        if link is None:
            return
        self.links.add(link)
        if not self._open:
            link.drain()  # accepted, but not yet running when `drain` looked
        try:
            await self._on_link(link)
        except (ConnectionError, TimeoutError):
            pass  # the peer has gone, or is silent: there is nobody left to tell
        finally:
            self.links.discard(link)
            link.close()
            if not self._open:
                self._leaving.append(link)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a session ended by a fault of ours", "exception": error}
            self._loop.call_exception_handler(context)


def _ip(address: object) -> str:
    """The address of a peer as a Link has it; "" on a Unix socket."""
    return str(address[0]).removeprefix("::ffff:") if isinstance(address, tuple) else ""


def serve(
    sockets: Sequence[socket.socket],
    on_link: OnLink,
    tls: ssl.SSLContext | None = None,
    admit: Admit = everybody,
    limits: LinkLimits | None = None,
) -> Listener:
    """Accept from listening sockets, one task for each connection; with `tls` its handshake comes first, for those
    whom `admit` lets in."""
    return Listener(sockets, on_link, tls, admit, limits or LinkLimits())
