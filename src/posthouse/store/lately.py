"""Small messages that a worker read lately, unpacked: the same mail is asked for by each device of its owner, and to
unpack and verify it is most of what it costs to show it (decision 0121).

Octets are known by their digest, and they came in only when it was theirs. So it makes no difference who reads them
and what became of the rows: a digest never has other octets.
"""

import threading
from collections.abc import Iterable, Sequence

KEPT_OCTETS = 8 << 20  # of a worker: 2,000 messages of 4 KB; the older half is forgotten when the newer is full
OVERHEAD = 200  # octets that Python takes for a message beside its octets


class Lately:
    """The messages, in two halves: what is asked for of the older goes into the newer. Called in any thread."""

    def __init__(self, most: int = KEPT_OCTETS) -> None:
        self._half = most // 2
        self._lock = threading.Lock()
        self._newer: dict[bytes, bytes] = {}
        self._older: dict[bytes, bytes] = {}
        self._size = 0  # of the newer half

    def get_many(self, digests: Sequence[bytes]) -> list[bytes | None]:
        """The octets of each, where they are kept."""
        with self._lock:
            newer, older = self._newer.get, self._older.get
            found = [newer(digest) or older(digest) for digest in digests]
            self._put((digest, octets) for digest, octets in zip(digests, found, strict=True) if octets is not None)
        return found

    def put_many(self, several: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep octets by their digests, which were verified."""
        with self._lock:
            self._put(several)

    def _put(self, several: Iterable[tuple[bytes, bytes]]) -> None:
        for digest, octets in several:
            size = len(octets) + OVERHEAD
            if digest in self._newer or size > self._half:
                continue
            if self._size + size > self._half:
                self._older, self._newer, self._size = self._newer, {}, 0
            self._newer[digest] = octets
            self._size += size
