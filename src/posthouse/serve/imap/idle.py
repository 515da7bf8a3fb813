"""IDLE (RFC 9051 §6.3.13, RFC 2177): the session waits, and tells what happens to its mailbox as it happens.

A commit in this process wakes it at once, one in another worker by a hint. Hints may be lost, so it looks by itself
once a minute too (architecture.md). Each time it looks whether the login still holds.
"""

import asyncio
import logging

from posthouse.net.link import Woken
from posthouse.serve.imap.mailboxes import mailbox_gone
from posthouse.serve.imap.notify import others
from posthouse.serve.imap.selected import MailboxGone
from posthouse.serve.imap.state import Session
from posthouse.store.script import StoreError
from posthouse.wire.imap.command import Done, Idle
from posthouse.wire.imap.response import ContinueRequest, StatusResponse, ok
from posthouse.wire.imap.server import Event

log = logging.getLogger("posthouse.imap")

LOOK = 60.0  # seconds between two looks at the database when no hint came


async def idle(session: Session, command: Idle) -> Event | StatusResponse | None:
    """Wait for DONE. Gives the tagged answer, or the event that cut it off; None when the peer has gone, the
    worker drains or the login no longer holds."""
    link = session.link
    loop = asyncio.get_running_loop()
    session.say(ContinueRequest("Idling; end it with DONE."))
    session.idling = True
    look_at = loop.time() + LOOK
    timer = loop.call_at(look_at, link.wake)
    look = True
    try:
        while await session.welcome():
            await _tell(session, look=look)
            await others(session)
            await link.flush()
            link.rest()
            event: Event | Woken | None = await link.next(session.engine)
            if isinstance(event, Done):
                return ok(command.tag, "IDLE completed.")
            if not isinstance(event, Woken):
                return event
            if link.closing:
                return None
            look = loop.time() >= look_at
            if look:
                look_at = loop.time() + LOOK
                timer = loop.call_at(look_at, link.wake)
            else:
                session.ask_ahead()
        return None  # the login was changed or removed
    finally:
        timer.cancel()
        session.idling = False


async def _tell(session: Session, *, look: bool) -> None:
    try:
        await session.sync(expunge=True, look=look)
    except MailboxGone:
        mailbox_gone(session)
    except StoreError:
        log.warning("the changes of a mailbox could not be read; they will be told later")
