"""Deflate: what one connection compresses and inflates (RFC 4978, RFC 1951), without touching a socket.

Outgoing octets are compressed by a small compressor, made when there is something to say and given up by `rest`; a new
one goes on with the same stream, because each flush ends at a whole octet. Incoming octets are inflated only as far as
the reader has room: what was received and is not inflated yet waits as it came (decision 0045).

It knows no protocol. What inflates to far more than any text does is Broken, unless the reader `excuse`s it.
"""

import zlib

WINDOW = -13  # raw deflate with 8 KiB of history: 28 KiB of memory in use; 32 KiB of history would take 94 KiB
MEMORY = 6
LEVEL = 3  # some 90 MB/s; responses shrink to 28 %, bodies to 31 %
INFLATED_WINDOW = 1024 * 1024  # octets of output over which the ratio is looked at
RATIO = 100  # to one; commands of a real client reach 20

SLICE = 64 * 1024  # octets compressed at once: less than 1 ms of the loop


class Broken(ConnectionError):
    """The peer's compressed octets cannot be, or must not be, inflated further."""


class Deflate:
    """Both directions of one connection. `held`: octets were received that are not inflated yet."""

    __slots__ = ("_compressor", "_consumed", "_inflater", "_produced", "_waiting", "held")

    def __init__(self) -> None:
        self._compressor: zlib._Compress | None = None
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""
        self._consumed = 0  # octets in and out since the ratio was looked at
        self._produced = 0
        self.held = False

    def compress(self, octets: bytes, *, flush: bool = True) -> bytes:
        """The octets compressed; with `flush` the peer can read all of them at once."""
        if self._compressor is None:
            self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW, MEMORY)
        compressed = self._compressor.compress(octets)
        return compressed + self._compressor.flush(zlib.Z_SYNC_FLUSH) if flush else compressed

    def rest(self) -> None:
        """Nothing will be said for a while: let go of the compressor. Everything written was flushed."""
        self._compressor = None

    def receive(self, octets: bytes) -> None:
        """Take octets in."""
        self._waiting += octets
        self.held = True

    def inflate(self, room: int) -> bytes:
        """At most `room` octets of what was received. Raises Broken."""
        if self._inflater.eof:
            raise Broken("The compressed stream has ended.")
        waiting = self._waiting
        octets = self._decompress(waiting, room)
        self._waiting = self._inflater.unused_data or self._inflater.unconsumed_tail
        # With no room left the inflater may hold more than it shows.
        self.held = bool(self._waiting) or (len(octets) == room and not self._inflater.eof)
        used = len(waiting) - len(self._waiting)
        self._watch(used, len(octets))
        return octets

    def _decompress(self, octets: bytes, room: int) -> bytes:
        try:
            return self._inflater.decompress(octets, room)
        except zlib.error:
            raise Broken("What came is not compressed by DEFLATE.") from None

    def excuse(self, octets: int) -> None:
        """So many inflated octets were announced and wanted: they do not count for the ratio."""
        self._produced = max(0, self._produced - octets)

    def _watch(self, consumed: int, produced: int) -> None:
        self._consumed += consumed
        self._produced += produced
        if self._produced < INFLATED_WINDOW:
            return
        if self._produced > RATIO * self._consumed:
            raise Broken("What came inflates to more than anything that is meant.")
        self._consumed = self._produced = 0
