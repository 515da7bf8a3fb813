"""Columns that sessions share: how many are remembered, and that one array serves for two."""

from array import array

from posthouse.mail.ids import MailboxId, ModSeq
from posthouse.serve.imap import columns
from posthouse.serve.imap.columns import Columns
from posthouse.store.placed import EmailColumn


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
