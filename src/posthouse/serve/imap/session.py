"""One IMAP connection from greeting to BYE (RFC 9051 §3): the loop, and who answers which command.

Every command is answered in the order it came. Untagged responses about the selected mailbox stand before the tagged
one; EXPUNGE never in answer to FETCH, STORE or SEARCH (RFC 9051 §7.5.1). What the store refuses becomes NO; what nobody
expected is logged once and ends the connection, without a word of it to the peer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from posthouse.net.deflate import Broken
from posthouse.net.link import Link, Woken
from posthouse.serve.errors import FAULT, REFUSAL_WORDS
from posthouse.serve.imap import (
    acl,
    change,
    contexts,
    entry,
    filters,
    fuzzy,
    listing,
    mailboxes,
    messagelimit,
    metadata,
    notify,
    quota,
    uidonly,
    urlauth,
    utf8,
)
from posthouse.serve.imap.append import append
from posthouse.serve.imap.compress import compress
from posthouse.serve.imap.fetch import fetch
from posthouse.serve.imap.idle import idle
from posthouse.serve.imap.multisearch import esearch
from posthouse.serve.imap.progress import attended
from posthouse.serve.imap.refusals import refusal
from posthouse.serve.imap.search import search
from posthouse.serve.imap.selected import MailboxGone
from posthouse.serve.imap.sort import sort
from posthouse.serve.imap.state import Session
from posthouse.serve.imap.thread import thread
from posthouse.serve.imap.uidbatches import uidbatches
from posthouse.serve.imap.unauthenticate import unauthenticate
from posthouse.serve.limits import ImapSessionLimits, Service, turn_away
from posthouse.serve.login import Door
from posthouse.store.script import StoreError
from posthouse.transport.house import House
from posthouse.wire.imap import code
from posthouse.wire.imap import command as commands
from posthouse.wire.imap.acl import DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from posthouse.wire.imap.compress import Compress
from posthouse.wire.imap.context import CancelUpdate
from posthouse.wire.imap.fetch import Fetch
from posthouse.wire.imap.list import List, Lsub
from posthouse.wire.imap.metadata import GetMetadata, SetMetadata
from posthouse.wire.imap.multisearch import MultiSearch
from posthouse.wire.imap.notify import Notify
from posthouse.wire.imap.quota import GetQuota, GetQuotaRoot, SetQuota
from posthouse.wire.imap.response import StatusResponse, bye, no, ok
from posthouse.wire.imap.search import Search
from posthouse.wire.imap.server import (
    AuthLine,
    Catenate,
    Event,
    Fatal,
    GoOn,
    ImapServer,
    LiteralAnnounced,
    Malformed,
    Octets,
    UrlPart,
)
from posthouse.wire.imap.sort import Sort, Thread
from posthouse.wire.imap.uidbatches import UidBatches
from posthouse.wire.imap.urlauth import GenUrlAuth, ResetKey, UrlFetch

log = logging.getLogger("posthouse.imap")

TIMED_OUT = "Nothing came for too long; goodbye."
CLOSING = "The server is closing down; connect again in a moment."
GONE = "The selected mailbox was deleted, or is no longer shared with you; connect again."
GOODBYE = "Goodbye."


async def session(link: Link, house: House, door: Door, limits: ImapSessionLimits | None = None) -> None:
    """Serve one connection to its end, and close it. Never raises for what a peer does."""
    limits = limits or ImapSessionLimits()
    talk = Session(link, house, door, ImapServer(limits.engine), limits)
    try:
        with door.peers.connection(link.peer[0], Service.IMAP, admitted=link.tls is not None) as refused:
            if refused is None:
                await _converse(talk)
            else:
                response_code, text = REFUSAL_WORDS[refused].imap
                await turn_away(link, door.peers, refused, lambda: talk.say(bye(text, response_code)))
    except asyncio.CancelledError:
        talk.say(bye(CLOSING))
        raise
    except Broken as error:
        talk.say(bye(str(error), code.LIMIT))
    except ConnectionError:
        pass
    except TimeoutError:
        talk.say(bye(TIMED_OUT))
    except MailboxGone:
        talk.say(bye(GONE))
    except Exception:
        log.exception("the session with %s broke", link.peer[0])
        response_code, text = FAULT.imap
        talk.say(bye(text, response_code))
    finally:
        talk.leave()
        link.close()


async def _converse(talk: Session) -> None:
    """Greet, then answer until somebody ends it."""
    link, engine = talk.link, talk.engine
    loop = asyncio.get_running_loop()
    entry.greet(talk)
    talk.began = loop.time()
    while True:
        if talk.login is None:
            seconds = talk.door.peers.before_login(link.peer[0], talk.limits.before_login_seconds)
            link.deadline(max(0.0, talk.began + seconds - loop.time()))
        event: Event | Woken | None = await link.next(engine)
        if isinstance(event, Woken):
            event = None if link.closing else event
            if event is not None and not (talk.standing.doubted and not await talk.welcome()):
                await notify.between(talk)
        elif event is not None and await talk.welcome():
            await _respond(talk, event)
        if talk.last is not None:
            talk.say(talk.last)
            return
        if link.closing and not isinstance(event, Woken):
            talk.say(bye(CLOSING))
            return
        if event is None:
            return
        if not engine.pending:
            await link.flush()


async def _respond(talk: Session, event: Event) -> None:
    """Everything an event asks for, up to its tagged answer."""
    while True:
        match event:
            case Malformed() | GoOn():
                talk.say(event.response)
                return
            case Fatal():
                talk.end(event.response)
                return
            case LiteralAnnounced() | Catenate():
                result = await append(talk, event)
            case commands.Idle():
                result = await idle(talk, event)
            case Octets() | UrlPart() | AuthLine() | commands.Done() | commands.Append():
                raise RuntimeError(f"the engine gave {type(event).__name__} out of turn")
            case _:
                result = await _execute(talk, event)
        if result is None:
            return
        if isinstance(result, StatusResponse):
            talk.say(result)
            return
        event = result


Answer = Callable[..., Awaitable[StatusResponse | None]]


async def noop(talk: Session, command: commands.Noop | commands.Check) -> StatusResponse:
    """RFC 9051 §6.1.2, RFC 3501 §6.4.1: `_execute` asks the store what is new, whatever hints say."""
    return ok(command.tag, "NOOP completed." if isinstance(command, commands.Noop) else "CHECK completed.")


async def logout(talk: Session, command: commands.Logout) -> None:
    """RFC 9051 §6.1.3."""
    talk.say(bye(GOODBYE))
    talk.end(ok(command.tag, "LOGOUT completed."))


ANSWERS: dict[type, Answer] = {
    CancelUpdate: contexts.cancel_update,
    commands.Authenticate: entry.authenticate,
    commands.Capability: entry.capability,
    commands.Check: noop,
    commands.Close: mailboxes.close,
    Compress: compress,
    commands.Copy: change.copy,
    commands.Create: mailboxes.create,
    commands.Delete: mailboxes.delete,
    DeleteAcl: acl.delete_acl,
    commands.Enable: entry.enable,
    commands.Expunge: change.expunge,
    Fetch: fetch,
    GenUrlAuth: urlauth.gen_url_auth,
    GetMetadata: metadata.get_metadata,
    GetAcl: acl.get_acl,
    GetQuota: quota.get_quota,
    GetQuotaRoot: quota.get_quota_root,
    commands.Id: entry.identify,
    List: listing.list_names,
    ListRights: acl.list_rights,
    commands.Login: entry.log_in,
    commands.Logout: logout,
    Lsub: listing.list_subscribed,
    commands.Move: change.move,
    MultiSearch: esearch,
    MyRights: acl.my_rights,
    commands.Namespace: mailboxes.namespace,
    commands.Noop: noop,
    Notify: notify.notify,
    commands.Rename: mailboxes.rename,
    ResetKey: urlauth.reset_key,
    Search: search,
    Sort: sort,
    Thread: thread,
    commands.Select: mailboxes.select,
    SetMetadata: metadata.set_metadata,
    SetAcl: acl.set_acl,
    SetQuota: quota.set_quota,
    commands.StartTls: entry.start_tls,
    commands.Status: mailboxes.status,
    commands.StoreFlags: change.store_flags,
    commands.Subscribe: mailboxes.subscribe,
    commands.Unauthenticate: unauthenticate,
    UidBatches: uidbatches,
    commands.Unselect: mailboxes.unselect,
    commands.Unsubscribe: mailboxes.subscribe,
    UrlFetch: urlauth.url_fetch,
}


async def _execute(talk: Session, command: commands.Command) -> StatusResponse | None:
    """The tagged answer to a command, all that must stand before it written."""
    look = isinstance(command, commands.Noop | commands.Check)
    try:
        if isinstance(command, commands.CommandSelect):
            await talk.entitled()
        with attended(talk, command):
            if isinstance(command, Search | Sort | Thread | MultiSearch):
                command = await filters.expanded(talk, command)
            answer = _refused(talk, command) or await ANSWERS[type(command)](talk, command)
        notify.note_own(talk, command, answer)
    except filters.UndefinedFilter as error:
        answer = filters.undefined(talk, command, error)
    except StoreError as error:
        answer = refusal(command.tag, error)
        look = True  # the selected mailbox itself may be the reason
    except MailboxGone:
        answer = no(command.tag, mailboxes.GONE, code.NONEXISTENT)
        look = True
    except (ConnectionError, TimeoutError):
        raise
    except Exception:
        response_code, text = FAULT.imap
        talk.say(no(command.tag, text, response_code))
        raise
    numbers_in_use = isinstance(command, Fetch | commands.StoreFlags | Search | Sort | Thread) and not command.uid
    try:
        await talk.sync(expunge=not numbers_in_use, look=look or talk.ahead)
    except MailboxGone:
        mailboxes.mailbox_gone(talk)
    except StoreError:
        log.warning("the changes of a mailbox could not be read; they will be told later")
    talk.settle()
    return messagelimit.finish(talk, answer)


def _refused(talk: Session, command: commands.Command) -> StatusResponse | None:
    return (
        utf8.refused(talk, command)
        or uidonly.refused(talk, command)
        or messagelimit.refused(talk, command)
        or contexts.refused(talk, command)
        or fuzzy.refused(talk, command)
    )
