"""SmtpClient: the client's side of one SMTP connection. Octets in, events out; commands in, octets out.

RFC 5321 §3, §4.2 (replies), §4.3.2 (which codes are replies to what), §4.5.2 (transparency); RFC 2920 §3.1
(pipelining), RFC 3030 §2 (BDAT), RFC 3207 §4 (STARTTLS), RFC 4954 §4 (AUTH).

How a session drives it:

    event = await link.next(engine)                     # Answered(None, 220 ...): the greeting comes unasked
    link.write(engine.send(Ehlo(name)))                 # next sends it: Answered(Ehlo, 250 ...)
    for request in (MailFrom(...), RcptTo(...), Data()): link.write(engine.send(request))
    ...                                                 # three events, in the order of the requests
    link.write(engine.send(Octets(...)), engine.send(DataEnded()))

* Each request wants one reply, but Octets, which wants none. `waiting` counts the replies that are to come. Where the
  server offers PIPELINING requests may be sent while others wait, except behind one whose reply changes what may come
  next (RFC 2920 §3.1). Sending at a wrong time is our bug and raises RuntimeError.
* What a server says wrongly is an event: `Garbled` for what is no reply or no reply to that, `Unasked` for a reply that
  nothing asked for (421 before it closes, RFC 5321 §3.8). Both, as 421 at any time, leave the engine at its end: the
  requests that wait get no reply, and `Closed` comes.
* The engine learns from the replies: `announced` is what EHLO said, 354 opens the content, 334 asks for an AuthLine.
  A transaction that did not end well must be given up by Rset before the next MailFrom: `spoiled` tells.
* STARTTLS: after 220 call `starttls()`. It forgets all that was said in plain text, EHLO and what stands behind the 220
  with it, so that nobody can put replies into the session (CVE-2021-33515 and its kind).

It does NOT wait, choose servers, judge certificates or decide what a refusal means for a message. It does no LMTP.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from posthouse.mail.status import Reply
from posthouse.wire.buffer import ReceiveBuffer
from posthouse.wire.smtp import command
from posthouse.wire.smtp.conversation import Conversation
from posthouse.wire.smtp.data import DotWriter
from posthouse.wire.smtp.replied import Announced, ReplyReader, read_ehlo
from posthouse.wire.smtp.request import MailFrom, RcptTo, Request, print_request

NOTHING = Announced()


@dataclass(frozen=True, slots=True)
class Answered:
    """The reply to a request; to the greeting's place, None."""

    to: Request | command.DataEnded | None
    reply: Reply


@dataclass(frozen=True, slots=True)
class Unasked:
    """A reply while nothing was asked, such as 421 before the server closes (RFC 5321 §3.8)."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Garbled:
    """The server does not speak SMTP: why, in words."""

    why: str


ClientEvent = Answered | Unasked | Garbled | command.Closed
Sent = Request | command.Octets | command.DataEnded


class State(Enum):
    """Where a connection stands, with all that was sent taken as done (RFC 5321 §3)."""

    GREETING = "before the greeting, or behind a refusing one"
    START = "greeted"
    READY = "no transaction"
    OPEN = "MAIL was sent"
    DATA = "the content of DATA is being sent"
    CHUNK = "the content of BDAT is being sent"
    ENDING = "the last chunk was sent"
    AUTH = "the server waits for our answer to 334"
    TLS = "220 to STARTTLS was said"
    CLOSED = "at its end"


_LEGAL: dict[State, frozenset[type[object]]] = {
    State.GREETING: frozenset({command.Quit}),
    State.START: frozenset({command.Ehlo, command.Helo, command.Quit}),
    State.READY: frozenset(
        {command.Ehlo, command.StartTls, command.Auth, MailFrom, command.Rset, command.Noop, command.Quit}
    ),
    State.OPEN: frozenset({RcptTo, command.Data, command.Bdat, command.Rset, command.Noop, command.Quit}),
    State.DATA: frozenset({command.Octets, command.DataEnded}),
    State.CHUNK: frozenset({command.Octets}),
    State.ENDING: frozenset({command.Rset, command.Quit}),
    State.AUTH: frozenset({command.AuthLine}),
    State.TLS: frozenset(),
    State.CLOSED: frozenset(),
}
# RFC 2920 §3.1   these may only be the last of a group; of BDAT RFC 3030 §4.2 shows that it may stand in the middle
_LAST: frozenset[type[object]] = frozenset(
    {command.Ehlo, command.Helo, command.StartTls, command.Auth, command.AuthLine, command.Data, command.DataEnded}
    | {command.Noop, command.Quit, type(None)}
)
# RFC 5321 §4.3.2   the intermediate replies, and to what they are one
_INTERMEDIATE: dict[int, tuple[type[object], ...]] = {
    354: (command.Data,),
    334: (command.Auth, command.AuthLine),
}


class SmtpClient:
    """The client's side of one SMTP connection."""

    __slots__ = (
        "_asked",
        "_buffer",
        "_dots",
        "_eof",
        "_last",
        "_left",
        "_reader",
        "_sent",
        "announced",
        "conversation",
        "state",
    )

    def __init__(self, conversation: Conversation | None = None) -> None:
        """`conversation` is told what is said."""
        self.state = State.GREETING
        self.conversation = conversation
        self.announced = NOTHING  # what the last EHLO said
        self._buffer = ReceiveBuffer()
        self._reader = ReplyReader(conversation)
        self._asked: deque[Request | command.DataEnded | None] = deque([None])  # whose replies are to come
        self._dots = DotWriter()
        self._left = 0  # octets of the present chunk that are still to be sent
        self._last = False  # it is the last of its message
        self._sent = 0  # octets of the content so far, for the conversation
        self._eof = False

    def receive(self, data: bytes) -> None:
        """Octets from the server; b"" means it closed."""
        if not data:
            self._eof = True
        elif self.state is not State.CLOSED:
            self._buffer.append(data)

    def next_event(self) -> ClientEvent | None:
        """The next event, or None while more octets are needed."""
        if self.state is State.TLS:
            return None
        found = None if self.state is State.CLOSED else self._reader.take(self._buffer)
        if found is None:
            if self._eof or self.state is State.CLOSED:
                self._close()
                return command.Closed()
            return None
        return self._garbled(found) if isinstance(found, str) else self._answered(found)

    def send(self, sent: Sent) -> bytes:
        """The octets of a request; moves the state on. Raises RuntimeError where it is not its time."""
        if type(sent) not in _LEGAL[self.state]:
            raise RuntimeError(f"{sent} in state {self.state}")
        if isinstance(sent, command.Octets):
            return self._content(sent.data)
        if self._asked and (not self.announced.pipelining or type(self._asked[-1]) in _LAST):
            raise RuntimeError(f"{sent} while {self._asked[-1]} waits")
        self._asked.append(sent)
        if isinstance(sent, command.DataEnded):
            self._tell_content()
            return self._dots.end()
        self._begin(sent)
        octets = print_request(sent, self.announced)
        if self.conversation is not None:
            self._tell(self.conversation, sent, octets)
        return octets

    def starttls(self) -> None:
        """Forget everything that was said in plain text (RFC 3207 §4.2). The greeting does not come again."""
        self._buffer.clear()
        self._reader.clear()
        self._asked.clear()
        self.announced = NOTHING
        self.state = State.START

    @property
    def waiting(self) -> int:
        """Requests without a reply yet."""
        return len(self._asked)

    @property
    def spoiled(self) -> bool:
        """A transaction was begun and has not ended: Rset must come before the next one."""
        return self.state in (State.OPEN, State.ENDING)

    @property
    def pending(self) -> bool:
        """Octets from the server wait to be understood."""
        return len(self._buffer) > 0

    # --- what is sent

    def _begin(self, sent: Request) -> None:
        match sent:
            case MailFrom():
                self.state = State.OPEN
            case command.Rset():
                self.state = State.READY
            case command.Bdat(size, last):
                self._left, self._last = size, last
                self.state = State.CHUNK
                self._end_chunk()

    @staticmethod
    def _tell(conversation: Conversation, sent: Request, octets: bytes) -> None:
        if isinstance(sent, command.AuthLine):
            conversation.secret(heard=False)
        else:
            conversation.said(octets)

    def _tell_content(self) -> None:
        if self.conversation is not None:
            self.conversation.content(self._sent, heard=False)
        self._sent = 0

    def _content(self, octets: bytes) -> bytes:
        self._sent += len(octets)
        if self.state is State.DATA:
            return self._dots.put(octets)
        if len(octets) > self._left:
            raise RuntimeError(f"{len(octets) - self._left} octets more than the chunk was announced to have")
        self._left -= len(octets)
        self._end_chunk()
        return octets

    def _end_chunk(self) -> None:
        if not self._left:
            self._tell_content()
            self.state = State.ENDING if self._last else State.OPEN

    # --- what is answered

    def _answered(self, answer: Reply) -> ClientEvent:
        if not self._asked:
            self._close()
            return Unasked(answer)
        asked = self._asked.popleft()
        if 300 <= answer.code < 400 and type(asked) not in _INTERMEDIATE.get(answer.code, ()):
            return self._garbled(f"the server answered {answer.code} where that is no answer")
        if isinstance(asked, command.Data) and answer.code < 300:
            return self._garbled(f"the server answered {answer.code} to DATA")
        if answer.close:
            self._close()
        else:
            _LEARN.get(type(asked), SmtpClient._nothing)(self, answer)
        return Answered(asked, answer)

    def _garbled(self, why: str) -> Garbled:
        self._close()
        return Garbled(why)

    def _nothing(self, answer: Reply) -> None:
        """This reply moves nothing."""

    def _greeted(self, answer: Reply) -> None:
        if answer.positive:
            self.state = State.START

    def _said_ehlo(self, answer: Reply) -> None:
        if answer.positive:
            self.state, self.announced = State.READY, read_ehlo(answer)

    def _said_helo(self, answer: Reply) -> None:
        if answer.positive:
            self.state, self.announced = State.READY, NOTHING

    def _tls_agreed(self, answer: Reply) -> None:
        if answer.positive:
            self.state = State.TLS

    def _auth_answered(self, answer: Reply) -> None:
        self.state = State.AUTH if answer.code == 334 else State.READY

    def _data_opened(self, answer: Reply) -> None:
        if answer.positive:
            self.state, self._dots = State.DATA, DotWriter()

    def _content_ended(self, answer: Reply) -> None:
        """RFC 5321 §4.1.1.4: whatever the answer, the transaction is over."""
        self.state = State.READY

    def _chunk_answered(self, answer: Reply) -> None:
        """RFC 3030 §2: the last chunk ends the transaction; one that was refused leaves it to be reset."""
        if answer.positive and self.state is State.ENDING and not self._asked:
            self.state = State.READY

    def _goodbye(self, answer: Reply) -> None:
        self._close()

    def _close(self) -> None:
        self.state = State.CLOSED
        self._buffer.clear()
        self._reader.clear()


_LEARN: dict[type[object], Callable[[SmtpClient, Reply], None]] = {
    type(None): SmtpClient._greeted,
    command.Ehlo: SmtpClient._said_ehlo,
    command.Helo: SmtpClient._said_helo,
    command.StartTls: SmtpClient._tls_agreed,
    command.Auth: SmtpClient._auth_answered,
    command.AuthLine: SmtpClient._auth_answered,
    command.Data: SmtpClient._data_opened,
    command.DataEnded: SmtpClient._content_ended,
    command.Bdat: SmtpClient._chunk_answered,
    command.Quit: SmtpClient._goodbye,
}
