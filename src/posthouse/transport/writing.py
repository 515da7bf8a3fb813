"""Writing: since when a worker has seen the queue written without a gap, and that it cannot be, said once.

A lease that ran out says that its owner is dead only where the owner could have renewed it. While the disk was full, or
the machine slept, nobody could (decision 0127).
"""

import logging

from posthouse.mail.ids import Millis
from posthouse.store.script import StoreError

log = logging.getLogger("posthouse.queue")


class Writing:
    """What became of this worker's writes. Times are those of the clock that nobody sets, in milliseconds."""

    def __init__(self, enough: int, gap: int) -> None:
        self._enough = enough  # so long it must last until it counts
        self._gap = gap  # between two writes; a longer one is a stretch of which nothing is known
        self._since: Millis | None = None
        self._last = Millis(0)
        self._failing: Millis | None = None  # since when, as the log says

    @property
    def failing(self) -> bool:
        """Whether it was said that nothing can be written, and not yet that this is over."""
        return self._failing is not None

    def wrote(self, now: Millis) -> None:
        """Something was written just now."""
        if self._since is None or now - self._last > self._gap:
            self._since = now
        self._last = now
        if self._failing is not None and self._lasts(now):
            log.info("the queue can be written again", extra={"seconds": (self._since - self._failing) // 1000})
            self._failing = None

    def failed(self, error: StoreError, now: Millis) -> None:
        """Something could not be written."""
        self._since = None
        if self._failing is not None:
            return
        self._failing = now
        log.warning("the queue cannot be written: %s; until it can, nothing more is sent to other servers", error)

    def steady(self, now: Millis) -> bool:
        """Whether whoever is alive had the time to renew what is theirs."""
        return self._since is not None and now - self._last <= self._gap and self._lasts(now)

    def _lasts(self, now: Millis) -> bool:
        return self._since is not None and now - self._since >= self._enough
