"""Guesses: passwords that are being checked. With the failures that were counted they are never more than the brake
lets through (decision 0137).

A failure is known once its password was checked. Who sends a hundred passwords at the same moment would have a third of
them checked before the brake knows of the first. So those under way count too, and who is beyond waits until it is
known how they end: a good login leaves nothing behind, and takes nothing from others.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from posthouse.serve.limits import Refusal

WAITING = 500  # logins of one worker that wait for others to end; a password takes some hundredths of a second

#: For each network of a client: its name, and how many failures more the brake lets through.
Left = Sequence[tuple[str, int]]


class Guesses:
    """Those of one worker."""

    __slots__ = ("_under_way", "_waiting")

    def __init__(self) -> None:
        self._under_way: Counter[str] = Counter()
        self._waiting: list[asyncio.Future[None]] = []

    async def begin(self, left: Callable[[], Left]) -> Callable[[], None] | Refusal:
        """Wait until one more password may be checked. Gives what to call when it is known how that ended, once the
        failure is counted; a second call does nothing. Or FAILURES, where the brake holds by now, or BUSY."""
        while True:
            now = left()
            if any(most <= 0 for _, most in now):
                return Refusal.FAILURES
            if all(self._under_way[network] < most for network, most in now):
                return self._count({network for network, _ in now})
            if len(self._waiting) >= WAITING:
                return Refusal.BUSY
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            finally:
                if turn in self._waiting:  # the client is gone
                    self._waiting.remove(turn)

    def _count(self, networks: set[str]) -> Callable[[], None]:
        self._under_way.update(networks)

        def over() -> None:
            self._under_way.subtract(networks)
            for network in networks:
                if not self._under_way[network]:
                    del self._under_way[network]
            if networks:
                self._look_again()
            networks.clear()

        return over

    def _look_again(self) -> None:
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)
