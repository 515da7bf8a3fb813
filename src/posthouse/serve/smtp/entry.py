"""From the greeting to a user who may send: EHLO, STARTTLS and AUTH (RFC 5321 §4.1.1.1, RFC 3207, RFC 4954)."""

import asyncio
from dataclasses import replace

from posthouse.mail.status import Reply, reply
from posthouse.net.link import WOKEN
from posthouse.serve.caller import Caller
from posthouse.serve.errors import REFUSAL_WORDS
from posthouse.serve.limits import Refusal, Service
from posthouse.serve.login import note
from posthouse.serve.smtp.replies import (
    LOGGED_IN,
    NO_AUTH,
    NO_TLS,
    READY_FOR_TLS,
    TLS_FOR_LOGIN,
    TLS_INJECTION,
    TOO_MANY_LOGINS,
)
from posthouse.serve.smtp.state import Session, forget
from posthouse.serve.smtp.wishes import offers
from posthouse.store.accounts import Login
from posthouse.transport.client import Client
from posthouse.transport.house import SmtpRole
from posthouse.wire.smtp import command
from posthouse.wire.smtp.parameters import BURL
from posthouse.wire.smtp.reply import challenge, greeting_reply


def hello(talk: Session, event: command.Ehlo | command.Helo | command.Lhlo) -> Reply:
    """EHLO, LHLO and HELO (RFC 5321 §4.1.1.1)."""
    forget(talk)
    extended = not isinstance(event, command.Helo)
    talk.client = replace(talk.client, name=event.name, extended=extended)
    hostname = talk.house.hostname
    if not extended:
        return reply(250, "", hostname)
    extensions = offers(talk, login=login_possible(talk))
    talk.engine.parameters = extensions.parameters
    return greeting_reply(hostname, f"greets {talk.client.ip or 'you'}", extensions)


def login_possible(talk: Session) -> bool:
    """Whether AUTH is on offer: to users, under TLS, once (RFC 4954 §4)."""
    if talk.role not in (SmtpRole.SUBMISSION, SmtpRole.SUBMISSIONS) or talk.client.login is not None:
        return False
    return talk.client.tls is not None or talk.house.allow_plaintext_login


def starttls(talk: Session) -> Reply:
    """STARTTLS (RFC 3207 §4)."""
    if talk.house.tls is None or talk.client.tls is not None:
        return NO_TLS
    return TLS_INJECTION if talk.engine.pending else READY_FOR_TLS


async def start_tls(talk: Session) -> None:
    """The handshake, after which nothing that was said in plain text counts (RFC 3207 §4.2)."""
    assert talk.house.tls is not None
    await talk.link.start_tls(talk.house.tls, talk.engine)
    if talk.engine.injected:
        raise ConnectionAbortedError("plain text stood behind STARTTLS")
    forget(talk)
    talk.junk = 0  # EHLO must be said again
    talk.client = Client(talk.client.ip, lmtp=talk.client.lmtp, tls=talk.link.tls)


async def auth(talk: Session, event: command.Auth) -> Reply:
    """AUTH (RFC 4954 §4)."""
    if talk.role not in (SmtpRole.SUBMISSION, SmtpRole.SUBMISSIONS):
        return NO_AUTH
    if not login_possible(talk):
        return TLS_FOR_LOGIN

    async def ask(octets: bytes) -> bytes | Reply | None:
        talk.link.write(talk.engine.send(challenge(octets)))
        return await _next_line(talk)

    caller = Caller(talk.client.ip, Service.SMTP, talk.client.tls, talk.client.name, talk.offer)
    asked = talk.door.peers.now()
    found = await talk.door.authenticate(event.mechanism, event.initial, ask, caller)
    if isinstance(found, Login):
        talk.standing.begin(found, asked)
        # Behind the answer, for which the client waits.
        asyncio.get_running_loop().call_soon(note, str(found.address), talk.client.ip, Service.SMTP)
        talk.client = replace(talk.client, login=found)
        talk.engine.parameters |= BURL  # RFC 4468 §3.3: users may use it, whether or not they say EHLO again
        return LOGGED_IN
    return found if isinstance(found, Reply) else _login_refused(talk, found)


async def _next_line(talk: Session) -> bytes | Reply | None:
    """The client's answer to a challenge: octets, None when it cancelled, a Reply when it was no answer."""
    while True:
        event = await talk.link.next(talk.engine)
        if isinstance(event, command.AuthLine):
            return event.octets
        if isinstance(event, command.Malformed):
            return event.reply
        if event is WOKEN:
            continue
        raise ConnectionResetError("the peer left in the middle of AUTH")


def _login_refused(talk: Session, reason: Refusal) -> Reply:
    if reason is Refusal.WRONG:
        talk.failed_logins += 1
        if talk.failed_logins >= talk.limits.login_failures:
            talk.door.peers.offended(talk.client.ip)
            talk.link.write(talk.engine.send(REFUSAL_WORDS[reason].smtp))
            return TOO_MANY_LOGINS
    return REFUSAL_WORDS[reason].smtp
