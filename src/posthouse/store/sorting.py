"""What SORT and THREAD read: the summaries of a mailbox, in an order or in pieces (RFC 5256 §3, RFC 5957 §4).

Texts are casemapped in the rows, so the database's order of octets is that of i;unicode-casemap.
"""

from array import array
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from posthouse.mail.thread import Related
from posthouse.store.mailboxes import Box, check
from posthouse.store.script import Row, Script, sql
from posthouse.store.spans import Spans


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
