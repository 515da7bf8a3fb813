"""Where a message is now that came into a mailbox under a UID: for `posthouse trace`, which is in no hurry."""

from typing import NamedTuple

from posthouse.mail.ids import UID, EmailId, MailboxId
from posthouse.store.script import Script, sql


class Spot(NamedTuple):
    """One place of an Email: the mailbox by its owner's name for it, and its role."""

    mailbox: MailboxId
    name: str
    role: str | None
    uid: UID
    flags: int


def whereabouts(mailbox: MailboxId, uid: UID) -> Script[list[Spot]]:
    """Every place where the Email now stands that once had this UID there; none: it was removed for good."""
    rows = yield sql("SELECT email FROM placement WHERE mailbox = $1 AND uid = $2", mailbox, uid)
    rows = rows or (yield sql("SELECT email FROM expunged WHERE mailbox = $1 AND uid = $2", mailbox, uid))
    if not rows:
        return []
    found = yield sql(
        "SELECT m.id, m.name, m.role, p.uid, p.flags FROM placement p JOIN mailbox m ON m.id = p.mailbox"
        " WHERE p.email = $1 ORDER BY m.name",
        rows[0][0],
    )
    return [Spot(*row) for row in found]


def restorable(mailbox: MailboxId, uid: UID) -> Script[EmailId | None]:
    """The Email that once had this UID there, if it is recently deleted: `posthouse restore` brings it back."""
    rows = yield sql(
        "SELECT d.email FROM expunged x JOIN email e ON e.id = x.email JOIN removal r ON r.account = e.account"
        " JOIN removed d ON d.removal = r.id AND d.email = x.email WHERE x.mailbox = $1 AND x.uid = $2 AND r.at >= 0",
        mailbox, uid,
    )  # fmt: skip
    return EmailId(rows[0][0]) if rows else None
