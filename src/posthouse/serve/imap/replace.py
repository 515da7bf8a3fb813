"""REPLACE and UID REPLACE (RFC 8508): a message is appended and another removed, both or neither.

The message comes as that of APPEND does (append.py); what is here is the old message and the one transaction.
"""

from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.ids import UID
from posthouse.serve.imap import doings
from posthouse.serve.imap.change import denied
from posthouse.serve.imap.refusals import no_such_number
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.uidonly import uid_required
from posthouse.store import access, emails, names, quota
from posthouse.store.access import EVERY, Rights, settable
from posthouse.store.emails import Appended, NewEmail
from posthouse.store.mailboxes import Box, MailboxRow
from posthouse.store.names import Reader
from posthouse.store.quota import Asked, Rules
from posthouse.store.removed import Removal
from posthouse.store.script import Forbidden, Script, Stale
from posthouse.wire.imap import code
from posthouse.wire.imap.append import Replaced
from posthouse.wire.imap.response import StatusResponse, no, ok

GONE = "The message to replace is not there any more; nothing was done."
_NEEDED = "te"  # the rights that UID STORE of \Deleted and UID EXPUNGE need (RFC 8508 §4.1)


class Old(NamedTuple):
    """The message that goes: its mailbox and UID, and how it may come back."""

    box: Box
    uid: UID
    kept: Removal | None


async def old_message(session: Session, tag: bytes, replaced: Replaced) -> Old | StatusResponse:
    """The message that REPLACE names, or the refusal, before the new one comes (RFC 8508 §3.2)."""
    selected = session.selected
    if session.uid_only and not replaced.uid:
        return uid_required(tag)
    if not (selected.may("t") and selected.may("e")):
        return denied(tag, selected, _NEEDED)
    ranges = await session.resolve(replaced.number, uid=replaced.uid)
    if ranges is None:
        return no_such_number(tag)
    spans = selected.view.uid_spans(ranges)
    if not spans:
        return no(tag, GONE, code.EXPUNGEISSUED)
    return Old(selected.box, UID(spans[0][0]), doings.removal(session))


class Order(NamedTuple):
    """What to append, what to remove, and which quota is asked."""

    new: Sequence[NewEmail]
    old: Old | None
    rules: Rules


def put(reader: Reader, name: str, order: Order) -> Script[tuple[MailboxRow, Appended]]:
    """Append to the mailbox of this name, with the flags that the user may set there, and remove the old message.

    Raises NotFound, Forbidden, Full, Stale where the old one has gone."""
    old, asked = order.old, Asked(order.rules)
    row, rights, _ = yield from names.need(reader, name, "i")
    if old is not None:
        yield from _demand(reader, old.box)
    permitted = order.new if rights is EVERY else _permitted(order.new, rights)
    if old is None:
        return row, (yield from emails.add(row.box, permitted, asked))
    before = yield from quota.of(row.account, order.rules)
    appended = yield from emails.add(row.box, permitted)
    gone = yield from emails.expunge(old.box, ((old.uid, old.uid),), marked=False, kept=old.kept)
    if not gone.uids:
        raise Stale("the message to replace has gone")
    yield from quota.demand(row.account, asked, before.usage)  # what is no larger fits, however full it is
    return row, appended


def _permitted(new: Sequence[NewEmail], rights: Rights) -> list[NewEmail]:
    """With the flags that somebody with these rights may set (RFC 4314 §4)."""
    bits, words = settable(rights), "w" in rights
    return [email._replace(flags=email.flags & bits, keywords=email.keywords if words else ()) for email in new]


def _demand(reader: Reader, box: Box) -> Script[None]:
    if box.account == reader.account:
        return
    rights = yield from access.rights(box.mailbox, reader.identifier)
    if not rights.issuperset(_NEEDED):
        raise Forbidden("you may not remove messages from the selected mailbox: its owner has not allowed it")


async def tell(session: Session, tag: bytes, appended: Appended) -> StatusResponse:
    """APPENDUID first and untagged, then what came and went (RFC 8508 §4.3, RFC 7162 §3.2.9)."""
    given = code.appenduid(appended.uidvalidity, appended.uids)
    session.say(ok(None, "The new message is kept.", given))
    await session.sync(expunge=True, look=True)
    highest = code.highestmodseq(session.selected.view.known) if session.condstore else None
    return ok(tag, "REPLACE completed.", highest)
