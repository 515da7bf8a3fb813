"""Moments of the queue: what the wall clock shows, and what a clock shows that nobody sets.

The times of the queue are times of the wall clock, because people read them. When that clock is set while items wait,
the queue's times are moved by as much, so that nothing is given up too early, too late, or tried in a storm; how long
the machine has been running tells it (decision 0073). Over a restart of the machine only a clock that went back can be
told; one that was set forward while the machine was off looks like a long night.
"""

import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.store.script import Script, sql

JUMP_MILLIS = 60_000  # less is how clocks are kept right, and no matter for mail
SEEN_MILLIS = 60_000  # between two notes of the time: so much of a clock that went back over a restart stays unknown
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Moment(NamedTuple):
    """`now` is the wall clock; `uptime` counts from the start of the machine, which `boot` names ("": unknown)."""

    now: Millis
    uptime: Millis
    boot: str


def wall_clock() -> Millis:
    """The time of day, which somebody may set."""
    return Millis(time.time_ns() // 1_000_000)


def format_minute(at: Millis) -> str:
    """A moment as people read it in a list, in the time of this machine: 2026-11-26 17:18."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1000))


def uptime() -> Millis:
    """Milliseconds since the machine was started, the same for all processes, sleep included."""
    return Millis(time.clock_gettime_ns(_BOOTTIME) // 1_000_000)


@cache
def boot() -> str:
    """Names this run of the machine; "" where the system does not say."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def moment(now: Millis) -> Moment:
    """This moment, with what the wall clock shows."""
    return Moment(now, uptime(), boot())


def keep_time(at: Moment) -> Script[None]:
    """See whether the wall clock was set, and move the queue's times with it. First in every script of the queue."""
    [(known, ahead, seen)] = yield sql("SELECT boot, ahead, seen FROM queue_clock")
    started = at.boot != known
    jump = jumped(at, ahead, seen, started=started)
    if not (started or jump or at.now - seen > SEEN_MILLIS):
        return
    if started:  # whoever had a lease is no more
        yield sql("UPDATE queue_item SET lease_until = 0 WHERE state = 2")
    if jump:
        yield from _move(at.now, jump)
    if started or jump:
        ahead = at.now - at.uptime
    yield sql("UPDATE queue_clock SET boot = $1, ahead = $2, seen = $3", at.boot, ahead, at.now)


def jumped(at: Moment, ahead: int, seen: int, *, started: bool) -> int:
    """By how many milliseconds the wall clock was set since the last look; `ahead` is how far it was ahead of
    `uptime` then, `seen` what it showed."""
    jump = min(0, at.now - seen) if started or not at.boot else at.now - at.uptime - ahead
    return jump if abs(jump) > JUMP_MILLIS else 0


def _move(now: Millis, jump: int) -> Script[None]:
    # The moment of FUTURERELEASE was asked for by the wall clock, and stays as long as it has not come.
    yield sql(
        "UPDATE queue_item SET created = created + $1, next_attempt = next_attempt + $1, expires = expires + $1,"
        " attention = attention + $1, held = CASE WHEN held = 0 THEN 0 ELSE held + $1 END"
        " WHERE release <> next_attempt OR release <= $2",
        jump, now - jump,
    )  # fmt: skip
    yield sql(
        "UPDATE queue_destination SET due = CASE WHEN due IS NULL THEN NULL ELSE $2 END, touched = touched + $1,"
        " rests_until = CASE WHEN rests_until = 0 THEN 0 ELSE rests_until + $1 END",
        jump, now,
    )  # fmt: skip
