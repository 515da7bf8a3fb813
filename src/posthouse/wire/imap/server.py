"""ImapServer: the server's side of one IMAP connection, octets in, events out (RFC 9051 §3, §4.3, §6; RFC 3501; RFC
7888).

    engine = ImapServer()
    link.write(engine.send(ok(None, "Posthouse is ready.", capability(names))))         # the greeting
    while (event := await link.next(engine)) is not None:
        ...

Events, in the order in which the client caused them:

* a value of `Command` (command.py, fetch.py, search.py, list.py): one whole, legal command. Answer it with
  `engine.send(responses…)`, the last one tagged with `command.tag`. Set `engine.state` when it changes, `engine.utf8`
  when IMAP4rev2 is enabled, before the next event is asked for.
* `Malformed(response)`: the client erred, or a limit was passed. Send the response and go on; it ends whatever was
  open under its tag, a half-read APPEND or a SASL exchange too.
* `Fatal(response)`: send the BYE and close. No event comes after it.
* `GoOn(response)`: a synchronizing literal is within limits; send the response and flush.
* `LiteralAnnounced`: a message of APPEND is about to come. Either `link.write(engine.accept())`, and the message
  follows as `Octets`, then the next LiteralAnnounced (place 1, 2 …) or the command `Append`; or
  `link.write(engine.refuse(no(tag, …)))`, which ends the command. Flush after either. Once accepted, a failure is
  answered when the next one is announced, or `Append` comes.
* `Catenate`: a message of APPEND is made of parts, `UrlPart` and `LiteralAnnounced(part=True)`, in their order
  (RFC 4469 §3). It ends where the next message begins, or with `Append`.
* `AuthLine(tag, octets)`, after the event Authenticate and until its tagged answer is sent: one decoded line of the
  SASL exchange, or None where the client cancelled with `*`. Send `Challenge(octets)` for the next turn.
* `Done(tag)`, after Idle: begin with `engine.send(ContinueRequest("idling"))`, end with the tagged answer. To refuse
  IDLE send the tagged NO at once.
* after StartTls: send the tagged OK, then `link.start_tls`, which calls `starttls()`.

What it does NOT do: it keeps no time, checks no password, knows no mailbox, counts no errors, and announces nothing.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from posthouse.mail.ids import Millis
from posthouse.wire.buffer import ReceiveBuffer
from posthouse.wire.imap.append import (
    LiteralNext,
    MessageHead,
    OpenAppend,
    Replaced,
    Step,
    Url,
    begin_append,
    check_end,
    is_catenate,
    read_append,
)
from posthouse.wire.imap.assembler import (
    Assembler,
    ImapLimits,
    LiteralWanted,
    MessageLiteral,
    Piece,
    Refused,
    Whole,
    tag_of,
)
from posthouse.wire.imap.command import (
    Append,
    AppendMessage,
    Authenticate,
    Command,
    CommandAny,
    CommandAuth,
    CommandNonauth,
    CommandSelect,
    Done,
    Expunge,
    Idle,
)
from posthouse.wire.imap.condition import Condition, Fault
from posthouse.wire.imap.grammar import FlagSet, Scanner
from posthouse.wire.imap.parse import decode_base64, parse_command
from posthouse.wire.imap.response import (
    Challenge,
    ContinueRequest,
    Response,
    StatusResponse,
    bad,
    bye,
    print_response,
)

_READY_FOR_LITERAL = ContinueRequest("Ready for the literal.")
_TLS_RECORD = b"\x16\x03"  # a handshake record of TLS 1.x (RFC 8446 §5.1)
_HTTP = re.compile(rb"[A-Z]{3,7} \S+ HTTP/[0-9.]{1,3}")  # RFC 9112 §3, the request line
SASL_LINE = 12_288  # octets; as RFC 4954 §4.2 asks for SMTP, whose tokens are the same
IDLE_LINE = 1_024  # octets; DONE has four
CHUNK = 262_144  # octets of a message handed on at once


class State(Enum):
    """RFC 9051 §3."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


_ANY = frozenset(CommandAny.__args__)
_AUTH = _ANY | frozenset(CommandAuth.__args__)
# RFC 9051 §6: what is legal in each state
LEGAL: dict[State, frozenset[type]] = {
    State.NOT_AUTHENTICATED: _ANY | frozenset(CommandNonauth.__args__),
    State.AUTHENTICATED: _AUTH,
    State.SELECTED: _AUTH | frozenset(CommandSelect.__args__),
    State.LOGOUT: frozenset(),
}


def why_not(command: type, state: State) -> str:
    """What to do before a command that is not legal in this state."""
    if state is State.NOT_AUTHENTICATED:
        return "Log in first."
    if command in CommandSelect.__args__:
        return "No mailbox is selected; SELECT or EXAMINE one first."
    return "You are logged in already."


class _Mode(Enum):
    """How the next octets are to be read."""

    COMMAND = "command"
    ANNOUNCED = "announced"  # accept or refuse must be called
    MESSAGE = "message"
    SASL = "sasl"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A command that cannot be executed: send `response`, a BAD or NO, and go on (RFC 9051 §7.1.3)."""

    response: StatusResponse


@dataclass(frozen=True, slots=True)
class Fatal:
    """Send `response`, a BYE, and close (RFC 9051 §7.1.5)."""

    response: StatusResponse


@dataclass(frozen=True, slots=True)
class GoOn:
    """Send `response`: the client waits for it before it sends a literal (RFC 9051 §4.3)."""

    response: ContinueRequest


class LiteralAnnounced(NamedTuple):
    """A message of APPEND is about to come (RFC 9051 §6.3.12): `accept` or `refuse` it. `date`: None for now. `sync`:
    the client waits. `binary`: a literal8. `place`: 0 for the first of the command. `replaced`: it is REPLACE.
    `part`: a text for the message that Catenate began, which has the flags and the date (RFC 4469 §3)."""

    tag: bytes
    mailbox: str
    flags: FlagSet
    date: Millis | None
    size: int
    sync: bool
    binary: bool
    place: int
    replaced: Replaced | None = None
    part: bool = False


@dataclass(frozen=True, slots=True)
class Catenate:
    """A message of APPEND that is made of parts begins (RFC 4469 §3). The rest as in LiteralAnnounced."""

    tag: bytes
    mailbox: str
    flags: FlagSet
    date: Millis | None
    place: int
    replaced: Replaced | None = None


@dataclass(frozen=True, slots=True)
class UrlPart:
    """A part of the message that Catenate began: what this URL names (RFC 4469 §3)."""

    tag: bytes
    url: bytes


class Octets(NamedTuple):
    """Some octets of the message, or the text, that was accepted last."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class AuthLine:
    """The client's turn in a SASL exchange, decoded; None: it cancels the exchange (RFC 9051 §6.2.2)."""

    tag: bytes
    octets: bytes | None


Event = Command | Malformed | Fatal | GoOn | LiteralAnnounced | Catenate | UrlPart | Octets | AuthLine


class ImapServer:
    """The server's side of one IMAP connection: octets in, commands out (RFC 9051 §2.2).

    `utf8`: the client enabled IMAP4rev2, so mailbox names and texts are UTF-8 (RFC 9051 §5.1).
    """

    __slots__ = (
        "_announced",
        "_append",
        "_assembler",
        "_buffer",
        "_doom",
        "_limits",
        "_messages",
        "_mode",
        "_ready",
        "_state",
        "_tag",
        "_waiting",
        "utf8",
    )

    def __init__(self, limits: ImapLimits | None = None) -> None:
        self._limits = limits or ImapLimits()
        self._buffer = ReceiveBuffer()
        self._assembler = Assembler(self._buffer, self._limits.before_login)
        self._state = State.NOT_AUTHENTICATED
        self._mode = _Mode.COMMAND
        self._tag: bytes = b""  # of the AUTHENTICATE or IDLE that is open
        self._announced: LiteralAnnounced | None = None
        self._append: OpenAppend | None = None  # the APPEND that has begun
        self._messages: list[AppendMessage] = []  # of it so far
        self._ready: list[Event] = []  # what a piece of it gave and was not asked for yet; a deque weighs 600 octets
        self._doom: Refused | None = None  # the next event is Fatal
        self._waiting = 0  # octets of the accepted message still to come
        self.utf8 = False

    @property
    def state(self) -> State:
        """Where the session stands (RFC 9051 §3). The session sets it; the engine sets LOGOUT with Fatal."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        stranger = state is State.NOT_AUTHENTICATED
        self._state = state
        self._assembler.strict = stranger
        self._assembler.limits = self._limits.before_login if stranger else self._limits

    @property
    def pending(self) -> bool:
        """More input is waiting, so an answer may wait for the next one. `Link.next` flushes before it waits."""
        return len(self._buffer) > 0

    def receive(self, data: bytes, /) -> None:
        """Take octets in. b"" says that the peer closed; a command cut off by that never becomes an event."""
        if data and self._state is not State.LOGOUT:
            self._buffer.append(data)

    def next_event(self) -> Event | None:
        """The next event, or None when more octets are needed."""
        if self._state is State.LOGOUT:
            return None
        if self._ready:
            return self._ready.pop(0)
        if self._doom is not None:
            return self._end(self._doom)
        match self._mode:
            case _Mode.COMMAND:
                return self._next_command()
            case _Mode.MESSAGE:
                return self._next_octets()
            case _Mode.IDLE:
                return self._next_idle_line()
            case _Mode.SASL:
                return self._next_sasl_line()
        raise RuntimeError("a literal was announced: call accept or refuse before next_event")

    def send(self, *responses: Response) -> bytes:
        """The octets of responses. A tagged answer to AUTHENTICATE or IDLE ends its exchange. Raises RuntimeError for
        a Challenge outside AUTHENTICATE."""
        for response in responses:
            if isinstance(response, Challenge) and self._mode is not _Mode.SASL:
                raise RuntimeError("a challenge belongs into AUTHENTICATE")
            if isinstance(response, StatusResponse) and response.tag is not None and response.tag == self._tag:
                self._mode, self._tag = _Mode.COMMAND, b""
        return b"".join([print_response(response, self.utf8) for response in responses])

    def accept(self) -> bytes:
        """Take the announced message: what to send, `+` or nothing (RFC 9051 §4.3, RFC 7888 §4)."""
        announced = self._take_announced()
        self._mode = _Mode.MESSAGE
        self._waiting = announced.size
        return print_response(ContinueRequest("Ready for the message.")) if announced.sync else b""

    def refuse(self, response: StatusResponse) -> bytes:
        """Do not take the announced message: what to send. The rest of the command is dropped without an event, or
        with Fatal when there is too much to drop."""
        announced = self._take_announced()
        self._mode = _Mode.COMMAND
        self._append = None
        if announced.sync:
            self._assembler.reset()
        else:
            self._doom = self._assembler.drop_message(announced.size)
        return b"" if self._doom else print_response(response, self.utf8)

    def starttls(self) -> None:
        """Forget what came in plain text behind STARTTLS: nobody knows who wrote it (RFC 9051 §6.2.1, §11.1)."""
        self._buffer.clear()
        self._assembler.reset()
        self._mode, self._tag = _Mode.COMMAND, b""
        self._announced = self._append = None
        self._ready.clear()

    # --- commands

    def _next_command(self) -> Event | None:
        if self._state is State.NOT_AUTHENTICATED and self._buffer.peek(2) == _TLS_RECORD:
            return self._fatal("This port begins in plain text: use STARTTLS, or the port for TLS.")
        while True:
            piece = self._assembler.next()
            if piece is None:
                return None
            event = self._event(piece)
            if event is not None:
                return event

    def _event(self, piece: Piece) -> Event | None:
        match piece:
            case Whole():
                return self._append_done(piece.octets) if self._append else self._command(piece.octets)
            case LiteralWanted():
                return GoOn(_READY_FOR_LITERAL)
            case MessageLiteral():
                return self._announce(piece)
        return self._refused(piece)

    def _command(self, octets: bytes) -> Event:
        if self._state is State.NOT_AUTHENTICATED and _HTTP.fullmatch(octets):
            return self._fatal("This is a mail server: it speaks IMAP, not HTTP.")
        try:
            command = parse_command(octets, self.utf8, self._limits.grammar)
        except Fault as fault:
            if is_catenate(octets):
                return self._append_done(octets if b"}\r\n" in octets else octets.rstrip(b" "))
            return _malformed(tag_of(octets), fault)
        if type(command) not in LEGAL[self._state]:
            return Malformed(bad(command.tag, why_not(type(command), self._state)))
        if isinstance(command, Idle):
            self._mode, self._tag = _Mode.IDLE, command.tag
        elif isinstance(command, Authenticate):
            self._mode, self._tag = _Mode.SASL, command.tag
        return command

    def _refused(self, refused: Refused) -> Malformed | Fatal:
        self._append = None
        if refused.fatal:
            return self._end(refused)
        return Malformed(StatusResponse(refused.condition, refused.text, refused.code, refused.tag))

    def _end(self, refused: Refused) -> Fatal:
        self._state = State.LOGOUT
        return Fatal(bye(refused.text, refused.code))

    def _fatal(self, text: str) -> Fatal:
        self._buffer.clear()
        self._state = State.LOGOUT
        return Fatal(bye(text))

    # --- AUTHENTICATE and IDLE

    def _next_sasl_line(self) -> Event | None:
        line = self._assembler.line(SASL_LINE)
        if line is None:
            return None
        if isinstance(line, Refused):
            return self._end(line)
        if line == b"*":
            return AuthLine(self._tag, None)
        try:
            return AuthLine(self._tag, decode_base64(line))
        except Fault as fault:
            return self._leave(fault)

    def _next_idle_line(self) -> Event | None:
        line = self._assembler.line(IDLE_LINE)
        if line is None:
            return None
        if isinstance(line, Refused):
            return self._end(line)
        if line.upper() != b"DONE":
            return self._leave(Fault("IDLE ends with the line DONE."))
        tag, self._tag, self._mode = self._tag, b"", _Mode.COMMAND
        return Done(tag)

    def _leave(self, fault: Fault) -> Malformed:
        tag, self._tag, self._mode = self._tag, b"", _Mode.COMMAND
        return _malformed(tag, fault)

    # --- APPEND

    def _take_announced(self) -> LiteralAnnounced:
        announced, self._announced = self._announced, None
        if announced is None:
            raise RuntimeError("no literal was announced")
        return announced

    def _announce(self, literal: MessageLiteral) -> Event | None:
        before = self._append
        try:
            steps = self._read(literal.octets, literal)
        except Fault as fault:
            return self._refuse_malformed(literal, fault, tag_of(literal.octets) if before is None else before.tag)
        self._give(steps, literal)
        self._mode = _Mode.ANNOUNCED
        return self._ready.pop(0)

    def _read(self, octets: bytes, literal: MessageLiteral | None) -> list[Step]:
        """What a piece of an APPEND says. Raises Fault."""
        if Append not in LEGAL[self._state]:
            raise Fault(why_not(Append, self._state))
        if self._append is not None:
            command, scanner = self._append, Scanner(octets)
        else:
            command, scanner = begin_append(octets, self.utf8)
        if command.replaced is not None and self._state is not State.SELECTED:
            raise Fault(why_not(Expunge, self._state))
        if literal is None and self._append is not None:
            check_end(command, octets)
        steps, opened = read_append(command, scanner, self._limits.messages)
        if (literal is not None) is not (bool(steps) and isinstance(steps[-1], LiteralNext)):
            raise Fault("A literal stands where none belongs, or is missing where one does.")
        if opened.utf8 and literal is not None and not literal.binary:
            raise Fault("Within UTF8 (…) the message is a literal8: ~{n}.")  # RFC 6855 §4
        if self._append is None:
            self._messages = []
        self._append = opened
        return steps

    def _give(self, steps: list[Step], literal: MessageLiteral | None) -> None:
        """Make events of what a piece said."""
        assert self._append is not None
        tag, mailbox, replaced = self._append.tag, self._append.mailbox, self._append.replaced
        for step in steps:
            if isinstance(step, MessageHead):
                if step.catenate:
                    place = len(self._messages)
                    self._ready.append(Catenate(tag, mailbox, step.flags, step.date, place, replaced))
                size, binary = (0, False) if step.catenate or literal is None else (literal.size, literal.binary)
                self._messages.append(AppendMessage(step.flags, step.date, size, binary))
            elif isinstance(step, Url):
                self._ready.append(UrlPart(tag, step.octets))
            elif literal is not None:
                self._ready.append(self._announcement(self._append, literal))

    def _announcement(self, command: OpenAppend, literal: MessageLiteral) -> LiteralAnnounced:
        message = self._messages[-1]
        if command.catenating:
            size, binary = message.size + literal.size, message.binary or literal.binary
            self._messages[-1] = AppendMessage(message.flags, message.date, size, binary, message.has_nul)
        self._announced = LiteralAnnounced(
            command.tag,
            command.mailbox,
            message.flags,
            message.date,
            literal.size,
            literal.sync,
            literal.binary,
            len(self._messages) - 1,
            command.replaced,
            command.catenating,
        )
        return self._announced

    def _refuse_malformed(self, literal: MessageLiteral, fault: Fault, tag: bytes | None) -> Malformed | Fatal | None:
        self._append = None
        if literal.sync:
            self._assembler.reset()
            return _malformed(tag, fault)
        refused = Refused(tag, fault.condition, fault.code, fault.text)
        fatal = self._assembler.drop_message(literal.size, refused)
        return None if fatal is None else self._end(fatal)

    def _next_octets(self) -> Event | None:
        if not self._waiting:
            self._mode = _Mode.COMMAND
            return self._next_command()
        octets = self._buffer.take_up_to(min(self._waiting, CHUNK))
        if not octets:
            return None
        self._waiting -= len(octets)
        if b"\0" in octets and not self._messages[-1].has_nul:
            self._messages[-1] = self._messages[-1]._replace(has_nul=True)
        return Octets(octets)

    def _append_done(self, octets: bytes) -> Event:
        """The end of an APPEND, or the whole of one that needs no literal."""
        before = self._append
        try:
            steps = self._read(octets, None)
        except Fault as fault:
            self._append = None
            return _malformed(tag_of(octets) if before is None else before.tag, fault)
        self._give(steps, None)
        assert self._append is not None
        self._ready.append(Append(self._append.tag, self._append.mailbox, tuple(self._messages)))
        self._append, self._messages = None, []
        return self._ready.pop(0)


def _malformed(tag: bytes | None, fault: Fault) -> Malformed:
    condition = Condition.BAD if tag is None else fault.condition
    return Malformed(StatusResponse(condition, fault.text, fault.code, tag))
