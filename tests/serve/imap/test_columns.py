"""Columns that sessions share: how many are remembered, and that one array serves for two."""

from array import array

from posthouse.mail.ids import MailboxId, ModSeq
from posthouse.mail.thread import ThreadAlgorithm
from posthouse.serve.imap import columns
from posthouse.serve.imap.columns import Answer, Columns
from posthouse.store.placed import EmailColumn
from posthouse.store.sorting import Order, SortKey, Term


def column(modseq: int, count: int) -> EmailColumn:
    numbers = range(1, count + 1)
    return EmailColumn(ModSeq(modseq), count + 1, array("I", numbers), array("q", numbers))


def test_columns_of_emails_are_bounded(monkeypatch):
    monkeypatch.setattr(columns, "EMAILS", 10)
    kept = Columns()
    for mailbox in (1, 2, 1, 3):
        kept.put_emails(MailboxId(mailbox), column(5, 4))
    assert [kept.emails(MailboxId(mailbox)) is not None for mailbox in (1, 2, 3)] == [True, False, True]
    kept.put_emails(MailboxId(4), column(5, 11))  # too large to be remembered
    assert all(kept.emails(MailboxId(mailbox)) is None for mailbox in (1, 2, 3, 4))


def test_an_older_column_does_not_take_the_place_of_a_newer_one():
    kept = Columns()
    newer = column(7, 5)
    kept.put_emails(MailboxId(1), newer)
    kept.put_emails(MailboxId(1), column(6, 4))
    assert kept.emails(MailboxId(1)) is newer


def test_uids_are_shared_with_the_sessions():
    kept, uids = Columns(), array("I", range(1, 5))
    kept.put(MailboxId(1), ModSeq(5), uids)
    kept.put_emails(MailboxId(1), column(5, 4))
    kept.put_emails(MailboxId(2), column(5, 4))
    assert [kept.emails(MailboxId(mailbox)).uids is uids for mailbox in (1, 2)] == [True, False]


def test_orders_and_threads_are_bounded(monkeypatch):
    monkeypatch.setattr(columns, "ORDERED", 10)
    monkeypatch.setattr(columns, "ANSWERED", 120)
    kept, uids = Columns(), array("I", range(1, 6))
    by = [(Term(key),) for key in (SortKey.SUBJECT, SortKey.DATE, SortKey.FROM)]
    for terms in by:
        kept.put_order(MailboxId(1), terms, Order(ModSeq(3), 6, uids))
    assert [kept.order(MailboxId(1), terms) is not None for terms in by] == [False, True, True]
    assert kept.order(MailboxId(2), by[1]) is None
    kept.put_order(MailboxId(1), by[1], Order(ModSeq(2), 5, uids[:4]))  # an older one
    assert kept.order(MailboxId(1), by[1]).modseq == 3
    for mailbox in (1, 2, 3):
        kept.put_answer(MailboxId(mailbox), ThreadAlgorithm.REFERENCES, Answer(uids, None, b"some %d" % mailbox))
    how = ThreadAlgorithm.REFERENCES
    assert [kept.answer(MailboxId(n), how, uids, None) for n in (1, 2, 3)] == [b"some 1", b"some 2", b"some 3"]
    assert kept.answer(MailboxId(1), how, uids, uids) is kept.answer(MailboxId(1), how, uids[1:], None) is None
    kept.put_answer(MailboxId(1), by[0], Answer(uids, uids, bytes(20)))
    assert [kept.answer(MailboxId(n), how, uids, None) for n in (1, 2, 3)] == [None, b"some 2", b"some 3"]
    monkeypatch.setattr(columns, "ORDERS", 1)
    kept.put_order(MailboxId(9), by[0], Order(ModSeq(3), 1, array("I")))
    kept.put_answer(MailboxId(9), ThreadAlgorithm.REFS, Answer(array("I"), None, b""))
    assert kept.order(MailboxId(1), by[1]) is kept.order(MailboxId(1), by[2]) is None
    assert kept.answer(MailboxId(3), how, uids, None) is None
