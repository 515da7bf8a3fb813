"""THREAD and UID THREAD (RFC 5256 §3): what was found, as threads.

Summaries are read in pieces and linked in a thread; of a piece only numbers are kept. What a message is threaded by
never changes: the same messages under the same numbers have the same threads.
"""

import asyncio
from array import array
from collections.abc import Sequence, Set

from posthouse.mail.thread import Related, Threader, print_threads
from posthouse.serve.imap.columns import Answer, columns_of
from posthouse.serve.imap.order import FEW
from posthouse.serve.imap.question import matching
from posthouse.serve.imap.search import asked
from posthouse.serve.imap.sort import numbered
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.uids import ascending
from posthouse.serve.imap.view import View
from posthouse.store import sorting
from posthouse.store.spans import LAST_UID
from posthouse.wire.imap import code
from posthouse.wire.imap.number_set import runs
from posthouse.wire.imap.response import Printed, StatusResponse, ok
from posthouse.wire.imap.sort import Thread

PIECE = 2_000  # summaries held at once: some 300 octets each, never more than about 200 KB
AT_ONCE = 2  # mailboxes a worker threads at the same time; each of 100,000 messages takes some 50 MB meanwhile

_turns = asyncio.Semaphore(AT_ONCE)


async def thread(session: Session, command: Thread) -> StatusResponse:
    """RFC 5256 §3."""
    view = await session.load()
    matched = await matching(await asked(session), command.key)
    uids = await asyncio.to_thread(array, "I", ascending(matched))
    columns, mailbox = columns_of(session.store), session.selected.box.mailbox
    counted = None if command.uid else view.column
    octets = columns.answer(mailbox, command.algorithm, uids, counted)
    if octets is None:
        octets = await _threaded(session, command, frozenset(matched))
        columns.put_answer(mailbox, command.algorithm, Answer(uids, counted, octets))
    session.say(Printed(octets))
    if view.held:
        return ok(command.tag, "THREAD completed; some messages were expunged meanwhile.", code.EXPUNGEISSUED)
    return ok(command.tag, "THREAD completed.")


async def _threaded(session: Session, command: Thread, matched: Set[int]) -> bytes:
    async with _turns:
        threader = Threader(command.algorithm)
        found = await _read(session, matched, threader)
        return await asyncio.to_thread(_worded, session.selected.view, threader, found, command.uid)


async def _read(session: Session, matched: Set[int], threader: Threader) -> list[int]:
    """Add the messages in the order of the mailbox; their uids, without those that were expunged meanwhile."""
    box, found = session.selected.box, list[int]()
    spans = runs(sorted(matched)) if len(matched) <= FEW else [(min(matched), max(matched))]
    while spans:
        some = await session.store.read(sorting.related, box, spans, PIECE)
        found += await asyncio.to_thread(_take, threader, some, matched)
        last = some[-1][0] if len(some) == PIECE else LAST_UID
        spans = [(max(first, last + 1), end) for first, end in spans if end > last]
    return found


def _take(threader: Threader, some: Sequence[tuple[int, Related]], matched: Set[int]) -> list[int]:
    some = [pair for pair in some if pair[0] in matched]
    threader.add(related for _, related in some)
    return [uid for uid, _ in some]


def _worded(view: View, threader: Threader, found: Sequence[int], uid: bool) -> bytes:
    numbers = found if uid else numbered(view, found)
    threads = print_threads(threader.finish(), numbers)
    return b"* THREAD %b\r\n" % threads if threads else b"* THREAD\r\n"
