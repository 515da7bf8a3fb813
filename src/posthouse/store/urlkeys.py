"""Mailbox access keys: the secrets by which a user authorizes URLs (RFC 4467 §2).

Each user has a table of his own, with one key for a mailbox. The octets of a new key are handed in."""

from posthouse.mail.ids import AccountId, MailboxId
from posthouse.store.mailboxes import Box, next_modseq
from posthouse.store.script import Script, sql


def find(account: AccountId, mailbox: MailboxId) -> Script[bytes | None]:
    """The key of this user for the mailbox, if there is one."""
    rows = yield sql("SELECT key FROM url_key WHERE account = $1 AND mailbox = $2", account, mailbox)
    return bytes(rows[0][0]) if rows else None


def put(account: AccountId, box: Box, key: bytes, *, replace: bool) -> Script[bytes]:
    """The key that holds from now on: this one where there was none, or where it is to replace the old one."""
    if replace:
        yield from next_modseq(box.account)  # sessions that have the mailbox selected look at their key again
    action = "UPDATE SET key = excluded.key" if replace else "NOTHING"
    yield sql(
        "INSERT INTO url_key (account, mailbox, key) VALUES ($1, $2, $3)"
        f" ON CONFLICT (account, mailbox) DO {action}",
        account, box.mailbox, key,
    )  # fmt: skip
    return (yield from find(account, box.mailbox)) or key


def forget(account: AccountId) -> Script[None]:
    """Remove all keys of this user (RFC 4467 §7, RESETKEY without a mailbox)."""
    owners = yield sql(
        "SELECT DISTINCT m.account FROM url_key k JOIN mailbox m ON m.id = k.mailbox WHERE k.account = $1"
        " ORDER BY m.account",
        account,
    )
    for (owner,) in owners:
        yield from next_modseq(owner)
    yield sql("DELETE FROM url_key WHERE account = $1", account)
