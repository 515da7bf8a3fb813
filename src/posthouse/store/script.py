"""Scripts: a storage verb is a generator that yields SQL and receives rows.

A script runs inside one transaction, in a thread of the driver, and may be run again from its beginning. It never
waits, never catches an error of the database, and refuses by raising one of the errors below. `Changed` tells
whoever watches an account; it is published after the commit and cannot be forgotten or come too early.

`$1`, `$2` … are the parameters (the driver rewrites them where its database spells them differently). A text ending
in `FOR UPDATE` locks the row where the database has row locks; SQLite has one writer, so its driver drops the words.
"""

from collections.abc import Generator, Iterable
from typing import Any, NamedTuple, TypeVar

from posthouse.mail.ids import AccountId, ModSeq

T = TypeVar("T")

Row = tuple[Any, ...]  # the database's door: what a column holds is known by the SELECT beside it


class Sql(NamedTuple):
    """One statement and its parameters."""

    text: str
    args: tuple[object, ...]


class Changed(NamedTuple):
    """The account is now at this ModSeq: published only after commit."""

    account: AccountId
    modseq: ModSeq


Script = Generator[Sql | Changed, list[Row], T]


def sql(text: str, *args: object) -> Sql:
    """A statement: `rows = yield sql("SELECT … WHERE id = $1", id)`."""
    return Sql(text, args)


class StoreError(Exception):
    """Why the store refuses. The text is a sentence that may be shown to a user."""


class NotFound(StoreError):
    """The account, mailbox, address or message is not here."""


class Exists(StoreError):
    """The name is taken."""


class OverQuota(StoreError):
    """A bound on number or size would be passed (RFC 9051 §7.1 OVERQUOTA and LIMIT)."""


class Full(StoreError):
    """These accounts have no room for what should come in: their quota is used up (RFC 9208 §4.3.1)."""

    def __init__(self, accounts: Iterable[AccountId] = ()) -> None:
        super().__init__("the mailbox is full; make room in it, or ask for more")
        self.accounts = frozenset(accounts)


class Stale(StoreError):
    """It has changed since the caller looked."""


class Refused(StoreError):
    """The thing asked for cannot be done to this object, ever (RFC 9051 §7.1 CANNOT): INBOX deleted, a bad name."""


class UseRefused(StoreError):
    """The special use asked for cannot be given (RFC 6154 §3 USEATTR)."""


class Forbidden(StoreError):
    """The user lacks the right to do that (RFC 5530 §3 NOPERM)."""


class Unavailable(StoreError):
    """The database cannot answer now: disk full, read-only, failed, overloaded, closing. Nothing was changed
    (after an error inside COMMIT it is unknown whether it was)."""


class DirectoryDown(StoreError):
    """The directory of users does not answer; nothing was changed, and nothing is known."""
