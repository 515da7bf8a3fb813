"""Blobs: the octets of messages, never changed (decision 0008).

Up to 1 MiB they are a row in the database, written by the script that names them; above, a file under DIR/blobs in
the zstd seekable format (independent frames, so that a range is read without the rest), synced with its directory
before any row names it. The same octets are kept once.

A file's name is used once and never again: a file that no row names can be removed without asking who may be about
to name it, because only the writer of that file could, and it is given 36 hours.
"""

import asyncio
import hashlib
import mmap
import os
import secrets
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, NewType

import zstandard

from posthouse.mail.ids import BlobId
from posthouse.store.crashpoint import crashpoint
from posthouse.store.lately import Lately
from posthouse.store.script import NotFound, Row, Script, Unavailable, sql

#: The row of a blob inside this database: what emails.fetch gives for Column.BLOB.
BlobKey = NewType("BlobKey", int)

Octets = bytes | bytearray | memoryview | mmap.mmap

INLINE_SIZE = 1 << 20  # octets: measured, a row costs a ninth of a file up to here (decision 0008)
AT_ONCE_SIZE = 64 << 10  # compressed on the event loop, 0.2 ms; larger ones in a thread
FRAME_SIZE = 256 << 10  # octets of a frame: what a small range read decompresses at most twice
ROWS_AT_ONCE = 100  # blobs in one statement: five times cheaper than one by one
COPY_SIZE = 1 << 20  # octets copied at a time from a blob into a file
TOGETHER = 16  # frames from which on one call without the interpreter, with a context of its own, gains time
LEVEL = 3  # zstd: 2.7 times smaller at 0.1 ms per 42 KB
SIZE_LIMIT = 1 << 31  # the offsets of the seek table have 32 bits

# zstd seekable format (facebook/zstd contrib/seekable_format): a skippable frame with the table at the end.
_SKIPPABLE = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
_FOOTER = struct.Struct("<IBI")  # number of frames, descriptor, magic
_ENTRY = struct.Struct("<II")  # compressed size, decompressed size
_SKIP = struct.Struct("<II")  # magic, size of what follows


class NewBlob(NamedTuple):
    """Octets made ready for a script: compressed, or already durable in a file."""

    id: BlobId
    size: int
    packed: bytes | None  # zstd; None: in `file`
    file: str | None  # name under DIR/blobs


class _Contexts(threading.local):
    """A compressor and a decompressor a thread: making one costs as much as a small message does."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def pack(octets: Octets) -> bytes:
    """One zstd frame with its content size."""
    return _contexts.compressor.compress(octets[:] if isinstance(octets, mmap.mmap) else octets)


def pack_many(several: Sequence[bytes]) -> list[bytes]:
    """The same of many. The call of zstd runs without the interpreter."""
    found = _contexts.compressor.multi_compress_to_buffer(list(several), threads=1)
    return [found[place].tobytes() for place in range(len(several))]


def digest_of(octets: Octets) -> BlobId:
    """The name of octets: SHA-256 in hexadecimal."""
    return BlobId(hashlib.sha256(octets).hexdigest())


def _unpacked(packed: bytes) -> bytes:
    return _contexts.decompressor.decompress(packed)


def unpack_many(packed: Sequence[bytes], digests: Sequence[bytes]) -> list[bytes]:
    """The octets of many such frames, verified. Raises Unavailable: wrong bytes are never served."""
    decompressor = _contexts.decompressor
    try:
        if len(packed) < TOGETHER:
            several = list(map(decompressor.decompress, packed))
        else:
            found = decompressor.multi_decompress_to_buffer(list(packed), threads=1)
            several = [found[place].tobytes() for place in range(len(packed))]
    except (zstandard.ZstdError, ValueError) as error:
        raise Unavailable(f"the octets of a message cannot be read: {error}") from error
    if any(hashlib.sha256(octets).digest() != digest for octets, digest in zip(several, digests, strict=True)):
        raise Unavailable("the octets of a message are damaged: their digest is wrong")
    return several


def keep(new: NewBlob, references: int) -> Script[BlobKey]:
    """The row of these octets with so many references more; the octets are written if they are not here yet."""
    [(key, before)] = yield sql(
        "INSERT INTO blob (digest, size, file, refs) VALUES ($1, $2, $3, $4) ON CONFLICT (digest)"
        " DO UPDATE SET refs = refs + excluded.refs, released = NULL RETURNING id, refs - $4",
        bytes.fromhex(new.id), new.size, new.file, references,
    )  # fmt: skip
    if new.packed is not None and before == 0:  # new, or kept although nobody names it any more
        yield sql("INSERT OR IGNORE INTO octets (blob, packed) VALUES ($1, $2)", key, new.packed)
    return BlobKey(key)


def drop(blob: BlobKey) -> Script[int]:
    """One reference less; how many are left. A row whose last it was goes with its octets; a file has to wait
    (gc.py)."""
    [(refs, file)] = yield sql("UPDATE blob SET refs = refs - 1 WHERE id = $1 RETURNING refs, file", blob)
    if refs == 0 and file is None:
        yield sql("DELETE FROM octets WHERE blob = $1", blob)
        yield sql("DELETE FROM blob WHERE id = $1", blob)
    return int(refs)


def unkept(several: Sequence[NewBlob]) -> Script[list[str]]:
    """The files of these octets that no row names: they were refused, or the same octets were here already."""
    found: list[str] = []
    for new in several:
        rows = yield sql("SELECT file FROM blob WHERE digest = $1", bytes.fromhex(new.id))
        if new.file is not None and (not rows or rows[0][0] != new.file):
            found.append(new.file)
    return found


_ROW = "SELECT b.id, b.digest, b.size, b.file, o.packed FROM blob b LEFT JOIN octets o ON o.blob = b.id WHERE b.id "
_ONE = _ROW + "= $1"
_SOME = _ROW + f"IN ({', '.join(f'${number}' for number in range(1, ROWS_AT_ONCE + 1))})"


def rows_of(blobs: Sequence[BlobKey]) -> Script[list[Row]]:
    """(digest, size, file, packed) of each, in order. Raises NotFound."""
    found: dict[BlobKey, Row] = {}
    for first in range(0, len(blobs), ROWS_AT_ONCE):
        some = blobs[first : first + ROWS_AT_ONCE]
        # Filled up with the last one, so that there are two texts to prepare and not a hundred.
        filled = (*some, *[some[-1]] * (ROWS_AT_ONCE - len(some)))
        rows = yield sql(_ONE, some[0]) if len(some) == 1 else sql(_SOME, *filled)
        found.update((BlobKey(row[0]), row[1:]) for row in rows)
    if not all(blob in found for blob in blobs):
        raise NotFound("the message is gone")
    return [found[blob] for blob in blobs]


class Blobs:
    """The verbs on octets; reached as `store.blobs`."""

    def __init__(self, directory: Path, read: Callable[[Sequence[BlobKey]], "asyncio.Future[list[Row]]"]) -> None:
        """`read` runs rows_of in a reader thread of the store."""
        self._blobs = directory / "blobs"
        self._spool = directory / "spool"
        self._read = read
        self.lately = Lately()
        self._blobs.mkdir(mode=0o700, exist_ok=True)
        self._spool.mkdir(mode=0o700, exist_ok=True)

    async def put(self, octets: Octets) -> NewBlob:
        """Make octets ready to be named by a script; above INLINE_SIZE durable in a file when this returns.

        Small ones (<= 64 KiB) are compressed in place, larger ones in a thread. Raises Unavailable (disk)."""
        if len(octets) <= AT_ONCE_SIZE:
            return self.put_sync(octets)
        return await asyncio.to_thread(self.put_sync, octets)

    def put_sync(self, octets: Octets) -> NewBlob:
        """The same, in this thread."""
        digest = digest_of(octets)
        if len(octets) <= INLINE_SIZE:
            return NewBlob(digest, len(octets), pack(octets), None)
        if len(octets) > SIZE_LIMIT:
            raise Unavailable("the message is too large for this store")
        name = f"{digest[:2]}/{digest[:16]}-{secrets.token_hex(8)}.zst"
        try:
            write_file(self._blobs / name, octets)
        except OSError as error:
            raise Unavailable(f"the message cannot be written: {error.strerror}") from error
        return NewBlob(digest, len(octets), None, name)

    async def get(self, blob: BlobKey, start: int = 0, stop: int | None = None) -> bytes:
        """The octets, or the part [start:stop] of them. Whole, the digest is verified. Raises NotFound, and
        Unavailable when the octets are damaged: wrong bytes are never served."""
        [row] = await self._read((blob,))
        work = partial(self.octets, row, start, stop)
        return work() if row[1] <= AT_ONCE_SIZE else await asyncio.to_thread(work)

    async def get_many(self, blobs: Sequence[BlobKey]) -> list[bytes]:
        """Whole octets of several, in order, in one read: the caller bounds their sizes. Digests are verified."""
        rows = await self._read(blobs)
        if sum(size for _, size, _, _ in rows) <= AT_ONCE_SIZE:
            return [self.octets(row) for row in rows]
        return await asyncio.to_thread(lambda: [self.octets(row) for row in rows])

    async def copy_to(self, blob: BlobKey, file: BinaryIO, start: int = 0) -> None:
        """The octets from `start` on into a file, a piece at a time in memory, the digest verified. Raises NotFound,
        Unavailable, OSError."""
        [row] = await self._read((blob,))
        await asyncio.to_thread(self._copy, row, file, start)

    def _copy(self, row: Row, file: BinaryIO | mmap.mmap, start: int) -> None:
        digest, size, _, _ = row
        seen = hashlib.sha256()
        for at in range(0, size, COPY_SIZE):
            piece = self.octets(row, at, at + COPY_SIZE)
            seen.update(piece)
            file.write(piece[max(0, start - at) :])
        file.flush()
        if seen.digest() != digest:
            raise Unavailable("the octets of a message are damaged: their digest is wrong")

    def mapped(self, row: Row) -> mmap.mmap:
        """The whole octets of a row of rows_of in a file without a name, a piece at a time in memory, the digest
        verified; whole in memory where there is no room for that file. Slow: call it in a thread; the caller closes
        it. Raises Unavailable."""
        try:
            with tempfile.TemporaryFile(dir=self._spool) as file:
                self._copy(row, file, 0)
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:  # a full disk does not keep users from searching
            whole = mmap.mmap(-1, row[1])
            self._copy(row, whole, 0)
            return whole

    def octets(self, row: Row, start: int = 0, stop: int | None = None) -> bytes:
        """The octets of a row of rows_of, in this thread: what get() does behind the database."""
        digest, size, file, packed = row
        stop = size if stop is None else min(stop, size)
        start = min(max(start, 0), stop)
        try:
            octets = read_file(self._blobs / file, start, stop) if file else _unpacked(packed)[start:stop]
        except (zstandard.ZstdError, OSError, struct.error, ValueError, TypeError) as error:
            raise Unavailable(f"the octets of a message cannot be read: {error}") from error
        if len(octets) != stop - start:
            raise Unavailable("the octets of a message are damaged: their number is wrong")
        if len(octets) == size and hashlib.sha256(octets).digest() != digest:
            raise Unavailable("the octets of a message are damaged: their digest is wrong")
        return octets

    def spool(self) -> Path:
        """A new, unique path under DIR/spool for an incoming large message; the caller removes it, and a sweep
        removes what a crash left there."""
        return self._spool / f"{os.getpid()}-{secrets.token_hex(8)}"

    def remove(self, files: Sequence[str]) -> None:
        """Unlink files that no row names any more."""
        for name in files:
            (self._blobs / name).unlink(missing_ok=True)
            crashpoint("store.blob_unlinked")

    def files_older_than(self, seconds: float) -> Iterator[str]:
        """Names of files under DIR/blobs last written before this Unix time."""
        for path in self._blobs.glob("*/*.zst"):
            if path.stat().st_mtime < seconds:
                yield f"{path.parent.name}/{path.name}"

    def sweep_spool(self, seconds: float) -> int:
        """Remove what a crash left under DIR/spool before this Unix time; how many."""
        old = [path for path in self._spool.iterdir() if path.stat().st_mtime < seconds]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)


def write_file(path: Path, octets: Octets) -> None:
    """Frames, then their table; the file and its directories are synced. Raises OSError."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _sync_directory(path.parent.parent)
    table: list[bytes] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for start in range(0, len(octets), FRAME_SIZE):
                piece = octets[start : start + FRAME_SIZE]
                frame = pack(piece)
                file.write(frame)
                table.append(_ENTRY.pack(len(frame), len(piece)))
            entries = b"".join(table)
            file.write(_SKIP.pack(_SKIPPABLE, len(entries) + _FOOTER.size))
            file.write(entries + _FOOTER.pack(len(table), 0, _SEEKABLE))
            file.flush()
            crashpoint("store.blob_written")
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)
    crashpoint("store.blob_synced")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: Path, start: int, stop: int) -> bytes:
    """The octets [start:stop], decompressing only the frames they lie in. Raises OSError, ValueError."""
    pieces: list[bytes] = []
    with path.open("rb") as file:
        position = offset = 0
        for packed, plain in _table(file.fileno()):
            if offset < stop and offset + plain > start:
                piece = _unpacked(os.pread(file.fileno(), packed, position))
                pieces.append(piece[max(start - offset, 0) : stop - offset])
            position, offset = position + packed, offset + plain
    return b"".join(pieces)


def _table(descriptor: int) -> list[tuple[int, int]]:
    end = os.fstat(descriptor).st_size
    count, _, magic = _FOOTER.unpack(os.pread(descriptor, _FOOTER.size, max(end - _FOOTER.size, 0)))
    size = count * _ENTRY.size
    if magic != _SEEKABLE or size > end:
        raise ValueError("the file has no seek table")
    return list(_ENTRY.iter_unpack(os.pread(descriptor, size, end - _FOOTER.size - size)))
