"""Ports for servers that tests start: nobody else is given them, however many test processes run beside each other.

A port that is free when one looks may be another's when the server binds it, or while a server is down that a test has
killed. So each process takes whole blocks of ports for itself, and says so by a name that only one can have.
"""

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from pathlib import Path

BLOCK = 100  # ports that a process takes at once
BLOCKS = 110
MOST = 20  # blocks of one process; then it begins again with its first, whose servers ended long ago
HIGHEST = 32_000


def _first_port() -> int:
    """The blocks lie below the range that the kernel gives to clients: those do not ask what is whose."""
    with contextlib.suppress(OSError, ValueError):
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        if 2_000 <= lowest - BLOCKS * BLOCK < HIGHEST - BLOCKS * BLOCK:
            return lowest - BLOCKS * BLOCK
    return HIGHEST - BLOCKS * BLOCK


def _own_blocks() -> Iterator[int]:
    """The first port of each block that is now ours. It is as long as this process lives: nobody closes the names."""
    for number in range(BLOCKS):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0posthouse-tests-ports-{number}")
        except OSError:
            name.close()
            continue
        _names.append(name)
        yield _first_port() + number * BLOCK
        if len(_names) == MOST:
            return


def _own_ports() -> Iterator[int]:
    taken = []
    for first in _own_blocks():
        taken.append(first)
        yield from range(first, first + BLOCK)
    assert taken, "other tests have all ports"
    for first in itertools.cycle(taken):
        yield from range(first, first + BLOCK)


_names: list[socket.socket] = []
_ports = _own_ports()


@contextlib.contextmanager
def turn(what: str) -> Iterator[None]:
    """Have for oneself what is there once on this machine, as ports whose numbers are fixed, or wait for it."""
    with socket.socket(socket.AF_UNIX) as name:
        while True:
            with contextlib.suppress(OSError):
                name.bind(f"\0posthouse-tests-{what}")
                break
            time.sleep(0.05)
        yield


def free_ports(count: int) -> list[int]:
    """So many ports on which nobody listens."""
    found: list[int] = []
    while len(found) < count:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found
