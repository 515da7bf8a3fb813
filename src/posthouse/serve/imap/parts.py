"""The parts of large messages for FETCH, never more than one message whole (RFC 9051 §6.4.5, RFC 3516).

The tree of a message above INLINE_SIZE is made of a file without a name, one message at a time in a worker, and the
trees of the last few are remembered. A body with a transfer encoding is decoded piece by piece, once to count it and
once to send it: what a client that does not read has asked for costs neither memory nor disk.
"""

import asyncio
import hashlib
import mmap
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple
from weakref import WeakKeyDictionary

from posthouse.mail import content
from posthouse.mail.mime import Part, Span, parse
from posthouse.store.blobs import INLINE_SIZE, BlobKey, Blobs, rows_of
from posthouse.store.script import Row, Unavailable
from posthouse.store.store import Store

PIECE = 512 * 1024  # octets of a message on their way to the client: twice a frame of the store (blobs.py)
WHOLE_AT_ONCE = 1  # large messages of which a worker makes the tree at once; 50 MiB take some 0.2 s
TREES = 64  # trees of large messages a worker remembers
TREE_OCTETS = 16 * 1024 * 1024  # what they may weigh together; the last one is remembered whatever its weight
PART_OCTETS = 1_500  # of a part in memory, beside the fields of its header


class _Trees:
    """The remembered trees, oldest first, with their weights; and the gate to making more."""

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(WHOLE_AT_ONCE)
        self.known: OrderedDict[BlobKey, tuple[Part, int]] = OrderedDict()
        self.weight = 0

    def remember(self, blob: BlobKey, tree: Part) -> None:
        weight = sum(PART_OCTETS + part.header.size for part in tree.walk())
        self.known[blob] = tree, weight
        self.weight += weight
        while len(self.known) > 1 and (len(self.known) > TREES or self.weight > TREE_OCTETS):
            _, (_, gone) = self.known.popitem(last=False)
            self.weight -= gone


_trees: "WeakKeyDictionary[Blobs, _Trees]" = WeakKeyDictionary()


class Measured(NamedTuple):
    """How large a decoded body is, and whether it holds NUL."""

    size: int
    nul: bool


async def tree_of(store: Store, blob: BlobKey) -> Part:
    """The tree of a large message; its digest was verified. Raises NotFound, Unavailable."""
    trees = _trees.setdefault(store.blobs, _Trees())
    async with trees.gate:
        if blob not in trees.known:
            [row] = await store.read(rows_of, (blob,))
            trees.remember(blob, await asyncio.to_thread(_parsed, store.blobs, row))
        return trees.known[blob][0]


def _parsed(blobs: Blobs, row: Row) -> Part:
    digest, size = row[0], row[1]
    if size <= INLINE_SIZE:
        return parse(blobs.octets(row))
    found = hashlib.sha256()
    try:
        with tempfile.TemporaryFile(dir=blobs.spool().parent) as file:
            for octets in _raw(blobs, row, Span(0, size)):
                found.update(octets)
                file.write(octets)
            file.flush()
            if found.digest() != digest:
                raise Unavailable("the octets of a message are damaged: their digest is wrong")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                return parse(whole)
    except OSError:  # a full disk does not keep users from reading
        return parse(blobs.octets(row))


def _raw(blobs: Blobs, row: Row, span: Span) -> Iterator[bytes]:
    for start in range(span.start, span.stop, PIECE):
        yield blobs.octets(row, start, min(start + PIECE, span.stop))


async def measure(store: Store, blob: BlobKey, part: Part) -> Measured | None:
    """Decode the body of a part and forget it; None where its transfer encoding is unknown."""
    [row] = await store.read(rows_of, (blob,))
    return await asyncio.to_thread(_measured, store.blobs, row, part)


def _measured(blobs: Blobs, row: Row, part: Part) -> Measured | None:
    pieces = content.decoded_pieces(_raw(blobs, row, part.body), part)
    if pieces is None:
        return None
    size, nul = 0, False
    for octets in pieces:
        size += len(octets)
        nul = nul or b"\0" in octets
    return Measured(size, nul)


def decoded(blobs: Blobs, row: Row, part: Part, span: Span) -> Iterator[bytes]:
    """The octets [start:stop] of the decoded body, in pieces; each step is slow: take it in a thread."""
    at = 0
    for octets in content.decoded_pieces(_raw(blobs, row, part.body), part) or ():
        yield octets[max(span.start - at, 0) : max(span.stop - at, 0)]
        at += len(octets)
        if at >= span.stop:
            return
