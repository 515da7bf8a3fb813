"""What the door knows of users between their logins: kept while nobody changes who is who (decision 0130)."""

import time
from collections.abc import Callable

from posthouse.mail.ids import Millis
from posthouse.store import devices
from posthouse.store.devices import Asked, Seen
from posthouse.store.store import Store
from posthouse.transport.recent import Kept

ENTRANCES = 10_000  # users, from each network that they come from: about 20 MiB
ENTRANCE_SECONDS = 30.0  # what a server of an older version changed is seen after so long


class Entrances:
    """The answers. One per worker. `now` is a clock that never goes back, in seconds."""

    __slots__ = ("_known", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: Kept[Asked, Seen] = Kept(ENTRANCES, ENTRANCE_SECONDS)

    async def look(self, asked: Asked, at: Millis, store: Store) -> Seen:
        """What the store says of one login, or has said and would say again. Of nobody nothing is kept; nor is what
        counts failures, or was asked because of some: they are forgotten by and by. Raises Unavailable."""
        edition, now = store.edition, self._now()
        seen = self._known.get(asked, edition, now)
        if seen is None:
            seen = await store.read(devices.look, asked, at)
            if seen.entrance is not None and not (asked.suspect or seen.tried):
                self._known.put(asked, seen, edition, now)
        return seen
