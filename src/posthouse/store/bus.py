"""Hints between the workers of one machine: "account A is now at ModSeq M", by unix datagrams in DIR/run.

Each worker binds one socket and sends to every other it finds. Nothing ever waits: what a full socket does not take
is kept, newest ModSeq per account, and tried again a moment later. A lost hint costs delay, never truth (decision
0018). The sockets of dead workers are removed by whoever finds them dead.
"""

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from posthouse.mail.ids import AccountId, ModSeq

PAIRS = 500  # of account and ModSeq in a datagram: 8 KB, below every system's limit
BACKLOG = 10_000  # accounts remembered for a worker that does not read; beyond, hints to it are lost
RETRY_SECONDS = 0.01  # a worker that reads at all has read by then
RETRIES = 100  # in a row: one second, then the worker must look by itself (IDLE looks once a minute)
DATAGRAMS = 64  # read at once, so that hints cannot keep the loop from everything else
SUFFIX = ".hint"

_PAIR = struct.Struct("<qq")


class Bus:
    """One worker's end. All methods are called on its event loop; `publish` alone also without any."""

    def __init__(self, directory: Path, hinted: Callable[[AccountId, ModSeq], None]) -> None:
        """`hinted` is called on the loop for each hint from elsewhere. A sender only (command line) does not open."""
        self._folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._directory = directory
        self._hinted = hinted
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, dict[AccountId, ModSeq]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tries: dict[str, int] = {}

    def open(self) -> None:
        """Bind and listen on the running loop."""
        self._socket.bind(self._path(self._name))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._receive)

    def _path(self, name: str) -> str:
        # A unix address has 107 octets and DIR may be longer: Linux reaches it through the open descriptor.
        plain = str(self._directory / name)
        return plain if len(os.fsencode(plain)) < 100 else f"/proc/self/fd/{self._folder}/{name}"

    def _receive(self) -> None:
        for _ in range(DATAGRAMS):
            try:
                datagram = self._socket.recv(PAIRS * _PAIR.size)
            except (BlockingIOError, ConnectionError):
                return
            if len(datagram) % _PAIR.size == 0:
                for account, modseq in _PAIR.iter_unpack(datagram):
                    self._hinted(AccountId(account), ModSeq(modseq))

    def publish(self, hints: Mapping[AccountId, ModSeq]) -> None:
        """Tell every other worker. Never blocks, never raises."""
        for peer in self._peers():
            waiting = self._waiting.setdefault(peer, {})
            if len(waiting) < BACKLOG:
                waiting.update(hints)
        self._flush()

    def _peers(self) -> list[str]:
        with suppress(OSError):
            return [name for name in os.listdir(self._folder) if name.endswith(SUFFIX) and name != self._name]
        return []

    def _flush(self) -> None:
        for peer in list(self._waiting):
            if self._send(peer, self._waiting[peer]):
                del self._waiting[peer]
                self._tries.pop(peer, None)
        if self._waiting and self._loop is not None and self._timer is None:
            self._timer = self._loop.call_later(RETRY_SECONDS, self._again)

    def _again(self) -> None:
        self._timer = None
        for peer in list(self._waiting):
            self._tries[peer] = self._tries.get(peer, 0) + 1
            if self._tries[peer] > RETRIES:
                del self._waiting[peer], self._tries[peer]
        self._flush()

    def _send(self, peer: str, waiting: dict[AccountId, ModSeq]) -> bool:
        """Whether nothing is left to be told to this peer."""
        while waiting:
            some = list(waiting.items())[:PAIRS]
            try:
                self._socket.sendto(b"".join(_PAIR.pack(*pair) for pair in some), self._path(peer))
            except BlockingIOError:
                return False
            except ConnectionRefusedError:  # nobody has it open: its worker is dead
                with suppress(OSError):
                    os.unlink(peer, dir_fd=self._folder)
                return True
            except OSError:  # gone meanwhile, or no buffers: a hint may be lost
                return True
            for account, _ in some:
                del waiting[account]
        return True

    def close(self) -> None:
        """Stop listening and take the socket away."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()
        os.close(self._folder)
