"""One SMTP or LMTP connection from greeting to goodbye: the loop, and who answers which event.

RFC 5321 §3, §4; RFC 6409 (submission), RFC 8314 §3.3 (TLS from the first octet), RFC 2033 (LMTP).

The engine knows syntax and order, `transport/receive.py` knows who may send to whom; here is what lies between: which
port offers what (entry.py), patience with mistakes, and the moment a message is whole (transaction.py).
"""

import asyncio
import logging

from posthouse.mail.status import Reply, reply
from posthouse.net.link import WOKEN, Link, Woken
from posthouse.serve.errors import CLOSING, REFUSAL_WORDS, words
from posthouse.serve.limits import Refusal, Service, SessionLimits, turn_away
from posthouse.serve.login import Door
from posthouse.serve.smtp import journal
from posthouse.serve.smtp.burl import burl
from posthouse.serve.smtp.entry import auth, hello, start_tls, starttls
from posthouse.serve.smtp.replies import (
    BROKEN,
    BYE,
    EXPAND,
    HELP,
    LOGIN_CHANGED,
    OK,
    READY_FOR_TLS,
    TIMED_OUT,
    TOO_MANY_ERRORS,
    VERIFY,
)
from posthouse.serve.smtp.state import Session, forget
from posthouse.serve.smtp.transaction import bdat, chunk_ended, data, ended, mail, octets, rcpt
from posthouse.serve.standing import Standing
from posthouse.store.script import StoreError
from posthouse.transport import receive
from posthouse.transport.client import Client
from posthouse.transport.house import House, SmtpRole
from posthouse.transport.room import FULL_FOR_GOOD
from posthouse.wire.smtp import command
from posthouse.wire.smtp.conversation import Conversation
from posthouse.wire.smtp.reply import AUTH_CANCELLED, UNRECOGNIZED, print_reply
from posthouse.wire.smtp.server import SmtpServer

log = logging.getLogger("posthouse.smtp")

# What may be said any number of times without bringing mail is bounded by SessionLimits.junk_commands.
Junk = command.Ehlo | command.Helo | command.Lhlo | command.Rset | command.Noop | command.Help | command.Vrfy
# Replies that are not the peer's mistake, or are counted apart.
FORGIVEN = frozenset({receive.NO_SUCH_USER, REFUSAL_WORDS[Refusal.WRONG].smtp, FULL_FOR_GOOD})

Event = command.Event | Woken | None


async def session(link: Link, house: House, door: Door, role: SmtpRole, limits: SessionLimits | None = None) -> None:
    """Serve one connection to its end, and close it. Never raises for what a peer does."""
    lmtp = role is SmtpRole.LMTP
    usual = limits or SessionLimits()
    encrypted = link.tls is not None
    engine = SmtpServer(
        lmtp=lmtp,
        tls=encrypted,
        limits=usual.engine(house.limits.message_size),
        conversation=Conversation(house.clock),
    )
    client = Client(link.peer[0], lmtp=lmtp, tls=link.tls)
    talk = Session(link, house, door, role, usual, engine, client, door.peers.now(), Standing(link, door))
    try:
        with door.peers.connection(client.ip, Service.SMTP, admitted=encrypted) as refusal:
            if refusal is None:
                await _converse(talk)
            else:
                answer = REFUSAL_WORDS[refusal].smtp
                await turn_away(link, door.peers, refusal, lambda: _say_last(talk, answer))
    except asyncio.CancelledError:
        _say_last(talk, CLOSING)
        raise
    except TimeoutError:
        _say_last(talk, TIMED_OUT)
    except ConnectionError:
        pass
    except Exception:
        log.exception("the session with %s broke", client.ip)
        _say_last(talk, BROKEN)
    finally:
        link.close()  # first: the peer waits for our last words
        journal.over(talk)
        forget(talk)
        talk.standing.end()


async def _converse(talk: Session) -> None:
    """Greet, then answer until somebody ends it."""
    link, engine = talk.link, talk.engine
    kind = "LMTP" if talk.client.lmtp else "ESMTP"
    link.write(engine.send(reply(220, "", f"{talk.house.hostname} {kind} Posthouse")))
    silence = 0.0
    while True:
        if talk.silence != silence:  # only then: `deadline` begins a new wait
            silence = talk.silence
            link.deadline(silence)
        event: Event = await link.next(engine)
        if event is None or isinstance(event, command.Closed):
            return None
        if talk.standing.doubted and await _shut_out(talk):
            return _say_last(talk, LOGIN_CHANGED)
        answer = None if event is WOKEN else await _patiently(talk, event)
        if answer is not None:
            if answer.close:
                return _say_last(talk, answer)
            await _say(talk, answer)
        # The worker drains; a message that is on its way may still arrive.
        if link.closing and (talk.transaction is None or talk.transaction.spool is None):
            return _say_last(talk, CLOSING)


async def _shut_out(talk: Session) -> bool:
    """Whether the login holds no more. A message that is on its way is not taken then: it was not promised."""
    try:
        return not await talk.standing.holds()
    except StoreError:  # the next event asks again
        return False


async def _say(talk: Session, answer: Reply) -> None:
    """A reply to what was asked; in LMTP one for each recipient of the message (RFC 2033 §4.2)."""
    several, talk.several = talk.several, ()
    for each in several or [answer] * max(talk.engine.replies_owed, 1):
        talk.link.write(talk.engine.send(each))
    if answer is READY_FOR_TLS:
        await start_tls(talk)


def _say_last(talk: Session, answer: Reply) -> None:
    """A reply that ends the connection; it may come when the engine expects none (RFC 5321 §3.8)."""
    octets = print_reply(answer)
    if talk.engine.conversation is not None:
        talk.engine.conversation.said(octets)
    talk.link.write(octets)


async def _patiently(talk: Session, event: command.Event) -> Reply | None:
    """The answer, or 421 when there were too many mistakes; late after a few of them."""
    answer = await _answer(talk, event)
    if answer is None or talk.client.lmtp:
        return answer
    wrong = answer.code == 450 or (answer.code >= 500 and answer not in FORGIVEN)
    if isinstance(event, Junk | command.Expn):
        talk.junk += 1
        wrong = wrong or talk.junk > talk.limits.junk_commands
    if not wrong:
        return answer
    talk.errors += 1
    if talk.errors >= talk.limits.hard_errors:
        talk.door.peers.offended(talk.client.ip)
        return TOO_MANY_ERRORS
    late = talk.errors - talk.limits.soft_errors
    if late >= 0:
        await talk.link.flush()
        await asyncio.sleep(min(talk.limits.error_delay_seconds * 2**late, talk.limits.error_delay_most_seconds))
    return answer


async def _answer(talk: Session, event: command.Event) -> Reply | None:
    """The answer to one event, whatever the store says; None where none is due yet."""
    try:
        match event:
            case command.Octets():
                return await octets(talk, event.data)
            case command.Rcpt():
                return await rcpt(talk, event)
            case command.Mail():
                return await mail(talk, event)
            case command.DataEnded():
                return await ended(talk, event.fault)
            case command.Auth():
                return await auth(talk, event)
            case command.Burl():
                return await burl(talk, event)
            case _:
                return _answer_at_once(talk, event)
    except StoreError as error:
        log.warning("the store refused: %s", error, extra={"peer": talk.client.ip})
        return words(error).smtp
    except (ConnectionError, TimeoutError):  # of the peer, and not of the disk, although they are OSErrors
        raise
    except OSError as error:
        log.error("the disk failed: %s", error)
        return receive.DISK_FULL


def _answer_at_once(talk: Session, event: command.Event) -> Reply | None:
    """Answers that ask nobody."""
    match event:
        case command.Data():
            return data(talk)
        case command.Bdat():
            bdat(talk)
            return None
        case command.ChunkEnded():
            return chunk_ended(talk, event.fault)
        case command.Ehlo() | command.Lhlo() | command.Helo():
            return hello(talk, event)
        case command.Rset():
            forget(talk)
            return OK
        case command.StartTls():
            return starttls(talk)
        case command.Malformed():
            return event.reply
        case command.Unknown():
            return UNRECOGNIZED
        case command.AuthLine():  # only `_auth` waits for one
            return AUTH_CANCELLED
        case _:
            return FIXED[type(event)]


FIXED: dict[type[object], Reply] = {
    command.Noop: OK,
    command.Help: HELP,
    command.Vrfy: VERIFY,
    command.Expn: EXPAND,
    command.Quit: BYE,
}
