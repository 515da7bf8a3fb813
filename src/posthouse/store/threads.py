"""Threads: which Emails belong together (RFC 8474 §5.2, RFC 8621 §3).

Two Emails are of one thread when a msg-id occurs in both, as their own or among those they refer to, and their subjects
are the same but for what mail programs put in front (RFC 8621 §3). So a key is a digest of a msg-id and a subject, and
the table `thread_key` says which thread has it. It is asked once and written once for each Email that arrives.

A thread has the id of its first Email. It never changes: where an Email refers to two threads, it joins that of its
nearest parent, and they stay two (RFC 8474 §5.2). Keys of threads that have no Email any more go with `forget`.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from typing import NamedTuple

from posthouse.mail.ids import AccountId, EmailId, ThreadId
from posthouse.mail.summary import Summary
from posthouse.store.script import Script, sql

REFERENCES = 20  # msg-ids looked at besides the own: the first, and the nearest; a longer chain has met before
KEYS_AT_ONCE = REFERENCES + 1  # in one statement: those of one Email
SWEEP_KEYS = 2_000  # keys looked at in one script

# What stands in front of a subject besides the "Re:" and "Fwd:" of RFC 5256 §2.1, which are gone already: the same in
# other languages, as Outlook and others write it, and list tags between them.
_WORDS = (
    "aw|wg|antw|antwort|sv|vs|vb|res|enc|r|i|rif|tr|rv|odp|pd|ynt|ilt|re|fwd?|"
    "\u56de\u590d|\u7b54\u590d|\u56de\u8986|\u8f6c\u53d1|\u8f49\u5bc4|\u8fd4\u4fe1|\u8ee2\u9001"
)
_LEADERS = re.compile(
    rf"(?:\s*+(?:\[[^\[\]]*+\]|(?:{_WORDS})\s*+(?:\[\d++\]|\(\d++\))?\s*+[:\uff1a]))++", re.IGNORECASE
)


class Found(NamedTuple):
    """The thread that has one of the keys, None: a new one; and the keys that no thread has."""

    thread: ThreadId | None
    missing: tuple[int, ...]


def thread_subject(subject: str) -> str:
    """What is compared of a base subject: without prefixes of any language, without white space (RFC 8621 §3)."""
    leaders = _LEADERS.match(subject)
    rest = subject[leaders.end() :] if leaders is not None else subject
    return "".join((rest if rest.strip() else subject).split())


def keys(summary: Summary) -> tuple[int, ...]:
    """The keys of an Email: its own first, then those of its parents, the nearest first."""
    parents = summary.parents.split(" ") if summary.parents else []
    if len(parents) > REFERENCES:
        parents = [parents[0], *parents[1 - REFERENCES :]]
    ids = [summary.message_id, *reversed(parents)] if summary.message_id else parents[::-1]
    if not ids:
        return ()
    under = b"\0" + thread_subject(summary.subject).encode("utf-8", "replace")
    return tuple(dict.fromkeys(_key(identity.encode("utf-8", "replace") + under) for identity in ids))


def _key(octets: bytes) -> int:
    return int.from_bytes(sha256(octets).digest()[:8], "big", signed=True)


@lru_cache(KEYS_AT_ONCE)
def _known_text(count: int) -> str:
    wanted = ", ".join(f"${number}" for number in range(2, count + 2))
    return f"SELECT key, thread FROM thread_key WHERE account = $1 AND key IN ({wanted})"


@lru_cache(KEYS_AT_ONCE)
def _remember_text(count: int) -> str:
    rows = ", ".join(f"($1, ${number}, ${number + 1})" for number in range(2, 2 * count + 2, 2))
    return f"INSERT INTO thread_key (account, key, thread) VALUES {rows}"


def known(account: AccountId, wanted: Sequence[int]) -> Script[dict[int, ThreadId]]:
    """The threads that these keys lead to, as far as they lead anywhere."""
    found: dict[int, ThreadId] = {}
    for first in range(0, len(wanted), KEYS_AT_ONCE):
        some = wanted[first : first + KEYS_AT_ONCE]
        found.update((yield sql(_known_text(len(some)), account, *some)))
    return found


def remember(account: AccountId, learnt: Sequence[tuple[int, ThreadId]]) -> Script[None]:
    """From now on these keys lead to these threads; none of them led anywhere before."""
    for first in range(0, len(learnt), KEYS_AT_ONCE):
        some = learnt[first : first + KEYS_AT_ONCE]
        yield sql(_remember_text(len(some)), account, *chain.from_iterable(some))


def find(account: AccountId, wanted: Sequence[int]) -> Script[Found]:
    """The thread of an Email that arrives with these keys. The account must be locked."""
    there = yield from known(account, wanted)
    thread = next((there[key] for key in wanted if key in there), None)
    return Found(thread, tuple(key for key in wanted if key not in there))


def keep(account: AccountId, found: Found, email: EmailId) -> Script[None]:
    """The Email is kept: from now on its keys lead to its thread, which is its own where none was found."""
    thread = ThreadId(email) if found.thread is None else found.thread
    yield from remember(account, [(key, thread) for key in found.missing])


# --- what nobody needs any more (gc.py)

_DEAD = (
    "NOT EXISTS (SELECT 1 FROM email e WHERE e.id = thread_key.thread)"
    " AND NOT EXISTS (SELECT 1 FROM email e WHERE e.thread = thread_key.thread AND e.thread <> 0)"
)


def next_account(after: int) -> Script[AccountId | None]:
    """The first account above this id that has keys, though it may be gone itself."""
    rows = yield sql("SELECT account FROM thread_key WHERE account > $1 ORDER BY account LIMIT 1", after)
    return AccountId(rows[0][0]) if rows else None


def next_key(account: AccountId, after: int) -> Script[int | None]:
    """The key up to which one script looks, beginning behind this one; None: there is no more."""
    rows = yield sql(
        "SELECT max(key) FROM (SELECT key FROM thread_key WHERE account = $1 AND key > $2 ORDER BY key LIMIT $3)",
        account, after, SWEEP_KEYS,
    )  # fmt: skip
    [(last,)] = rows
    return None if last is None else int(last)


def dead(account: AccountId, after: int, last: int) -> Script[bool]:
    """Whether a key in this range is of a thread without Emails: asked of a reader, so that no writer waits for it."""
    rows = yield sql(
        f"SELECT 1 FROM thread_key WHERE account = $1 AND key > $2 AND key <= $3 AND {_DEAD} LIMIT 1",
        account, after, last,
    )  # fmt: skip
    return bool(rows)


def forget(account: AccountId, after: int, last: int) -> Script[int]:
    """Remove the keys in this range whose threads have no Email; how many."""
    rows = yield sql(
        f"DELETE FROM thread_key WHERE account = $1 AND key > $2 AND key <= $3 AND {_DEAD} RETURNING key",
        account, after, last,
    )  # fmt: skip
    return len(rows)
