"""ReceiveBuffer: octets that have arrived and are not yet understood.

The engines of this room (SMTP, IMAP, later POP3 and ManageSieve) cut first and parse second: they take whole lines and
counted runs of octets from here, and hand them to a parser that never has to say "incomplete".

* A line ends at LF and is given with its line end, so that the caller can see whether CR stood before it.
* The buffer remembers up to where it has looked for LF: a line that comes octet by octet is searched once, not n times.
* One chunk that arrives into an empty buffer is kept as it is, without a copy; most input is cut straight from it.

It does NOT bound itself by refusing octets: what to do about a line without an end is the protocol's matter
(`len(buffer)` tells, `drop` throws away), and `full` asks the reader of the socket to stop reading for a while.
"""

HIGH_WATER = 1_048_576  # octets; a socket is not read further while more than this waits to be understood


class ReceiveBuffer:
    """Octets received and not yet taken, in order."""

    __slots__ = ("_octets", "_searched", "_start")

    def __init__(self) -> None:
        self._octets: bytes | bytearray = b""
        self._start = 0  # everything before has been taken
        self._searched = 0  # no LF stands between _start and here

    def __len__(self) -> int:
        """Octets that can still be taken."""
        return len(self._octets) - self._start

    @property
    def full(self) -> bool:
        """More than HIGH_WATER octets wait: reading should pause until some are taken."""
        return len(self) > HIGH_WATER

    def append(self, octets: bytes) -> None:
        """Add what has arrived."""
        if self._start == len(self._octets):
            self._octets, self._start, self._searched = octets, 0, 0
            return
        if isinstance(self._octets, bytes):
            self._octets = bytearray(memoryview(self._octets)[self._start :])
        elif self._start:
            del self._octets[: self._start]
        self._searched = max(0, self._searched - self._start)
        self._start = 0
        self._octets += octets

    def take_line(self) -> bytes | None:
        """The next line with its LF, or None while its end has not come."""
        end = self._octets.find(b"\n", max(self._start, self._searched))
        if end < 0:
            self._searched = len(self._octets)
            return None
        return self._cut(end + 1)

    def take(self, count: int) -> bytes | None:
        """Exactly `count` octets, or None while fewer are here."""
        if len(self) < count:
            return None
        return self._cut(self._start + count)

    def take_up_to(self, count: int) -> bytes:
        """As many octets as are here, at most `count`; b"" when none is."""
        return self._cut(min(self._start + count, len(self._octets)))

    def take_all(self) -> bytes:
        """Everything that is here."""
        return self._cut(len(self._octets))

    def give_back(self, octets: bytes) -> None:
        """Put octets that were taken too many in front again."""
        self._octets = octets + self.take_all()
        self._start = self._searched = 0

    def peek(self, count: int) -> bytes:
        """The next octets, at most `count`, without taking them."""
        return bytes(self._octets[self._start : self._start + count])

    def drop(self, count: int) -> int:
        """Throw away at most `count` octets; gives how many there were."""
        dropped = min(count, len(self))
        self._start += dropped
        return dropped

    def drop_line(self) -> tuple[int, bool]:
        """Throw away what is here up to and with the next LF: how many octets went, whether LF was among them."""
        end = self._octets.find(b"\n", max(self._start, self._searched))
        found = end >= 0
        return self.drop((end + 1 if found else len(self._octets)) - self._start), found

    def clear(self) -> None:
        """Forget everything (STARTTLS)."""
        self._octets, self._start, self._searched = b"", 0, 0

    def _cut(self, stop: int) -> bytes:
        octets = self._octets
        if self._start == 0 and stop == len(octets) and isinstance(octets, bytes):
            taken = octets
        else:
            taken = bytes(octets[self._start : stop])
        self._start = stop
        if stop == len(octets):
            self.clear()
        return taken
