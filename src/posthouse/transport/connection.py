"""Connection: one connection to a server that takes mail, from the greeting to where transactions can begin.

Greeting and EHLO, or HELO for who knows nothing better (RFC 5321 §3.1, §3.2), STARTTLS and EHLO again (RFC 3207 §4),
AUTH (RFC 4954 §4). What TLS must show is said by the TlsDemand of the target, and no mail flows where it is not shown;
only an opportunistic connection goes on in plain text (RFC 7435 §3). Every step has its time (RFC 5321 §4.5.3.2).

`transaction.py` sends messages over it, `send.py` keeps it for the next one.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from posthouse.mail.ids import Trail
from posthouse.mail.outcome import Action
from posthouse.mail.status import Reply, Status
from posthouse.net.binding import client_binding
from posthouse.net.connect import Connected
from posthouse.net.link import WOKEN, Link, LinkLimits, Woken, open_link
from posthouse.net.peer import (
    TlsFailure,
    chain_of,
    kind_of_failure,
    names_server,
    unverified_context,
    verified_context,
    why_failed,
)
from posthouse.transport.result import Result, Where, garbled, insecure, lost, refused, silent
from posthouse.transport.target import Target, TlsDemand, TlsLevel
from posthouse.wire import sasl, sasl_client
from posthouse.wire.smtp import command
from posthouse.wire.smtp.client import Answered, ClientEvent, Garbled, SmtpClient, State, Unasked
from posthouse.wire.smtp.conversation import Conversation
from posthouse.wire.smtp.request import Request

CHALLENGES = 5  # of one login; SCRAM needs two
NOT_SUPPORTED, NOT_SHOWN = Status(4, 7, 4), Status(4, 7, 5)  # RFC 3463 §3.8: security features, cryptographic failure
NO_LOGIN = Status(4, 7, 0)


@dataclass(frozen=True, slots=True)
class SendLimits:
    """Seconds that each step may take (RFC 5321 §4.5.3.2, limits.md), and how long a connection is used."""

    connect_seconds: float = 30.0
    hello_seconds: float = 300.0  # the greeting, EHLO, STARTTLS, AUTH
    handshake_seconds: float = 30.0
    mail_seconds: float = 300.0
    rcpt_seconds: float = 300.0
    data_seconds: float = 120.0
    block_seconds: float = 180.0  # without the server taking anything of the content
    dot_seconds: float = 600.0
    attempt_seconds: float = 3_600.0  # for all servers and recipients together: a server may answer, and yet never end
    idle_seconds: float = 10.0  # unused, before it is closed
    transactions: int = 100  # over one connection
    age_seconds: float = 300.0  # of a connection that is used again


@dataclass(frozen=True, slots=True)
class Sending:
    """What everyone who sends needs to know: our name, patience, how certificates are judged, and who listens.

    `dane` says whether a chain (DER, the server's own certificate first) is what the demand's TLSA records stand for;
    `authorities` is a PEM file to be trusted instead of the system's. `saw_tls` is told for each session with a server
    at an address how its TLS went, None for well (RFC 8460 §4.3). `listen` may give a Conversation to a new connection;
    `ended` is told when that connection is over."""

    hostname: str
    limits: SendLimits = SendLimits()
    dane: Callable[[Sequence[bytes], TlsDemand], bool] = lambda chain, demand: False
    authorities: Path | None = None
    saw_tls: Callable[[Target, str, TlsFailure | None], None] = lambda target, ip, failure: None
    listen: Callable[[Target, str], Conversation | None] = lambda target, ip: None
    ended: "Callable[[Connection], None]" = lambda connection: None


class Connection:
    """One connection. `transactions` and `domains` count what it was used for, `answers` what the server has said;
    `farewell` is its last word, `silent` is true where it was waited for in vain, `kept` where it was used before.
    `trails` are the messages that it had to do with; `perhaps_taken` is true while the answer to the end of one is
    waited for; `no_chunks` once the server has shown that it does not know BDAT, whatever it offers."""

    __slots__ = (
        "answers",
        "began",
        "domains",
        "engine",
        "farewell",
        "ip",
        "kept",
        "link",
        "no_chunks",
        "perhaps_taken",
        "sending",
        "silent",
        "target",
        "trails",
        "transactions",
    )

    def __init__(self, link: Link, engine: SmtpClient, target: Target, ip: str, sending: Sending) -> None:
        self.link = link
        self.engine = engine
        self.target = target
        self.ip = ip
        self.sending = sending
        self.began = asyncio.get_running_loop().time()
        self.transactions = 0
        self.domains: set[str] = set()
        self.answers = 0
        self.farewell: Reply | None = None
        self.silent = False
        self.kept = False
        self.perhaps_taken = False
        self.no_chunks = False
        self.trails: list[Trail] = []

    @property
    def usable(self) -> bool:
        """A transaction can be begun."""
        return not self.link.closing and (self.engine.state is State.READY or self.engine.spoiled)

    @property
    def tls(self) -> str:
        """What an Outcome says of it: version, cipher suite, and what the certificate was worth."""
        state, level = self.link.tls, self.target.tls.level
        if state is None:
            return ""
        worth = level.value if level in (TlsLevel.VERIFIED, TlsLevel.DANE) else "unverified"
        return f"{state.version} {state.cipher} {worth}"

    def quiet(self) -> bool:
        """Whether the server has said nothing since it was last asked: then the connection stands, as far as is known.
        A word that nothing asked for is a goodbye (RFC 5321 §3.8)."""
        return self.usable and self.engine.next_event() is None and self.usable

    def out_of_step(self, where: Where, *, perhaps_taken: bool = False) -> Result | None:
        """Whether the server has said something where nothing waits: then no answer can be told from another any more,
        unless it was a goodbye (RFC 5321 §3.8)."""
        if self.engine.waiting or not self.engine.pending:
            return None
        event = self.engine.next_event()
        if isinstance(event, Unasked) and not event.reply.close:
            return garbled("the server said more than it was asked", where, perhaps_taken=perhaps_taken)
        found = None if event is None else self.read(event, where, perhaps_taken=perhaps_taken)
        return found if isinstance(found, Result) else None

    def say(self, request: Request | command.Octets | command.DataEnded) -> None:
        """Write a request; it leaves with the next wait for an answer."""
        self.link.write(self.engine.send(request))

    async def ask(self, request: Request, where: Where, seconds: float) -> Reply | Result:
        """Say it and wait for the answer."""
        self.say(request)
        return await self.answer(where, seconds)

    async def answer(self, where: Where, seconds: float, *, perhaps_taken: bool = False) -> Reply | Result:
        """The answer to what was asked first; the Result for all that is not answered where there is none."""
        self.link.deadline(seconds)
        self.perhaps_taken = perhaps_taken
        event: ClientEvent | Woken | None = WOKEN
        try:
            while isinstance(event, Woken):
                event = await self.link.next(self.engine)
        except TimeoutError:
            self.silent = True
            self.abort()
            return silent(where, seconds, perhaps_taken=perhaps_taken)
        except ConnectionError:
            event = None
        self.perhaps_taken = False
        return self.read(None if isinstance(event, Woken) else event, where, perhaps_taken=perhaps_taken)

    def read(self, event: ClientEvent | None, where: Where, *, perhaps_taken: bool = False) -> Reply | Result:
        """What an event means to who waits for an answer."""
        match event:
            case Answered(reply=reply):
                self.answers += 1
                if reply.close:
                    self.farewell = reply
                return reply
            case Unasked(reply):
                self.farewell = reply
                return lost(where, reply, perhaps_taken=perhaps_taken)
            case Garbled(why):
                return garbled(why, where, perhaps_taken=perhaps_taken)
        return lost(where, self.farewell, perhaps_taken=perhaps_taken)

    def leave(self) -> None:
        """Say QUIT where that is possible, and close without waiting for the answer: nothing hangs on it
        (RFC 5321 §4.1.1.10)."""
        if not (self.usable or self.engine.state in (State.START, State.GREETING)):
            self.abort()
            return
        if not self.engine.waiting:
            self.say(command.Quit())
        self.link.close()
        self._end()

    def abort(self) -> None:
        """Hang up."""
        self.link.abort()
        self._end()

    def _end(self) -> None:
        if self.engine.conversation is not None:
            self.sending.ended(self)
            self.engine.conversation = None


async def begin(connected: Connected, target: Target, sending: Sending, *, tls: bool = True) -> Connection | Result:
    """A Connection on which mail may flow, or why none may. `tls=False` is for an opportunistic target whose handshake
    has failed."""
    limits = sending.limits
    link_limits = LinkLimits(handshake_seconds=limits.handshake_seconds, stall_seconds=limits.block_seconds)
    try:
        link = await open_link(connected.sock, limits=link_limits)
    except OSError:  # it was gone as soon as it was there
        connected.sock.close()
        return lost(Where.GREETING)
    engine = SmtpClient(sending.listen(target, connected.ip))
    connection = Connection(link, engine, target, connected.ip, sending)
    try:
        wrong = await _introduce(connection, tls=tls)
    except BaseException:
        connection.abort()
        raise
    if wrong is None:
        return connection
    connection.leave()
    return wrong


async def _introduce(connection: Connection, *, tls: bool) -> Result | None:
    seconds = connection.sending.limits.hello_seconds
    if connection.target.implicit_tls:
        wrong = await _handshake(connection, None)
        if wrong is not None:
            return wrong
    greeting = await connection.answer(Where.GREETING, seconds)
    wrong = _unless_positive(greeting, Where.GREETING) or await _hello(connection)
    if wrong is None and tls and not connection.target.implicit_tls:
        wrong = await _secure(connection)
    return wrong or await _login(connection)


def _unless_positive(answer: Reply | Result, where: Where) -> Result | None:
    if isinstance(answer, Result):
        return answer
    return None if answer.positive else refused(answer, where)


async def _hello(connection: Connection) -> Result | None:
    """EHLO; HELO where the server does not know that, which it must not have forgotten under TLS (RFC 5321 §3.2)."""
    name, seconds = connection.sending.hostname, connection.sending.limits.hello_seconds
    answer = await connection.ask(command.Ehlo(name), Where.HELLO, seconds)
    if isinstance(answer, Reply) and answer.code >= 500 and not answer.close:
        answer = await connection.ask(command.Helo(name), Where.HELLO, seconds)
    return _unless_positive(answer, Where.HELLO)


async def _secure(connection: Connection) -> Result | None:
    """STARTTLS where it is offered; where it is not, or not granted, only an opportunistic connection goes on."""
    demand = connection.target.tls
    opportunistic = demand.level is TlsLevel.OPPORTUNISTIC
    if not connection.engine.announced.starttls:
        _saw_tls(connection, TlsFailure.NOT_OFFERED)
        return None if opportunistic else insecure(NOT_SUPPORTED, _demanded("the server offers no TLS", demand))
    answer = await connection.ask(command.StartTls(), Where.TLS, connection.sending.limits.hello_seconds)
    if isinstance(answer, Result):
        return answer
    if not answer.positive:
        _saw_tls(connection, TlsFailure.NOT_OFFERED)
        refusal = insecure(NOT_SUPPORTED, _demanded("the server would not begin TLS", demand), answer)
        return None if opportunistic and not answer.close else refusal
    return await _handshake(connection, connection.engine) or await _hello(connection)


def _demanded(what: str, demand: TlsDemand) -> str:
    return f"{what}, and {demand.why or 'the demand on its TLS'} does not allow that"


def _saw_tls(connection: Connection, failure: TlsFailure | None) -> None:
    connection.sending.saw_tls(connection.target, connection.ip, failure)


async def _handshake(connection: Connection, engine: SmtpClient | None) -> Result | None:
    target, sending = connection.target, connection.sending
    demand = target.tls
    verified = demand.level is TlsLevel.VERIFIED
    context = verified_context(sending.authorities) if verified else unverified_context()
    try:
        await connection.link.start_client_tls(context, _server_name(target, connection.ip), engine)
    except ConnectionError as error:
        _saw_tls(connection, kind_of_failure(error))
        return insecure(NOT_SHOWN, _demanded(f"TLS could not be begun: {why_failed(error)}", demand))
    if connection.engine.conversation is not None:
        connection.engine.conversation.mark(f"TLS: {connection.tls}")
    wrong = _judge(connection, demand)
    _saw_tls(connection, None if wrong is None else wrong[0])
    return None if wrong is None else insecure(NOT_SHOWN, _demanded(wrong[1], demand))


def _judge(connection: Connection, demand: TlsDemand) -> tuple[TlsFailure, str] | None:
    """Why what the server has shown is not what is demanded."""
    session = connection.link.tls_session
    if session is None:  # pragma: no cover  (a transport without its object)
        return TlsFailure.OTHER, "TLS did not begin"
    names = demand.names or (connection.target.host,)
    if demand.level is TlsLevel.VERIFIED and not names_server(session, names):
        return TlsFailure.HOST_MISMATCH, f"the certificate of the server is not for {' or '.join(names)}"
    if demand.level is TlsLevel.DANE and not connection.sending.dane(chain_of(session), demand):
        return TlsFailure.OTHER, "the certificate of the server is not the one in the DNS"
    return None


# RFC 6066 §3: a host name and no address; Python would raise for what is none.
_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z", re.IGNORECASE)


def _server_name(target: Target, ip: str) -> str:
    return target.host if _HOST_NAME.match(target.host) else ip


async def _login(connection: Connection) -> Result | None:
    """AUTH where we have a login, by the strongest mechanism that both know (RFC 4954 §4). In plain text only where
    that was asked for."""
    login = connection.target.login
    if login is None:
        return None
    if connection.link.tls is None and not login.without_tls:
        return _no_login("the server offers no TLS, and the password is not said without it")
    binding = client_binding(connection.link.tls_session) if login.channel_binding else None
    mechanism = sasl_client.choose(connection.engine.announced.auth, bound=binding is not None)
    if mechanism is None:
        return _no_login("the server offers no way of logging in that we know")
    try:
        exchange = sasl_client.begin(mechanism, login.user, login.password, secrets.token_urlsafe(18), binding)
    except ValueError as error:
        return _no_login(str(error))
    answer = await _exchange(connection, mechanism, exchange)
    if isinstance(answer, Result) or not answer.positive:
        return _unless_positive(answer, Where.LOGIN)
    return None if exchange.satisfied else _no_login("the server has not shown that it knows the password")


async def _exchange(connection: Connection, mechanism: str, exchange: sasl_client.ClientExchange) -> Reply | Result:
    seconds = connection.sending.limits.hello_seconds
    answer = await connection.ask(command.Auth(mechanism, exchange.initial), Where.LOGIN, seconds)
    for _ in range(CHALLENGES):
        if isinstance(answer, Result) or answer.code != 334:
            return answer
        challenge = sasl.decode(answer.lines[0].encode("utf-8"))
        octets = None if challenge is None else await asyncio.to_thread(exchange.answer, challenge)
        answer = await connection.ask(command.AuthLine(octets), Where.LOGIN, seconds)
        if octets is None:
            return answer if isinstance(answer, Reply) and not answer.positive else _no_login("the login made no sense")
    return _no_login("the login did not end")


def _no_login(reason: str) -> Result:
    """A matter of settings here or there: later, and elsewhere, it may be better."""
    return Result(Action.DELAYED, NO_LOGIN, reason, Where.LOGIN, elsewhere=True)
