"""Stress: when a worker has more to do than it can, strangers get less of it (limits.md).

A worker measures itself once a second and says so to `Stress.measured`; nothing here has a clock. What changes for the
sessions is in one place, `Peers` (limits.py): who is let in, and how patient a session is with a stranger. Users who
have logged in are left alone.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

LEAST = 3  # measurements before anything is said of them: one slow commit is no stress
CALM = 0.5  # stress is over below this part of each bound
CALM_MEMORY = 0.9  # the same for memory: a process seldom gives memory back, and half would never be seen again


@dataclass(frozen=True, slots=True)
class StressLimits:
    """When a worker is under stress, and what strangers may then do. Percent, seconds and counts."""

    connections_percent: int = 80  # of the connections a worker takes
    memory_percent: int = 80  # of the memory a worker may have
    commit_seconds: float = 2.0  # the 95th percentile
    greeting_seconds: float = 1.0  # the 95th percentile, from accepting a connection to its greeting
    calm_seconds: float = 60.0  # how long it must be calm before stress ends
    command_seconds: float = 10.0  # silence of a stranger
    errors: int = 1  # of a stranger's session
    junk_commands: int = 1  # of a stranger's session
    recipients: int = 100  # of a stranger's message


class Load(NamedTuple):
    """What a worker measures of itself: parts of what it may have (1.0 is all of it), and 95th percentiles."""

    connections: float
    memory: float
    commit_seconds: float
    greeting_seconds: float


class Recent:
    """The measurements of the last `seconds`, at most `most` of them."""

    __slots__ = ("_seconds", "_values")

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._values: deque[tuple[float, float]] = deque(maxlen=most)

    def add(self, when: float, value: float) -> None:
        """One more; `when` is a clock that never goes back, in seconds."""
        self._values.append((when, value))

    def p95(self, now: float) -> float:
        """The 95th percentile; 0.0 where there are fewer than LEAST."""
        while self._values and self._values[0][0] <= now - self._seconds:
            self._values.popleft()
        if len(self._values) < LEAST:
            return 0.0
        return sorted(value for _, value in self._values)[len(self._values) * 95 // 100]


class Stress:
    """Whether this worker is under stress."""

    __slots__ = ("_calm_since", "limits", "on")

    def __init__(self, limits: StressLimits | None = None) -> None:
        self.limits = limits or StressLimits()
        self.on = False
        self._calm_since: float | None = None

    def measured(self, load: Load, now: float) -> bool:
        """Take a measurement; whether stress has begun or ended by it. `now` never goes back, in seconds."""
        parts = self.parts(load)
        if any(part > 1.0 for part in parts):
            self._calm_since = None
            begun, self.on = not self.on, True
            return begun
        if not self.on:
            return False
        calm = all(part < (CALM_MEMORY if index == 1 else CALM) for index, part in enumerate(parts))
        if not calm:
            self._calm_since = None
            return False
        if self._calm_since is None:
            self._calm_since = now
        self.on = now - self._calm_since < self.limits.calm_seconds
        return not self.on

    def parts(self, load: Load) -> Load:
        """How much of each bound is reached: above 1.0 is stress."""
        limits = self.limits
        return Load(
            load.connections * 100 / limits.connections_percent,
            load.memory * 100 / limits.memory_percent,
            load.commit_seconds / limits.commit_seconds,
            load.greeting_seconds / limits.greeting_seconds,
        )
