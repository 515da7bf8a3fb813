"""SmtpServer: the server's side of one SMTP or LMTP connection. Octets in, events out; replies in, octets out.

RFC 5321 §3, §4.1.4 (order), §4.5.2, §4.5.3 (limits); RFC 2920 §3.2 (pipelining), RFC 3030 §2 (BDAT),
RFC 3207 §4 (STARTTLS), RFC 4954 §4 (AUTH), RFC 1870 §6 (SIZE), RFC 2033 §4 (LMTP).

How a session drives it:

    link.write(engine.send(greeting))                   # the 220 is the first reply the engine waits for
    while (event := await link.next(engine)) is not None:
        for reply in await answer(event): link.write(engine.send(reply))
        if not engine.pending: await link.flush()

* Each event says (in `command.py`) how many replies it wants; asking for the next event before they were sent is our
  bug and raises RuntimeError. `replies_owed` tells how many are missing.
* The engine learns from the replies: 250 to MAIL begins a transaction, 354 opens DATA, 235 ends AUTH.
* `Malformed` carries the reply. `reply.close` means: send, then close. The engine is then at its end.
* STARTTLS: send 220, then `starttls()`. It forgets everything, EHLO and buffered plain text with it; `injected` tells
  afterwards whether there was such text, and the session should then close (CVE-2011-0411).
* A message is read to its end even when it is already known to be faulty; its octets are thrown away and `DataEnded`
  carries the fault, which must be the reply.

It does NOT count errors, commands or transactions, wait, or judge users: patience is the session's (each mistake is a
`Malformed` or an `Unknown`, so it can count them), as is whether AUTH or STARTTLS is on offer at all.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from posthouse.mail.status import Reply, reply
from posthouse.wire.buffer import ReceiveBuffer
from posthouse.wire.sasl import decode
from posthouse.wire.smtp import command, parameters
from posthouse.wire.smtp.command import Event, Malformed
from posthouse.wire.smtp.conversation import Conversation
from posthouse.wire.smtp.data import Content, DotReader
from posthouse.wire.smtp.order import SessionState, State, out_of_order
from posthouse.wire.smtp.parse import parse
from posthouse.wire.smtp.reply import BAD_BASE64, print_reply

COMMAND_LINE = 4_096  # octets with CRLF; RFC 5321 §4.5.3.1.4 asks for 512, SMTPUTF8 and AUTH= for more
AUTH_LINE = 12_288  # octets with CRLF; RFC 4954 §4 asks for it, Kerberos tickets need it
SWALLOWED = 65_536  # octets of one overlong line that are read and dropped; beyond it 421
TEXT_LINE = 1_048_576  # octets; RFC 5321 §4.5.3.1.6 asks for 1,000; real mail has longer lines and is kept as it came
MESSAGE_SIZE = 52_428_800  # octets, announced by SIZE
DISCARDED = 268_435_456  # octets beyond the message size that are still read and thrown away, to say 552 in order

TLS_HANDSHAKE = b"\x16"  # RFC 8446 §5.1: ContentType handshake, the first octet of a client that speaks TLS at once
# A browser made to talk to us (S13): its next lines could be commands that somebody else chose.
FOREIGN_VERBS = frozenset(
    {"GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "TRACE", "PATCH", "PRI", "HOST:", "USER-AGENT:"}
)

LINE_TOO_LONG = reply(500, "5.5.2", "That line is too long")
LINE_ENDLESS = reply(421, "4.7.0", "That line does not end; goodbye", close=True)
BARE_LF = reply(500, "5.5.2", "A line ends with CR LF, not with LF alone (with nc, use -C)")
AUTH_LINE_TOO_LONG = reply(500, "5.5.6", "That authentication line is too long")
NOT_MAIL = reply(421, "4.7.0", "This port speaks SMTP, not HTTP; goodbye", close=True)
NOT_TLS = reply(421, "4.7.0", "This port does not begin with TLS: say STARTTLS, or use the port for TLS", close=True)
FAR_TOO_LARGE = reply(552, "5.3.4", "The message is far larger than this server takes; goodbye", close=True)
TOO_EARLY = reply(550, "5.5.0", "The message came before it was asked for; goodbye", close=True)  # RFC 5321 §4.1.1.4


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """Bounds of one connection, in octets."""

    command_line: int = COMMAND_LINE
    auth_line: int = AUTH_LINE
    swallowed: int = SWALLOWED
    text_line: int = TEXT_LINE
    message_size: int = MESSAGE_SIZE
    discarded: int = DISCARDED


class SmtpServer:
    """The server's side of one SMTP (or, with `lmtp`, LMTP) connection."""

    __slots__ = (
        "_ahead",
        "_asked",
        "_authenticated",
        "_buffer",
        "_content",
        "_dots",
        "_eof",
        "_extended",
        "_last",
        "_left",
        "_limits",
        "_lmtp",
        "_owed",
        "_swallowed",
        "_tls",
        "_unwanted",
        "conversation",
        "injected",
        "parameters",
        "recipients",
        "state",
    )

    def __init__(
        self,
        *,
        lmtp: bool = False,
        tls: bool = False,
        limits: SmtpLimits = SmtpLimits(),
        conversation: Conversation | None = None,
    ) -> None:
        """`tls`: the connection began with TLS, so STARTTLS is out of place. `conversation` is told what is said."""
        self.state = State.START
        self.injected = False  # plain text stood behind STARTTLS; known after `starttls`
        self.recipients = 0  # accepted in this transaction
        self.parameters = parameters.ALWAYS  # of MAIL and RCPT: what EHLO announced; the session sets it
        self.conversation = conversation
        self._lmtp = lmtp
        self._tls = tls
        self._limits = limits
        self._buffer = ReceiveBuffer()
        self._ahead: deque[Event] = deque()  # at most two: content, and its end
        self._asked: Event | None = None  # what the replies owed are to; None is the greeting
        self._owed = 1
        self._eof = False
        self._extended = False  # the client said EHLO or LHLO, not HELO
        self._authenticated = False
        self._swallowed = 0  # octets of the overlong line being dropped; 0 is none
        self._dots = DotReader()
        self._content = self._new_content()
        self._left = 0  # octets of the chunk that are still to come
        self._last = False  # this chunk is the last
        self._unwanted = (BAD_BASE64, State.START)  # the reply to a chunk out of place, and where it came

    def receive(self, data: bytes) -> None:
        """Octets from the peer; b"" means it closed."""
        if not data:
            self._eof = True
        elif self.state is not State.CLOSED:
            self._buffer.append(data)

    def next_event(self) -> Event | None:
        """The next event, or None while more octets are needed. Raises RuntimeError while replies are owed."""
        if self._owed:
            raise RuntimeError(f"{self._owed} replies to {self._asked} are owed")
        event = self._ahead.popleft() if self._ahead else self._read()
        if event is None and self._eof:
            self._close()
            event = command.Closed()
        if event is not None:
            self._asked, self._owed = event, self._replies_to(event)
            if self.conversation is not None and isinstance(event, command.DataEnded):
                self.conversation.content(self._content.size, heard=True)
        return event

    def send(self, answer: Reply) -> bytes:
        """The octets of a reply; moves the state on. A reply with `close` may come at any time; for any other raises
        RuntimeError where none is due, or where it accepts what must be refused."""
        if self._owed:
            self._owed -= 1
            _LEARN.get(type(self._asked), SmtpServer._nothing)(self, answer)
        elif not answer.close:
            raise RuntimeError(f"no reply is due: {answer}")
        if answer.close:
            self._close()
        octets = print_reply(answer)
        if self.conversation is not None:
            self.conversation.said(octets)
        return octets

    def fetched(self, octets: bytes, *, complete: bool) -> Reply | None:
        """Octets that a URL of BURL named are content as if they had come in a chunk (RFC 4468 §3.2). Gives the reply
        where the message cannot be taken; `complete`: they were the last of it."""
        if self.state is State.RCPT:
            self._content, self.state = self._new_content(), State.BETWEEN
        self._content.add(octets)
        return self._content.fault(complete=complete)

    def starttls(self) -> None:
        """Forget buffered plain text and all that was said (RFC 3207 §4.2)."""
        self.injected = len(self._buffer) > 0
        self._buffer.clear()
        self._ahead.clear()
        self._end_transaction()
        self.state = State.START
        self.parameters = parameters.ALWAYS
        self._tls = True
        self._extended = self._authenticated = False

    @property
    def pending(self) -> bool:
        """More input is waiting: do not flush yet. After StartTls: plain text stands behind it."""
        return bool(self._ahead) or len(self._buffer) > 0

    @property
    def full(self) -> bool:
        """So much input is waiting that no more should be read for now."""
        return self._buffer.full

    @property
    def replies_owed(self) -> int:
        """Replies still to be sent before the next event."""
        return self._owed

    def _replies_to(self, event: Event) -> int:
        match event:
            case command.Octets() | command.Bdat() | command.Closed():
                return 0
            case command.DataEnded():
                return self.recipients if self._lmtp else 1
        return 1

    # --- from octets to events

    def _read(self) -> Event | None:
        match self.state:
            case State.CLOSED:
                return command.Closed()
            case State.TLS:
                return None
            case State.DATA:
                return self._read_data()
            case State.CHUNK:
                return self._read_chunk()
            case State.AUTH:
                return self._read_auth()
            case State.UNWANTED:
                return self._read_unwanted()
        return self._read_command()

    def _read_command(self) -> Event | None:
        if not self._swallowed and self._buffer.peek(1) == TLS_HANDSHAKE:
            return Malformed(NOT_TLS)
        is_auth = self._buffer.peek(5).upper() == b"AUTH "
        line = self._read_line(self._limits.auth_line if is_auth else self._limits.command_line)
        if not isinstance(line, bytes):
            return Malformed(line) if line else None
        if self.conversation is not None:
            self.conversation.heard(line)
        event = parse(line, self.parameters)
        if isinstance(event, command.Unknown) and event.verb in FOREIGN_VERBS:
            return Malformed(NOT_MAIL)
        return self._in_order(event)

    def _read_line(self, limit: int) -> bytes | Reply | None:
        """A line without its CRLF, or the reply to one that is too long or has no CR, or None while it is not whole."""
        if not self._swallowed:
            line = self._buffer.take_line()
            if line is not None:
                return self._checked_line(line, limit)
            if len(self._buffer) <= limit:
                return None
        dropped, ended = self._buffer.drop_line()
        self._swallowed += dropped
        if self._swallowed > self._limits.swallowed:
            return LINE_ENDLESS
        if not ended:
            return None
        self._swallowed = 0
        return LINE_TOO_LONG

    def _checked_line(self, line: bytes, limit: int) -> bytes | Reply:
        if len(line) > self._limits.swallowed:
            return LINE_ENDLESS
        if len(line) > limit:
            return LINE_TOO_LONG
        return line[:-2] if line.endswith(b"\r\n") else BARE_LF

    def _in_order(self, event: command.Command) -> Event | None:
        """The event, or a Malformed where it comes at the wrong time (RFC 5321 §4.1.4)."""
        wrong = self._out_of_order(event)
        if isinstance(event, command.Bdat):
            return self._begin_chunk(event, wrong)
        return event if wrong is None else Malformed(wrong)

    def _out_of_order(self, event: command.Command) -> Reply | None:
        session = SessionState(self.state, self._lmtp, self._tls, self._extended, self._authenticated)
        wrong = out_of_order(event, session)
        if wrong is not None:
            return wrong
        # S13: a client that said HELO was not told that it may pipeline. What it sent is no command, so close.
        early = isinstance(event, command.Data) and not self._extended and len(self._buffer) > 0
        return TOO_EARLY if early else None

    def _read_auth(self) -> Event | None:
        line = self._read_line(self._limits.auth_line)
        if line is None:
            return None
        if not isinstance(line, bytes):
            return Malformed(AUTH_LINE_TOO_LONG if line is LINE_TOO_LONG else line)
        if self.conversation is not None:
            self.conversation.secret(heard=True)
        if line == b"*":
            return command.AuthLine(None)
        octets = decode(line)
        return Malformed(BAD_BASE64) if octets is None else command.AuthLine(octets)

    def _read_data(self) -> Event | None:
        octets = self._buffer.take_all()
        if not octets:
            return None
        content, behind = self._dots.take(octets)
        if behind is not None:
            self._buffer.give_back(behind)
        self._add(content)
        if behind is not None:
            self._ahead.append(command.DataEnded(self._content.fault(complete=True)))
        elif self._content.size > self._limits.message_size + self._limits.discarded:
            self._ahead.append(Malformed(FAR_TOO_LARGE))
        return self._ahead.popleft() if self._ahead else None

    def _add(self, content: bytes) -> None:
        self._content.add(content)
        if content and not self._content.faulty:
            self._ahead.append(command.Octets(content))

    # --- chunks (RFC 3030)

    def _begin_chunk(self, event: command.Bdat, wrong: Reply | None) -> Event | None:
        if event.size > self._limits.message_size + self._limits.discarded:
            return Malformed(FAR_TOO_LARGE)
        self._left, self._last = event.size, event.last
        if wrong is not None:
            # RFC 3030 §2: the octets of a chunk that is refused come all the same, and are no commands.
            self._unwanted, self.state = (wrong, self.state), State.UNWANTED
            return self._read_unwanted()
        if self.state is State.RCPT:
            self._content = self._new_content()
        self.state = State.CHUNK
        return event

    def _read_chunk(self) -> Event | None:
        octets = self._buffer.take_up_to(self._left)
        self._left -= len(octets)
        self._add(octets)
        if not self._left:
            fault = self._content.fault(complete=self._last)
            self._ahead.append(command.DataEnded(fault) if self._last else command.ChunkEnded(fault))
            self.state = State.BETWEEN
        return self._ahead.popleft() if self._ahead else None

    def _read_unwanted(self) -> Event | None:
        self._left -= self._buffer.drop(self._left)
        if self._left:
            return None
        wrong, self.state = self._unwanted
        return Malformed(wrong)

    # --- what the replies mean

    def _nothing(self, answer: Reply) -> None:
        """This reply moves nothing."""

    def _greeted(self, answer: Reply) -> None:
        if not answer.positive:
            self._close()

    def _said_hello(self, answer: Reply) -> None:
        if answer.positive:
            self._end_transaction()
            self.state = State.READY
            self._extended = not isinstance(self._asked, command.Helo)

    def _sender_known(self, answer: Reply) -> None:
        if answer.positive:
            self.state = State.MAIL

    def _recipient_known(self, answer: Reply) -> None:
        if answer.positive:
            self.state = State.RCPT
            self.recipients += 1

    def _data_opened(self, answer: Reply) -> None:
        if answer.code == 354:
            self.state = State.DATA
            self._dots, self._content = DotReader(), self._new_content()
        elif answer.positive:
            raise RuntimeError(f"{answer} is no reply to DATA")

    def _chunk_answered(self, answer: Reply) -> None:
        self._refuse_faults(answer)
        self.state = State.BETWEEN if answer.positive else State.SPOILED

    def _message_answered(self, answer: Reply) -> None:
        self._refuse_faults(answer)
        if not self._owed:
            self._end_transaction()
            self.state = State.READY

    def _url_answered(self, answer: Reply) -> None:
        assert isinstance(self._asked, command.Burl)
        if self._asked.last:
            self._end_transaction()
            self.state = State.READY
        else:
            self.state = State.BETWEEN if answer.positive else State.SPOILED

    def _refuse_faults(self, answer: Reply) -> None:
        """durability.md: what cannot be kept is never promised."""
        if isinstance(self._asked, command.ChunkEnded | command.DataEnded) and self._asked.fault and answer.positive:
            raise RuntimeError(f"{answer} to a message with the fault {self._asked.fault}")

    def _reset(self, answer: Reply) -> None:
        if answer.positive:
            self._end_transaction()
            self.state = State.START if self.state is State.START else State.READY

    def _goodbye(self, answer: Reply) -> None:
        self._close()

    def _tls_agreed(self, answer: Reply) -> None:
        if answer.positive:
            self.state = State.TLS

    def _auth_answered(self, answer: Reply) -> None:
        if answer.code == 334:
            self.state = State.AUTH
            return
        self._authenticated = answer.positive
        self.state = State.READY

    def _mistake_answered(self, answer: Reply) -> None:
        """RFC 4954 §4: any mistake in an AUTH exchange ends it."""
        if self.state is State.AUTH:
            self.state = State.READY

    def _end_transaction(self) -> None:
        self.recipients = 0
        self._content = self._new_content()

    def _new_content(self) -> Content:
        return Content(self._limits.message_size, self._limits.text_line)

    def _close(self) -> None:
        self.state = State.CLOSED
        self._owed = 0
        self._buffer.clear()
        self._ahead.clear()


_LEARN: dict[type[object], Callable[[SmtpServer, Reply], None]] = {
    type(None): SmtpServer._greeted,
    command.Ehlo: SmtpServer._said_hello,
    command.Helo: SmtpServer._said_hello,
    command.Lhlo: SmtpServer._said_hello,
    command.Mail: SmtpServer._sender_known,
    command.Rcpt: SmtpServer._recipient_known,
    command.Data: SmtpServer._data_opened,
    command.Burl: SmtpServer._url_answered,
    command.ChunkEnded: SmtpServer._chunk_answered,
    command.DataEnded: SmtpServer._message_answered,
    command.Rset: SmtpServer._reset,
    command.Quit: SmtpServer._goodbye,
    command.StartTls: SmtpServer._tls_agreed,
    command.Auth: SmtpServer._auth_answered,
    command.AuthLine: SmtpServer._auth_answered,
    command.Malformed: SmtpServer._mistake_answered,
}
