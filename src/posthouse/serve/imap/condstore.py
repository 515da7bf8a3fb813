"""CONDSTORE and QRESYNC (RFC 7162): what is said to who is aware of mod-sequences, and how a client that was away is
brought up to date.

A client takes the highest MODSEQ it was shown for its HIGHESTMODSEQ. So after each command that showed one the session
looks for changes below it (state.py, `ahead`), and where a removal is held back it says a lower HIGHESTMODSEQ itself
(`settle`). Tombstones are kept as long as the mailbox, so the message sequence match data of QRESYNC only shortens the
answer.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from posthouse.mail.ids import ModSeq
from posthouse.serve.imap.state import TELL_AT_ONCE, Session
from posthouse.serve.imap.view import FlagRow, Ranges, View
from posthouse.store import changed as store_changed
from posthouse.store.changed import Since
from posthouse.store.mailboxes import MailboxRow
from posthouse.wire.imap import code
from posthouse.wire.imap.condstore import Modified, Resync
from posthouse.wire.imap.fetch import Attribute, Fetch, FetchItem
from posthouse.wire.imap.fetch_response import Column
from posthouse.wire.imap.number_set import NumberSpan
from posthouse.wire.imap.response import StatusResponse, Vanished, bad, ok
from posthouse.wire.imap.search import Fuzzy, SearchKey, leaves


def announce(session: Session) -> None:
    """A first CONDSTORE enabling command tells HIGHESTMODSEQ of the selected mailbox (RFC 7162 §3.1)."""
    if session.selecting:
        session.say(ok(None, "Mod-sequences are told from now on.", code.highestmodseq(session.selected.view.known)))


def aware(session: Session) -> None:
    """A CONDSTORE enabling command came (RFC 7162 §3.1)."""
    if not session.condstore:
        session.enabled.add("CONDSTORE")
        announce(session)


def begin(session: Session) -> None:
    """ENABLE QRESYNC is one of them, with CONDSTORE beside it or not (RFC 7162 §3.2.3)."""
    aware(session)


def lacks_enable(session: Session, resync: Resync | None) -> bool:
    """Whether QRESYNC stands among the parameters of SELECT before it was enabled (RFC 7162 §3.2.5)."""
    return resync is not None and "QRESYNC" not in session.enabled


def needs_enable(tag: bytes) -> StatusResponse:
    """RFC 7162 §3.2.3."""
    return bad(tag, "Send ENABLE QRESYNC first.")


def knowable(session: Session, row: MailboxRow) -> MailboxRow:
    """The row with a HIGHESTMODSEQ that the client may keep: of the selected mailbox never more than it was told."""
    if not session.selecting or session.selected.box != row.box:
        return row
    return row._replace(modseq=ModSeq(min(row.modseq, session.selected.view.known)))


# --- QRESYNC


def inside(uids: Sequence[int], spans: Sequence[NumberSpan]) -> list[int]:
    """Those of the ascending uids that lie in the ascending spans."""
    found: list[int] = []
    for first, last in spans:
        found += uids[bisect_left(uids, first) : bisect_right(uids, last)]
    return found


async def opened(session: Session, asked: Resync | None, since: Since) -> None:
    """What SELECT says more to who is aware, behind all it says to everybody (RFC 7162 §3.1.2, §3.2.5)."""
    if session.condstore:
        modseq = session.selected.view.modseq
        session.say(ok(None, "The highest mod-sequence.", code.highestmodseq(modseq)))
    if asked is not None:
        await resync(session, asked, since)


async def resync(session: Session, asked: Resync, since: Since) -> None:
    """Tell what happened while the client was away (RFC 7162 §3.2.5.1): VANISHED (EARLIER) first, then flags."""
    gone: Sequence[int] = since.vanished
    rows = since.rows
    if asked.known is not None:
        gone = inside(gone, asked.known)
        wanted = frozenset(inside([row[0] for row in rows], asked.known))
        rows = tuple(row for row in rows if row[0] in wanted)
    if gone and asked.numbers:
        matched = last_match(await session.load(), asked.numbers, asked.uids)
        gone = gone[bisect_right(gone, matched) :]
    await earlier(session, gone)
    if not rows:
        return
    view = await session.load()
    session.name_keywords(row[2] for row in rows if row[2])
    for start in range(0, len(rows), TELL_AT_ONCE):
        some = rows[start : start + TELL_AT_ONCE]
        numbers = view.numbers([row[0] for row in some])
        session.link.write(session.flag_lines([pair for pair in zip(numbers, some, strict=True) if pair[0]]))
        await session.link.flush()
        await asyncio.sleep(0)  # others have their turn


async def earlier(session: Session, uids: Sequence[int]) -> None:
    """VANISHED (EARLIER), a thousand uids a line (RFC 7162 §3.2.10.1)."""
    for start in range(0, len(uids), TELL_AT_ONCE):
        session.say(Vanished(uids[start : start + TELL_AT_ONCE], earlier=True))
        await session.link.flush()
        await asyncio.sleep(0)  # others have their turn


def last_match(view: View, numbers: Sequence[NumberSpan], uids: Sequence[NumberSpan]) -> int:
    """The highest uid for which the client's number and uid are ours too, 0 where there is none (RFC 7162 §3.2.5.2).

    Both lists are walked side by side in stretches where each rises by one. In a stretch the uid of a message less its
    number never falls, so those that match stand together and the last is found by halving."""
    column = view.column
    found = 0
    for number, uid, length in _stretches(numbers, uids):
        stop = min(number - 1 + length, len(column))
        place = (
            bisect_right(range(stop), uid - number + 1, lo=min(number - 1, stop), key=lambda at: column[at] - at) - 1
        )
        if place >= number - 1 and column[place] - place == uid - number + 1:
            found = column[place]
    return found


def _stretches(numbers: Sequence[NumberSpan], uids: Sequence[NumberSpan]) -> list[tuple[int, int, int]]:
    """(first number, first uid, how many) until the shorter of both lists ends."""
    found: list[tuple[int, int, int]] = []
    one, two = list(reversed(numbers)), list(reversed(uids))
    while one and two:
        (number, last_number), (uid, last_uid) = one.pop(), two.pop()
        length = min(last_number - number, last_uid - uid) + 1
        found.append((number, uid, length))
        if number + length <= last_number:
            one.append((number + length, last_number))
        if uid + length <= last_uid:
            two.append((uid + length, last_uid))
    return found


# --- FETCH


async def report_vanished(session: Session, command: Fetch) -> None:
    """VANISHED of UID FETCH (RFC 7162 §3.2.6). What the client still counts is told first, and not as EARLIER. `*` is
    taken for the highest uid there ever was, because that message may be the one that is gone."""
    await session.sync(expunge=True, look=True)
    view = (await session.load()) if command.numbers.saved else session.selected.view
    since = command.modifiers.changed_since or 0
    gone = await session.store.read(store_changed.vanished, session.selected.box, since, view.known)
    await earlier(session, inside(gone, command.numbers.resolve(max(1, view.uidnext - 1))))


async def changed_since(session: Session, ranges: Ranges, since: int) -> list[FlagRow]:
    """Those of the messages that have a higher mod-sequence (RFC 7162 §3.1.4.1)."""
    view = session.selected.view
    rows = await session.store.read(store_changed.changed, session.selected.box, since)
    if ranges == ((0, view.total),):
        return rows[: bisect_right(rows, view.last_uid, key=lambda row: row[0])]
    wanted = frozenset(inside([row[0] for row in rows], view.uid_spans(ranges)))
    return [row for row in rows if row[0] in wanted]


def narrow(items: Sequence[FetchItem]) -> bool:
    """Whether the rows of `changed_since` answer these items."""
    return all(item in (Attribute.UID, Attribute.FLAGS, Attribute.MODSEQ) for item in items)


#: Where the columns of such an answer stand in a row.
NARROW = {Column.UID: 0, Column.FLAGS: 1, Column.KEYWORDS: 2, Column.MODSEQ: 3}


# --- SEARCH


def aware_by(session: Session, key: SearchKey) -> None:
    """A SEARCH or SORT that names MODSEQ is a CONDSTORE enabling command (RFC 7162 §3.1)."""
    if names_modseq(key):
        aware(session)


def names_modseq(key: SearchKey) -> bool:
    """Whether MODSEQ is among the keys (RFC 7162 §3.1.5)."""
    return any(
        names_modseq(leaf.key) if isinstance(leaf, Fuzzy) else isinstance(leaf, Modified) for leaf in leaves(key)
    )
