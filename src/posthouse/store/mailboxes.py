"""Mailboxes: folders of an account (RFC 9051 §6.3, RFC 8621 §2).

Names are str in NFC, components separated by "/"; the first component INBOX is case-insensitive (RFC 9051 §5.1).
All verbs take names as a client gave them and canonicalise them themselves.
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from posthouse.mail.ids import AccountId, MailboxId, Millis, ModSeq, UIDValidity
from posthouse.store import removed, sheets, siblings, touched
from posthouse.store.crashpoint import crashpoint
from posthouse.store.removed import Removal
from posthouse.store.script import Changed, Exists, NotFound, OverQuota, Refused, Row, Script, UseRefused, sql

SEPARATOR = "/"
INBOX = "INBOX"
NAME_OCTETS = 1_000  # UTF-8, the whole name: LIST answers stay below every client's line limit
COMPONENT_OCTETS = 255  # what file systems of clients (mbsync, offlineimap) can hold
DEPTH = 20  # bounds the inferior and superior names one command touches
MAILBOXES = 5_000  # an account: bounds every LIST and RENAME
SOME = 500  # ids in one statement
SUBSCRIPTIONS = 5_000  # an account: the same for LSUB

# The mailboxes of a new user, and their roles (RFC 8621 §2, RFC 6154 §2).
NEW_MAILBOXES = (
    ("INBOX", "inbox"),
    ("Drafts", "drafts"),
    ("Sent", "sent"),
    ("Junk", "junk"),
    ("Trash", "trash"),
    ("Archive", "archive"),
)
_USUAL_ROLE = dict(NEW_MAILBOXES)

_ROW = """SELECT m.id, m.account, m.name, m.role, m.noselect, s.name IS NOT NULL, m.uidvalidity, m.uidnext, m.total,
    m.unseen, m.deleted, m.size, m.modseq, m.flags_modseq, m.expunged_modseq
    FROM mailbox m LEFT JOIN subscription s ON s.account = m.account AND s.name = m.name """


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
    name = unicodedata.normalize("NFC", name)
    components = name.split(SEPARATOR)
    if len(components) > DEPTH or not all(map(_fit, components)):
        return None
    if components[0].upper() == INBOX:
        components[0] = INBOX
    name = SEPARATOR.join(components)
    return name if len(name.encode("utf-8")) <= NAME_OCTETS else None


def _fit(component: str) -> bool:
    return not _controls(component) and 0 < len(component.encode("utf-8")) <= COMPONENT_OCTETS


def _controls(text: str) -> bool:
    if text.isascii():
        return not text.isprintable()
    # Cc: control characters, Cs: lone surrogates; line and paragraph separators are refused by RFC 9051 §5.1 too.
    return any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


def _why_not(name: str) -> str:
    """What is wrong with a name that has no canonical form: the first reason that applies."""
    name = unicodedata.normalize("NFC", name)
    levels = name.split(SEPARATOR)
    if not name:
        return "it is empty"
    if not all(levels):
        return f'a level of the name is empty (levels are separated by one "{SEPARATOR}")'
    if _controls(name):
        return "it has control characters"
    if len(levels) > DEPTH:
        return f"it has more than {DEPTH} levels"
    if any(len(level.encode("utf-8")) > COMPONENT_OCTETS for level in levels):
        return f"a level of the name is longer than {COMPONENT_OCTETS} octets"
    return f"it is longer than {NAME_OCTETS} octets"


def _name(name: str) -> str:
    canonical = canonical_name(name)
    if canonical is None:
        raise Refused(f"this cannot be the name of a mailbox: {_why_not(name)}")
    return canonical


def lock(account: AccountId) -> Script[ModSeq]:
    """Lock the account's row, before anything of it is looked at or changed (decision 0003); its ModSeq."""
    rows = yield sql("SELECT modseq FROM account WHERE id = $1 FOR UPDATE", account)
    if not rows:
        raise NotFound("there is no such account")
    return ModSeq(rows[0][0])


def next_modseq(account: AccountId) -> Script[ModSeq]:
    """Take the account's next ModSeq. From here to commit, the order of ModSeqs is the order of commits."""
    rows = yield sql("UPDATE account SET modseq = modseq + 1 WHERE id = $1 RETURNING modseq", account)
    if not rows:
        raise NotFound("there is no such account")
    modseq = ModSeq(rows[0][0])
    yield Changed(account, modseq)
    return modseq


def list_mailboxes(account: AccountId) -> Script[list[MailboxRow]]:
    """All mailboxes, sorted by name."""
    rows = yield sql(_ROW + "WHERE m.account = $1 ORDER BY m.name", account)
    return [_row(row) for row in rows]


def _row(row: Row) -> MailboxRow:
    found = MailboxRow._make(row)
    return found._replace(noselect=bool(found.noselect), subscribed=bool(found.subscribed))


def some(ids: Sequence[MailboxId] | Sequence[int]) -> Script[list[MailboxRow]]:
    """The mailboxes of these ids, whosever they are, that are there."""
    found: list[MailboxRow] = []
    for start in range(0, len(ids), SOME):
        numbers = ", ".join(str(int(mailbox)) for mailbox in ids[start : start + SOME])
        rows = yield sql(f"{_ROW}WHERE m.id IN ({numbers})")
        found += map(_row, rows)
    return found


def list_subscribed(account: AccountId) -> Script[list[str]]:
    """Names subscribed to, including names that no longer exist (RFC 9051 §6.3.9.1, RFC 3501 §6.3.9)."""
    rows = yield sql("SELECT name FROM subscription WHERE account = $1 ORDER BY name", account)
    return [name for (name,) in rows]


def find(account: AccountId, name: str) -> Script[MailboxRow | None]:
    """The mailbox of this name. A \\Noselect name is found too: look at `noselect`."""
    canonical = canonical_name(name)
    if canonical is None:
        return None
    rows = yield sql(_ROW + "WHERE m.account = $1 AND m.name = $2", account, canonical)
    return _row(rows[0]) if rows else None


def find_role(account: AccountId, role: str) -> Script[MailboxRow | None]:
    """The mailbox with this role (RFC 8621 §2), at most one."""
    rows = yield sql(_ROW + "WHERE m.account = $1 AND m.role = $2 ORDER BY m.id LIMIT 1", account, role)
    return _row(rows[0]) if rows else None


def get(box: Box) -> Script[MailboxRow]:
    """The row as it is now. Raises NotFound when the mailbox is gone or only a name."""
    rows = yield sql(_ROW + "WHERE m.id = $1 AND m.account = $2 AND m.noselect = 0", box.mailbox, box.account)
    if not rows:
        raise NotFound("there is no such mailbox")
    return _row(rows[0])


def locked(box: Box) -> Script[MailboxRow]:
    """The same with the account locked: how every script that changes messages begins."""
    yield from lock(box.account)
    return (yield from get(box))


def check(box: Box) -> Script[None]:
    """Raise NotFound unless the mailbox is there and belongs to the account."""
    rows = yield sql("SELECT id FROM mailbox WHERE id = $1 AND account = $2 AND noselect = 0", box.mailbox, box.account)
    if not rows:
        raise NotFound("there is no such mailbox")


def create(account: AccountId, name: str, role: str | None = None) -> Script[MailboxRow]:
    """CREATE (RFC 9051 §6.3.4): superior names are made as needed, a trailing "/" is dropped. Under the usual name of
    a role that no mailbox has, such as Sent after it was deleted, it has that role again.

    Raises Exists, Refused (bad name), UseRefused (role taken), OverQuota (too many mailboxes)."""
    name = _name(name.removesuffix(SEPARATOR))
    yield from lock(account)
    present = yield from find(account, name)
    if present is not None and not present.noselect:
        raise Exists(f"the mailbox {name} exists")
    if role is not None and (yield from find_role(account, role)) is not None:
        raise UseRefused(f"another mailbox is used for {role} already")
    modseq = yield from next_modseq(account)
    yield from _make_superiors(account, name, modseq)
    if present is not None:
        yield sql("DELETE FROM mailbox WHERE id = $1", present.id)
        yield sql("DELETE FROM access WHERE mailbox = $1", present.id)
        yield sql("DELETE FROM annotation WHERE mailbox = $1", present.id)
    yield from _make(account, name, role or (yield from _free_role(account, name)), modseq)
    made = yield from find(account, name)
    if made is None:
        raise NotFound(f"the mailbox {name} was not made")
    return made


def _make_superiors(account: AccountId, name: str, modseq: ModSeq) -> Script[None]:
    components = name.split(SEPARATOR)
    for depth in range(1, len(components)):
        superior = SEPARATOR.join(components[:depth])
        rows = yield sql("SELECT id FROM mailbox WHERE account = $1 AND name = $2", account, superior)
        if not rows:
            yield from _make(account, superior, (yield from _free_role(account, superior)), modseq)


def _free_role(account: AccountId, name: str) -> Script[str | None]:
    """The role whose usual name this is, unless a mailbox has that role."""
    role = _USUAL_ROLE.get(name)
    if role is None or (yield from find_role(account, role)) is not None:
        return None
    return role


def _make(account: AccountId, name: str, role: str | None, modseq: ModSeq) -> Script[MailboxId]:
    [(count,)] = yield sql("SELECT count(*) FROM mailbox WHERE account = $1", account)
    if count >= MAILBOXES:
        raise OverQuota(f"an account has at most {MAILBOXES} mailboxes")
    # One counter for the whole house: whatever is deleted, renamed or removed, no UIDVALIDITY comes twice.
    [(uidvalidity,)] = yield sql("UPDATE counter SET value = value + 1 WHERE name = 'uidvalidity' RETURNING value")
    [(mailbox,)] = yield sql(
        "INSERT INTO mailbox (account, name, role, noselect, uidvalidity, uidnext, total, unseen, deleted, size,"
        " created, modseq, flags_modseq, expunged_modseq)"
        " VALUES ($1, $2, $3, 0, $4, 1, 0, 0, 0, 0, $5, $5, $5, $5) RETURNING id",
        account, name, role, uidvalidity, modseq,
    )  # fmt: skip
    yield sql(  # RFC 4314 §4: a new mailbox inherits the access control list of its parent
        "INSERT INTO access (mailbox, identifier, rights) SELECT $1, x.identifier, x.rights FROM access x"
        " JOIN mailbox m ON m.id = x.mailbox WHERE m.account = $2 AND m.name = $3",
        mailbox, account, name.rpartition(SEPARATOR)[0],
    )  # fmt: skip
    return MailboxId(mailbox)


def inferiors(account: AccountId, name: str) -> Script[list[tuple[MailboxId, str]]]:
    """Id and name of all mailboxes below this one. "0" is the character after the separator "/"."""
    rows = yield sql(
        "SELECT id, name FROM mailbox WHERE account = $1 AND name > $2 AND name < $3 ORDER BY name",
        account, name + SEPARATOR, name + "0",
    )  # fmt: skip
    return [(MailboxId(mailbox), inferior) for mailbox, inferior in rows]


def delete(account: AccountId, name: str, kept: Removal | None = None) -> Script[MailboxRow]:
    """DELETE (RFC 9051 §6.3.5); gives the row as it was. With inferiors the name stays as \\Noselect, without its
    messages. `kept`: these may come back (removed.py).

    Raises NotFound, Refused (INBOX; a \\Noselect name with inferiors)."""
    yield from lock(account)
    row = yield from find(account, name)
    if row is None:
        raise NotFound("there is no such mailbox")
    if row.name == INBOX:
        raise Refused("INBOX cannot be deleted")
    below = yield from inferiors(account, row.name)
    if below and row.noselect:
        raise Refused("the mailbox has inferior mailboxes; delete them first")
    modseq = yield from next_modseq(account)
    act = 0
    if kept is not None and row.total:
        act = (yield from removed.begin(account, row.id, row.name, kept)).id
    yield from discard(row.box, act)
    if below:
        mailbox = yield from _make(account, row.name, None, modseq)
        yield sql("UPDATE mailbox SET noselect = 1 WHERE id = $1", mailbox)
        yield sql("DELETE FROM access WHERE mailbox = $1", mailbox)
    return row


def discard(box: Box, act: int = 0) -> Script[None]:
    """Take the mailbox away at once; its messages go piece by piece (gc.purge), so that nobody waits for them. `act`
    keeps them; 0: nothing does."""
    yield sql("DELETE FROM mailbox WHERE id = $1 AND account = $2", box.mailbox, box.account)
    yield from touched.forget(box.mailbox)
    yield sql("DELETE FROM access WHERE mailbox = $1", box.mailbox)
    yield sql("DELETE FROM annotation WHERE mailbox = $1", box.mailbox)
    yield sql("DELETE FROM url_key WHERE mailbox = $1", box.mailbox)
    yield sql("DELETE FROM retention_rule WHERE mailbox = $1", box.mailbox)
    yield sql("INSERT INTO discarded (mailbox, account, removal) VALUES ($1, $2, $3)", box.mailbox, box.account, act)


def rename(account: AccountId, old: str, new: str, now: Millis) -> Script[None]:
    """RENAME with all inferiors (RFC 9051 §6.3.6). INBOX: its messages move to a new mailbox, where they are saved
    `now` (RFC 8514 §3); INBOX and its inferiors stay. Raises NotFound, Exists, Refused, OverQuota."""
    new = _name(new.removesuffix(SEPARATOR))
    yield from lock(account)
    row = yield from find(account, old)
    if row is None:
        raise NotFound("there is no such mailbox")
    if (yield from find(account, new)) is not None:
        raise Exists(f"the mailbox {new} exists")
    if row.name == INBOX:
        yield from _empty_inbox(row, new, now)
        return
    if new.startswith(row.name + SEPARATOR):
        raise Refused("a mailbox cannot be moved below itself")
    below = yield from inferiors(account, row.name)
    modseq = yield from next_modseq(account)
    yield from _make_superiors(account, new, modseq)
    yield sql("UPDATE mailbox SET name = $1 WHERE id = $2", new, row.id)
    crashpoint("store.inside_rename")
    for mailbox, name in below:
        renamed = _name(new + name.removeprefix(row.name))
        yield sql("UPDATE mailbox SET name = $1 WHERE id = $2", renamed, mailbox)


def _empty_inbox(inbox: MailboxRow, new: str, now: Millis) -> Script[None]:
    """All messages of INBOX move to a new mailbox, where they keep their UIDs under its own UIDVALIDITY."""
    modseq = yield from next_modseq(inbox.account)
    yield from _make_superiors(inbox.account, new, modseq)
    made = yield from _make(inbox.account, new, None, modseq)
    yield sql(
        "INSERT INTO placement (mailbox, uid, email, flags, keywords, shared, created, modseq, saved)"
        " SELECT $1, uid, email, flags, keywords, shared, $2, $2, $4 FROM placement WHERE mailbox = $3",
        made, modseq, inbox.id, now,
    )  # fmt: skip
    yield sql(  # RFC 5464 §4.1: annotations stay on INBOX and are copied
        "INSERT INTO annotation (mailbox, reader, entry, fold, value, change)"
        " SELECT $1, reader, entry, fold, value, change FROM annotation WHERE mailbox = $2",
        made, inbox.id,
    )  # fmt: skip
    yield sql(
        "INSERT INTO expunged (mailbox, modseq, uid, email) SELECT mailbox, $1, uid, email FROM placement"
        " WHERE mailbox = $2",
        modseq, inbox.id,
    )  # fmt: skip
    yield sql("DELETE FROM placement WHERE mailbox = $1", inbox.id)
    yield from sheets.drop(inbox.id, modseq)
    crashpoint("store.inside_rename")
    yield sql(
        "UPDATE mailbox SET uidnext = $1, total = $2, unseen = $3, deleted = $4, size = $5 WHERE id = $6",
        inbox.uidnext, inbox.total, inbox.unseen, inbox.deleted, inbox.size, made,
    )  # fmt: skip
    yield sql(
        "UPDATE mailbox SET total = 0, unseen = 0, deleted = 0, size = 0, modseq = $1, expunged_modseq = $1"
        " WHERE id = $2",
        modseq, inbox.id,
    )  # fmt: skip
    yield from touch_shared(made, ((1, inbox.uidnext),), modseq)


def touch_shared(mailbox: MailboxId, spans: Sequence[tuple[int, int]], modseq: ModSeq) -> Script[None]:
    """Give the other placements of shared Emails in these spans the Email's new ModSeq (decision 0021)."""
    shared = "SELECT email FROM placement WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND shared = 1"
    for first, last in spans:
        yield from siblings.touch(shared, (mailbox, first, last), modseq, many=last - first >= siblings.MANY)


def subscribe(account: AccountId, name: str, *, subscribed: bool, known: bool = False) -> Script[None]:
    """SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.7, §6.3.8). A subscription outlives its mailbox. `known`: the name is
    that of another user's mailbox, which the caller has found.

    Raises Refused (bad name), NotFound when subscribing to a name that is not there, OverQuota."""
    name = _name(name)
    yield from lock(account)
    if not subscribed:
        yield sql("DELETE FROM subscription WHERE account = $1 AND name = $2", account, name)
        yield from next_modseq(account)
        return
    if not known and (yield from find(account, name)) is None:
        raise NotFound("there is no such mailbox")
    [(count,)] = yield sql("SELECT count(*) FROM subscription WHERE account = $1", account)
    if count >= SUBSCRIPTIONS:
        raise OverQuota(f"an account has at most {SUBSCRIPTIONS} subscriptions")
    yield sql("INSERT INTO subscription (account, name) VALUES ($1, $2) ON CONFLICT DO NOTHING", account, name)
    yield from next_modseq(account)
