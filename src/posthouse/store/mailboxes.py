"""Mailboxes: folders of an account (RFC 9051 §6.3, RFC 8621 §2).

Names are str in NFC, components separated by "/"; the first component INBOX is case-insensitive (RFC 9051 §5.1).
All verbs take names as a client gave them and canonicalise them themselves.
"""

from collections.abc import Iterable
from typing import NamedTuple

from posthouse.mail.ids import AccountId, MailboxId, ModSeq, UIDValidity
from posthouse.store.script import Script


class Box(NamedTuple):
    """A mailbox and whose it is; every verb on messages checks that the two belong together."""

    account: AccountId
    mailbox: MailboxId


class MailboxRow(NamedTuple):
    """What SELECT, STATUS and LIST ask, in one row: O(1) however large the mailbox is."""

    id: MailboxId
    account: AccountId
    name: str
    role: str | None  # RFC 8621 §2: "inbox", "drafts", "sent", "junk", "trash", "archive"; RFC 6154 adds the "\"
    noselect: bool  # the name only exists for its inferiors (RFC 9051 §7.3.1 \Noselect)
    subscribed: bool
    uidvalidity: UIDValidity
    uidnext: int
    total: int
    unseen: int
    deleted: int  # how many have \Deleted
    size: int  # octets, the sum of RFC822.SIZE
    modseq: ModSeq  # HIGHESTMODSEQ (RFC 7162 §3.1.2.1)
    flags_modseq: ModSeq  # of the last change of flags or keywords
    expunged_modseq: ModSeq  # of the last removal

    @property
    def box(self) -> Box:
        """What the verbs of emails.py take."""
        return Box(self.account, self.id)


def canonical_name(name: str) -> str | None:
    """The name as it is stored, or None where it cannot be one: NFC, no control characters, no empty component,
    bounded length and depth; first component `inbox` in any case becomes INBOX (RFC 9051 §5.1)."""
    raise NotImplementedError


def list_mailboxes(account: AccountId) -> Script[list[MailboxRow]]:
    """All mailboxes, sorted by name."""
    raise NotImplementedError


def list_subscribed(account: AccountId) -> Script[list[str]]:
    """Names subscribed to, including names that no longer exist (RFC 9051 §6.3.9.1, RFC 3501 §6.3.9)."""
    raise NotImplementedError


def find(account: AccountId, name: str) -> Script[MailboxRow | None]:
    """The mailbox of this name. A \\Noselect name is found too: look at `noselect`."""
    raise NotImplementedError


def get(box: Box) -> Script[MailboxRow]:
    """The row as it is now. Raises NotFound when the mailbox is gone."""
    raise NotImplementedError


def create(account: AccountId, name: str, role: str | None = None) -> Script[MailboxRow]:
    """CREATE (RFC 9051 §6.3.4): superior names are made as needed, a trailing "/" is dropped.

    Raises Exists, Refused (bad name), OverQuota (too many mailboxes). A role held by another mailbox: Refused."""
    raise NotImplementedError


def delete(account: AccountId, name: str) -> Script[MailboxRow]:
    """DELETE (RFC 9051 §6.3.5); gives the row as it was. With inferiors the name stays as \\Noselect, without its
    messages. Raises NotFound, Refused (INBOX; a \\Noselect name with inferiors)."""
    raise NotImplementedError


def rename(account: AccountId, old: str, new: str) -> Script[None]:
    """RENAME with all inferiors (RFC 9051 §6.3.6). INBOX: its messages move to a new mailbox, INBOX and its
    inferiors stay. Raises NotFound, Exists, Refused, OverQuota."""
    raise NotImplementedError


def subscribe(account: AccountId, name: str, *, subscribed: bool) -> Script[None]:
    """SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7, §6.3.8). A subscription outlives its mailbox.

    Raises Refused (bad name), NotFound when subscribing to a name that is not there."""
    raise NotImplementedError


def select_for_update(boxes: Iterable[Box]) -> Script[dict[Box, MailboxRow]]:
    """The rows of several mailboxes for scripts that write. Raises NotFound."""
    raise NotImplementedError
