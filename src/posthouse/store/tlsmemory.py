"""What is remembered of the TLS of other domains: their MTA-STS policies (RFC 8461 §3.3), and that they have TLS at
all (decision 0083)."""

from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.store.script import Script, sql

DAY = 86_400_000  # milliseconds
PAUSE = DAY  # between two failures that belong together: the queue tries more often
POLICIES = 20_000  # kept; beyond it those go that were not used for longest
SEEN = 1_000_000  # domains; each takes some 50 octets
FORGOTTEN_AT_ONCE = 1_000  # rows of one transaction


class KeptPolicy(NamedTuple):
    """A policy as it was fetched."""

    id: str
    text: str
    fetched: Millis
    expires: Millis
    used: Millis


class Seen(NamedTuple):
    """That a domain took mail over TLS. `failing` is since when it does not, 0: it does; `missed`: when it did not
    last."""

    last: Millis
    failing: Millis
    missed: Millis


def policy(domain: str) -> Script[KeptPolicy | None]:
    """The policy that was fetched last, also one that has expired."""
    rows = yield sql("SELECT id, policy, fetched, expires, used FROM mta_sts WHERE domain = $1", domain)
    return KeptPolicy(*rows[0]) if rows else None


def keep_policy(domain: str, kept: KeptPolicy) -> Script[None]:
    """Put it in the place of the one before."""
    yield sql(
        "INSERT INTO mta_sts (domain, id, policy, fetched, expires, used) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (domain) DO UPDATE SET id = excluded.id, policy = excluded.policy, fetched = excluded.fetched,"
        " expires = excluded.expires, used = max(used, excluded.used)",
        domain, *kept,
    )  # fmt: skip


def use_policy(domain: str, now: Millis) -> Script[None]:
    """Note that mail is sent there, so that the policy is refreshed and not forgotten."""
    yield sql("UPDATE mta_sts SET used = $2 WHERE domain = $1", domain, now)


def stale_policies(now: Millis, *, older: Millis, used_since: Millis, many: int) -> Script[list[str]]:
    """Domains whose policy is in use, was fetched before `older`, and has not expired (RFC 8461 §10.2)."""
    rows = yield sql(
        "SELECT domain FROM mta_sts WHERE fetched < $1 AND used >= $2 AND expires > $3 ORDER BY expires LIMIT $4",
        older, used_since, now, many,
    )  # fmt: skip
    return [domain for (domain,) in rows]


def forget_old(now: Millis, seen_before: Millis) -> Script[None]:
    """Remove policies that have expired, and those beyond POLICIES; domains whose TLS was long ago, or beyond SEEN."""
    yield sql(
        "DELETE FROM mta_sts WHERE domain IN (SELECT domain FROM mta_sts WHERE expires < $1 LIMIT $2)",
        now, FORGOTTEN_AT_ONCE,
    )  # fmt: skip
    yield sql(
        "DELETE FROM mta_sts WHERE domain IN (SELECT domain FROM mta_sts ORDER BY used DESC LIMIT $2 OFFSET $1)",
        POLICIES, FORGOTTEN_AT_ONCE,
    )  # fmt: skip
    yield sql(
        "DELETE FROM tls_seen WHERE domain IN (SELECT domain FROM tls_seen WHERE last < $1 LIMIT $2)",
        seen_before, FORGOTTEN_AT_ONCE,
    )  # fmt: skip
    yield sql(
        "DELETE FROM tls_seen WHERE domain IN (SELECT domain FROM tls_seen ORDER BY last DESC LIMIT $2 OFFSET $1)",
        SEEN, FORGOTTEN_AT_ONCE,
    )  # fmt: skip


def seen(domain: str) -> Script[Seen | None]:
    """What is remembered of the TLS of a domain."""
    rows = yield sql("SELECT last, failing, missed FROM tls_seen WHERE domain = $1", domain)
    return Seen(*rows[0]) if rows else None


def saw_tls(domain: str, now: Millis) -> Script[None]:
    """It has taken a message over TLS."""
    yield sql(
        "INSERT INTO tls_seen (domain, last, failing, missed) VALUES ($1, $2, 0, 0)"
        " ON CONFLICT (domain) DO UPDATE SET last = excluded.last, failing = 0, missed = 0",
        domain, now,
    )  # fmt: skip


def missed_tls(domain: str, now: Millis) -> Script[None]:
    """It has refused TLS. Since when is kept; a pause of more than PAUSE begins the count anew."""
    yield sql(
        "UPDATE tls_seen SET failing = CASE WHEN failing > 0 AND missed >= $3 THEN failing ELSE $2 END, missed = $2"
        " WHERE domain = $1",
        domain, now, now - PAUSE,
    )  # fmt: skip


def forget_tls(domain: str) -> Script[bool]:
    """It may do without TLS again. Says whether anything was remembered."""
    rows = yield sql("DELETE FROM tls_seen WHERE domain = $1 RETURNING domain", domain)
    return bool(rows)
