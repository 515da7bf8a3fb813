"""net/listen.py before a TLS handshake: who is refused costs nothing, who is slow is cut off, others are served."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fakes import comes_true
from net.lines import Lines
from posthouse.net import authority
from posthouse.net.link import Link, LinkLimits
from posthouse.net.listen import Listener, bind, serve
from posthouse.net.tls import load
from posthouse.serve.limits import PeerLimits, Peers, Service

PATIENCE = 60.0  # seconds for an answer
SOON = 30.0  # seconds within which other addresses are served during a flood (limits.md §2 S10)


async def echo(link: Link) -> None:
    engine = Lines()
    while isinstance(line := await link.next(engine), bytes):
        link.write(line, b"\n")


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return load(authority.self_signed(tmp_path_factory.mktemp("tls"), "localhost"))


@pytest.fixture
async def listening(
    context: ssl.SSLContext,
) -> AsyncIterator[Callable[[Peers, LinkLimits], tuple[Listener, tuple[str, int]]]]:
    """Begin to listen with TLS: the listener, and its address."""
    listeners: list[Listener] = []

    def begin(peers: Peers, limits: LinkLimits) -> tuple[Listener, tuple[str, int]]:
        (sock,) = bind("127.0.0.1", 0, 1)
        address: tuple[str, int] = sock.getsockname()
        listener = serve([sock], echo, context, lambda ip: peers.connection(ip, Service.IMAP), limits)
        listeners.append(listener)
        return listener, address

    yield begin
    for listener in listeners:
        await listener.drain(1)


def plain(address: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
    """A connection that says nothing."""
    sock = socket.create_connection(address, PATIENCE, (source, 0))
    sock.setblocking(False)
    return sock


async def secure(address: tuple[str, int], source: str) -> bytes:
    """A whole handshake, a line and its echo."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*address, ssl=context, local_addr=(source, 0))
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
    return line


async def ended(sock: socket.socket) -> bytes:
    """What the server says before it closes."""
    async with asyncio.timeout(PATIENCE):
        try:
            return await asyncio.get_running_loop().sock_recv(sock, 1_000)
        except ConnectionResetError:
            return b""
        finally:
            sock.close()


Begin = Callable[[Peers, LinkLimits], tuple[Listener, tuple[str, int]]]


async def test_one_connection_too_many_is_closed_before_the_handshake(listening: Begin) -> None:
    peers = Peers(PeerLimits(imap_connections=2))
    listener, address = listening(peers, LinkLimits())
    waiting = [plain(address) for _ in range(2)]  # in the middle of their handshakes
    await comes_true(lambda: listener.connections == peers.open == 2)
    began = time.monotonic()
    assert await ended(plain(address)) == b""
    assert time.monotonic() - began < SOON
    assert await secure(address, "127.0.0.2") == b"hello\n"
    for sock in waiting:
        sock.close()
    await comes_true(lambda: peers.open == 0)
    assert await secure(address, "127.0.0.1") == b"hello\n"


async def test_a_handshake_has_its_time(listening: Begin) -> None:
    listener, address = listening(Peers(), LinkLimits(handshake_seconds=0.2))
    began = time.monotonic()
    assert await ended(plain(address)) == b""
    assert time.monotonic() - began >= 0.2
    await comes_true(lambda: listener.connections == 0)
    assert await secure(address, "127.0.0.1") == b"hello\n"


async def test_a_flood_from_one_address_does_not_keep_others_waiting(listening: Begin) -> None:
    _, address = listening(Peers(PeerLimits(imap_connections=10, new_connections=100)), LinkLimits())
    flood = [plain(address) for _ in range(300)]
    began = time.monotonic()
    assert await secure(address, "127.0.0.2") == b"hello\n"
    assert time.monotonic() - began < SOON
    for sock in flood:
        sock.close()


async def test_without_tls_sessions_refuse_by_themselves(tmp_path: Path) -> None:
    peers = Peers(PeerLimits(imap_connections=0))
    (sock,) = bind("127.0.0.1", 0, 1)
    listener = serve([sock], echo, None, lambda ip: peers.connection(ip, Service.IMAP))
    client = plain(sock.getsockname())
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, b"hi\n")
    assert await asyncio.wait_for(loop.sock_recv(client, 10), PATIENCE) == b"hi\n"
    client.close()
    await listener.drain(1)
