"""Where a message waits while it is received: small ones in memory, large ones in a file without a name.

A file without a name (O_TMPFILE, or unlinked at once where that is missing) vanishes with the process, so a kill in
the middle of DATA leaves nothing. (The short moment between create and unlink is what the store's sweep is for.)
"""

import asyncio
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from posthouse.mail.fold import Change

WRITE_CHUNK = 1024 * 1024  # octets held before they are written by a thread: few switches, bounded memory
COPY_CHUNK = 1024 * 1024  # octets copied at a time from one file to another
SPACE_REMEMBERED = 1.0  # seconds an answer of statvfs is used again: it is asked at every MAIL
SPACE_RESERVE = 64 * 1024 * 1024  # octets kept free for the database, its WAL and expunging
SPACE_LOG = 16 * 1024 * 1024  # of these in the file system itself; the rest may be free pages of the database


class Spool:
    """The octets of one message as they arrive. `size` counts them all."""

    __slots__ = ("_directory", "_file", "_held", "_threshold", "size")

    def __init__(self, directory: Path, threshold: int) -> None:
        self._directory = directory
        self._threshold = threshold
        self._held = bytearray()  # not a list of pieces: a peer that sends single octets must not cost more than others
        self._file: BinaryIO | None = None
        self.size = 0

    def add(self, octets: bytes) -> bool:
        """Take the next octets. True asks the caller to await `write` before adding more."""
        self._held += octets
        self.size += len(octets)
        return len(self._held) > (WRITE_CHUNK if self._file else self._threshold)

    async def write(self) -> None:
        """Move what is held to the file. Raises OSError when the disk is full or broken."""
        held, self._held = self._held, bytearray()
        await asyncio.to_thread(self._append, held)

    def _append(self, held: bytearray) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - closed by close()
        with memoryview(held) as view:
            at = 0
            while at < len(view):
                at += self._file.write(view[at:])

    async def octets(self) -> bytes | mmap.mmap:
        """The whole message: bytes when small, a read-only mmap of the file when large. Raises OSError."""
        if self._file is None:
            return bytes(self._held)
        if self._held:
            await self.write()
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Forget everything; the file, if any, is gone from the disk."""
        self._held = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None


def kept(octets: bytes | mmap.mmap, changes: Sequence[Change]) -> Iterator[bytes]:
    """A message with these spans (ascending) replaced, in pieces of at most COPY_CHUNK octets."""
    at = 0
    for start, stop, new in (*changes, (len(octets), len(octets), b"")):
        for begin in range(at, start, COPY_CHUNK):
            yield octets[begin : min(begin + COPY_CHUNK, start)]
        if start >= at:  # not inside a span that is gone
            yield new
        at = max(at, stop)


def copy_to_file(octets: mmap.mmap, front: bytes, changes: Sequence[Change], directory: Path) -> mmap.mmap:
    """A message with `front` before it and these spans replaced, in a file of its own. Slow: call it in a thread.

    Raises OSError."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(front)
        for piece in kept(octets, changes):
            file.write(piece)
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class DiskSpace:
    """Whether the disk has room for one more message, asked of the kernel at most once a second.

    `free` returns the free octets of the file system a path is on; tests hand in their own. `reusable` are the octets
    of free pages inside the database, told by whoever measures them (vitals.py).
    """

    __slots__ = ("_asked", "_free", "_last", "reusable")

    def __init__(self, free: Callable[[Path], int] | None = None) -> None:
        self._free = free or free_octets
        self._asked = float("-inf")
        self._last = 0
        self.reusable = 0

    def room(self, directory: Path, message_size: int) -> bool:
        """Half as much again as the largest message, and SPACE_RESERVE, must be free (limits.md)."""
        if time.monotonic() - self._asked > SPACE_REMEMBERED:
            self.measure(directory)
        if self._last < needed(message_size) - SPACE_RESERVE + SPACE_LOG:
            return False
        return self._last + self.reusable >= needed(message_size)

    def measure(self, directory: Path) -> int:
        """Ask the kernel now: the octets free in the file system. Raises OSError."""
        self._asked, self._last = time.monotonic(), self._free(directory)
        return self._last


def needed(message_size: int) -> int:
    """Octets that must be free for one more message: half as much again as the largest, and the reserve."""
    return message_size * 3 // 2 + SPACE_RESERVE


def free_octets(directory: Path) -> int:
    """Free octets for an ordinary user on the file system of `directory`. Raises OSError."""
    stat = os.statvfs(directory)
    return stat.f_bavail * stat.f_frsize
