"""Columns: what the sessions of one worker share of mailboxes, so that each is read once (decisions 0050 and 0062)."""

from array import array
from collections import OrderedDict
from typing import NamedTuple
from weakref import WeakKeyDictionary

from posthouse.mail.ids import MailboxId, ModSeq
from posthouse.mail.thread import ThreadAlgorithm
from posthouse.store.placed import EmailColumn
from posthouse.store.sorting import Order, Term
from posthouse.store.store import Store

COLUMNS = 64  # columns of uids a worker remembers; one of 100,000 messages takes 400 KB
EMAILS = 1_000_000  # messages of all columns of Emails that a worker remembers: 8 MB, and 4 where uids are not shared
ORDERED = 2_000_000  # messages of all orders that a worker remembers: 8 MB
ORDERS = 64  # of them, so that those of small mailboxes are few, too
ANSWERED = 8 << 20  # octets of all answers to SORT and THREAD that a worker remembers; 100,000 messages take 1.5 MB

Terms = tuple[Term, ...]
How = Terms | ThreadAlgorithm


class Answer(NamedTuple):
    """The answer to a SORT or THREAD of these messages. `counted`: all uids of the mailbox, by whose places they are
    numbered; None where they are named by uid."""

    uids: "array[int]"
    counted: "array[int] | None"
    octets: bytes


class Columns:
    """The uids of mailboxes as of a ModSeq, so that sessions on the same mailbox share one array; of those that were
    searched their Emails, of those that were sorted their orders, and what was said of them. None is ever altered."""

    __slots__ = ("_answers", "_emails", "_kept", "_orders")

    def __init__(self) -> None:
        self._kept: OrderedDict[MailboxId, tuple[ModSeq, array[int]]] = OrderedDict()
        self._emails: OrderedDict[MailboxId, EmailColumn] = OrderedDict()
        self._answers: OrderedDict[tuple[MailboxId, How], Answer] = OrderedDict()
        self._orders: OrderedDict[tuple[MailboxId, Terms], Order] = OrderedDict()

    def get(self, mailbox: MailboxId, modseq: ModSeq) -> "array[int] | None":
        """The column as it was at exactly this ModSeq."""
        kept = self._kept.get(mailbox)
        return kept[1] if kept is not None and kept[0] == modseq else None

    def last(self, mailbox: MailboxId) -> "tuple[ModSeq, array[int]] | None":
        """The column as it was last seen, and at which ModSeq."""
        return self._kept.get(mailbox)

    def put(self, mailbox: MailboxId, modseq: ModSeq, uids: "array[int]") -> None:
        """Remember it; an older one of the same mailbox is forgotten."""
        kept = self._kept.get(mailbox)
        if kept is not None and kept[0] > modseq:
            return
        self._kept[mailbox] = (modseq, uids)
        self._kept.move_to_end(mailbox)
        if len(self._kept) > COLUMNS:
            self._kept.popitem(last=False)

    def emails(self, mailbox: MailboxId) -> EmailColumn | None:
        """The column of Emails as it was last seen."""
        return self._emails.get(mailbox)

    def put_emails(self, mailbox: MailboxId, column: EmailColumn) -> "array[int]":
        """Remember it; an older one of the same mailbox is forgotten. Its uids, in the array that others share."""
        shared = self._kept.get(mailbox)
        if shared is not None and shared[1] is not column.uids and shared[1] == column.uids:
            column = column._replace(uids=shared[1])
        if (have := self._emails.get(mailbox)) is None or have.modseq <= column.modseq:
            self._emails[mailbox] = column
        self._emails.move_to_end(mailbox)
        while sum(len(one.uids) for one in self._emails.values()) > EMAILS:
            self._emails.popitem(last=False)
        return column.uids

    def order(self, mailbox: MailboxId, terms: Terms) -> Order | None:
        """The order by these terms as it was last seen."""
        return self._orders.get((mailbox, terms))

    def put_order(self, mailbox: MailboxId, terms: Terms, order: Order) -> None:
        """Remember it; an older one by the same terms is forgotten."""
        key = mailbox, terms
        if (have := self._orders.get(key)) is None or have.modseq <= order.modseq:
            self._orders[key] = order
        self._orders.move_to_end(key)
        while len(self._orders) > ORDERS or sum(len(one.uids) for one in self._orders.values()) > ORDERED:
            self._orders.popitem(last=False)

    def answer(self, mailbox: MailboxId, how: How, uids: "array[int]", counted: "array[int] | None") -> bytes | None:
        """What was last said of a mailbox, if it was said of these messages under these numbers."""
        kept = self._answers.get((mailbox, how))
        return kept.octets if kept is not None and (kept.uids, kept.counted) == (uids, counted) else None

    def put_answer(self, mailbox: MailboxId, how: How, answer: Answer) -> None:
        """Remember it in place of what was said before."""
        self._answers[mailbox, how] = answer
        self._answers.move_to_end((mailbox, how))
        while len(self._answers) > ORDERS or sum(map(_octets, self._answers.values())) > ANSWERED:
            self._answers.popitem(last=False)


def _octets(answer: Answer) -> int:
    return len(answer.octets) + 4 * (len(answer.uids) + len(answer.counted or ()))


_columns: WeakKeyDictionary[Store, Columns] = WeakKeyDictionary()  # one store per worker


def columns_of(store: Store) -> Columns:
    """What the sessions of this worker share."""
    kept = _columns.get(store)
    if kept is None:
        kept = _columns[store] = Columns()
    return kept
