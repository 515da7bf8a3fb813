"""Blobs: the octets of messages, never changed (decision 0008).

Up to 1 MiB they are a row in the database, written by the script that names them; above, a file under DIR/blobs in
the zstd seekable format (independent frames, so that a range is read without the rest), synced with its directory
before any row names it. The same octets are kept once.
"""

import mmap
from pathlib import Path
from typing import NamedTuple, NewType

from posthouse.mail.ids import BlobId

#: The row of a blob inside this database: what emails.fetch gives for Column.BLOB.
BlobKey = NewType("BlobKey", int)

Octets = bytes | bytearray | memoryview | mmap.mmap


class NewBlob(NamedTuple):
    """Octets made ready for a script: compressed, or already durable in a file."""

    id: BlobId
    size: int
    packed: bytes | None  # zstd; None: in `file`
    file: str | None  # name under DIR/blobs


class Blobs:
    """The verbs on octets; reached as `store.blobs`."""

    async def put(self, octets: Octets) -> NewBlob:
        """Make octets ready to be named by a script; above INLINE_SIZE durable in a file when this returns.

        Small ones (<= 64 KiB) are compressed in place, larger ones in a thread. Raises Unavailable (disk)."""
        raise NotImplementedError

    def put_sync(self, octets: Octets) -> NewBlob:
        """The same, in this thread."""
        raise NotImplementedError

    async def get(self, blob: BlobKey, start: int = 0, stop: int | None = None) -> bytes:
        """The octets, or the part [start:stop] of them. Whole, the digest is verified. Raises NotFound, and
        Unavailable when the octets are damaged: wrong bytes are never served."""
        raise NotImplementedError

    async def get_many(self, blobs: list[BlobKey]) -> list[bytes]:
        """Whole octets of several, in order, in one read: the caller bounds their sizes. Digests are verified."""
        raise NotImplementedError

    def spool(self) -> Path:
        """A new, unique path under DIR/spool for an incoming large message; the caller removes it, and a sweep
        removes what a crash left there."""
        raise NotImplementedError
