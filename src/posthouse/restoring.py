"""`posthouse restore` and `posthouse retention`: what a user has lately deleted, shown, brought back, or removed for
good; and after how many days messages leave a mailbox by themselves.

Everything is done in steps of a bounded number of messages, each whole or not at all; what was interrupted is done by
saying the same again, and what is back already is not brought back twice.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from posthouse.admin import Refused, confirmed, user_of
from posthouse.mail.address_list import mailboxes as addresses
from posthouse.mail.header import decode_words, pairs
from posthouse.mail.ids import EMAIL_LETTER, AccountId
from posthouse.mail.size import counted
from posthouse.store import expiry, gc, mailboxes, restore
from posthouse.store.expiry import Rules
from posthouse.store.moment import format_minute, wall_clock
from posthouse.store.restore import LISTED, RESTORE_CHUNK, ActRow, KeptRow
from posthouse.store.script import StoreError
from posthouse.store.spans import LAST_UID
from posthouse.store.store import SyncStore
from posthouse.trace import period
from posthouse.transport import retention

DAYS = 36_500  # of a rule at most; as in the settings
NOTHING = "Nothing of that is recently deleted."
WIDTH = 50  # characters of a sender or a subject in a line


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the recently deleted messages are meant; what is not said is not asked for."""

    emails: frozenset[int] | None = None
    mailbox: str | None = None
    since: int = 0  # Millis
    subject: str = ""  # casefolded
    sender: str = ""

    def fits(self, one: "Kept") -> bool:
        """Whether a message is meant; its mailbox and time have been looked at."""
        if self.emails is not None and one.row.email not in self.emails:
            return False
        return self.subject in one.subject.casefold() and self.sender in one.sender.casefold()


class Kept(NamedTuple):
    """A message that may come back, with what people know it by."""

    act: ActRow
    row: KeptRow
    subject: str
    sender: str  # whole, for comparing: name and address


def wanted(
    ids: Sequence[str], mailbox: str | None, since: str | None, words: tuple[str | None, str | None] = (None, None)
) -> Wanted:
    """From what was typed; `words` are parts of the subject and of the sender. Raises Refused with the reason."""
    numbers = frozenset(map(_number, ids)) if ids else None
    began = None if since is None else period(since)
    if since is not None and began is None:
        raise Refused(f"{since!r} is no time; say 2h, 30min, 7d or a day such as 2026-11-26")
    name = None if mailbox is None else mailboxes.canonical_name(mailbox)
    if mailbox is not None and name is None:
        raise Refused(f"{mailbox!r} cannot be the name of a mailbox")
    subject, sender = (word.casefold() if word else "" for word in words)
    return Wanted(numbers, name, 0 if began is None else began.since, subject, sender)


def _number(text: str) -> int:
    digits = text.upper().removeprefix(EMAIL_LETTER)
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise Refused(f"{text!r} is not the id of a message; they look like {EMAIL_LETTER}12")
    return int(digits)


def _find(store: SyncStore, account: AccountId, choice: Wanted) -> Iterator[Kept]:
    """The messages that are meant, those removed last first."""
    while store.run(gc.purge):
        pass  # the messages of mailboxes that were deleted a moment ago; others write in between
    for act in store.read(restore.acts, account, choice.since):
        if choice.mailbox is None or act.name == choice.mailbox:
            yield from (one for one in _of_act(store, act) if choice.fits(one))


def _of_act(store: SyncStore, act: ActRow) -> Iterator[Kept]:
    below = LAST_UID + 1
    while rows := store.read(restore.kept, act.id, below, LISTED):
        for row in rows:
            yield _known(act, row)
        below = rows[-1].uid


def _known(act: ActRow, row: KeptRow) -> Kept:
    fields = {name.lower(): value for name, value in pairs(row.header)}
    subject, sender = fields.get(b"subject", b""), fields.get(b"from", b"")
    people = [f"{one.text or ''} <{one.addr_spec}>".strip() for one in addresses(sender)]
    return Kept(act, row, _clean(decode_words(subject)), _clean(", ".join(people)))


def _clean(text: str) -> str:
    """Nothing that a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in text).strip()


# --- commands


def show(store: SyncStore, user: str, choice: Wanted, limit: int, *, as_json: bool) -> None:
    """What is recently deleted: `posthouse restore USER`."""
    found = _find(store, user_of(store, user).account, choice)
    if as_json:
        print(json.dumps([_json(one) for one in found], indent=2, ensure_ascii=False))
        return
    act, shown = 0, 0
    for one in islice(found, limit):
        if one.act.id != act:
            act = one.act.id
            print(f"{format_minute(one.act.at)}  from {one.act.name}, removed by {one.act.agent}")
        sender, subject = _short(one.sender) or "(nobody)", _short(one.subject) or "(no subject)"
        print(f"  {EMAIL_LETTER}{one.row.email}  {sender}  {subject}  ({one.row.size:,} octets)")
        shown += 1
    more = next(found, None) is not None
    if not shown:
        print(NOTHING)
        return
    print(f"These are the first {shown}; --limit shows more." if more else f"These are all {shown}.")
    print(f"To bring some back: posthouse restore {user} --all, or ids, --mailbox, --since, --subject, --from.")


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _json(one: Kept) -> dict[str, object]:
    return {
        "id": f"{EMAIL_LETTER}{one.row.email}",
        "removed": one.act.at,
        "by": one.act.agent,
        "mailbox": one.act.name,
        "uid": one.row.uid,
        "from": one.sender,
        "subject": one.subject,
        "size": one.row.size,
    }


def bring_back(store: SyncStore, user: str, choice: Wanted, *, as_json: bool) -> None:
    """`posthouse restore USER` with something that is meant. Raises Refused."""
    account = user_of(store, user).account
    back_to: dict[str, int] = {}
    back: list[dict[str, object]] = []
    for act, uids in _chunks(_find(store, account, choice)):
        try:
            some = store.run(retention.bring_back, act, account, uids, wall_clock())
        except StoreError as error:
            done = f"; {sum(back_to.values())} messages are back" if back_to else ""
            raise Refused(f"the messages from {act.name} cannot be brought back: {error}{done}") from error
        if some is not None:
            name = some.place.name
            back_to[name] = back_to.get(name, 0) + len(some.uids)
            back += [{"mailbox": name, "uid": some.first + place, "was": uid} for place, uid in enumerate(some.uids)]
    if as_json:
        print(json.dumps(back, indent=2, ensure_ascii=False))
    for name, number in () if as_json else back_to.items():
        print(f"Brought back {counted(number, 'message')} to {name}.")
    if not back_to and not as_json:
        print(NOTHING)


def forget(store: SyncStore, user: str, choice: Wanted, *, sure: bool) -> None:
    """`posthouse restore USER --forget`: for good, at once, octets included. Raises Refused."""
    account = user_of(store, user).account
    if not sure and not confirmed(f"Remove what {user} has recently deleted, as far as it is meant, for ever?"):
        raise Refused("nothing was removed")
    gone = sum(store.run(restore.forget, account, act.id, uids) for act, uids in _chunks(_find(store, account, choice)))
    gc.collect_now(store, wall_clock())
    print(f"Removed {counted(gone, 'message')} for ever.")


def _chunks(found: Iterator[Kept]) -> Iterator[tuple[ActRow, list[int]]]:
    """UIDs of one act each, as many as one step takes, in the order in which the messages stood in the mailbox."""
    chosen: dict[ActRow, list[int]] = {}
    for one in found:
        chosen.setdefault(one.act, []).append(one.row.uid)
    for act, uids in reversed(chosen.items()):
        uids.reverse()
        for first in range(0, len(uids), RESTORE_CHUNK):
            yield act, uids[first : first + RESTORE_CHUNK]


def rules(store: SyncStore, user: str, usual: Rules, *, as_json: bool) -> None:
    """`posthouse retention USER`."""
    found = store.read(expiry.rules_of, user_of(store, user).account, usual)
    if as_json:
        rows = [{"mailbox": one.name, "days": one.days, "own": one.own} for one in found]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for one in found:
        whose = "" if one.own else ", as for everybody"
        rule = f"messages leave after {counted(one.days, 'day')}" if one.days else "messages stay"
        print(f"{one.name}: {rule}{whose}")
    if not found:
        print("Messages stay in every mailbox.")


def set_rule(store: SyncStore, user: str, mailbox: str, days: int | None) -> None:
    """`posthouse retention USER MAILBOX`. Raises Refused."""
    row = store.read(mailboxes.find, user_of(store, user).account, mailbox)
    if row is None:
        raise Refused(f"{user} has no mailbox {mailbox}")
    store.run(expiry.set_rule, row.box, days)
    if days is None:
        print(f"{row.name} has no rule of its own any more.")
    else:
        rule = f"leave {row.name} after {counted(days, 'day')}" if days else f"stay in {row.name}"
        print(f"Messages {rule}.")
