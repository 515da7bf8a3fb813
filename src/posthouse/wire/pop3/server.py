"""Pop3Server: the server's side of one POP3 connection. Octets in, events out; replies in, octets out.

RFC 1939 §3 to §7 (states), RFC 2449 §3, §4 (grammar, lengths), §6.6 (pipelining), RFC 2595 §4 (STLS), RFC 5034 §4
(AUTH), RFC 6856 §2.1 (UTF8).

How a session drives it:

    link.write(engine.send(greeting))
    while (event := await link.next(engine)) is not None:
        link.write(engine.send(await answer(event)))
        if not engine.pending: await link.flush()

* Every event but `Closed` wants one reply; asking for the next event before is our bug and raises RuntimeError.
* The engine learns from the replies: +OK to USER keeps its name for PASS, +OK to PASS or AUTH begins the TRANSACTION
  state, a challenge makes the next line an `AuthLine`, +OK to QUIT ends everything.
* `Malformed` carries the reply. `reply.close` means: send, then close. The engine is then at its end.
* A message behind `reply.opens` is written by the session (`Stuffing` in `reply.py`); it is not the engine's matter.
* STLS: send +OK, then `starttls()`. It forgets everything, USER and buffered plain text with it.

It does NOT count errors, wait, judge users, or number messages: that is the session's, as is whether a password may be
sent at all.
"""

from enum import Enum

from posthouse.wire.buffer import ReceiveBuffer
from posthouse.wire.pop3 import command
from posthouse.wire.pop3.command import Event, Malformed, parse
from posthouse.wire.pop3.reply import Pop3Reply, err
from posthouse.wire.sasl import decode

COMMAND_LINE = 1_024  # octets with CRLF; RFC 2449 §4 asks for 255, passwords may be longer
AUTH_LINE = 12_288  # octets with CRLF of AUTH and of an answer to a challenge, as for SMTP (RFC 4954 §4)

TLS_HANDSHAKE = b"\x16"  # RFC 8446 §5.1: the first octet of a client that speaks TLS at once
# A browser made to talk to us (S13): its next lines could be commands that somebody else chose.
FOREIGN = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"CONNECT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"PRI ", b"Host:")

LINE_TOO_LONG = Malformed(err("That line is too long; goodbye", close=True))
BARE_LF = Malformed(err("A line ends with CR LF, not with LF alone (with nc, use -C)"))
NOT_MAIL = Malformed(err("This port speaks POP3, not HTTP; goodbye", close=True))
NOT_TLS = Malformed(err("This port does not begin with TLS: say STLS, or use the port for TLS", close=True))
LOG_IN_FIRST = Malformed(err("Log in first"))
LOGGED_IN = Malformed(err("You are logged in already"))
TLS_ACTIVE = Malformed(err("TLS is active already"))
STLS_AFTER_UTF8 = Malformed(err("STLS comes before UTF8"))  # RFC 6856 §2.1


class State(Enum):
    """RFC 1939 §3. The UPDATE state is the session's work between QUIT and its reply."""

    AUTHORIZATION = "authorization"
    SASL = "sasl"  # the next line answers a challenge
    TLS = "tls"  # STLS was agreed to
    TRANSACTION = "transaction"
    CLOSED = "closed"


BEFORE = (command.User, command.Pass, command.Auth, command.Stls, command.Utf8)
ALWAYS = (command.Capa, command.Lang, command.Quit)


class Pop3Server:
    """The server's side of one POP3 connection."""

    __slots__ = ("_asked", "_buffer", "_command_line", "_eof", "_name", "_owed", "_tls", "state", "utf8")

    def __init__(self, *, tls: bool = False, command_line: int = COMMAND_LINE) -> None:
        """`tls`: the connection began with TLS, so STLS is out of place."""
        self.state = State.AUTHORIZATION
        self.utf8 = False  # the client said UTF8
        self._tls = tls
        self._command_line = command_line
        self._buffer = ReceiveBuffer()
        self._asked: Event | None = None  # what the reply owed is to; None is the greeting
        self._owed = True
        self._eof = False
        self._name: bytes | None = None  # of USER

    def receive(self, data: bytes) -> None:
        """Octets from the peer; b"" means it closed."""
        if not data:
            self._eof = True
        elif self.state is not State.CLOSED:
            self._buffer.append(data)

    def next_event(self) -> Event | None:
        """The next event, or None while more octets are needed. Raises RuntimeError while a reply is owed."""
        if self._owed:
            raise RuntimeError(f"a reply to {self._asked} is owed")
        if self.state is State.CLOSED:
            return command.Closed()
        event = self._read()
        if event is None and self._eof:
            self._close()
            return command.Closed()
        if event is not None:
            self._asked, self._owed = event, True
        return event

    def send(self, answer: Pop3Reply) -> bytes:
        """The octets of a reply; moves the state on. One with `close` may come at any time; for any other raises
        RuntimeError where none is due."""
        if not self._owed and not answer.close:
            raise RuntimeError(f"no reply is due: {answer}")
        if self._owed:
            self._owed = False
            self._learn(answer)
        if answer.close:
            self._close()
        return answer.octets

    def starttls(self) -> None:
        """Forget buffered plain text and all that was said (RFC 2595 §4)."""
        self._buffer.clear()
        self._name = None
        self._tls = True
        self.state = State.AUTHORIZATION

    @property
    def pending(self) -> bool:
        """More input is waiting: do not flush yet. After STLS: plain text stands behind it."""
        return len(self._buffer) > 0

    @property
    def full(self) -> bool:
        """So much input is waiting that no more should be read for now."""
        return self._buffer.full

    # --- from octets to events

    def _read(self) -> Event | None:
        if self.state is State.TLS:
            return None
        line = self._buffer.take_line()
        begins = self._buffer.peek(5) if line is None else line[:5]
        sasl = self.state is State.SASL
        if begins.startswith(TLS_HANDSHAKE) and not sasl:
            return NOT_TLS
        size = len(self._buffer) if line is None else len(line)
        if size > self._command_line and size > (AUTH_LINE if sasl or begins.upper() == b"AUTH " else 0):
            return LINE_TOO_LONG  # whether its end has come or not
        if line is None:
            return None
        if not line.endswith(b"\r\n"):
            return BARE_LF
        return self._answered(line[:-2]) if sasl else self._command(line[:-2])

    def _command(self, line: bytes) -> Event:
        if line.startswith(FOREIGN):
            return NOT_MAIL
        event = parse(line, self._name)
        return event if isinstance(event, Malformed) else self._in_order(event)

    def _in_order(self, event: command.Command) -> Event:
        """The event, or a Malformed where it comes at the wrong time."""
        if isinstance(event, ALWAYS):
            return event
        early = isinstance(event, BEFORE)
        if self.state is State.TRANSACTION:
            return LOGGED_IN if early else event
        if not early:
            return LOG_IN_FIRST
        if isinstance(event, command.Stls) and (self._tls or self.utf8):
            return TLS_ACTIVE if self._tls else STLS_AFTER_UTF8
        return event

    def _answered(self, line: bytes) -> Event:
        if line == b"*":
            return command.AuthLine(None)
        octets = decode(line)
        return command.BAD_BASE64 if octets is None else command.AuthLine(octets)

    # --- from replies to states

    def _learn(self, answer: Pop3Reply) -> None:
        if isinstance(self._asked, command.Retr):
            return  # the commonest, and nothing is to be learned of it
        match self._asked:
            case command.User():
                self._name = self._asked.name if answer.positive else None
            case command.Pass() | command.Auth() | command.AuthLine():
                self._judged(answer)
            case command.Malformed():
                # RFC 5034 §4: what cannot be decoded ends the exchange.
                self.state = State.AUTHORIZATION if self.state is State.SASL else self.state
            case command.Stls():
                self.state = State.TLS if answer.positive else self.state
            case command.Utf8():
                self.utf8 = answer.positive
            case command.Quit():
                self._close()

    def _judged(self, answer: Pop3Reply) -> None:
        """What an answer to a proof means. AUTH without a mechanism is answered with a list, and proves nothing."""
        if answer.challenge is not None:
            self.state = State.SASL
            return
        self._name = None
        proved = answer.positive and answer.lines is None
        self.state = State.TRANSACTION if proved else State.AUTHORIZATION

    def _close(self) -> None:
        self.state = State.CLOSED
        self._buffer.clear()
