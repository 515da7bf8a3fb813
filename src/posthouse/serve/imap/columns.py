"""Columns: what the sessions of one worker share of mailboxes, so that each is read once (decisions 0050 and 0062)."""

from array import array
from collections import OrderedDict
from weakref import WeakKeyDictionary

from posthouse.mail.ids import MailboxId, ModSeq
from posthouse.store.placed import EmailColumn
from posthouse.store.store import Store

COLUMNS = 64  # columns of uids a worker remembers; one of 100,000 messages takes 400 KB
EMAILS = 1_000_000  # messages of all columns of Emails that a worker remembers: 8 MB, and 4 where uids are not shared


class Columns:
    """The uids of mailboxes as of a ModSeq, so that sessions on the same mailbox share one array, and beside them the
    Emails of those mailboxes that were searched. Never altered."""

    __slots__ = ("_emails", "_kept")

    def __init__(self) -> None:
        self._kept: OrderedDict[MailboxId, tuple[ModSeq, array[int]]] = OrderedDict()
        self._emails: OrderedDict[MailboxId, EmailColumn] = OrderedDict()

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

    def put_emails(self, mailbox: MailboxId, column: EmailColumn) -> None:
        """Remember it; an older one of the same mailbox is forgotten."""
        shared = self._kept.get(mailbox)
        if shared is not None and shared[1] is not column.uids and shared[1] == column.uids:
            column = column._replace(uids=shared[1])
        if (have := self._emails.get(mailbox)) is None or have.modseq <= column.modseq:
            self._emails[mailbox] = column
        self._emails.move_to_end(mailbox)
        while sum(len(one.uids) for one in self._emails.values()) > EMAILS:
            self._emails.popitem(last=False)


_columns: WeakKeyDictionary[Store, Columns] = WeakKeyDictionary()  # one store per worker


def columns_of(store: Store) -> Columns:
    """What the sessions of this worker share."""
    kept = _columns.get(store)
    if kept is None:
        kept = _columns[store] = Columns()
    return kept
