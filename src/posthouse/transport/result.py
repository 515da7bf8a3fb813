"""Result: what one server meant for one recipient, and what the codes of SMTP mean to who sends (RFC 5321 §4.2.1).

`send.py` makes Outcomes of Results, when no other server is left to be tried.
"""

from dataclasses import dataclass, replace
from enum import Enum

from posthouse.mail.outcome import Action
from posthouse.mail.status import Reply, Status


class Where(Enum):
    """The step that was waited for or refused: `where` of an Outcome."""

    CONNECT = "connect"
    GREETING = "greeting"
    HELLO = "hello"
    TLS = "tls"
    LOGIN = "login"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


_REFUSED = {
    Where.GREETING: "the server did not want to talk to us",
    Where.HELLO: "the server did not want to talk to us",
    Where.TLS: "the server would not begin TLS",
    Where.LOGIN: "the server did not let us log in",
    Where.MAIL: "the server refused the sender",
    Where.RCPT: "the server refused the recipient",
    Where.DATA: "the server would not take the message",
    Where.DOT: "the server refused the message",
}
_POSTPONED = {
    Where.MAIL: "the server cannot take mail of this sender now",
    Where.RCPT: "the server cannot take mail for the recipient now",
    Where.DATA: "the server cannot take the message now",
    Where.DOT: "the server cannot take the message now",
}
_WAITED_FOR = {
    Where.GREETING: "its greeting",
    Where.HELLO: "its answer to our greeting",
    Where.TLS: "its answer to STARTTLS",
    Where.LOGIN: "its answer to our login",
    Where.MAIL: "its answer to the sender",
    Where.RCPT: "its answer to the recipient",
    Where.DATA: "it was ready for the message",
    Where.DOT: "its answer to the message",
}
# Before MAIL a refusal is about us, or this server, and not about the message: another server may think otherwise.
ABOUT_THE_SERVER = frozenset({Where.CONNECT, Where.GREETING, Where.HELLO, Where.TLS, Where.LOGIN})
PERHAPS_TAKEN = "; it may have taken the message, which will then come twice"
TOO_MANY = Status(4, 5, 3)  # RFC 3463 §3.6


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one recipient at one server. `elsewhere`: another server of the destination may be tried now."""

    action: Action
    status: Status
    reason: str
    where: Where
    answer: Reply | None = None
    elsewhere: bool = False

    def later(self) -> "Result":
        """The same, but to be tried again."""
        return replace(self, action=Action.DELAYED, status=replace(self.status, cls=4))


def relayed(answer: Reply) -> Result:
    """The server has taken responsibility (RFC 5321 §6.1)."""
    status = answer.status or Status(2, 0, 0)
    return Result(Action.RELAYED, status, "the server took the message", Where.DOT, answer)


def refused(answer: Reply, where: Where) -> Result:
    """What a negative reply means: 4yz try again, 5yz do not (RFC 5321 §4.2.1)."""
    permanent = answer.code >= 500
    if where is Where.RCPT and _too_many(answer):
        return Result(
            Action.DELAYED, TOO_MANY, "the server takes fewer recipients at once", where, answer, elsewhere=True
        )
    words = _REFUSED[where] if permanent else _POSTPONED.get(where, _REFUSED[where])
    found = Result(
        Action.FAILED if permanent else Action.DELAYED,
        answer.status or Status(5 if permanent else 4, 0, 0),
        words,
        where,
        answer,
        elsewhere=not permanent or where in ABOUT_THE_SERVER,
    )
    # A wrong password, or TLS that will not begin, is for us or them to mend, not for the sender of this message.
    return found.later() if where in (Where.LOGIN, Where.TLS) else found


def _too_many(answer: Reply) -> bool:
    """RFC 5321 §4.5.3.1.10: 552 to RCPT is to be read as 452, too many recipients; but 5.2.2 is a full mailbox."""
    if answer.status is None:
        return answer.code == 552
    return answer.code in (452, 552) and (answer.status.subject, answer.status.detail) == (5, 3)


def lost(where: Where, farewell: Reply | None = None, *, perhaps_taken: bool = False) -> Result:
    """The connection ended while something was waited for, perhaps with a last word of the server's."""
    reason = f"the connection was lost before {_WAITED_FOR[where]}"
    if farewell is not None:
        reason = "the server ended the connection"
    return _no_answer(reason, where, farewell, perhaps_taken=perhaps_taken)


def silent(where: Where, seconds: float, *, perhaps_taken: bool = False) -> Result:
    """Time-out (RFC 5321 §4.5.3.2)."""
    reason = f"the server was silent for {seconds:.0f} seconds before {_WAITED_FOR[where]}"
    return _no_answer(reason, where, None, perhaps_taken=perhaps_taken)


def _no_answer(reason: str, where: Where, answer: Reply | None, *, perhaps_taken: bool) -> Result:
    """RFC 5321 §4.5.3.2.6: whether the message was taken cannot be known, so it is sent again, but not at once."""
    status = Status(4, 4, 2)
    if answer is not None and answer.status is not None:
        status = replace(answer.status, cls=4)
    reason += PERHAPS_TAKEN if perhaps_taken else ""
    return Result(Action.DELAYED, status, reason, where, answer, elsewhere=not perhaps_taken)


def garbled(why: str, where: Where, *, perhaps_taken: bool = False) -> Result:
    """The server does not speak SMTP (RFC 3463 §3.6)."""
    found = _no_answer(why, where, None, perhaps_taken=perhaps_taken)
    return replace(found, status=Status(4, 5, 0))


def insecure(status: Status, reason: str, answer: Reply | None = None) -> Result:
    """TLS does not show what is demanded: no mail flows here."""
    return Result(Action.DELAYED, status, reason, Where.TLS, answer, elsewhere=True)
