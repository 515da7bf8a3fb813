"""One POP3 connection from greeting to goodbye (RFC 1939 §3): the loop, and who answers which command.

Every command is answered in the order it came. What the store refuses becomes -ERR; what nobody expected is logged once
and ends the connection, without a word of it to the peer. Whoever falls silent is closed without one either, and
nothing is deleted (RFC 1939 §3): a line that no command asked for would be taken for the answer to the next one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from posthouse.net.link import Link, Woken
from posthouse.serve.errors import FAULT, REFUSAL_WORDS, pop3_words, words
from posthouse.serve.limits import Pop3SessionLimits, Service, turn_away
from posthouse.serve.login import Door
from posthouse.serve.pop3 import doings, entry, retrieve
from posthouse.serve.pop3.state import Session
from posthouse.store.script import NotFound, StoreError
from posthouse.transport.house import House
from posthouse.wire.pop3 import command
from posthouse.wire.pop3.command import Event, Malformed
from posthouse.wire.pop3.reply import Code, Pop3Reply, err, ok

log = logging.getLogger("posthouse.pop3")

BURST = 65_536  # octets of replies to pipelined commands that leave together; then others have their turn

CLOSING = err("The server is closing down; connect again in a moment", Code.SYS_TEMP, close=True)
TOO_MANY_MISTAKES = err("Too many mistakes; goodbye", close=True)
LOGIN_CHANGED = err("This login has been changed or removed; log in again", Code.AUTH, close=True)
DONE = ok("Done")
NOT_REMOVED = err("Some of the messages were not removed; they are there the next time", Code.SYS_TEMP, close=True)
GOODBYE = ok("Goodbye", close=True)


async def session(link: Link, house: House, door: Door, limits: Pop3SessionLimits | None = None) -> None:
    """Serve one connection to its end, and close it. Never raises for what a peer does."""
    talk = Session(link, house, door, limits or Pop3SessionLimits())
    try:
        with door.peers.connection(talk.ip, Service.POP3, admitted=link.tls is not None) as refused:
            if refused is None:
                await _converse(talk)
            else:
                words_for_it = pop3_words(REFUSAL_WORDS[refused])
                await turn_away(link, door.peers, refused, lambda: talk.say(words_for_it))
    except asyncio.CancelledError:
        link.write(CLOSING.octets)
        raise
    except (ConnectionError, TimeoutError):
        pass
    except Exception:
        log.exception("the session with %s broke", talk.ip)
        link.write(pop3_words(FAULT).octets)
    finally:
        doings.fetched(talk)
        talk.leave()
        link.close()


async def _converse(talk: Session) -> None:
    """Greet, then answer until somebody ends it."""
    loop = asyncio.get_running_loop()
    talk.say(entry.greeting(talk))
    talk.began = loop.time()
    while True:
        if talk.login is None:
            seconds = talk.door.peers.before_login(talk.ip, talk.limits.before_login_seconds)
            talk.link.deadline(max(0.0, talk.began + seconds - loop.time()))
        event: Event | Woken | None = await talk.link.next(talk.engine)
        if event is None or isinstance(event, command.Closed):
            return
        goes_on = await (_woken(talk) if isinstance(event, Woken) else _respond(talk, event))
        if not goes_on:
            return
        if talk.link.closing:
            talk.say(CLOSING)
            return
        if not talk.engine.pending:
            await talk.flush()
        elif talk.written > BURST:
            await talk.flush()
            await asyncio.sleep(0)


async def _respond(talk: Session, event: Event) -> bool:
    """Answer one event; gives whether the connection goes on."""
    answer = _patiently(talk, event, await _answer(talk, event))
    if answer is None:
        return True
    talk.say(answer)
    if answer is entry.TLS_BEGINS:
        await entry.start_tls(talk)
    return not answer.close


def _patiently(talk: Session, event: Event, answer: Pop3Reply | None) -> Pop3Reply | None:
    """The answer, or the end where there were too many mistakes."""
    # What a stranger says without getting in counts as one, so that nobody keeps us busy without a name.
    # Wrong passwords are counted apart.
    stranger = talk.login is None and not isinstance(event, command.Pass | command.Quit)
    if stranger or isinstance(event, Malformed):
        talk.mistakes += 1
    if talk.mistakes <= talk.limits.mistakes or answer is None or answer.close:
        return answer
    talk.door.peers.offended(talk.ip)
    return TOO_MANY_MISTAKES


async def _answer(talk: Session, event: Event) -> Pop3Reply | None:
    """The answer to one event, whatever the store says; None where it is written already. Once in VOUCH_SECONDS it is
    looked whether the login still holds."""
    if isinstance(event, Malformed):
        return event.reply
    try:
        if talk.standing.due and not await talk.standing.holds():
            return LOGIN_CHANGED
        return await ANSWERS[type(event)](talk, event)
    except NotFound:
        return retrieve.GONE
    except StoreError as error:
        log.warning("the store refused: %s", error, extra={"peer": talk.ip})
        return pop3_words(words(error))


async def _woken(talk: Session) -> bool:
    """Whether a session that something was heard of goes on. Where not, -ERR is the answer to what comes next."""
    try:
        holds = not talk.standing.doubted or await talk.standing.holds()
    except StoreError:  # the next command asks again
        return True
    if not holds:
        talk.say(LOGIN_CHANGED)
    return holds


async def _noop(talk: Session, event: command.Noop) -> Pop3Reply:
    """RFC 1939 §5, NOOP."""
    return DONE


async def _quit(talk: Session, event: command.Quit) -> Pop3Reply:
    """RFC 1939 §6: the UPDATE state. Only now is anything removed."""
    maildrop = talk.mail
    if maildrop is None or not maildrop.marked:
        return GOODBYE
    try:
        if talk.login is None or not await talk.door.holds(talk.login):
            return LOGIN_CHANGED
        doings.removed(talk, await maildrop.remove_marked(doings.removal(talk)))
    except StoreError as error:
        log.warning("the store refused: %s", error, extra={"peer": talk.ip})
        return NOT_REMOVED
    return GOODBYE


ANSWERS: dict[type, Callable[..., Awaitable[Pop3Reply | None]]] = {
    command.Auth: entry.authenticate,
    command.Capa: entry.capabilities,
    command.Dele: retrieve.dele,
    command.Lang: entry.language,
    command.List: retrieve.list_sizes,
    command.Noop: _noop,
    command.Pass: entry.password,
    command.Quit: _quit,
    command.Retr: retrieve.retr,
    command.Rset: retrieve.rset,
    command.Stat: retrieve.stat,
    command.Stls: entry.stls,
    command.Top: retrieve.top,
    command.Uidl: retrieve.list_ids,
    command.User: entry.user,
    command.Utf8: entry.utf8,
}
