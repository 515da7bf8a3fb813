"""The order of SMTP and LMTP commands: what may come in which state, and what is said to what may not.

RFC 5321 §3, §4.1.4; RFC 2033 §4.1 (LHLO), RFC 3030 §2 (chunks), RFC 3207 §4 (STARTTLS), RFC 4954 §4 (AUTH),
RFC 4468 §3.2 (BURL).

It does NOT move from state to state: `server.py` does, by the replies it sends.
"""

from enum import Enum
from typing import NamedTuple

from posthouse.mail.status import Reply, reply
from posthouse.wire.smtp import command
from posthouse.wire.smtp.command import Event

SAY_LHLO = reply(500, "5.5.1", "This is LMTP: say LHLO")
SAY_EHLO = reply(500, "5.5.1", "This is SMTP: say EHLO")


class State(Enum):
    """Where a connection stands (RFC 5321 §3)."""

    START = "before EHLO"
    READY = "no transaction"
    MAIL = "sender known"
    RCPT = "at least one recipient accepted"
    DATA = "content of DATA is coming"
    CHUNK = "content of BDAT is coming"
    BETWEEN = "between two chunks"
    UNWANTED = "octets of a chunk out of place are coming"
    SPOILED = "a chunk was refused"  # RFC 3030 §2: indeterminate until RSET
    AUTH = "the client's answer to 334 is coming"
    TLS = "220 to STARTTLS was said"
    CLOSED = "at its end"


_ALWAYS = frozenset[type[Event]](
    {
        command.Ehlo,
        command.Helo,
        command.Lhlo,
        command.Rset,
        command.Noop,
        command.Help,
        command.Vrfy,
        command.Expn,
        command.Quit,
    }
)
# RFC 5321 §4.1.4   what may come in which state; Malformed and Unknown come as they like
LEGAL: dict[State, frozenset[type[Event]]] = {
    State.START: _ALWAYS,
    State.READY: _ALWAYS | {command.Mail, command.StartTls, command.Auth},
    State.MAIL: _ALWAYS | {command.Rcpt},
    State.RCPT: _ALWAYS | {command.Rcpt, command.Data, command.Bdat, command.Burl},
    State.BETWEEN: _ALWAYS | {command.Bdat, command.Burl},
    State.SPOILED: _ALWAYS,
}
WORDS: dict[State, str] = {
    State.START: "Say EHLO first",
    State.READY: "Say MAIL first",
    State.MAIL: "There is no valid recipient yet",
    State.RCPT: "A message has been begun already; RSET gives it up",
    State.BETWEEN: "The message is coming in chunks: go on with BDAT or BURL, or give it up with RSET",
    State.SPOILED: "A chunk of this message was refused; say RSET",
}


class SessionState(NamedTuple):
    """How far a session has come, as far as it matters for what may follow."""

    state: State
    lmtp: bool
    tls: bool
    extended: bool  # the client said EHLO or LHLO, not HELO
    authenticated: bool


def out_of_order(event: command.Command, session: SessionState) -> Reply | None:
    """The refusal of a command that comes at the wrong time (RFC 5321 §4.1.4)."""
    match event:
        case command.Malformed() | command.Unknown():
            return None
        case command.Ehlo() | command.Helo() if session.lmtp:
            return SAY_LHLO
        case command.Lhlo() if not session.lmtp:
            return SAY_EHLO
        case command.StartTls() | command.Auth():
            return _of_the_session(event, session)
    if type(event) in LEGAL[session.state]:
        return None
    second = session.state is State.MAIL and isinstance(event, command.Mail)
    return reply(503, "5.5.1", WORDS[State.RCPT if second else session.state])


def _of_the_session(event: command.StartTls | command.Auth, session: SessionState) -> Reply | None:
    """STARTTLS (RFC 3207 §4) and AUTH (RFC 4954 §4): each once, after EHLO, outside of a transaction."""
    if isinstance(event, command.StartTls) and session.tls:
        return reply(503, "5.5.1", "TLS is on already")
    if not session.extended:
        return reply(503, "5.5.1", WORDS[State.START])
    if session.authenticated:
        return reply(503, "5.5.1", "You are logged in already")
    if session.state is not State.READY:
        return reply(503, "5.5.1", WORDS[State.RCPT])
    return None
