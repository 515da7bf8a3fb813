"""What was looked up a moment ago, so that a burst of mail to one domain asks the store once."""

from collections import OrderedDict
from typing import Generic, TypeVar

from posthouse.mail.ids import Millis

T = TypeVar("T")

ENTRIES = 10_000
LIFE = 30_000  # milliseconds; what another worker has changed is seen after so long


class Recent(Generic[T]):
    """A small cache by name."""

    def __init__(self, entries: int = ENTRIES, life: int = LIFE) -> None:
        self._entries, self._life = entries, life
        self._known: OrderedDict[str, tuple[Millis, T]] = OrderedDict()

    def get(self, name: str, now: Millis) -> T | None:
        """What is known of it, if that is not too old; a clock that was set back makes it too old."""
        at, value = self._known.get(name, (None, None))
        return value if at is not None and 0 <= now - at < self._life else None

    def put(self, name: str, value: T, now: Millis) -> None:
        """Know it from now on."""
        self._known[name] = (now, value)
        self._known.move_to_end(name)
        while len(self._known) > self._entries:
            self._known.popitem(last=False)

    def forget(self, name: str) -> None:
        """Look it up anew next time."""
        self._known.pop(name, None)
