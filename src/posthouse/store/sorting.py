"""What SORT and THREAD read: the summaries of a mailbox, in an order or in pieces (RFC 5256 §3, RFC 5957 §4).

Texts are casemapped in the rows, so the database's order of octets is that of i;unicode-casemap.
"""

from array import array
from collections.abc import Sequence
from enum import Enum
from functools import cmp_to_key
from typing import NamedTuple

from posthouse.mail.ids import ModSeq
from posthouse.mail.thread import Related
from posthouse.store.mailboxes import Box, check, get
from posthouse.store.script import Row, Script, sql
from posthouse.store.spans import Spans

FEW_ARRIVED = 50  # messages that are put into an order one by one; of more, all are sorted again


class SortKey(Enum):
    """What a message is sorted by."""

    ARRIVAL = "e.received"
    CC = "s.cc"
    DATE = "s.sent"
    DISPLAYFROM = "s.display_from"
    DISPLAYTO = "s.display_to"
    FROM = "s.sender"
    SIZE = "e.size"
    SUBJECT = "s.subject"
    TO = "s.recipient"


class Term(NamedTuple):
    """A key of an order, ascending unless `reverse`."""

    key: SortKey
    reverse: bool = False


class Placed(NamedTuple):
    """A message, and how many of an order stand before it."""

    place: int
    uid: int


class Order(NamedTuple):
    """All UIDs of a mailbox in an order, as of a ModSeq. Never altered."""

    modseq: ModSeq
    uidnext: int
    uids: "array[int]"


def _joined(columns: Sequence[str]) -> str:
    """The rows of a mailbox with those tables that the columns need."""
    text = " FROM placement p"
    if any(column.startswith("s.") for column in columns):
        text += " JOIN summary s ON s.email = p.email"
    if any(column.startswith("e.") for column in columns):
        text += " JOIN email e ON e.id = p.email"
    return text + " WHERE p.mailbox = $1"


def in_order(box: Box, terms: Sequence[Term]) -> "Script[array[int]]":
    """All UIDs of the mailbox in this order; equal ones in the mailbox's own. Raises NotFound."""
    yield from check(box)
    order = [f"{term.key.value} DESC" if term.reverse else term.key.value for term in terms]
    tables = _joined([term.key.value for term in terms])
    rows = yield sql(f"SELECT p.uid{tables} ORDER BY {', '.join([*order, 'p.uid'])}", box.mailbox)
    return array("I", [uid for (uid,) in rows])


def order(box: Box, terms: Sequence[Term], known: Order | None) -> Script[Order]:
    """The order as of now; `known` is an older one of the same terms. What a message is sorted by never changes, so of
    few arrivals only the rows are read among which they stand (decision 0062). Raises NotFound."""
    row = yield from get(box)
    if known is None or row.uidnext - known.uidnext > FEW_ARRIVED:
        return Order(row.modseq, row.uidnext, (yield from in_order(box, terms)))
    uids = known.uids
    if row.expunged_modseq > known.modseq:
        rows = yield sql("SELECT uid FROM expunged WHERE mailbox = $1 AND modseq > $2", box.mailbox, known.modseq)
        gone = {uid for (uid,) in rows}
        uids = array("I", [uid for uid in uids if uid not in gone])
    if row.uidnext > known.uidnext:
        rows = yield sql("SELECT uid FROM placement WHERE mailbox = $1 AND uid >= $2", box.mailbox, known.uidnext)
        uids = _with(uids, (yield from places_in_order(box, uids, [uid for (uid,) in rows], terms)))
    return known if known.modseq == row.modseq else Order(row.modseq, row.uidnext, uids)


def _with(uids: "array[int]", several: Sequence[Placed]) -> "array[int]":
    """A new array: the old one is shared."""
    joined, start = array("I"), 0
    for place, uid in several:
        joined += uids[start:place]
        joined.append(uid)
        start = place
    return joined + uids[start:]


def some_in_order(box: Box, spans: Spans, terms: Sequence[Term]) -> "Script[array[int]]":
    """The same of some messages. Raises NotFound."""
    yield from check(box)
    columns = [term.key.value for term in terms]
    text = f"SELECT p.uid, {', '.join(columns)}{_joined(columns)} AND p.uid BETWEEN $2 AND $3 ORDER BY p.uid"
    rows: list[Row] = []
    for first, last in spans:
        rows += yield sql(text, box.mailbox, first, last)
    for place in range(len(terms), 0, -1):
        rows.sort(key=lambda row: row[place], reverse=terms[place - 1].reverse)
    return array("I", [row[0] for row in rows])


def keys_of(box: Box, spans: Spans, terms: Sequence[Term]) -> "Script[dict[int, Row]]":
    """What some messages are ordered by, by uid. Raises NotFound."""
    yield from check(box)
    columns = [term.key.value for term in terms]
    text = f"SELECT p.uid, {', '.join(columns)}{_joined(columns)} AND p.uid BETWEEN $2 AND $3"
    found: dict[int, Row] = {}
    for first, last in spans:
        rows = yield sql(text, box.mailbox, first, last)
        found |= {row[0]: row[1:] for row in rows}
    return found


def related(box: Box, spans: Spans, limit: int) -> Script[list[tuple[int, Related]]]:
    """UIDs and what threads are made of, ascending, at most `limit`: ask again from the last uid + 1. Raises
    NotFound."""
    yield from check(box)
    found: list[tuple[int, Related]] = []
    for first, last in spans:
        rows = yield sql(
            "SELECT p.uid, s.sent, e.received, s.subject, s.reply, s.message_id, s.parents FROM placement p"
            " JOIN summary s ON s.email = p.email JOIN email e ON e.id = p.email"
            " WHERE p.mailbox = $1 AND p.uid BETWEEN $2 AND $3 ORDER BY p.uid LIMIT $4",
            box.mailbox, first, last, limit - len(found),
        )  # fmt: skip
        found += [(row[0], Related(*row[1:])) for row in rows]
        if len(found) >= limit:
            break
    return found


def places_in_order(box: Box, order: "array[int]", uids: Sequence[int], terms: Sequence[Term]) -> Script[list[Placed]]:
    """Where these messages belong in a mailbox's messages that stand in this order already: (place, uid), in order.
    Each is found by halving, so that of a long order few rows are read. What is gone from the mailbox is left out, and
    where it stands in the order it is passed over. Raises NotFound."""
    yield from check(box)
    columns = [term.key.value for term in terms]
    text = f"SELECT p.uid, {', '.join(columns)}{_joined(columns)} AND p.uid = $2"
    kept: dict[int, Row | None] = {}

    def row(uid: int) -> Script[Row | None]:
        if uid not in kept:
            kept[uid] = next(iter((yield sql(text, box.mailbox, uid))), None)
        return kept[uid]

    placed: list[Placed] = []
    for uid in uids:
        own = yield from row(uid)
        if own is None:
            continue
        low, high = 0, len(order)
        while low < high:
            middle = at = (low + high) // 2
            while at < high and (other := (yield from row(order[at]))) is None:
                at += 1
            if at < high and other is not None and _before(other, own, terms):
                low = at + 1
            else:
                high = middle
        placed.append(Placed(low, uid))

    def compared(one: Placed, two: Placed) -> int:
        return _compared(kept[one.uid], kept[two.uid], terms)

    return sorted(placed, key=cmp_to_key(compared))


def _before(one: Row, two: Row, terms: Sequence[Term]) -> bool:
    return _compared(one, two, terms) < 0


def _compared(one: Row | None, two: Row | None, terms: Sequence[Term]) -> int:
    """As the database compares: by the terms, then by uid."""
    if one is None or two is None:
        return 0
    for term, left, right in zip(terms, one[1:], two[1:], strict=True):
        if left != right:
            return -1 if (left < right) != term.reverse else 1
    return -1 if one[0] < two[0] else int(one[0] > two[0])
