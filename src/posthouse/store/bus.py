"""Hints between the workers of one machine: "account A is now at ModSeq M", by unix datagrams in DIR/run.

Each worker binds one socket and sends to every other it finds that watches the account (watched.py). Nothing ever
waits: what a full socket does not take is kept, newest ModSeq per account, and tried again a moment later. A hint goes
at once, but those that come within PACE_SECONDS after one go together. A lost hint costs delay, never truth (decision
0018). The sockets of dead workers are removed by whoever finds them dead; a worker that begins looks for them.
"""

import asyncio
import os
import secrets
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from posthouse.mail.ids import AccountId, ModSeq
from posthouse.store import watched
from posthouse.store.watched import Others, Watched

PAIRS = 500  # of account and ModSeq in a datagram: 8 KB, below every system's limit
BACKLOG = 10_000  # accounts remembered for a worker that does not read; beyond, hints to it are lost
# Between two datagrams to the others: the first hint goes at once, those that follow on its heels together. Each costs
# every other worker a wake-up, as much as a tenth of taking a message.
PACE_SECONDS = 0.002
RETRY_SECONDS = 0.01  # a worker that reads at all has read by then
RETRIES = 100  # in a row: one second, then the worker must look by itself (IDLE looks once a minute)
DATAGRAMS = 64  # read at once, so that hints cannot keep the loop from everything else
SUFFIX = ".hint"
# A folder that was changed within this time before a look at it may be changed again without another time of change:
# the clock of file systems stands for up to 10 ms. Such a look is not relied on the next time.
SETTLED = 1_000_000_000  # nanoseconds
PLAIN_PATH = 100  # octets; a unix address has 107

_PAIR = struct.Struct("<qq")


class Bus:
    """One worker's end. All methods are called on its event loop; `publish` alone also without any."""

    def __init__(self, directory: Path, hinted: Callable[[AccountId, ModSeq], None]) -> None:
        """`hinted` is called on the loop for each hint from elsewhere. A sender only (command line) does not open."""
        self._folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._plain = f"{directory}/"
        self._hinted = hinted
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._watched: Watched | None = None
        self._others = Others(self._folder)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, dict[AccountId, ModSeq]] = {}
        self._timer: asyncio.TimerHandle | None = None  # to try again
        self._pause: asyncio.TimerHandle | None = None  # until what came meanwhile goes
        self._sent = 0.0  # when, by the loop's time
        self._tries: dict[str, int] = {}
        self._found: list[str] = []  # the other workers, as the folder showed them
        self._changed = -1  # when it had been changed then; -1: look again

    def open(self) -> None:
        """Bind and listen on the running loop. Raises OSError."""
        with suppress(OSError):  # the disk is full: then this worker is told of everything
            self._watched = Watched(self._folder, _file_of(self._name))  # first: whoever finds the socket finds it too
        try:
            self._socket.bind(self._path(self._name))
        except OSError as error:  # which does not know the name
            raise OSError(error.errno, os.strerror(error.errno or 0), self._plain + self._name) from error
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._receive)
        for peer in self._peers():
            self._offer(peer, b"")  # no hint at all: is anybody there?

    def watch(self, account: AccountId) -> None:
        """Hear of this account from now on."""
        if self._watched is not None:
            self._watched.add(account)

    def unwatch(self, account: AccountId) -> None:
        """Hear of it no more; as often as it was watched."""
        if self._watched is not None:
            self._watched.remove(account)

    def _path(self, name: str) -> str:
        # DIR may be longer than a unix address: Linux reaches it through the open descriptor.
        plain = self._plain + name
        return plain if len(os.fsencode(plain)) < PLAIN_PATH else f"/proc/self/fd/{self._folder}/{name}"

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
        """Tell every other worker that watches. Never blocks, never raises."""
        for peer in self._peers():
            file = _file_of(peer)
            wanted = {account: modseq for account, modseq in hints.items() if self._others.watches(file, account)}
            waiting = self._waiting.setdefault(peer, {}) if wanted else {}
            if len(waiting) < BACKLOG:
                waiting.update(wanted)
        if not self._waiting:
            return
        if self._loop is None:
            self._flush()
        elif self._pause is None:
            wait = self._sent + PACE_SECONDS - self._loop.time()
            if wait <= 0:
                self._flush()
            else:
                self._pause = self._loop.call_later(wait, self._flush)

    def _peers(self) -> list[str]:
        """The other workers: a folder that was not changed is not read again."""
        with suppress(OSError):
            changed = os.fstat(self._folder).st_mtime_ns
            if changed != self._changed:
                settled = time.time_ns() - changed > SETTLED
                self._found = [
                    name for name in os.listdir(self._folder) if name.endswith(SUFFIX) and name != self._name
                ]
                self._others.keep([_file_of(name) for name in self._found])
                self._changed = changed if settled else -1
            return self._found
        return []

    def _flush(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._loop is not None:
            self._sent = self._loop.time()
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
            taken = self._offer(peer, b"".join(_PAIR.pack(*pair) for pair in some))
            if not taken:
                return taken is None
            for account, _ in some:
                del waiting[account]
        return True

    def _offer(self, peer: str, datagram: bytes) -> bool | None:
        """Whether the peer has taken it; None where it never will."""
        try:
            self._socket.sendto(datagram, self._path(peer))
        except BlockingIOError:
            return False
        except ConnectionRefusedError:  # nobody has it open: its worker is dead
            for name in (peer, _file_of(peer)):
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._folder)
            return None
        except OSError:  # gone meanwhile, or no buffers: a hint may be lost
            return None
        return True

    def close(self) -> None:
        """Tell what waits, stop listening and take the socket away."""
        if self._pause is not None:
            self._flush()
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
        if self._watched is not None:
            self._watched.close()
            self._watched = None
        self._others.keep([])
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()
        os.close(self._folder)


def _file_of(peer: str) -> str:
    """The file in which the worker with that socket says what it watches."""
    return peer.removesuffix(SUFFIX) + watched.SUFFIX
