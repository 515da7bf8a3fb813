"""FETCH 1:* (FLAGS): answered from a column that the sessions of a worker share (store/flag_column.py)."""

from collections import OrderedDict
from weakref import WeakKeyDictionary

from posthouse.mail.ids import MailboxId
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.view import Ranges, count
from posthouse.store.flag_column import FlagColumn, flag_column
from posthouse.store.store import Store
from posthouse.wire.imap.fetch import Attribute
from posthouse.wire.imap.fetch_response import FetchPlan
from posthouse.wire.imap.flag_lines import flag_lines

MANY = 500  # messages: for fewer, their rows are read
COLUMNS = 16  # columns a worker remembers; one of 100,000 messages takes 500 KB, of which 400 are uids
LINES = 5_000  # lines made at once: some 1 ms, then others have their turn

_SHAPES = ((Attribute.FLAGS,), (Attribute.UID, Attribute.FLAGS))

_columns: WeakKeyDictionary[Store, OrderedDict[MailboxId, FlagColumn]] = WeakKeyDictionary()


async def fetch_flags(session: Session, prepared: FetchPlan, ranges: Ranges) -> int | None:
    """Show these flags; how many messages were shown. None, and nothing is said, where the rows have to be read: of
    few messages, of other items, and where the client does not know yet what has come and gone."""
    view = session.selected.view
    if session.uid_only or prepared.contents or prepared.attributes not in _SHAPES:
        return None
    if not MANY <= count(ranges) >= view.total // 2:
        return None
    column = await _current(session)
    if column is None or column.uids != view.column:
        return None
    session.name_keywords(keywords for _, keywords in column.kinds)
    for first, last in ranges:
        for start in range(first, last, LINES):
            some = slice(start, min(start + LINES, last))
            uids = column.uids[some] if prepared.attributes == _SHAPES[1] else None
            session.link.write(flag_lines(start + 1, column.values[some], column.kinds, uids))
            await session.link.flush()
    return count(ranges)


async def _current(session: Session) -> FlagColumn | None:
    """The column as of now."""
    box = session.selected.box
    kept = _columns.setdefault(session.store, OrderedDict())
    column = await session.store.read(flag_column, box, kept.get(box.mailbox))
    if column is None:
        kept.pop(box.mailbox, None)
        return None
    uids = session.selected.view.column
    if column.uids is not uids and column.uids == uids:
        column = column._replace(uids=uids)  # one array for both
    if (have := kept.get(box.mailbox)) is None or have.modseq <= column.modseq:
        kept[box.mailbox] = column
    kept.move_to_end(box.mailbox)
    if len(kept) > COLUMNS:
        kept.popitem(last=False)
    return column
