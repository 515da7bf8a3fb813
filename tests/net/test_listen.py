"""Listening sockets: binding, accepting, exhaustion, draining, memory of idle links."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes import comes_true
from net.lines import Lines
from posthouse.net import authority, listen, tls
from posthouse.net.link import WOKEN, Link
from posthouse.net.listen import PortTaken, bind, bind_unix, free_port, serve

IDLE_LINK = 8 * 1024  # octets an idle plain link may cost, its task and a small engine included
IDLE_LINKS = 200


async def echo(link: Link) -> None:
    """Says what it was told, and BYE when it is asked to end."""
    engine = Lines()
    while (line := await link.next(engine)) is not None:
        if line is WOKEN:
            link.write(b"BYE\n")
            return
        link.write(line, b"\n")


def connect(sock: socket.socket) -> socket.socket:
    client = socket.create_connection(sock.getsockname()[:2], 60)
    client.setblocking(False)
    return client


async def say(client: socket.socket, line: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, line)
    return await asyncio.wait_for(loop.sock_recv(client, 1000), 60)


def test_each_worker_has_a_socket_on_the_same_port() -> None:
    sockets = bind("127.0.0.1", 0, 3)
    assert len({sock.getsockname() for sock in sockets}) == 1
    assert len({sock.fileno() for sock in sockets}) == 3
    for sock in (*sockets, *bind("127.0.0.1", sockets[0].getsockname()[1], 1, shared=True)):
        sock.close()


def test_a_taken_port_is_refused_even_to_one_who_shares() -> None:
    (theirs,) = bind("127.0.0.1", 0, 1)
    port = theirs.getsockname()[1]
    with pytest.raises(PortTaken) as caught:
        bind("127.0.0.1", port, 2)
    assert caught.value.port == port
    assert free_port("127.0.0.1", port, frozenset({port + 1})) > port + 1
    theirs.close()


def test_every_address_means_both_families() -> None:
    (sock,) = bind("*", 0, 1)
    port = sock.getsockname()[1]
    socket.create_connection(("127.0.0.1", port), 60).close()
    with pytest.raises(PortTaken):
        bind("127.0.0.1", port, 1)
    sock.close()


def test_a_unix_socket_replaces_a_dead_one_only(tmp_path: Path) -> None:
    path = tmp_path / "lmtp.sock"
    bind_unix(path).close()
    living = bind_unix(path)
    with pytest.raises(PortTaken):
        bind_unix(path)
    living.close()
    other = tmp_path / "file"
    other.write_text("mine")
    with pytest.raises(FileExistsError):
        bind_unix(other)
    assert other.read_text() == "mine"


async def test_connections_are_served_each_in_its_task() -> None:
    (sock,) = bind("127.0.0.1", 0, 1)
    listener = serve([sock], echo)
    clients = [connect(sock) for _ in range(20)]
    for number, client in enumerate(clients):
        assert await say(client, b"%d\n" % number) == b"%d\n" % number
    assert listener.connections == len(listener.links) == 20
    for client in clients:
        client.close()
    await comes_true(lambda: listener.connections == 0)
    await listener.drain(1)


async def test_a_unix_listener_serves_too(tmp_path: Path) -> None:
    sock = bind_unix(tmp_path / "lmtp.sock")
    listener = serve([sock], echo)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "lmtp.sock"))
    client.setblocking(False)
    assert await say(client, b"hello\n") == b"hello\n"
    assert next(iter(listener.links)).peer == ("", 0)
    client.close()
    await listener.drain(1)


async def test_drain_lets_sessions_say_goodbye_and_keeps_the_queue() -> None:
    first, second = bind("127.0.0.1", 0, 2)
    copy = first.dup(), second.dup()  # the supervisor's
    listener = serve([first, second], echo)
    client = connect(copy[0])
    assert await say(client, b"a\n") == b"a\n"
    await asyncio.wait_for(listener.drain(120), 60)
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), 60) == b"BYE\n"
    late = connect(copy[0])
    heir = serve(copy, echo)
    assert await say(late, b"b\n") == b"b\n"
    await heir.drain(1)
    client.close()
    late.close()


async def test_drain_cancels_those_that_stay() -> None:
    ended: list[str] = []

    async def stubborn(link: Link) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")

    (sock,) = bind("127.0.0.1", 0, 1)
    port = sock.getsockname()
    listener = serve([sock], stubborn)
    client = socket.create_connection(port)
    await asyncio.sleep(0.05)
    await asyncio.wait_for(listener.drain(0.1), 60)
    assert ended == ["cancelled"]
    client.close()


async def test_a_fault_in_a_session_is_told_and_closes_only_that_link() -> None:
    async def faulty(link: Link) -> None:
        if await link.next(Lines()) == b"fault":
            raise KeyError("fault")
        link.write(b"well\n")

    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    (sock,) = bind("127.0.0.1", 0, 1)
    listener = serve([sock], faulty)
    first, second = connect(sock), connect(sock)
    assert await say(first, b"fault\n") == b""
    assert [type(fault) for fault in faults] == [KeyError]
    assert await say(second, b"go\n") == b"well\n"
    first.close()
    second.close()
    await listener.drain(1)


async def test_a_refused_certificate_leaves_nothing_behind(tmp_path: Path) -> None:
    files = authority.self_signed(tmp_path, "localhost")
    (sock,) = bind("127.0.0.1", 0, 1)
    listener = serve([sock], echo, tls.Certificates([files]).context)
    address = sock.getsockname()

    def handshake(context: ssl.SSLContext) -> bytes:
        with context.wrap_socket(socket.create_connection(address, 60), server_hostname="localhost") as secure:
            secure.sendall(b"hi\n")
            return secure.recv(100)

    for _ in range(5):
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(handshake, ssl.create_default_context())
    trusting = ssl.create_default_context(cafile=str(files.certificate))
    assert await asyncio.to_thread(handshake, trusting) == b"hi\n"
    await comes_true(lambda: listener.connections == 0)
    await listener.drain(1)


@contextlib.contextmanager
def descriptors(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_running_out_of_descriptors_pauses_without_a_busy_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "BACK_OFF", 0.2)
    (sock,) = bind("127.0.0.1", 0, 1)
    listener = serve([sock], echo)
    client = connect(sock)
    in_use = max(int(name) for name in os.listdir("/proc/self/fd"))
    fillers = []
    with descriptors(in_use + 4):
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        before = os.times()
        await asyncio.sleep(0.5)
        after = os.times()
        assert listener.connections == 0
        assert (after.user + after.system) - (before.user + before.system) < 0.25
        for filler in fillers:
            os.close(filler)
    assert await say(client, b"served\n") == b"served\n"
    client.close()
    await listener.drain(1)


def resident() -> int:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_an_idle_link_costs_few_kibibytes() -> None:
    (sock,) = bind("127.0.0.1", 0, 1)
    listener = serve([sock], echo)
    clients = [connect(sock) for _ in range(20)]  # what the first connections cost once
    for client in clients:
        await say(client, b"x\n")
    before = resident()
    for _ in range(IDLE_LINKS):
        clients.append(connect(sock))
        await say(clients[-1], b"x\n")
    assert listener.connections == 20 + IDLE_LINKS
    assert (resident() - before) / IDLE_LINKS < IDLE_LINK
    for client in clients:
        client.close()
    await listener.drain(1)
