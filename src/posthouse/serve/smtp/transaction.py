"""One mail transaction: MAIL, RCPT, DATA and BDAT, and the message handed over when it is whole (RFC 5321 §3.3)."""

import asyncio
import contextlib
import logging
from dataclasses import replace

from posthouse.mail.envelope import Recipient
from posthouse.mail.ids import Trail
from posthouse.mail.srs import is_rewritten
from posthouse.mail.status import Reply
from posthouse.serve.smtp import journal
from posthouse.serve.smtp.entry import login_possible
from posthouse.serve.smtp.replies import (
    FOR_NOTICES_ONLY,
    GO_AHEAD,
    HARVEST,
    LOGIN_CHANGED,
    LOGIN_FIRST,
    OK,
    STORE_FAILED,
    TLS_FIRST,
    TOO_MANY_ERRORS,
    TOO_MANY_RECIPIENTS,
    TOO_SLOW,
    WORN_OUT,
)
from posthouse.serve.smtp.state import Session, Transaction, forget
from posthouse.serve.smtp.wishes import highest_priority, lowered, wished
from posthouse.store.crashpoint import crashpoint
from posthouse.store.sending import Allowance, Charge
from posthouse.transport import receive, room
from posthouse.transport.house import SmtpRole
from posthouse.transport.keep import Incoming
from posthouse.transport.route import Leads
from posthouse.transport.spool import Spool
from posthouse.transport.trace import new_trail
from posthouse.wire.smtp import command

LOGGED_RECIPIENTS = 20  # named in the log line of one message; a list of a thousand would be no line any more

log = logging.getLogger("posthouse.smtp")


async def mail(talk: Session, event: command.Mail) -> Reply:
    """MAIL (RFC 5321 §4.1.1.2)."""
    if talk.role in (SmtpRole.SUBMISSION, SmtpRole.SUBMISSIONS) and talk.client.login is None:
        return LOGIN_FIRST if login_possible(talk) else TLS_FIRST
    if talk.house.store.failed is not None:  # the worker ends within a second or two
        return STORE_FAILED
    if talk.transactions >= talk.limits.transactions:
        return WORN_OUT
    if talk.door.peers.now() - talk.began > talk.limits.age_seconds:
        return WORN_OUT
    if not await talk.standing.holds():
        return LOGIN_CHANGED
    trail = new_trail()
    if talk.engine.conversation is not None:
        talk.engine.conversation.begin(trail)
    answer = await _begin(talk, event, trail)
    if not answer.positive:
        journal.refused_sender(talk, trail, event.path, answer)
    return answer


async def _begin(talk: Session, event: command.Mail, trail: Trail) -> Reply:
    wishes = wished(event, talk.house.clock(), highest_priority(talk), talk.house.submission)
    if isinstance(wishes, Reply):
        return wishes
    answer = await receive.mail(event.path, event.size or 0, talk.client, talk.house)
    if not answer.positive:
        return answer
    talk.transactions += 1
    talk.transaction = Transaction(event, wishes, trail, _most_recipients(talk))
    return lowered(wishes.envelope.priority) if wishes.lowered else answer


def _most_recipients(talk: Session) -> int:
    most = talk.house.limits.recipients
    return talk.door.peers.recipients(talk.client.ip, most) if talk.stranger else most


async def rcpt(talk: Session, event: command.Rcpt) -> Reply:
    """RCPT (RFC 5321 §4.1.1.3)."""
    answer = await _rcpt(talk, event)
    if not answer.positive:
        journal.refused_recipient(talk, event.path, answer)
    return answer


async def _rcpt(talk: Session, event: command.Rcpt) -> Reply:
    transaction = talk.transaction
    assert transaction is not None  # the engine keeps the order
    if len(transaction.recipients) >= transaction.most:
        transaction.refused += 1
        return TOO_MANY_ERRORS if transaction.refused > talk.house.limits.recipients else TOO_MANY_RECIPIENTS
    if _harvesting(talk):
        return HARVEST
    found = await receive.rcpt(event.path, transaction.mail.utf8, talk.client, talk.house)
    if isinstance(found, Leads):
        found = await room.refused(event.path.address, found, transaction.mail.size or 0, talk.house) or found
    if (
        isinstance(found, Leads)
        and found.forwards
        and is_rewritten(event.path.address)
        and transaction.mail.path.address
    ):
        found = FOR_NOTICES_ONLY
    if not isinstance(found, Reply):
        transaction.recipients.append(Recipient(event.path, event.notify, event.orcpt))
        transaction.leads.append(found)
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


def data(talk: Session) -> Reply:
    """DATA (RFC 5321 §4.1.1.4)."""
    open_spool(talk)
    return GO_AHEAD


def bdat(talk: Session) -> None:
    """BDAT (RFC 3030 §2): the octets come at once, the answer after them."""
    if talk.transaction is not None and talk.transaction.spool is None:
        open_spool(talk)


def open_spool(talk: Session) -> None:
    """The content is about to come."""
    assert talk.transaction is not None
    talk.transaction.spool = Spool(talk.house.spool, talk.house.limits.spool_above)
    talk.window_began, talk.window_size = talk.door.peers.now(), 0


async def octets(talk: Session, octets: bytes) -> Reply | None:
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


def chunk_ended(talk: Session, fault: Reply | None) -> Reply:
    """The answer to a chunk that is not the last (RFC 3030 §2)."""
    if fault is not None:
        forget(talk)
        return fault
    transaction = talk.transaction
    return (transaction.fault if transaction else None) or OK


async def ended(talk: Session, fault: Reply | None) -> Reply:
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
    asyncio.get_running_loop().call_soon(_note, talk, transaction, answer)  # behind the answer
    journal.ended(talk, transaction, answer)
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
    if transaction.wishes.envelope.priority:
        fields["priority"] = transaction.wishes.envelope.priority  # RFC 6710 §4.1
    if answer.positive:
        log.info("message accepted", extra=fields)
    else:
        log.info("message refused: %d %s", answer.code, answer.text, extra=fields)


async def _hand_over(talk: Session, transaction: Transaction, spool: Spool) -> Reply:
    """Give the message to transport."""
    client, wishes = talk.client, transaction.wishes
    envelope = replace(wishes.envelope, recipients=tuple(transaction.recipients))
    leads = tuple(transaction.leads)
    incoming = Incoming(transaction.trail, client, envelope, leads, await spool.octets(), wishes.release)
    incoming = replace(incoming, charge=_charge(talk, incoming))
    if not talk.client.lmtp:
        return await receive.take(incoming, talk.house)
    talk.several = await receive.take_each(incoming, talk.house)
    return next((answer for answer in talk.several if answer.positive), talk.several[0])


def _charge(talk: Session, incoming: Incoming) -> Charge | None:
    """What a user's message counts, unless nothing is counted where they are."""
    peers, login = talk.door.peers, talk.client.login
    if login is None or peers.exempt(talk.client.ip):
        return None
    limits = peers.limits
    allowance = Allowance(limits.messages_hour, limits.recipients_day, limits.first_recipients_day)
    paths = tuple(str(each.path) for each in incoming.envelope.recipients)
    return Charge(login.account, talk.house.clock(), paths, allowance)
