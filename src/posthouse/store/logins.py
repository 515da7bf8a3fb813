"""Who came in and who tried: kept for the owner of an account, and for the brakes on guessing (decisions 0108, 0109).

Workers write together what happened in the last seconds (serve/logbook.py). Like logins of one hour are one row, and a
user has a bounded number of them: an attack fills rows of its own kind, never those of the owner's logins.

Failures are counted for names, domains and networks whether or not there is such a user, so that nothing can be learnt
from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from posthouse.mail.ids import AccountId, DeviceId, Millis, ModSeq
from posthouse.store.script import Changed, Row, Script, sql

HOUR, DAY = 3_600_000, 86_400_000  # milliseconds
REFUSED_AN_HOUR = 50  # rows of refusals of one user; further ones are counted in a row without an address
ROWS = 2_000  # of one user, of logins and of refusals each: the oldest go
TIDIED = 64  # rows are counted when so many more may have come
SLOT = 600_000  # milliseconds: failures are forgotten at most so much late
HOUR_SLOTS, DAY_SLOTS = 7, 145  # an hour and a day, and the slot that has begun
GUESSES = 200_000  # rows of counted failures, some 10 MiB: the oldest slots go
HOME_DAYS = 30  # how long an address is known as one of the user's
HOMES = 200  # networks of one user; the oldest go
FORGOTTEN_AT_ONCE = 2_000  # rows in one script: some 10 ms of the writer


class Visit(NamedTuple):
    """Logins that are alike, but for their times. `ip` "": from many addresses; `refused` "": they came in."""

    account: AccountId
    ip: str
    service: str
    mechanism: str
    program: str
    tls: str
    device: str
    refused: str


class Times(NamedTuple):
    """When, and how many."""

    first: Millis
    last: Millis
    logins: int


class Told(NamedTuple):
    """A row as its owner sees it."""

    visit: Visit
    times: Times


class Used(NamedTuple):
    """The last login by a device password."""

    device: DeviceId
    at: Millis
    ip: str
    service: str
    program: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What a worker has to write: logins, failures by subject, device passwords used, networks users are at home in."""

    visits: Sequence[tuple[Visit, Times]] = ()
    guesses: Sequence[tuple[int, Millis, int]] = ()
    used: Sequence[Used] = ()
    homes: Sequence[tuple[AccountId, str, Millis]] = ()


def sign_in_of(account: AccountId) -> AccountId:
    """Whom to watch for hints that a login of the account may hold no more. No account has such a number, so what comes
    and goes in its mailboxes is no such hint."""
    return AccountId(-account)


def sign_in_changed(account: AccountId) -> Script[None]:
    """What opened the account may open it no more: its open sessions look at once, in all workers (decision 0101)."""
    yield Changed(sign_in_of(account), ModSeq(0))


@lru_cache(4_096)
def subject(kind: str, text: str) -> int:
    """What failures are counted for: 8 octets of a digest, as a number SQL can hold."""
    return int.from_bytes(blake2b(f"{kind}\0{text}".encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1


def record(batch: Batch) -> Script[None]:
    """Write a batch, in one transaction."""
    for visit, times in batch.visits:
        yield from _visit(visit, times)
    for number, at, count in batch.guesses:
        yield sql(
            "INSERT INTO guess VALUES ($1, $2, $3) ON CONFLICT (subject, slot) DO UPDATE SET count = count + $3",
            number, at // SLOT, count,
        )  # fmt: skip
    for each in batch.used:
        yield sql(
            "UPDATE device SET used = $2, used_ip = $3, used_service = $4, used_program = $5 WHERE id = $1", *each
        )
    for account, network, at in batch.homes:
        yield from _home(account, network, at // DAY)


def _visit(visit: Visit, times: Times) -> Script[None]:
    hour = times.last // HOUR
    if (yield from _more(visit, times, hour)):
        return
    if visit.refused:
        [(rows,)] = yield sql(
            "SELECT count(*) FROM login WHERE account = $1 AND hour = $2 AND refused <> ''", visit.account, hour
        )
        if rows >= REFUSED_AN_HOUR:
            visit = visit._replace(ip="", program="", tls="", device="")
            if (yield from _more(visit, times, hour)):
                return
    known = yield sql("SELECT 1 FROM account WHERE id = $1", visit.account)
    if not known:  # removed a moment ago
        return
    [(number,)] = yield sql(
        "INSERT INTO login (account, hour, first, last, count, ip, service, mechanism, program, tls, device, refused)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
        visit.account, hour, *times, *visit[1:],
    )  # fmt: skip
    if number % TIDIED == 0:
        yield from _tidy(visit.account)


def _more(visit: Visit, times: Times, hour: int) -> Script[bool]:
    """Count it in the row that is there; False where none is."""
    rows = yield sql(
        "UPDATE login SET first = min(first, $10), last = max(last, $11), count = count + $12 WHERE account = $1"
        " AND hour = $9 AND ip = $2 AND service = $3 AND mechanism = $4 AND program = $5 AND tls = $6 AND device = $7"
        " AND refused = $8 RETURNING id",
        *visit, hour, *times,
    )  # fmt: skip
    return bool(rows)


def _tidy(account: AccountId) -> Script[None]:
    for kind in ("refused = ''", "refused <> ''"):
        rows = yield sql(
            f"SELECT id FROM login WHERE account = $1 AND {kind} ORDER BY hour DESC, id DESC LIMIT 1 OFFSET $2",
            account, ROWS,
        )  # fmt: skip
        if rows:
            yield sql(f"DELETE FROM login WHERE account = $1 AND {kind} AND id <= $2", account, rows[0][0])


def _home(account: AccountId, network: str, day: int) -> Script[None]:
    if not (yield sql("SELECT 1 FROM account WHERE id = $1", account)):
        return
    yield sql(
        "INSERT INTO at_home VALUES ($1, $2, $3) ON CONFLICT (account, network) DO UPDATE SET day = max(day, $3)",
        account, network, day,
    )  # fmt: skip
    rows = yield sql(
        "SELECT network FROM at_home WHERE account = $1 ORDER BY day DESC, network LIMIT 1000 OFFSET $2", account, HOMES
    )
    for (old,) in rows:
        yield sql("DELETE FROM at_home WHERE account = $1 AND network = $2", account, old)


def list_visits(account: AccountId, since: Millis, *, failed: bool) -> Script[list[Told]]:
    """What happened since then, oldest first; only refusals where `failed`."""
    rows = yield sql(
        "SELECT ip, service, mechanism, program, tls, device, refused, first, last, count FROM login"
        f" WHERE account = $1 AND hour >= $2 AND last >= $3{' AND refused <> $4' if failed else ''} ORDER BY last, id",
        account, since // HOUR, since, *(("",) if failed else ()),
    )  # fmt: skip
    return [Told(Visit(account, *row[:7]), Times(*row[7:])) for row in rows]


# --- failures, and where users are at home


def counted(hour: Sequence[int], day: Sequence[int], now: Millis) -> Script[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Failures of some subjects in the last hour, and of others in the last day, of all workers."""
    slot = now // SLOT
    marks = ", ".join(f"${number}" for number in range(2, 2 + len(hour) + len(day)))
    rows: list[Row] = yield sql(
        f"SELECT subject, slot, count FROM guess WHERE slot > $1 AND subject IN ({marks})",
        slot - DAY_SLOTS, *hour, *day,
    )  # fmt: skip
    late = [(number, count) for number, at, count in rows if at > slot - HOUR_SLOTS]
    of_hour = tuple(sum(count for number, count in late if number == each) for each in hour)
    return of_hour, tuple(sum(count for number, _, count in rows if number == each) for each in day)


def at_home(account: AccountId, network: str, now: Millis) -> Script[bool]:
    """Whether the user has logged in well from there in the last HOME_DAYS."""
    rows = yield sql(
        "SELECT 1 FROM at_home WHERE account = $1 AND network = $2 AND day >= $3",
        account, network, now // DAY - HOME_DAYS,
    )  # fmt: skip
    return bool(rows)


def homes(now: Millis, most: int) -> Script[list[tuple[str, int]]]:
    """Networks from which anybody has logged in well in the last HOME_DAYS, and how many days ago: the newest. After
    the clock was set back it is today, never later."""
    today = now // DAY
    rows: list[Row] = yield sql(
        "SELECT network, max(day) FROM at_home WHERE day >= $1 GROUP BY network ORDER BY 2 DESC, network LIMIT $2",
        today - HOME_DAYS, most,
    )  # fmt: skip
    return [(network, max(0, today - day)) for network, day in rows]


# --- an end to it


def forget(now: Millis, days: int) -> Script[bool]:
    """Remove some of what is too old; whether there is more."""
    rows = yield sql(
        "SELECT id FROM login WHERE hour < $1 ORDER BY hour LIMIT $2", (now - days * DAY) // HOUR, FORGOTTEN_AT_ONCE
    )
    for (number,) in rows:  # inside one script, in the writer's thread
        yield sql("DELETE FROM login WHERE id = $1", number)
    return len(rows) == FORGOTTEN_AT_ONCE


def forget_guesses(now: Millis) -> Script[bool]:
    """Remove some of the failures that count no more, and of too many the oldest; whether there is more."""
    [(rows,)] = yield sql("SELECT count(*) FROM guess")
    old = yield sql(
        "SELECT subject, slot FROM guess WHERE slot <= $1 ORDER BY slot LIMIT $2", now // SLOT - DAY_SLOTS,
        FORGOTTEN_AT_ONCE,
    )  # fmt: skip
    if not old and rows > GUESSES:
        old = yield sql(
            "SELECT subject, slot FROM guess ORDER BY slot LIMIT $1", min(rows - GUESSES, FORGOTTEN_AT_ONCE)
        )
    for key in old:
        yield sql("DELETE FROM guess WHERE subject = $1 AND slot = $2", *key)
    return len(old) == FORGOTTEN_AT_ONCE


def forget_user(account: AccountId) -> Script[None]:
    """The user is removed: nothing is left of how they signed in."""
    for table in ("device", "totp", "recovery", "at_home", "login"):
        yield sql(f"DELETE FROM {table} WHERE account = $1", account)
