"""What was looked up a moment ago, so that whoever asks again soon gets the same answer without another question."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

ENTRIES = 10_000
LIFE = 30_000.0  # milliseconds; what another worker has changed is seen after so long


class Recent(Generic[K, T]):
    """A small cache, bounded in entries and in their life. `now` and `life` are of one clock, and in its unit."""

    __slots__ = ("_entries", "_known", "_life")

    def __init__(self, entries: int = ENTRIES, life: float = LIFE) -> None:
        self._entries, self._life = entries, life
        self._known: OrderedDict[K, tuple[float, T]] = OrderedDict()

    def get(self, key: K, now: float) -> T | None:
        """What is known of it, if that is not too old; a clock that was set back makes it too old."""
        at, value = self._known.get(key, (None, None))
        return value if at is not None and 0 <= now - at < self._life else None

    def put(self, key: K, value: T, now: float) -> None:
        """Know it from now on; beyond the bound the oldest is forgotten."""
        self._known[key] = (now, value)
        self._known.move_to_end(key)
        if len(self._known) > self._entries:
            self._known.popitem(last=False)

    def forget(self, key: K) -> None:
        """Look it up anew next time."""
        self._known.pop(key, None)


class Kept(Generic[K, T]):
    """Answers of the store about who is who, each good while the edition stays the one that was taken before the
    question (store/edition.py). Their life is bounded all the same: a server of an older version counts no editions."""

    __slots__ = ("_recent",)

    def __init__(self, entries: int, life: float) -> None:
        self._recent: Recent[K, tuple[int, T]] = Recent(entries, life)

    def get(self, key: K, edition: int | None, now: float) -> T | None:
        """The answer, if nothing has changed since it was given."""
        edition_then, value = self._recent.get(key, now) or (None, None)
        return value if edition_then is not None and edition_then == edition else None

    def put(self, key: K, value: T, edition: int | None, now: float) -> None:
        """Keep it, unless something was changing when the question was asked."""
        if edition is not None:
            self._recent.put(key, (edition, value), now)
