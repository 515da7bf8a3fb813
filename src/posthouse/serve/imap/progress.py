"""INPROGRESS (RFC 9585): a command that takes long says every PERIOD seconds that it still runs.

Only commands whose responses are written whole are attended, so that nothing comes to stand inside a literal: FETCH
shows by itself that it goes on. How much is left is not said, because a store that waits for its turn does not know.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from posthouse.serve.imap.state import Session
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Close, Command, Copy, Delete, Expunge, Move, Rename, StoreFlags
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.response import ok
from posthouse.wire.imap.search import Search

PERIOD = 10.0  # seconds; clients give up after a minute or more, and a person after less
LONG: tuple[type, ...] = (Search, MultiSearch, Copy, Move, StoreFlags, Expunge, Close, Delete, Rename)


@contextmanager
def attended(session: Session, command: Command) -> Iterator[None]:
    """While the command runs: say so, as long as nothing else is on its way to the client."""
    if not isinstance(command, LONG):
        yield
        return
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def tell() -> None:
        nonlocal timer
        session.link.interject(session.engine.send(ok(None, "Still at work.", code.inprogress(command.tag))))
        timer = loop.call_later(PERIOD, tell)

    timer = loop.call_later(PERIOD, tell)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
