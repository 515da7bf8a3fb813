"""STORE: changing flags and keywords in bulk (RFC 9051 §6.4.6, decisions 0002, 0016, 0021).

Every change of bits is `(flags & keep) | put`, so one UPDATE does a span of any length. Keywords are one str a row:
adding and removing needs one UPDATE for each different str in the span, of which there are few; where there are many,
the span is cut into pieces of equal ones, so that the work stays linear.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import NamedTuple

from posthouse.mail.ids import MailboxId, ModSeq
from posthouse.mail.keyword import DELETED_BIT, KEYWORD_LENGTH, KEYWORDS_PER_EMAIL, SEEN_BIT
from posthouse.store.crashpoint import crashpoint
from posthouse.store.mailboxes import Box, locked, next_modseq
from posthouse.store.script import OverQuota, Refused, Script, sql
from posthouse.store.spans import Spans, clip
from posthouse.store.touched import log, log_siblings

GROUPS = 64  # different keyword strings in a span up to which each is one UPDATE over the whole span

# RFC 9051 §9   atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
_SPECIALS = frozenset('(){ %*"\\]')


class Mode(Enum):
    """How STORE changes flags (RFC 9051 §6.4.6)."""

    SET = "FLAGS"
    ADD = "+FLAGS"
    REMOVE = "-FLAGS"


class FlagChange(NamedTuple):
    """A change of flags: bits of mail/keyword.py incl. DELETED_BIT, and other keywords; None: these stay.
    SET leaves bits alone that are not in `among`."""

    mode: Mode
    bits: int
    keywords: tuple[str, ...] | None = ()
    among: int = -1


@dataclass(frozen=True, slots=True)
class Stored:
    """After STORE: `count` messages differ from before and now have `modseq`; nothing changed: (present, 0)."""

    modseq: ModSeq
    count: int


class _Piece(NamedTuple):
    """A span, and the keywords that change in it: from `old` (None: whatever they are) to `new` (None: unchanged)."""

    first: int
    last: int
    old: str | None = None
    new: str | None = None


class _Bits(NamedTuple):
    keep: int
    put: int

    @property
    def touched(self) -> int:
        """The bits that have a value afterwards whatever it was before."""
        return ~self.keep | self.put

    @property
    def common(self) -> "_Bits":
        """The same for the other placements of the Email: their \\Deleted is their own."""
        return _Bits(self.keep | DELETED_BIT, self.put & ~DELETED_BIT)


class _Difference(NamedTuple):
    number: int
    unseen: int
    deleted: int


def canonical_keywords(keywords: Iterable[str]) -> list[str]:
    """Lower case, sorted, each once. Raises Refused, OverQuota."""
    words = sorted({word.lower() for word in keywords})
    for word in words:
        fit = word.isascii() and word.isprintable() and _SPECIALS.isdisjoint(word)
        if not fit or not 0 < len(word) <= KEYWORD_LENGTH:
            raise Refused(f"this cannot be a keyword: {word[:KEYWORD_LENGTH]!r}")
    if len(words) > KEYWORDS_PER_EMAIL:
        raise OverQuota(f"a message has at most {KEYWORDS_PER_EMAIL} keywords")
    return words


def store_flags(box: Box, spans: Spans, change: FlagChange) -> Script[Stored]:
    """STORE (RFC 9051 §6.4.6): all or nothing. UIDs that are not there are passed over.

    Raises NotFound, OverQuota (more than KEYWORDS_PER_EMAIL), Refused (a keyword that cannot be one)."""
    words = None if change.keywords is None else canonical_keywords(change.keywords)
    row = yield from locked(box)
    spans = clip(spans, row.uidnext)
    bits = _bits(change)
    pieces = yield from _pieces(box.mailbox, spans, change.mode, words)
    differences: list[tuple[_Piece, list[_Difference]]] = []
    for piece in pieces:
        differences.append((piece, (yield from _differences(box.mailbox, piece, bits))))
    count = sum(_number(parts) for _, parts in differences)
    if count == 0:
        return Stored(row.modseq, 0)
    modseq = yield from next_modseq(box.account)
    yield from log(box.mailbox, modseq, [(piece.first, piece.last) for piece, parts in differences if _number(parts)])
    for piece, (own, shared) in differences:
        if own.number:
            yield from _update_own(box.mailbox, piece, bits, modseq)
            yield from _count_in(box.mailbox, own.unseen, own.deleted, modseq)
        crashpoint("store.inside_store_flags")
        if shared.number:
            yield from _update_shared(box.mailbox, piece, bits, modseq)
    for piece, (_, shared) in differences:  # after all pieces, because it makes placements look as if nothing differed
        if shared.number:
            yield from _mark_shared(box.mailbox, piece, bits, modseq)
            yield from _count_in(box.mailbox, 0, shared.deleted, modseq)
    return Stored(modseq, count)


def _number(parts: list[_Difference]) -> int:
    return sum(part.number for part in parts)


def _bits(change: FlagChange) -> _Bits:
    if change.mode is Mode.ADD:
        return _Bits(-1, change.bits)
    if change.mode is Mode.REMOVE:
        return _Bits(~change.bits, 0)
    return _Bits(~change.among, change.bits & change.among)


def _pieces(mailbox: MailboxId, spans: Spans, mode: Mode, words: list[str] | None) -> Script[list[_Piece]]:
    if mode is Mode.SET and words is not None:
        return [_Piece(first, last, None, " ".join(words)) for first, last in spans]
    if not words:
        return [_Piece(first, last) for first, last in spans]
    pieces: list[_Piece] = []
    for first, last in spans:
        pieces += yield from _groups(mailbox, (first, last), mode, frozenset(words))
    return pieces


def _groups(mailbox: MailboxId, span: tuple[int, int], mode: Mode, words: frozenset[str]) -> Script[list[_Piece]]:
    rows = yield sql(
        f"SELECT DISTINCT keywords FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 LIMIT {GROUPS + 1}",
        mailbox, *span,
    )  # fmt: skip
    if len(rows) <= GROUPS:
        return [_Piece(*span, old, _changed(old, mode, words)) for (old,) in rows]
    rows = yield sql(
        "SELECT uid, keywords FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 ORDER BY uid", mailbox, *span
    )
    pieces: list[_Piece] = []
    for old, group in groupby(rows, lambda row: str(row[1])):
        uids = [uid for uid, _ in group]
        pieces.append(_Piece(uids[0], uids[-1], old, _changed(old, mode, words)))
    return pieces


def _changed(old: str, mode: Mode, words: frozenset[str]) -> str:
    have = frozenset(old.split())
    new = have | words if mode is Mode.ADD else have - words
    if len(new) > KEYWORDS_PER_EMAIL:
        raise OverQuota(f"a message has at most {KEYWORDS_PER_EMAIL} keywords")
    return " ".join(sorted(new))


def _where(piece: _Piece) -> tuple[str, tuple[object, ...]]:
    """The placements of the piece that will differ; $1 to $5 are mailbox, first, last, keep, put."""
    where = "mailbox = $1 AND uid BETWEEN $2 AND $3"
    bits = "flags <> ((flags & $4) | $5)"
    if piece.new is None:
        return f"{where} AND {bits}", ()
    if piece.old is None:
        return f"{where} AND ({bits} OR keywords <> $6)", (piece.new,)
    if piece.old == piece.new:
        return f"{where} AND {bits} AND keywords = $6", (piece.new,)
    return f"{where} AND keywords = $7 AND $6 <> $7", (piece.new, piece.old)


def _differences(mailbox: MailboxId, piece: _Piece, bits: _Bits) -> Script[list[_Difference]]:
    """What the change will do to the counters, of unshared and of shared placements: one look at all, and a second one
    only where some are shared."""
    number, shared, *sums = yield from _counted(mailbox, piece, bits, "")
    if not shared:
        return [_difference(number, sums, bits), _Difference(0, 0, 0)]
    more = yield from _counted(mailbox, piece, bits, " AND shared = 1")
    both, among = _difference(number, sums, bits), _difference(more[0], more[2:], bits)
    own = _Difference(*(one - other for one, other in zip(both, among, strict=True)))
    return [own, among]


def _counted(mailbox: MailboxId, piece: _Piece, bits: _Bits, among: str) -> Script[list[int]]:
    """Of the placements that will differ: how many, shared, seen, deleted; 0 where that stays or follows from the
    number. A sum costs as much as all the rest, and GROUP BY twice as much."""
    where, more = _where(piece)
    lone = bits.touched if piece.new is None else 0  # when one bit alone can differ, all have it as it was
    sums = ", ".join(
        "0" if lone == bit or not bits.touched & bit else f"sum(flags & {bit})" for bit in (SEEN_BIT, DELETED_BIT)
    )
    [row] = yield sql(
        f"SELECT count(*), sum(shared), {sums} FROM placement WHERE {where}{among}",
        mailbox, piece.first, piece.last, *bits, *more,
    )  # fmt: skip
    number, shared, seen, deleted = (value or 0 for value in row)
    if lone == SEEN_BIT:
        seen = 0 if bits.put & SEEN_BIT else number
    if lone == DELETED_BIT:
        deleted = 0 if bits.put & DELETED_BIT else number * DELETED_BIT
    return [number, shared, seen, deleted // DELETED_BIT]


def _difference(number: int, had: Sequence[int], bits: _Bits) -> _Difference:
    """From how many of them were seen and deleted before: where the change says so, all or none are afterwards."""
    seen, deleted = had
    unseen = seen - (number if bits.put & SEEN_BIT else 0) if bits.touched & SEEN_BIT else 0
    marked = (number if bits.put & DELETED_BIT else 0) - deleted if bits.touched & DELETED_BIT else 0
    return _Difference(number, unseen, marked)


def _update_own(mailbox: MailboxId, piece: _Piece, bits: _Bits, modseq: ModSeq) -> Script[None]:
    where, more = _where(piece)
    put = "" if piece.new is None else "keywords = $6, "
    yield sql(
        f"UPDATE placement SET flags = (flags & $4) | $5, {put}modseq = ${6 + len(more)} WHERE {where} AND shared = 0",
        mailbox, piece.first, piece.last, *bits, *more, modseq,
    )  # fmt: skip


def _update_shared(mailbox: MailboxId, piece: _Piece, bits: _Bits, modseq: ModSeq) -> Script[None]:
    """Shared Emails: keyword bits and keywords in all their placements."""
    where, more = _where(piece)
    emails = f"SELECT email FROM placement WHERE {where} AND shared = 1"
    at = 6 + len(more)  # the number of the next parameter
    rows = yield sql(
        f"SELECT mailbox, sum((flags & 1) - (((flags & ${at}) | ${at + 1}) & 1)), min(uid), max(uid) FROM placement"
        f" WHERE email IN ({emails}) GROUP BY mailbox",
        mailbox, piece.first, piece.last, *bits, *more, *bits.common,
    )  # fmt: skip
    put = "" if piece.new is None else "keywords = $6, "
    yield sql(
        f"UPDATE placement SET flags = (flags & ${at}) | ${at + 1}, {put}modseq = ${at + 2}"
        f" WHERE email IN ({emails})",
        mailbox, piece.first, piece.last, *bits, *more, *bits.common, modseq,
    )  # fmt: skip
    yield from log_siblings([(other, first, last) for other, _, first, last in rows], modseq)
    for other, unseen, _, _ in rows:
        yield from _count_in(other, unseen, 0, modseq)


def _mark_shared(mailbox: MailboxId, piece: _Piece, bits: _Bits, modseq: ModSeq) -> Script[None]:
    """What is left to differ after _update_shared: \\Deleted of the shared placements in this mailbox."""
    yield sql(
        "UPDATE placement SET flags = (flags & $4) | $5, modseq = $6"
        " WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND shared = 1 AND flags <> ((flags & $4) | $5)",
        mailbox, piece.first, piece.last, *bits, modseq,
    )  # fmt: skip


def _count_in(mailbox: MailboxId, unseen: int, deleted: int, modseq: ModSeq) -> Script[None]:
    yield sql(
        "UPDATE mailbox SET unseen = unseen + $2, deleted = deleted + $3, modseq = $4, flags_modseq = $4"
        " WHERE id = $1",
        mailbox, unseen, deleted, modseq,
    )  # fmt: skip
