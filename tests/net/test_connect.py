"""net/connect.py (RFC 8305)."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence

import pytest

from posthouse.net import connect as connecting
from posthouse.net.connect import ADDRESSES, Connected, NotConnected, connect


class Listener:
    """Sockets that listen on the same port of several addresses."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.port = 0
        self.sockets = []
        for host in hosts:
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            sock.setblocking(False)
            sock.bind((host, self.port))
            sock.listen(16)
            self.port = sock.getsockname()[1]
            self.sockets.append(sock)

    def peers(self) -> list[str]:
        """Who has come since."""
        found = []
        for sock in self.sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    one, address = sock.accept()
                    one.close()
                    found.append(address[0])
        return found


@contextlib.contextmanager
def listener(*hosts: str) -> Iterator[Listener]:
    """A Listener, closed at the end."""
    server = Listener(hosts)
    try:
        yield server
    finally:
        for sock in server.sockets:
            sock.close()


def close(found: Connected | NotConnected) -> str:
    """Hang up; which address it was."""
    assert isinstance(found, Connected), found
    found.sock.close()
    return found.ip


async def test_the_first_address_that_stands_wins() -> None:
    with listener("127.0.0.1", "::1") as server:
        assert close(await connect(["127.0.0.1", "::1"], server.port)) == "127.0.0.1"
        assert close(await connect(["::1", "127.0.0.1"], server.port)) == "::1"


async def test_delays_are_not_sent() -> None:
    with listener("127.0.0.1") as server:
        found = await connect(["127.0.0.1"], server.port)
        assert isinstance(found, Connected)
        assert found.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        found.sock.close()


async def test_a_refusal_goes_on_at_once() -> None:
    with listener("127.0.0.1") as server:
        before = asyncio.get_running_loop().time()
        assert close(await connect(["::1", "127.0.0.2", "127.0.0.1"], server.port)) == "127.0.0.1"
        assert asyncio.get_running_loop().time() - before < connecting.PAUSE * 2


async def test_silence_of_one_family_does_not_hold_up_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8305 §5: the next attempt begins beside the one that hangs, and leaves nothing of it behind."""
    attempt = connecting._attempt
    began = list[str]()
    gone = list[str]()

    async def silent(ip: str, port: int, source: str, seconds: float) -> socket.socket:
        began.append(ip)
        if ip != "2001:db8::1":
            return await attempt(ip, port, source, seconds)
        try:
            await asyncio.sleep(3600)
        finally:
            gone.append(ip)
        raise AssertionError

    monkeypatch.setattr(connecting, "_attempt", silent)
    monkeypatch.setattr(connecting, "PAUSE", 0.05)
    with listener("127.0.0.1") as server:
        assert close(await connect(["2001:db8::1", "2001:db8::2", "127.0.0.1"], server.port)) == "127.0.0.1"
    assert began == ["2001:db8::1", "127.0.0.1"]  # families in turns (§4)
    assert gone == ["2001:db8::1"]


async def test_two_winners_leave_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "PAUSE", 0.0)
    with listener("127.0.0.1", "::1") as server:
        close(await connect(["127.0.0.1", "::1"], server.port))
        assert len(asyncio.all_tasks()) == 1


async def test_everybody_refuses() -> None:
    with listener("127.0.0.1") as server:
        port = server.port
    found = await connect(["127.0.0.1", "::1"], port)
    assert isinstance(found, NotConnected)
    assert dict(found.tried) == {"127.0.0.1": "refused the connection", "::1": "refused the connection"}
    assert "127.0.0.1 refused the connection" in found.reason


async def test_time_out() -> None:
    """A backlog that is full answers nothing."""
    with listener("127.0.0.1") as server:
        server.sockets[0].listen(0)
        blockers = [socket.socket() for _ in range(4)]
        for one in blockers:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", server.port))
        assert await connect(["127.0.0.1"], server.port, seconds=0.05) == NotConnected(
            (("127.0.0.1", "did not answer"),)
        )
        for one in blockers:
            one.close()


async def test_the_source_address_chooses_the_family() -> None:
    with listener("127.0.0.1", "::1") as server:
        assert close(await connect(["::1", "127.0.0.1"], server.port, source="127.0.0.9")) == "127.0.0.1"
        assert server.peers() == ["127.0.0.9"]
        found = await connect(["::1"], server.port, source="127.0.0.9")
        assert found == NotConnected(())
        assert found.reason == "there is no address that can be tried"
        found = await connect(["127.0.0.1"], server.port, source="192.0.2.77")
        assert isinstance(found, NotConnected)
        assert "source address" in found.reason


async def test_what_is_no_address_is_left_out() -> None:
    assert await connect(["", "localhost", "1.2.3", "fe80::1%"], 25) == NotConnected(())


async def test_the_number_of_attempts_is_bounded() -> None:
    with listener("127.0.0.1") as server:
        port = server.port
    found = await connect([f"127.0.1.{n}" for n in range(1, 100)], port)
    assert isinstance(found, NotConnected)
    assert len(found.tried) == ADDRESSES


def test_errors_have_words() -> None:
    assert connecting._why(OSError(errno.ENETUNREACH, "x")) == "cannot be reached from here"
    assert connecting._why(OSError(errno.ENOBUFS, "x")) == "no buffer space available"
    assert connecting._why(ValueError()) == "cannot be connected to"
