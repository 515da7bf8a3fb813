"""Connecting to a server that has several addresses: a short race between them, IPv6 and IPv4 (RFC 8305).

The addresses come in the order of the caller's liking; families take turns (§4), each attempt has PAUSE seconds before
the next one is begun beside it (§5), and the first that stands wins. The pause is longer than a web browser's: a server
that is half the world away should not see a second connection come and go.

What it does NOT do: it resolves no names and speaks no protocol. A connection that stands may still be useless; the
caller then asks again without that address.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

PAUSE = 0.5  # seconds between the beginnings of two attempts; RFC 8305 §8 allows 0.1 to 2
ADDRESSES = 6  # tried in one call; real servers have one or two of each family

_WORDS = {
    errno.ECONNREFUSED: "refused the connection",
    errno.ENETUNREACH: "cannot be reached from here",
    errno.EHOSTUNREACH: "cannot be reached",
    errno.ETIMEDOUT: "did not answer",
    errno.ECONNRESET: "broke the connection off",
    errno.EADDRNOTAVAIL: "cannot be reached from the source address that is set",
    errno.EACCES: "may not be connected to from here",
    errno.EPERM: "may not be connected to from here",
}


class Connected(NamedTuple):
    """A socket that stands, and the address at its other end."""

    sock: socket.socket
    ip: str


class NotConnected(NamedTuple):
    """No address could be connected to: each that was tried, and why not, in words."""

    tried: tuple[tuple[str, str], ...]

    @property
    def reason(self) -> str:
        """All of it."""
        return "; ".join(f"{ip} {why}" for ip, why in self.tried) or "there is no address that can be tried"


async def connect(ips: Sequence[str], port: int, source: str = "", seconds: float = 30.0) -> Connected | NotConnected:
    """A TCP connection to one of these addresses, from `source` where one is set. Each attempt may take `seconds`."""
    waiting = _in_turns(ips, source)
    running: dict[asyncio.Task[socket.socket], str] = {}
    tried: list[tuple[str, str]] = []
    try:
        while waiting or running:
            if waiting:
                ip = waiting.pop(0)
                running[asyncio.create_task(_attempt(ip, port, source, seconds))] = ip
            won = await _first(running, tried, PAUSE if waiting else None)
            if won is not None:
                return won
        return NotConnected(tuple(tried))
    finally:
        await _give_up(running)


async def _first(
    running: dict[asyncio.Task[socket.socket], str], tried: list[tuple[str, str]], pause: float | None
) -> Connected | None:
    """Wait for an attempt to end, at most for the pause: the one that stands; those that failed are noted."""
    done, _ = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        ip = running.pop(task)
        error = task.exception()
        if error is None:
            return Connected(task.result(), ip)
        tried.append((ip, _why(error)))
    return None


async def _give_up(running: dict[asyncio.Task[socket.socket], str]) -> None:
    """The losers of the race: no task and no socket stays behind."""
    for task in running:
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


async def _attempt(ip: str, port: int, source: str, seconds: float) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            # IP_BIND_ADDRESS_NO_PORT, by its number because Python 3.11 has no name for it: the port is chosen when
            # the destination is known, so that one source address is good for more than 28,000 connections.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, 24, 1)
            sock.bind((source, 0))
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, (ip, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _in_turns(ips: Sequence[str], source: str) -> list[str]:
    """The addresses, families in turns, the caller's first family first (RFC 8305 §4). Only those that can be reached
    from the source address; what is no address is left out."""
    wanted = 0 if not source else _version(source)
    good = [ip for ip in dict.fromkeys(ips) if _version(ip) and wanted in (0, _version(ip))]
    if not good:
        return []
    first = [ip for ip in good if _version(ip) == _version(good[0])]
    second = [ip for ip in good if _version(ip) != _version(good[0])]
    turns = [ip for at in range(len(good)) for ip in (*first[at : at + 1], *second[at : at + 1])]
    return turns[:ADDRESSES]


def _version(ip: str) -> int:
    try:
        return ipaddress.ip_address(ip).version
    except ValueError:
        return 0


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return _WORDS[errno.ETIMEDOUT]
    if isinstance(error, OSError) and error.errno is not None:
        return _WORDS.get(error.errno, os.strerror(error.errno).lower())
    return "cannot be connected to"
