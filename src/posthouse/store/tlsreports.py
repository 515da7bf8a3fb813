"""Sessions counted for TLS reports, until their day is over and the report is sent (RFC 8460 §4)."""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.store.script import Script, sql

ROWS = 1_000  # of one day and domain; more kinds of failure tell nobody more
LEASE = 900_000  # milliseconds to make and send one report; afterwards another worker may


class SessionRow(NamedTuple):
    """So many sessions of one day that were alike. `policy` is JSON, `failure` "" where all went well."""

    day: int
    domain: str
    policy: str
    failure: str
    host: str
    ip: str
    reason: str
    sessions: int


def count(rows: Sequence[SessionRow]) -> Script[None]:
    """Add to what is counted."""
    for row in rows:  # inside one script, in the writer's thread; at most as many as a worker collects in a minute
        known = yield sql(
            "UPDATE tls_session SET sessions = sessions + $7"
            " WHERE day = $1 AND domain = $2 AND policy = $3 AND failure = $4 AND host = $5 AND ip = $6 RETURNING 1",
            *row[:6], row.sessions,
        )  # fmt: skip
        if known:
            continue
        yield sql(
            "INSERT INTO tls_session (day, domain, policy, failure, host, ip, reason, sessions)"
            " SELECT $1, $2, $3, $4, $5, $6, $7, $8"
            " WHERE (SELECT count(*) FROM (SELECT 1 FROM tls_session WHERE day = $1 AND domain = $2 LIMIT $9)) < $9",
            *row, ROWS,
        )  # fmt: skip


def take_next(before: int, now: Millis) -> Script[tuple[int, str] | None]:
    """A day before this one and a domain whose report nobody works on; it is ours for LEASE."""
    rows = yield sql(
        "SELECT s.day, s.domain FROM tls_session s LEFT JOIN tls_lease l ON l.day = s.day AND l.domain = s.domain"
        " WHERE s.day < $1 AND coalesce(l.until, 0) <= $2 ORDER BY s.day, s.domain LIMIT 1",
        before, now,
    )  # fmt: skip
    if not rows:
        return None
    day, domain = rows[0]
    yield from wait(day, domain, Millis(now + LEASE))
    return day, domain


def wait(day: int, domain: str, until: Millis) -> Script[None]:
    """Nobody works on this report until then."""
    yield sql(
        "INSERT INTO tls_lease (day, domain, until) VALUES ($1, $2, $3)"
        " ON CONFLICT (day, domain) DO UPDATE SET until = excluded.until",
        day, domain, until,
    )  # fmt: skip


def sessions(day: int, domain: str) -> Script[list[SessionRow]]:
    """All that was counted."""
    rows = yield sql(
        "SELECT day, domain, policy, failure, host, ip, reason, sessions FROM tls_session"
        " WHERE day = $1 AND domain = $2 ORDER BY policy, failure, host, ip",
        day, domain,
    )  # fmt: skip
    return [SessionRow(*row) for row in rows]


def done(day: int, domain: str) -> Script[None]:
    """The report is sent, or nobody wants it."""
    yield sql("DELETE FROM tls_session WHERE day = $1 AND domain = $2", day, domain)
    yield sql("DELETE FROM tls_lease WHERE day = $1 AND domain = $2", day, domain)
