"""Deflate: what one connection compresses and inflates (RFC 4978, RFC 1951), without touching a socket.

Outgoing octets are compressed by a small compressor, made when there is something to say and given up by `rest`; a new
one goes on with the same stream, because each flush ends at a whole octet. Incoming octets are inflated only as far as
the reader has room: what was received and is not inflated yet waits as it came (decision 0045).

Where the reader says which words may end the peer's stream, nothing behind them is inflated before the reader has had
them: he may `end` the stream there, and what follows is plain (RFC 8437 §4.1).

It knows no protocol. What inflates to far more than any text does is Broken, unless the reader `excuse`s it.
"""

import re
import zlib
from collections.abc import Iterator

WINDOW = -13  # raw deflate with 8 KiB of history: 28 KiB of memory in use; 32 KiB of history would take 94 KiB
MEMORY = 6
LEVEL = 3  # some 90 MB/s; responses shrink to 28 %, bodies to 31 %
INFLATED_WINDOW = 1024 * 1024  # octets of output over which the ratio is looked at
RATIO = 100  # to one; commands of a real client reach 20

SLICE = 64 * 1024  # octets compressed at once: less than 1 ms of the loop

LAST = 16  # octets of the longest words that may end a stream
LAST_TIMES = 20  # how often they may stand in a stream without ending it: looking for their place costs milliseconds
TRAIL = 16  # octets between the last words and the end of the stream: what a flush or the last block adds is at most 9
_FLUSHED = b"\0\0\xff\xff"  # how a sync flush ends (RFC 1951 §3.2.4: an empty stored block)


class Broken(ConnectionError):
    """The peer's compressed octets cannot be, or must not be, inflated further."""


class Deflate:
    """Both directions of one connection. `held`: octets were received that are not inflated yet. `last`: words that may
    end the peer's stream, at most LAST octets. `paused`: they were just given out, and what is behind them is held."""

    __slots__ = (
        "_compressor",
        "_consumed",
        "_inflater",
        "_last",
        "_produced",
        "_said",
        "_times",
        "_waiting",
        "held",
        "paused",
    )

    def __init__(self, last: re.Pattern[bytes] | None = None) -> None:
        self._compressor: zlib._Compress | None = None
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""
        self._consumed = 0  # octets in and out since the ratio was looked at
        self._produced = 0
        self._last = last
        self._said = b""  # the end of what was given out: the last words may come in two pieces
        self._times = 0
        self.held = False
        self.paused = False

    def compress(self, octets: bytes, *, flush: bool = True) -> bytes:
        """The octets compressed; with `flush` the peer can read all of them at once."""
        if self._compressor is None:
            self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW, MEMORY)
        compressed = self._compressor.compress(octets)
        return compressed + self._compressor.flush(zlib.Z_SYNC_FLUSH) if flush else compressed

    def finish(self, octets: bytes) -> bytes:
        """These octets, and the end of our stream."""
        compressed = self.compress(octets, flush=False)
        compressor, self._compressor = self._compressor, None
        return compressed if compressor is None else compressed + compressor.flush(zlib.Z_FINISH)

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
        waiting, self.paused = self._waiting, False
        octets = self._inflate_all(waiting, room) if self._last is None else self._inflate_to_words(waiting, room)
        self._watch(len(waiting) - len(self._waiting), len(octets))
        return octets

    def _inflate_all(self, waiting: bytes, room: int) -> bytes:
        octets = self._decompress(waiting, room)
        self._waiting = self._inflater.unused_data or self._inflater.unconsumed_tail
        # With no room left the inflater may hold more than it shows.
        self.held = bool(self._waiting) or (len(octets) == room and not self._inflater.eof)
        return octets

    def _inflate_to_words(self, waiting: bytes, room: int) -> bytes:
        """As far as the first last words behind which the stream may end, or all."""
        before, good, broken = self._inflater.copy(), len(waiting), None
        try:
            octets = self._inflate_all(waiting, room)
        except Broken as error:  # perhaps it has ended, and what is behind it is plain
            good, broken = _good(before, waiting, room), error
            octets = before.copy().decompress(waiting[:good], room)
        for stop in self._ends_of_words(octets):
            if self._pause(before, waiting[:good], stop):
                self._waiting += waiting[good:]
                self.held = bool(self._waiting)
                return octets[:stop]
        if broken is not None:
            raise broken
        return octets

    def _ends_of_words(self, octets: bytes) -> Iterator[int]:
        """Where in these octets the last words end."""
        said = self._said + octets
        behind = len(self._said)
        self._said = said[1 - LAST :]
        for found in () if self._last is None else self._last.finditer(said):
            if found.end() <= behind:
                continue
            self._times += 1
            if self._times > LAST_TIMES:
                self._last = None
                return
            yield found.end() - behind

    def _pause(self, before: "zlib._Decompress", waiting: bytes, stop: int) -> bool:
        """Go back to the received octet by which `stop` octets are known. False where more is known by it already: no
        stream ends there."""
        low, high = 0, len(waiting)
        while high - low > 1:
            middle = (low + high) // 2
            if len(before.copy().decompress(waiting[:middle], stop)) < stop:
                low = middle
            else:
                high = middle
        inflater = before.copy()
        if len(inflater.decompress(waiting[:high])) != stop:
            return False
        self._inflater, self._waiting = inflater, waiting[high:]
        self._said, self.paused = b"", True
        return True

    def end(self) -> tuple[bytes, bool]:
        """The peer's stream ends where it is paused: the plain octets behind it, and whether its end has come; if not,
        the rest of it may still come in front of them. Raises Broken."""
        for at in range(min(len(self._waiting), TRAIL) + 1):
            if self._inflater.eof or self._waiting[:at].endswith(_FLUSHED):
                return self._waiting[at:], True
            if self._decompress(self._waiting[at : at + 1], 1):
                break
        else:
            if len(self._waiting) <= TRAIL:
                return b"", False
        raise Broken("Where the compressed stream ends cannot be told.")

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


def _good(inflater: "zlib._Decompress", waiting: bytes, room: int) -> int:
    """How many of these octets, which cannot be inflated, can."""
    good, bad = 0, len(waiting)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            inflater.copy().decompress(waiting[:middle], room)
            good = middle
        except zlib.error:
            bad = middle
    return good
