"""SMTP and LMTP sessions: mail from other servers, from our users, and from a server in front of us.

RFC 5321 §3, §4; RFC 6409 (submission), RFC 8314 §3.3 (TLS from the first octet), RFC 2033 (LMTP), RFC 3207, RFC 4954.

The engine knows syntax and order, `transport/receive.py` knows who may send to whom; here is what lies between: which
port offers what, patience with mistakes, and the moment a message is whole.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field, replace

from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import AccountId
from posthouse.mail.status import Reply, reply
from posthouse.net.link import WOKEN, Link, Woken
from posthouse.serve.errors import CLOSING, REFUSAL_WORDS, words
from posthouse.serve.limits import Refusal, Service, SessionLimits
from posthouse.serve.login import Door, note
from posthouse.store.accounts import Login
from posthouse.store.crashpoint import crashpoint
from posthouse.store.script import StoreError
from posthouse.transport import receive
from posthouse.transport.client import Client
from posthouse.transport.house import House, SmtpRole
from posthouse.transport.receive import Incoming
from posthouse.transport.spool import Spool
from posthouse.wire import sasl
from posthouse.wire.smtp import command
from posthouse.wire.smtp.reply import AUTH_CANCELLED, UNRECOGNIZED, Extensions, challenge, greeting_reply, print_reply
from posthouse.wire.smtp.server import SmtpServer, State

LOGGED_RECIPIENTS = 20  # named in the log line of one message; a list of a thousand would be no line any more

log = logging.getLogger("posthouse.smtp")

OK = reply(250, "2.0.0", "OK")
BYE = reply(221, "2.0.0", "Goodbye", close=True)
GO_AHEAD = reply(354, "", "Send the message; end it with a line that has only a dot")
READY_FOR_TLS = reply(220, "2.0.0", "Ready to start TLS")
LOGGED_IN = reply(235, "2.7.0", "Logged in")
VERIFY = reply(252, "2.1.5", "Addresses are not verified here; send a message and see")
EXPAND = reply(502, "5.5.1", "Lists are not expanded here")
HELP = reply(214, "2.0.0", "This is Posthouse; it speaks RFC 5321. Ask postmaster at this host for help")

LOGIN_FIRST = reply(530, "5.7.0", "Log in first: this port is for users of this server")
TLS_FIRST = reply(530, "5.7.0", "Start TLS first (STARTTLS)")
TLS_FOR_LOGIN = reply(538, "5.7.11", "Start TLS first (STARTTLS): passwords are not taken in the clear")
NO_TLS = reply(502, "5.5.1", "TLS is not offered here")
NO_AUTH = reply(503, "5.5.1", "There is no login on this port; users send mail on the submission port")
TLS_INJECTION = reply(421, "4.7.0", "Nothing may follow STARTTLS before TLS begins", close=True)
HARVEST = reply(450, "4.7.1", "Too many unknown recipients; try again later")
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Too many recipients for one message; send the rest in another")
SUBMISSION_LIMIT = reply(451, "4.7.1", "You have sent as much as you may for now; try again later")

TOO_MANY_ERRORS = reply(421, "4.7.0", "Too many errors; goodbye", close=True)
TOO_MANY_LOGINS = reply(421, "4.7.0", "Too many failed logins; goodbye", close=True)
LOGIN_CHANGED = reply(421, "4.7.0", "This login has been changed or removed; log in again", close=True)
WORN_OUT = reply(421, "4.3.2", "This connection has been used enough; open a new one", close=True)
TIMED_OUT = reply(421, "4.4.2", "Nothing came for too long; goodbye", close=True)
TOO_SLOW = reply(421, "4.4.2", "The message comes too slowly; goodbye", close=True)
STORE_FAILED = reply(421, "4.3.0", "This server cannot store mail until it has restarted; try again later", close=True)
BROKEN = reply(421, "4.3.0", "Something went wrong on this server; it has been noted. Try again later", close=True)

# What may be said any number of times without bringing mail is bounded by SessionLimits.junk_commands.
Junk = command.Ehlo | command.Helo | command.Lhlo | command.Rset | command.Noop | command.Help | command.Vrfy
# Replies that are not the peer's mistake, or are counted apart.
FORGIVEN = frozenset({receive.NO_SUCH_USER, REFUSAL_WORDS[Refusal.WRONG].smtp})

Event = command.Event | Woken | None


@dataclass(slots=True)
class Transaction:
    """One message on its way in: from MAIL to the final dot (RFC 5321 §3.3)."""

    mail: command.Mail
    most: int  # recipients
    recipients: list[Recipient] = field(default_factory=list)
    accounts: list[AccountId] = field(default_factory=list)
    refused: int = 0  # recipients beyond the limit
    spool: Spool | None = None
    fault: Reply | None = None  # why the message cannot be kept, found while it was still coming


@dataclass(slots=True)
class Session:
    """One connection: who is there, how far they are, and how many mistakes they made."""

    link: Link
    house: House
    door: Door
    role: SmtpRole
    usual: SessionLimits
    engine: SmtpServer
    client: Client
    began: float
    transaction: Transaction | None = None
    errors: int = 0
    junk: int = 0
    transactions: int = 0
    unknown: int = 0
    failed_logins: int = 0
    window_began: float = 0.0  # of the octets counted in `window_size`: is DATA coming fast enough?
    window_size: int = 0

    @property
    def stranger(self) -> bool:
        """Neither a user nor the server in front of us."""
        return self.client.login is None and not self.client.lmtp

    @property
    def limits(self) -> SessionLimits:
        """What holds now."""
        return self.door.peers.patience(self.client.ip, self.usual) if self.stranger else self.usual

    @property
    def silence(self) -> float:
        """How long the peer may say nothing now, in seconds. It is asked for EHLO sooner than RFC 5321 §4.5.3.2.7
        wishes for a command: who connects to say nothing holds a place that others want."""
        seconds = self.limits.command_seconds
        waiting = self.engine.state is State.START and not self.client.lmtp
        return min(seconds, self.usual.greeting_seconds) if waiting else seconds


async def session(link: Link, house: House, door: Door, role: SmtpRole, limits: SessionLimits | None = None) -> None:
    """Serve one connection to its end, and close it. Never raises for what a peer does."""
    lmtp = role is SmtpRole.LMTP
    usual = limits or SessionLimits()
    encrypted = link.tls is not None
    engine = SmtpServer(lmtp=lmtp, tls=encrypted, limits=usual.engine(house.limits.message_size))
    client = Client(link.peer[0], lmtp=lmtp, tls=link.tls)
    talk = Session(link, house, door, role, usual, engine, client, door.peers.now())
    try:
        with door.peers.connection(client.ip, Service.SMTP, admitted=encrypted) as refusal:
            if refusal is None:
                await _converse(talk)
            else:
                await _turn_away(talk, refusal)
    except asyncio.CancelledError:
        _say_last(talk, CLOSING)
        raise
    except TimeoutError:
        _say_last(talk, TIMED_OUT)
    except ConnectionError:
        pass
    except Exception:
        log.exception("the session with %s broke", client.ip)
        _say_last(talk, BROKEN)
    finally:
        _forget(talk)
        link.close()


async def _turn_away(talk: Session, refusal: Refusal) -> None:
    """A connection more than the peer may have. It must cost nothing afterwards: no time to wait for the peer's end."""
    if refusal is Refusal.RATE:
        await asyncio.sleep(talk.door.peers.limits.rate_refusal_seconds)
    _say_last(talk, REFUSAL_WORDS[refusal].smtp)
    await talk.link.flush()
    talk.link.abort()


async def _converse(talk: Session) -> None:
    """Greet, then answer until somebody ends it."""
    link, engine = talk.link, talk.engine
    kind = "LMTP" if talk.client.lmtp else "ESMTP"
    link.write(engine.send(reply(220, "", f"{talk.house.hostname} {kind} Posthouse")))
    silence = 0.0
    while True:
        if talk.silence != silence:  # only then: `deadline` begins a new wait
            silence = talk.silence
            link.deadline(silence)
        event: Event = await link.next(engine)
        if event is None or isinstance(event, command.Closed):
            return None
        if event is WOKEN:
            answer = None
        else:
            answer = await _patiently(talk, event)
        if answer is not None:
            if answer.close:
                return _say_last(talk, answer)
            await _say(talk, answer)
        # The worker drains; a message that is on its way may still arrive.
        if link.closing and (talk.transaction is None or talk.transaction.spool is None):
            return _say_last(talk, CLOSING)


async def _say(talk: Session, answer: Reply) -> None:
    """A reply to what was asked; in LMTP one for each recipient of the message (RFC 2033 §4.2)."""
    for _ in range(max(talk.engine.replies_owed, 1)):
        talk.link.write(talk.engine.send(answer))
    if answer is READY_FOR_TLS:
        await _start_tls(talk)


def _say_last(talk: Session, answer: Reply) -> None:
    """A reply that ends the connection; it may come when the engine expects none (RFC 5321 §3.8)."""
    talk.link.write(print_reply(answer))


async def _patiently(talk: Session, event: command.Event) -> Reply | None:
    """The answer, or 421 when there were too many mistakes; late after a few of them."""
    answer = await _answer(talk, event)
    if answer is None or talk.client.lmtp:
        return answer
    wrong = answer.code == 450 or (answer.code >= 500 and answer not in FORGIVEN)
    if isinstance(event, Junk | command.Expn):
        talk.junk += 1
        wrong = wrong or talk.junk > talk.limits.junk_commands
    if not wrong:
        return answer
    talk.errors += 1
    if talk.errors >= talk.limits.hard_errors:
        talk.door.peers.offended(talk.client.ip)
        return TOO_MANY_ERRORS
    late = talk.errors - talk.limits.soft_errors
    if late >= 0:
        await talk.link.flush()
        await asyncio.sleep(min(talk.limits.error_delay_seconds * 2**late, talk.limits.error_delay_most_seconds))
    return answer


async def _answer(talk: Session, event: command.Event) -> Reply | None:
    """The answer to one event, whatever the store says; None where none is due yet."""
    try:
        match event:
            case command.Octets():
                return await _octets(talk, event.data)
            case command.Rcpt():
                return await _rcpt(talk, event)
            case command.Mail():
                return await _mail(talk, event)
            case command.DataEnded():
                return await _ended(talk, event.fault)
            case command.Auth():
                return await _auth(talk, event)
            case _:
                return _answer_at_once(talk, event)
    except StoreError as error:
        log.warning("the store refused: %s", error, extra={"peer": talk.client.ip})
        return words(error).smtp
    except (ConnectionError, TimeoutError):  # of the peer, and not of the disk, although they are OSErrors
        raise
    except OSError as error:
        log.error("the disk failed: %s", error)
        return receive.DISK_FULL


def _answer_at_once(talk: Session, event: command.Event) -> Reply | None:
    """Answers that ask nobody."""
    match event:
        case command.Data():
            return _data(talk)
        case command.Bdat():
            _bdat(talk)
            return None
        case command.ChunkEnded():
            return _chunk_ended(talk, event.fault)
        case command.Ehlo() | command.Lhlo() | command.Helo():
            return _hello(talk, event)
        case command.Rset():
            _forget(talk)
            return OK
        case command.StartTls():
            return _starttls(talk)
        case command.Malformed():
            return event.reply
        case command.Unknown():
            return UNRECOGNIZED
        case command.AuthLine():  # only `_auth` waits for one
            return AUTH_CANCELLED
        case _:
            return FIXED[type(event)]


FIXED: dict[type[object], Reply] = {
    command.Noop: OK,
    command.Help: HELP,
    command.Vrfy: VERIFY,
    command.Expn: EXPAND,
    command.Quit: BYE,
}


def _hello(talk: Session, event: command.Ehlo | command.Helo | command.Lhlo) -> Reply:
    """EHLO, LHLO and HELO (RFC 5321 §4.1.1.1)."""
    _forget(talk)
    extended = not isinstance(event, command.Helo)
    talk.client = replace(talk.client, name=event.name, extended=extended)
    hostname = talk.house.hostname
    if not extended:
        return reply(250, "", hostname)
    extensions = Extensions(
        size=talk.house.limits.message_size,
        starttls=talk.house.tls is not None and talk.client.tls is None,
        auth=sasl.MECHANISMS if _login_possible(talk) else (),
    )
    return greeting_reply(hostname, f"greets {talk.client.ip or 'you'}", extensions)


def _login_possible(talk: Session) -> bool:
    """Whether AUTH is on offer: to users, under TLS, once (RFC 4954 §4)."""
    if talk.role not in (SmtpRole.SUBMISSION, SmtpRole.SUBMISSIONS) or talk.client.login is not None:
        return False
    return talk.client.tls is not None or talk.house.allow_plaintext_login


def _starttls(talk: Session) -> Reply:
    """STARTTLS (RFC 3207 §4)."""
    if talk.house.tls is None or talk.client.tls is not None:
        return NO_TLS
    return TLS_INJECTION if talk.engine.pending else READY_FOR_TLS


async def _start_tls(talk: Session) -> None:
    """The handshake, after which nothing that was said in plain text counts (RFC 3207 §4.2)."""
    assert talk.house.tls is not None
    await talk.link.start_tls(talk.house.tls, talk.engine)
    if talk.engine.injected:
        raise ConnectionAbortedError("plain text stood behind STARTTLS")
    _forget(talk)
    talk.junk = 0  # EHLO must be said again
    talk.client = Client(talk.client.ip, lmtp=talk.client.lmtp, tls=talk.link.tls)


async def _auth(talk: Session, event: command.Auth) -> Reply:
    """AUTH (RFC 4954 §4)."""
    if talk.role not in (SmtpRole.SUBMISSION, SmtpRole.SUBMISSIONS):
        return NO_AUTH
    if not _login_possible(talk):
        return TLS_FOR_LOGIN
    broken: Reply | None = None

    async def ask(octets: bytes) -> bytes | None:
        nonlocal broken
        talk.link.write(talk.engine.send(challenge(octets)))
        answer = await _next_line(talk)
        if isinstance(answer, Reply):
            broken = answer
            return None
        return answer

    found = await talk.door.authenticate(event.mechanism, event.initial, ask, talk.client.ip, Service.SMTP)
    if isinstance(found, Login):
        note(str(found.address), talk.client.ip, Service.SMTP)
        talk.client = replace(talk.client, login=found)
        return LOGGED_IN
    return broken or _login_refused(talk, found)


async def _next_line(talk: Session) -> bytes | Reply | None:
    """The client's answer to a challenge: octets, None when it cancelled, a Reply when it was no answer."""
    while True:
        event: Event = await talk.link.next(talk.engine)
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


async def _mail(talk: Session, event: command.Mail) -> Reply:
    """MAIL (RFC 5321 §4.1.1.2)."""
    if talk.role in (SmtpRole.SUBMISSION, SmtpRole.SUBMISSIONS) and talk.client.login is None:
        return LOGIN_FIRST if _login_possible(talk) else TLS_FIRST
    if talk.house.store.failed is not None:  # the worker ends within a second or two
        return STORE_FAILED
    if talk.transactions >= talk.limits.transactions:
        return WORN_OUT
    if talk.door.peers.now() - talk.began > talk.limits.age_seconds:
        return WORN_OUT
    if talk.client.login is not None and not await talk.door.holds(talk.client.login):
        return LOGIN_CHANGED
    answer = await receive.mail(event.path, event.size or 0, talk.client, talk.house)
    if answer.positive:
        talk.transactions += 1
        talk.transaction = Transaction(event, _most_recipients(talk))
    return answer


def _most_recipients(talk: Session) -> int:
    most = talk.house.limits.recipients
    return talk.door.peers.recipients(talk.client.ip, most) if talk.stranger else most


async def _rcpt(talk: Session, event: command.Rcpt) -> Reply:
    """RCPT (RFC 5321 §4.1.1.3)."""
    transaction = talk.transaction
    assert transaction is not None  # the engine keeps the order
    if len(transaction.recipients) >= transaction.most:
        transaction.refused += 1
        return TOO_MANY_ERRORS if transaction.refused > talk.house.limits.recipients else TOO_MANY_RECIPIENTS
    if _harvesting(talk):
        return HARVEST
    found = await receive.rcpt(event.path, transaction.mail.utf8, talk.client, talk.house)
    if not isinstance(found, Reply):
        transaction.recipients.append(Recipient(event.path))
        transaction.accounts.extend(found)
        return receive.RECIPIENT_OK
    if found is receive.NO_SUCH_USER:
        talk.unknown += 1
        if talk.client.login is None:
            talk.door.peers.unknown_recipient(talk.client.ip)
    return found


def _harvesting(talk: Session) -> bool:
    """Whether the peer has asked for so many unknown users that it gets no more answers for a while (S9)."""
    if talk.client.lmtp:
        return False
    if talk.unknown >= talk.limits.unknown_recipients:
        return True
    return talk.client.login is None and talk.door.peers.deferred(talk.client.ip)


def _data(talk: Session) -> Reply:
    """DATA (RFC 5321 §4.1.1.4)."""
    _open_spool(talk)
    return GO_AHEAD


def _bdat(talk: Session) -> None:
    """BDAT (RFC 3030 §2): the octets come at once, the answer after them."""
    if talk.transaction is not None and talk.transaction.spool is None:
        _open_spool(talk)


def _open_spool(talk: Session) -> None:
    assert talk.transaction is not None
    talk.transaction.spool = Spool(talk.house.spool, talk.house.limits.spool_above)
    talk.window_began, talk.window_size = talk.door.peers.now(), 0


async def _octets(talk: Session, octets: bytes) -> Reply | None:
    """Content of the message: kept, unless something is known to be wrong with it already."""
    if _too_slow(talk, len(octets)):
        return TOO_SLOW
    transaction = talk.transaction
    if transaction is None or transaction.spool is None or transaction.fault is not None:
        return None
    try:
        if transaction.spool.add(octets):
            await transaction.spool.write()
    except OSError:
        transaction.fault = receive.DISK_FULL
        transaction.spool.close()
    crashpoint("smtp.data_half_read")
    return None


def _too_slow(talk: Session, size: int) -> bool:
    """Whether less than `slow_octets` a second came in the last window."""
    talk.window_size += size
    seconds = talk.door.peers.now() - talk.window_began
    if seconds < talk.limits.slow_window_seconds:
        return False
    slow = talk.window_size < talk.limits.slow_octets * seconds
    talk.window_began, talk.window_size = talk.window_began + seconds, 0
    return slow


def _chunk_ended(talk: Session, fault: Reply | None) -> Reply:
    """The answer to a chunk that is not the last (RFC 3030 §2)."""
    if fault is not None:
        _forget(talk)
        return fault
    transaction = talk.transaction
    return (transaction.fault if transaction else None) or OK


async def _ended(talk: Session, fault: Reply | None) -> Reply:
    """The message is whole: hand it over, or say what was wrong (RFC 5321 §4.1.1.4)."""
    transaction, talk.transaction = talk.transaction, None
    if transaction is None or transaction.spool is None:
        return fault or receive.DISK_FULL
    with contextlib.closing(transaction.spool) as spool:
        answer = fault or transaction.fault or await _hand_over(talk, transaction, spool)
    if answer.positive:
        talk.junk = 0
        if talk.stranger:
            talk.door.peers.delivered(talk.client.ip)
    _note(talk, transaction, answer)
    return answer


def _note(talk: Session, transaction: Transaction, answer: Reply) -> None:
    """One line in the log for each message."""
    assert transaction.spool is not None
    fields = {
        "peer": talk.client.ip,
        "user": str(talk.client.login.address) if talk.client.login else "",
        "sender": str(transaction.mail.path),
        "recipients": ",".join(str(each.path) for each in transaction.recipients[:LOGGED_RECIPIENTS]),
        "size": transaction.spool.size,
    }
    if answer.positive:
        log.info("message accepted", extra=fields)
    else:
        log.info("message refused: %d %s", answer.code, answer.text, extra=fields)


async def _hand_over(talk: Session, transaction: Transaction, spool: Spool) -> Reply:
    """Give the message to transport, unless the user has sent enough."""
    client, mail = talk.client, transaction.mail
    if client.login is not None:
        user = str(client.login.address)
        paths = [str(each.path) for each in transaction.recipients]
        if not talk.door.peers.may_submit(user, client.ip, paths):
            return SUBMISSION_LIMIT
    envelope = Envelope(mail.path, tuple(transaction.recipients), mail.body, mail.utf8)
    incoming = Incoming(client, envelope, tuple(transaction.accounts), await spool.octets())
    return await receive.take(incoming, talk.house)


def _forget(talk: Session) -> None:
    """End the transaction without a message (RFC 5321 §4.1.1.5); nothing of it stays."""
    if talk.transaction is not None and talk.transaction.spool is not None:
        talk.transaction.spool.close()
    talk.transaction = None
