"""New Emails, their octets and their threads, written many with one statement.

A statement costs as much as the row that it writes, so what comes together, by MULTIAPPEND, is written ROWS_AT_ONCE
rows at a time; what is left over goes row by row, so that each table has two texts to prepare and not twenty.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from posthouse.mail.ids import AccountId, EmailId, Millis, ThreadId
from posthouse.mail.structure import Description
from posthouse.mail.summary import Summary
from posthouse.store import threads
from posthouse.store.blobs import BlobKey, NewBlob, keep
from posthouse.store.script import Row, Script, sql

ROWS_AT_ONCE = 20  # rows of one INSERT

_BLOB = "blob (digest, size, file, refs)"
_EMAIL = "email (account, blob, size, received, header_size, envelope, structure, thread)"
_KEPT = " ON CONFLICT (digest) DO UPDATE SET refs = refs + excluded.refs, released = NULL RETURNING digest, id, refs"
_OCTETS = "octets (blob, packed)"


class NewEmail(NamedTuple):
    """A message ready to be kept: its blob is prepared (`await store.blobs.put(octets)`)."""

    blob: NewBlob
    description: Description
    header: bytes  # the header block as in the blob, with its empty line: octets[:description.header_size]
    received: Millis  # INTERNALDATE, receivedAt
    summary: Summary
    flags: int = 0  # bits of mail/keyword.py; DELETED_BIT is allowed (APPEND)
    keywords: tuple[str, ...] = ()
    saved: Millis | None = None  # when it came into the mailbox (RFC 8514 §3); None: as `received` says
    fields: bytes | None = None  # the map of the header block (mail/fieldmap.py), where it is made already


def insert_rows(table: str, rows: Sequence[Row], end: str = "") -> Script[None]:
    """Rows of one width, in order; `end` is the end of the statement."""
    together = len(rows) - len(rows) % ROWS_AT_ONCE
    for first in range(0, together, ROWS_AT_ONCE):
        some = rows[first : first + ROWS_AT_ONCE]
        yield sql(_text(table, ROWS_AT_ONCE, len(some[0])) + end, *chain.from_iterable(some))
    for row in rows[together:]:
        yield sql(_text(table, 1, len(row)) + end, *row)


@lru_cache(32)
def _text(table: str, count: int, width: int) -> str:
    rows = (", ".join(f"${row * width + place}" for place in range(1, width + 1)) for row in range(count))
    return f"INSERT INTO {table} VALUES {', '.join(f'({row})' for row in rows)}"


# --- octets


def keep_all(new: Sequence[NewEmail]) -> Script[dict[str, BlobKey]]:
    """The rows of their octets by BlobId, each with as many references more as there are Emails that have them."""
    counts: dict[str, int] = {}
    for email in new:
        counts[email.blob.id] = counts.get(email.blob.id, 0) + 1
    blobs = list({email.blob.id: email.blob for email in new}.values())
    keys: dict[str, BlobKey] = {}
    if len(blobs) >= ROWS_AT_ONCE:
        blobs = yield from _keep_many(blobs, counts, keys)
    for blob in blobs:
        keys[blob.id] = yield from keep(blob, counts[blob.id])
    return keys


def _keep_many(blobs: Sequence[NewBlob], counts: dict[str, int], keys: dict[str, BlobKey]) -> Script[list[NewBlob]]:
    """As `blobs.keep` does it, as far as they fill statements; gives the rest."""
    together = len(blobs) - len(blobs) % ROWS_AT_ONCE
    text = _text(_BLOB, ROWS_AT_ONCE, 4) + _KEPT
    packed: list[Row] = []
    for first in range(0, together, ROWS_AT_ONCE):
        some = {bytes.fromhex(blob.id): blob for blob in blobs[first : first + ROWS_AT_ONCE]}
        rows = [(digest, blob.size, blob.file, counts[blob.id]) for digest, blob in some.items()]
        for digest, key, references in (yield sql(text, *chain.from_iterable(rows))):
            blob = some[digest]
            keys[blob.id] = BlobKey(key)
            if blob.packed is not None and references == counts[blob.id]:  # new, or nobody has named it any more
                packed.append((key, blob.packed))
    yield from insert_rows(_OCTETS, packed, " ON CONFLICT DO NOTHING")
    return list(blobs[together:])


# --- Emails


class _Joining(NamedTuple):
    """An Email to be written: the thread it joins, None: its own; and the keys that will lead there from now on."""

    new: NewEmail
    thread: ThreadId | None
    missing: tuple[int, ...]


def insert_emails(account: AccountId, new: Sequence[NewEmail], blobs: dict[str, BlobKey]) -> Script[list[EmailId]]:
    """The rows of these Emails with their threads; their ids, in order. The account must be locked."""
    wanted = [threads.keys(email.summary) for email in new]
    known = yield from threads.known(account, list(dict.fromkeys(chain.from_iterable(wanted))))
    ids: list[EmailId] = []
    learnt: list[tuple[int, ThreadId]] = []
    for some in _independent(new, wanted, known):
        given = yield from _insert_some(account, some, blobs)
        for joining, identity in zip(some, given, strict=True):
            thread = ThreadId(identity) if joining.thread is None else joining.thread
            learnt += [(key, thread) for key in joining.missing]
            known.update((key, thread) for key in joining.missing)
        ids += given
    yield from threads.remember(account, learnt)
    return ids


def _independent(
    new: Sequence[NewEmail], wanted: Sequence[tuple[int, ...]], known: dict[int, ThreadId]
) -> Iterator[list[_Joining]]:
    """Pieces of at most ROWS_AT_ONCE, none of which has an Email and an answer to it: the thread of the answer is the
    id of the first, which has to be written before. `known` grows between two pieces."""
    piece: list[_Joining] = []
    pending: set[int] = set()
    for email, keys in zip(new, wanted, strict=True):
        if len(piece) == ROWS_AT_ONCE or not pending.isdisjoint(keys):
            yield piece
            piece, pending = [], set()
        thread = next((known[key] for key in keys if key in known), None)
        missing = tuple(key for key in keys if key not in known)
        piece.append(_Joining(email, thread, missing))
        pending.update(missing)
    if piece:
        yield piece


def _insert_some(account: AccountId, some: Sequence[_Joining], blobs: dict[str, BlobKey]) -> Script[list[EmailId]]:
    rows = [_email_row(account, joining, blobs[joining.new.blob.id]) for joining in some]
    if len(rows) == ROWS_AT_ONCE:
        text = _text(_EMAIL, ROWS_AT_ONCE, len(rows[0])) + " RETURNING id"
        given = yield sql(text, *chain.from_iterable(rows))
        return sorted(EmailId(identity) for (identity,) in given)  # ids rise from row to row, answers may come anyhow
    ids: list[EmailId] = []
    for row in rows:
        [(identity,)] = yield sql(_text(_EMAIL, 1, len(row)) + " RETURNING id", *row)
        ids.append(EmailId(identity))
    return ids


def _email_row(account: AccountId, joining: _Joining, blob: BlobKey) -> Row:
    new, description = joining.new, joining.new.description
    return (
        account,
        blob,
        new.blob.size,
        new.received,
        description.header_size,
        description.envelope,
        description.structure,
        joining.thread or 0,
    )
