"""The octets of messages that come one behind another, compressed beside the event loop, many with one call.

A call of zstd for many leaves the interpreter to the loop until all are done, and the loop reads the next messages
meanwhile (decision 0058). What is compressed is the same as if each had been put alone.
"""

import asyncio
from collections.abc import Sequence

from posthouse.mail.ids import BlobId
from posthouse.store.blobs import AT_ONCE_SIZE, Blobs, NewBlob, Octets, digest_of, pack, pack_many

TOGETHER = 64  # messages of one call: a call costs the loop as much as four messages
TOGETHER_OCTETS = 256 << 10  # and their octets; as many wait here again, with one more message, while a call runs


class Packing:
    """The blobs of several messages, in order. One for each APPEND; use it from one task."""

    __slots__ = ("_blobs", "_call", "_done", "_size", "_waiting")

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._done: list[NewBlob] = []
        self._waiting: list[bytes] = []
        self._size = 0  # octets of those that wait
        self._call: asyncio.Future[list[NewBlob]] | None = None

    @property
    def waiting(self) -> int:
        """How many have not been handed over yet."""
        return len(self._waiting)

    async def add(self, octets: Octets) -> NewBlob | None:
        """Take the next message; its blob where it is durable in a file already. Raises Unavailable (disk)."""
        if len(octets) > AT_ONCE_SIZE:
            await self._finish()
            new = await self._blobs.put(octets)
            self._done.append(new)
            return new if new.file is not None else None
        self._waiting.append(bytes(octets))
        self._size += len(octets)
        if len(self._waiting) >= TOGETHER or self._size >= TOGETHER_OCTETS:
            await self._begin()
        return None

    async def all(self) -> list[NewBlob]:
        """All of them, in the order in which they came."""
        await self._finish()
        return self._done

    def close(self) -> None:
        """Forget everything; a call that runs ends for nobody."""
        if self._call is not None:
            self._call.cancel()
        self._waiting.clear()

    async def _begin(self) -> None:
        """Have those that wait compressed in a thread; only one call runs at a time."""
        await self._called()
        some, self._waiting, self._size = self._waiting, [], 0
        self._call = asyncio.get_running_loop().run_in_executor(None, _new_blobs, some, list(map(digest_of, some)))

    async def _called(self) -> None:
        if self._call is not None:
            self._done += await self._call
            self._call = None

    async def _finish(self) -> None:
        if self._size > AT_ONCE_SIZE:
            await self._begin()
        await self._called()
        self._done += [NewBlob(digest_of(octets), len(octets), pack(octets), None) for octets in self._waiting]
        self._waiting, self._size = [], 0


def _new_blobs(several: Sequence[bytes], digests: Sequence[BlobId]) -> list[NewBlob]:
    """In a thread. The digests come along: to make each of them here would be to ask for the interpreter again and
    again."""
    frames = pack_many(several)
    return [
        NewBlob(digest, len(octets), frame, None)
        for digest, octets, frame in zip(digests, several, frames, strict=True)
    ]
