"""Whether the login of an open session still holds (decision 0101).

A session asks before it does something, at most once in VOUCH_SECONDS. When the password was changed, a device password
revoked or the user removed, every worker hears of it (store/logins.py), and the session wakes and asks at once, also
where nothing is said on it: IDLE, POP3 between two commands, submission in the middle of a message. The same at the
moment at which the device password that opened it is over.
"""

import asyncio
from collections.abc import Awaitable, Callable

from posthouse.mail.ids import Millis
from posthouse.net.link import Link
from posthouse.serve.login import VOUCH_SECONDS, Door
from posthouse.store.accounts import Login

LONGEST_TIMER = 3_600.0  # seconds until the clock is looked at again: somebody may set it, or the machine sleep


class Standing:
    """The login of one session, and when it was last seen to hold. `doubted`: something was changed since then."""

    __slots__ = ("_at", "_door", "_link", "_login", "_timer", "_unwatch", "doubted")

    def __init__(self, link: Link, door: Door) -> None:
        self._link = link
        self._door = door
        self._login: Login | None = None
        self._at = 0.0
        self._unwatch: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.doubted = False

    def begin(self, login: Login, at: float) -> None:
        """Somebody has come in, by what the store knew at that moment."""
        self.end()
        self._login, self._at = login, at
        self._unwatch = self._door.watch(login, self._doubt)
        if login.expires is not None:
            self._doubt_at(login.expires)

    def end(self) -> None:
        """Nobody is there any more; harmless where nobody was."""
        if self._unwatch is not None:
            self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
        self._login, self._unwatch, self._timer, self.doubted = None, None, None, False

    def _doubt(self) -> None:
        self.doubted = True
        self._link.wake()

    def _doubt_at(self, moment: Millis) -> None:
        left = (moment - self._door.logbook.clock()) / 1_000
        if left <= 0:
            self._timer = None
            self._doubt()
        else:
            self._timer = asyncio.get_running_loop().call_later(min(left, LONGEST_TIMER), self._doubt_at, moment)

    @property
    def due(self) -> bool:
        """Whether `holds` would ask."""
        return self._login is not None and (self.doubted or self._door.peers.now() >= self._at + VOUCH_SECONDS)

    async def holds(self, look: Callable[[Login], Awaitable[bool]] | None = None) -> bool:
        """Whether the login still holds, as of VOUCH_SECONDS ago or later, and as of the last change. `look` asks the
        store beside others who ask the same; it may have begun before the change, and is not for one. Raises
        StoreError: then it is asked again the next time."""
        login, now = self._login, self._door.peers.now()
        if login is None or not self.due:
            return True
        asked_alone, self.doubted = self.doubted or look is None, False
        holds = False
        try:
            holds = await (self._door.holds(login) if asked_alone or look is None else look(login))
        finally:
            self.doubted = self.doubted or not holds
        self._at = now
        return holds
