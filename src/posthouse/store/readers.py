"""Readers: the threads that read for one worker, each woken for what it is to do and for nothing else.

Several threads that wait at one queue are woken in turn by every piece of work, and each asks for the interpreter only
to find nothing: with two of them a look at a user cost ten changes of thread (decision 0118). Here who has work for a
reader chooses one that rests, the one that rested last, whose pages are still at hand.
"""

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Readers(Generic[Job]):
    """The jobs of some threads, each of which runs `serve`. `put` and `end` may be called from any thread."""

    __slots__ = ("_ended", "_lock", "_resting", "_waiting")

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[Job] = deque()
        self._resting: list[SimpleQueue[Job | None]] = []
        self._ended = False

    @property
    def waiting(self) -> int:
        """Jobs that no thread has begun."""
        return len(self._waiting)

    def put(self, job: Job) -> None:
        """Have a thread do it: one that rests, or else the first that has ended what it does."""
        with self._lock:
            if not self._resting:
                self._waiting.append(job)
                return
            own = self._resting.pop()
        own.put(job)

    def serve(self, work: Callable[[Job], None]) -> None:
        """Do one job after the other until `end`, and what was put before it."""
        own: SimpleQueue[Job | None] = SimpleQueue()
        while (job := self._next(own)) is not None:
            work(job)

    def _next(self, own: "SimpleQueue[Job | None]") -> Job | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._ended:
                return None
            self._resting.append(own)
        return own.get()

    def end(self) -> None:
        """Let the threads end when all is done that was put."""
        with self._lock:
            self._ended = True
            resting, self._resting = self._resting, []
        for own in resting:
            own.put(None)
