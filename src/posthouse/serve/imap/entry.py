"""From greeting to login: CAPABILITY, ID, STARTTLS, LOGIN, AUTHENTICATE, ENABLE (RFC 9051 §6.1 to §6.3.1, RFC 2971).

Passwords are taken only under TLS, unless the house allows otherwise for tests on loopback. Every refusal of a login
costs the same time and has the same words (serve/login.py). After some failures the connection ends.
"""

import logging
from collections.abc import Callable

from posthouse import __version__
from posthouse.net.link import Woken
from posthouse.serve.errors import REFUSAL_WORDS
from posthouse.serve.imap import condstore, contexts, doings, uidonly
from posthouse.serve.imap.state import Session
from posthouse.serve.limits import Refusal, Service
from posthouse.serve.login import note, user_name
from posthouse.store.access import identifier
from posthouse.store.accounts import Login as Known
from posthouse.wire.imap import code
from posthouse.wire.imap.command import Authenticate, Capability, Enable, Id, Login, StartTls
from posthouse.wire.imap.response import (
    Capabilities,
    Challenge,
    Enabled,
    Identification,
    StatusResponse,
    bad,
    bye,
    no,
    ok,
)
from posthouse.wire.imap.server import AuthLine, Event, Fatal, Malformed, State

log = logging.getLogger("posthouse.imap")

ID_LOGGED = 300  # characters of what a client says of itself that a line of the log holds

# What every client may know, and what only users need to. Each is whole (CAPABILITY promises nothing else).
ALWAYS = (
    "IMAP4rev1",
    "IMAP4rev2",
    "LITERAL+",
    "SASL-IR",
    "ID",
    "ENABLE",
)
FOR_USERS = (
    "IDLE",
    "NAMESPACE",
    "ACL",
    "RIGHTS=texk",
    "LIST-MYRIGHTS",
    "UIDPLUS",
    "MOVE",
    "UNSELECT",
    "CHILDREN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "STATUS=SIZE",
    "CONDSTORE",
    "QRESYNC",
    "UIDONLY",
    "UIDBATCHES",
    "ESEARCH",
    "SEARCHRES",
    "SEARCH=FUZZY",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "PARTIAL",
    "MULTISEARCH",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "THREAD=REFS",
    "MULTIAPPEND",
    "CATENATE",
    "METADATA",
    "NOTIFY",
    "METADATA-SERVER",
    "LIST-METADATA",
    "FILTERS",
    "BINARY",
    "REPLACE",
    "SAVEDATE",
    "COMPRESS=DEFLATE",
    "OBJECTID",
    "CREATE-SPECIAL-USE",
    "PREVIEW",
    "INPROGRESS",
    "UTF8=ACCEPT",
    "I18NLEVEL=1",
    "WITHIN",
    "URLAUTH",
    "URLAUTH=BINARY",
    "URL-PARTIAL",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "QUOTA=RES-MAILBOX",
)


def login_possible(session: Session) -> bool:
    """Whether a password may be sent now (RFC 9051 §11.1)."""
    return session.link.tls is not None or session.house.allow_plaintext_login


def capabilities(session: Session) -> tuple[str, ...]:
    """CAPABILITY as it is now (RFC 9051 §6.1.1)."""
    if session.login is not None:
        limit = f"APPENDLIMIT={session.house.limits.message_size}"  # RFC 7889 §2: the same for all mailboxes
        messages = f"MESSAGELIMIT={session.limits.messages}"  # RFC 9738 §3
        ours = [name for name in FOR_USERS if not _withheld(session, name)]
        if identifier(session.login.address) in session.house.quota.administrators:
            ours.append("QUOTASET")  # RFC 9208 §4.1.3: for those who may
        return (*ALWAYS, *ours, limit, messages, *(("UNAUTHENTICATE",) if session.house.unauthenticate else ()))
    names = [*ALWAYS]
    if session.house.tls is not None and session.link.tls is None:
        names.append("STARTTLS")
    if login_possible(session):
        names += [f"AUTH={mechanism}" for mechanism in session.offer.mechanisms]
    else:
        names.append("LOGINDISABLED")
    return tuple(names)


def _withheld(session: Session, name: str) -> bool:
    return name in session.house.withheld or (name == "UIDONLY" and not uidonly.offered(session))


def greet(session: Session) -> None:
    """The greeting (RFC 9051 §7.1.1)."""
    text = f"{session.house.hostname} Posthouse is ready."
    session.say(ok(None, text, code.capability(capabilities(session))))


async def capability(session: Session, command: Capability) -> StatusResponse:
    """RFC 9051 §6.1.1."""
    session.say(Capabilities(capabilities(session)))
    return ok(command.tag, "CAPABILITY completed.")


async def identify(session: Session, command: Id) -> StatusResponse:
    """RFC 2971 §3.1. The version is for users only: it tells a stranger which faults to try. What the client says of
    itself stands in the journey of the messages that it changes, and in the log at debug; nothing depends on it."""
    session.agent = doings.agent_of(dict(command.fields))
    if session.login is not None:
        session.door.logbook.program(session.login, session.caller)
    if log.isEnabledFor(logging.DEBUG):
        said = {_shown(name): _shown(value or b"NIL") for name, value in command.fields}
        log.debug("a client says what it is", extra={"peer": session.link.peer[0], "client": str(said)[:ID_LOGGED]})
    fields: list[tuple[bytes, bytes | None]] = [(b"name", b"Posthouse")]
    if session.login is not None:
        fields.append((b"version", __version__.encode("ascii")))
    session.say(Identification(tuple(fields)))
    return ok(command.tag, "ID completed.")


def _shown(octets: bytes) -> str:
    return octets[:ID_LOGGED].decode("utf-8", "replace")


async def start_tls(session: Session, command: StartTls) -> StatusResponse | None:
    """RFC 9051 §6.2.1. What a stranger may have put behind the command in plain text is never read: the connection
    ends (limits.md)."""
    context = session.house.tls
    if context is None or session.link.tls is not None:
        return bad(command.tag, "TLS is not offered here." if context is None else "TLS is active already.")
    if session.engine.pending:
        session.end(bye("Nothing may follow STARTTLS before TLS begins."))
        return None
    session.say(ok(command.tag, "Begin TLS now."))
    await session.link.start_tls(context, session.engine)
    return None


async def log_in(session: Session, command: Login) -> StatusResponse:
    """RFC 9051 §6.2.3."""
    if not login_possible(session):
        return _privacy(command.tag)
    found = await session.door.verify(user_name(command.user), command.password, session.caller)
    return _concluded(session, command.tag, found)


async def authenticate(session: Session, command: Authenticate) -> StatusResponse | None:
    """RFC 9051 §6.2.2, RFC 4959."""
    if not login_possible(session):
        return _privacy(command.tag)
    session.link.deadline(session.limits.sasl_seconds)

    async def ask(challenge: bytes) -> bytes | StatusResponse | None:
        session.say(Challenge(challenge))
        return await _next_line(session)

    found = await session.door.authenticate(command.mechanism, command.initial, ask, session.caller)
    return found if isinstance(found, StatusResponse) else _concluded(session, command.tag, found)


async def _next_line(session: Session) -> bytes | StatusResponse | None:
    """The client's turn: octets, None when it cancels, a StatusResponse when it was no base64."""
    while True:
        event: Event | Woken | None = await session.link.next(session.engine)
        match event:
            case AuthLine():
                return event.octets
            case Malformed():
                return event.response
            case Woken():
                continue
            case Fatal():
                session.say(event.response)
                raise ConnectionResetError("the exchange cannot go on")
            case _:
                raise ConnectionResetError("the peer left in the middle of AUTHENTICATE")


def _privacy(tag: bytes) -> StatusResponse:
    return no(tag, "Start TLS first: passwords are not taken in the clear.", code.PRIVACYREQUIRED)


def _concluded(session: Session, tag: bytes, found: Known | Refusal) -> StatusResponse:
    """The tagged answer to a login, and the end of the connection where there were too many failures."""
    if isinstance(found, Refusal):
        return _refused(session, tag, found)
    too_many = session.enter(found)
    note(str(found.address), session.link.peer[0], Service.IMAP, too_many)
    if too_many is not None:
        return _refused(session, tag, too_many)
    session.engine.state = State.AUTHENTICATED
    session.link.deadline(session.limits.idle_seconds)
    return ok(tag, "Logged in.", code.capability(capabilities(session)))


def _refused(session: Session, tag: bytes, reason: Refusal) -> StatusResponse:
    response_code, text = REFUSAL_WORDS[reason].imap
    if reason is Refusal.WRONG:
        session.failures += 1
    too_many = session.failures >= session.limits.login_failures
    if too_many:
        session.door.peers.offended(session.link.peer[0])
    if reason is Refusal.FAILURES or too_many:
        session.end(bye("Too many failed logins; goodbye."))
    if reason in (Refusal.MALFORMED, Refusal.CANCELLED):
        return bad(tag, text)  # RFC 9051 §6.2.2
    return no(tag, text, response_code or None)


def _utf8(session: Session) -> None:
    session.engine.utf8 = True


# What ENABLE turns on: as ENABLED spells it, and what to do at once, if anything. Everything else is asked of
# `session.enabled` where it matters.
ENABLING: dict[str, tuple[str, Callable[[Session], None] | None]] = {
    "UIDONLY": ("UIDONLY", contexts.end_numbered),  # RFC 9586 §3.1
    "CONDSTORE": ("CONDSTORE", condstore.announce),  # RFC 7162 §3.1
    "QRESYNC": ("QRESYNC", condstore.begin),  # RFC 7162 §3.2.3
    "IMAP4REV2": ("IMAP4rev2", _utf8),  # RFC 9051 §5.1
    "UTF8=ACCEPT": ("UTF8=ACCEPT", _utf8),  # RFC 9755 §3, RFC 6855 §3
}


async def enable(session: Session, command: Enable) -> StatusResponse:
    """RFC 9051 §6.3.1, RFC 5161 §3.1. What is not known or announced here, or enabled already, is passed over."""
    named = []
    for name in dict.fromkeys(command.names):
        if name in session.enabled or _withheld(session, name) or name not in ENABLING:
            continue
        session.enabled.add(name)
        named.append(name)
    session.say(Enabled(tuple(ENABLING[name][0] for name in named)))
    for name in named:
        _, begin = ENABLING[name]
        if begin is not None:
            begin(session)
    return ok(command.tag, "ENABLE completed.")
