"""One mail transaction from the client's side: MAIL, RCPT, and the content by BDAT or DATA (RFC 5321 §3.3, RFC 3030).

As few round trips as the server allows: with PIPELINING all recipients go out in one burst, with DATA behind them
(RFC 2920 §3.1), or with the whole of a small message, where this connection has taken one already (RFC 3030 §4.2).
Each recipient has a Result of its own. A message is only said to be perhaps taken where its end was sent and the answer
was lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from posthouse.mail.downgrade import Unfit
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.outcome import Action
from posthouse.mail.status import Reply, Status
from posthouse.transport.connection import Connection
from posthouse.transport.parcel import PIECE, Parcel, fitted, utf8_in_headers
from posthouse.transport.result import Result, Where, lost, refused, relayed
from posthouse.transport.target import TlsLevel
from posthouse.wire.smtp import command
from posthouse.wire.smtp.client import State
from posthouse.wire.smtp.replied import Announced
from posthouse.wire.smtp.request import MailFrom, RcptTo, Request, outside_ascii

IN_ONE_BURST = 65_536  # octets of a message that may be sent along with its envelope
CHUNK = 1_048_576  # octets of one BDAT: a server that has enough can say so after each
CHUNKS_AHEAD = 2  # sent before the first of them is answered
UNKNOWN_COMMAND = (500, 502)  # RFC 5321 §4.2.4

NEEDS_UTF8 = Status(5, 6, 7)  # RFC 6531 §3.5
CONVERSION, LINES = Status(5, 6, 3), Status(5, 6, 0)  # RFC 3463 §3.7
TOO_LARGE = Status(5, 3, 4)  # RFC 3463 §3.4
NOT_CAPABLE = Status(5, 3, 3)
NO_REQUIRETLS, NO_ENCRYPTION = Status(5, 7, 30), Status(5, 7, 10)  # RFC 8689 §4.2.1
_ASKED = "encryption all the way was asked for (REQUIRETLS)"


@dataclass(frozen=True, slots=True)
class Consignment:
    """What is to be sent: the Envelope as the queue has it, the content; `by` is what is left of DELIVERBY, seconds."""

    envelope: Envelope
    parcel: Parcel
    by: int = 0


async def transact(connection: Connection, consignment: Consignment, some: Sequence[Recipient]) -> list[Result]:
    """Send it to these recipients, and only to them; one Result for each, in order."""
    announced = connection.engine.announced
    wrong = cannot(connection, consignment)
    if wrong is not None:
        return [wrong] * len(some)
    parcel = await fitted(consignment.parcel, announced)
    if isinstance(parcel, Unfit):
        status = LINES if announced.eight_bit or parcel is Unfit.LONG else CONVERSION
        return [_failed(status, parcel.value, Where.MAIL)] * len(some)
    if announced.size and parcel.size > announced.size:
        reason = f"the message has {parcel.size} octets and the server takes {announced.size}"
        return [_failed(TOO_LARGE, reason, Where.MAIL)] * len(some)
    consignment = replace(consignment, parcel=parcel)
    sendable = [one for one in some if announced.utf8 or not outside_ascii(one.path)]
    done = iter(await _transact(connection, consignment, sendable) if sendable else [])
    no_utf8 = _failed(NEEDS_UTF8, "the server does not take addresses outside ASCII", Where.RCPT)
    return [next(done) if announced.utf8 or not outside_ascii(one.path) else no_utf8 for one in some]


def cannot(connection: Connection, consignment: Consignment) -> Result | None:
    """Why this message may not be given to this server at all."""
    announced, envelope = connection.engine.announced, consignment.envelope
    if not announced.utf8 and outside_ascii(envelope.sender):
        return _failed(NEEDS_UTF8, "the server does not take addresses outside ASCII", Where.MAIL)
    if envelope.utf8 and not announced.utf8 and utf8_in_headers(consignment.parcel):
        return _failed(NEEDS_UTF8, "the server does not take header fields outside ASCII", Where.MAIL)
    # RFC 8689 §5: a bounce, which has no sender, goes out all the same.
    if envelope.require_tls and envelope.sender.address is not None:
        return _without_requiretls(connection, announced)
    by = envelope.deliver_by
    if by is not None and by.give_back and (announced.deliver_by is None or announced.deliver_by > consignment.by):
        reason = "the server does not promise to deliver in the time that was asked for (DELIVERBY)"
        return replace(_failed(NOT_CAPABLE, reason, Where.MAIL), elsewhere=True)
    return None


def _without_requiretls(connection: Connection, announced: Announced) -> Result | None:
    """RFC 8689 §4.2.1: TLS with a certificate that was verified, and a server that goes on asking for it."""
    if connection.link.tls is None or connection.target.tls.level not in (TlsLevel.VERIFIED, TlsLevel.DANE):
        reason = f"{_ASKED}, and the server cannot prove its name"
        return replace(_failed(NO_ENCRYPTION, reason, Where.TLS), elsewhere=True)
    if not announced.require_tls:
        reason = f"{_ASKED}, and the server does not promise that"
        return replace(_failed(NO_REQUIRETLS, reason, Where.TLS), elsewhere=True)
    return None


def _failed(status: Status, reason: str, where: Where) -> Result:
    return Result(Action.FAILED, status, reason, where)


async def _transact(connection: Connection, consignment: Consignment, some: Sequence[Recipient]) -> list[Result]:
    engine, parcel = connection.engine, consignment.parcel
    announced = engine.announced
    requests: list[Request] = [command.Rset()] if engine.spoiled else []
    requests.append(MailFrom(consignment.envelope, parcel.size, parcel.eight_bit, consignment.by))
    first = len(requests)
    requests += map(RcptTo, some)
    whole = announced.pipelining and announced.chunking and connection.transactions > 0 and parcel.size <= IN_ONE_BURST
    if whole:
        requests.append(command.Bdat(parcel.size, last=True))
    elif announced.pipelining and not announced.chunking:
        requests.append(command.Data())
    connection.transactions += 1
    connection.domains.update(one.path.address.domain.name for one in some)
    answers = await _ask_all(connection, requests, parcel)
    begun = _begun(answers[:first])
    if begun is not None:
        results: list[Result | None] = [begun] * len(some)
    else:
        results = [_recipient(answer) for answer in answers[first : first + len(some)]]
    behind = answers[first + len(some) :]
    if None in results:
        # A Result among the answers says that the connection is over: nothing more can be asked of the server.
        over = next((answer for answer in answers if isinstance(answer, Result)), None)
        content = over or await _content(connection, parcel, [each for each in behind if isinstance(each, Reply)])
        return [content if result is None else result for result in results]
    if behind and engine.state is State.DATA:
        await _nothing(connection)
    return [result for result in results if result is not None]


def _begun(answers: Sequence[Reply | Result]) -> Result | None:
    """What RSET and MAIL were answered, where that was no."""
    for answer in answers:
        if isinstance(answer, Result):
            return answer
        if not answer.positive:
            return refused(answer, Where.MAIL)
    return None


def _recipient(answer: Reply | Result) -> Result | None:
    """The Result of a recipient; None while it hangs on the content."""
    if isinstance(answer, Result):
        return answer
    return None if answer.positive else refused(answer, Where.RCPT)


async def _ask_all(connection: Connection, requests: Sequence[Request], parcel: Parcel) -> list[Reply | Result]:
    """The answers, in order. In one burst where the server can; else one after the other, up to a refusal of MAIL."""
    pipelined = connection.engine.announced.pipelining
    ends = False
    for request in requests if pipelined else ():
        connection.say(request)
        if isinstance(request, command.Bdat):
            connection.say(command.Octets(parcel.whole()))
            ends = True
    answers: list[Reply | Result] = []
    for request in requests:
        where, seconds = _step(connection, request)
        if not pipelined:
            wrong = connection.out_of_step(where)
            if wrong is not None:
                return answers + [wrong] * (len(requests) - len(answers))
            connection.say(request)
        answer = await connection.answer(where, seconds, perhaps_taken=ends)
        answers.append(answer)
        over = isinstance(answer, Result) or (answer.close and len(answers) < len(requests))
        if over or (not pipelined and isinstance(request, MailFrom) and not _positive(answer)):
            rest = answer if isinstance(answer, Result) or not answer.close else lost(where, answer)
            return answers + [rest] * (len(requests) - len(answers))
    return answers


def _positive(answer: Reply | Result) -> bool:
    return isinstance(answer, Reply) and answer.positive


def _step(connection: Connection, request: Request) -> tuple[Where, float]:
    limits = connection.sending.limits
    match request:
        case RcptTo():
            return Where.RCPT, limits.rcpt_seconds
        case command.Data():
            return Where.DATA, limits.data_seconds
        case command.Bdat():
            return Where.DOT, limits.dot_seconds
    return Where.MAIL, limits.mail_seconds


async def _content(connection: Connection, parcel: Parcel, behind: Sequence[Reply]) -> Result:
    """What became of the content for all recipients that were accepted. `behind`: the answer to what was sent along."""
    chunking = connection.engine.announced.chunking
    if behind and chunking:
        return _taken(connection, behind[0], chunked=chunking)
    wrong = connection.out_of_step(Where.DATA)
    if wrong is not None:
        return wrong
    if connection.engine.state is State.CLOSED:  # the last recipient was answered 421
        return lost(Where.DATA, connection.farewell)
    if chunking:
        return await _chunks(connection, parcel)
    limits = connection.sending.limits
    opened = behind[0] if behind else await connection.ask(command.Data(), Where.DATA, limits.data_seconds)
    if isinstance(opened, Result):
        return opened
    return await _lines(connection, parcel) if opened.code == 354 else refused(opened, Where.DATA)


def _taken(connection: Connection, answer: Reply | Result, *, chunked: bool) -> Result:
    """The answer to the end of the message; it is believed where it can be no other answer's."""
    if isinstance(answer, Result):
        return answer
    if chunked and answer.code in UNKNOWN_COMMAND:
        return _unknown_chunk(connection, answer)
    wrong = connection.out_of_step(Where.DOT, perhaps_taken=True)
    if wrong is not None and wrong.answer is None:  # more than a goodbye
        return wrong
    return relayed(answer) if answer.positive else refused(answer, Where.DOT)


async def _lines(connection: Connection, parcel: Parcel) -> Result:
    """The content of DATA, to its final dot (RFC 5321 §4.1.1.4)."""
    for piece in parcel.pieces():
        connection.say(command.Octets(piece))
        early = await _early(connection) if len(piece) == PIECE else None
        if early is not None:
            return early
    connection.say(command.DataEnded())
    answer = await connection.answer(Where.DOT, connection.sending.limits.dot_seconds, perhaps_taken=True)
    return _taken(connection, answer, chunked=False)


async def _chunks(connection: Connection, parcel: Parcel) -> Result:
    """The content in chunks. After one that was refused no more are sent (RFC 3030 §2)."""
    ahead = CHUNKS_AHEAD if connection.engine.announced.pipelining else 1
    left = parcel.size
    room = 0  # octets of the present chunk that are still to come
    for piece in parcel.pieces():
        while piece:
            refusal = None if room else await _answered_chunks(connection, ahead - 1)
            if refusal is not None:
                return refusal
            room = room or _begin_chunk(connection, left)
            some, piece = piece[:room], piece[room:]
            connection.say(command.Octets(some))
            room, left = room - len(some), left - len(some)
        early = await _early(connection) if left else None
        if early is not None:
            return early
    refusal = await _answered_chunks(connection, 0)
    if refusal is not None:
        return refusal
    answer = await connection.answer(Where.DOT, connection.sending.limits.dot_seconds, perhaps_taken=True)
    return _taken(connection, answer, chunked=True)


def _unknown_chunk(connection: Connection, answer: Reply) -> Result:
    """BDAT was offered and is not known, perhaps to something in between: the octets of the message are being read as
    commands. Hang up at once; nothing was taken, and DATA will do."""
    connection.no_chunks = True
    connection.abort()
    return refused(answer, Where.DATA).later()


def _begin_chunk(connection: Connection, left: int) -> int:
    """BDAT for the next octets of those left; how many."""
    size = min(CHUNK, left)
    connection.say(command.Bdat(size, last=size == left))
    return size


async def _answered_chunks(connection: Connection, left: int) -> Result | None:
    """Wait until so many chunks are without an answer, not counting the last of all; a refusal where there is one."""
    engine = connection.engine
    left += engine.state is State.ENDING
    while engine.waiting > left:
        answer = await connection.answer(
            Where.DATA, connection.sending.limits.dot_seconds, perhaps_taken=engine.state is State.ENDING
        )
        if isinstance(answer, Result):
            return answer
        if answer.code in UNKNOWN_COMMAND:
            return _unknown_chunk(connection, answer)
        if not answer.positive:
            return refused(answer, Where.DATA)
    return None


async def _early(connection: Connection) -> Result | None:
    """Send what was written. A server that has enough may say so in the middle, and hang up."""
    try:
        await connection.link.flush()
        gone = False
    except ConnectionError:
        gone = True
    engine = connection.engine
    if not gone and (engine.waiting or not engine.pending):
        return None
    answer = connection.read(engine.next_event(), Where.DATA)
    while isinstance(answer, Reply) and answer.positive:
        answer = connection.read(engine.next_event(), Where.DATA)
    connection.abort()
    said = answer if isinstance(answer, Reply) else answer.answer
    if said is not None and not said.positive:
        return refused(said, Where.DATA)
    return answer if isinstance(answer, Result) else lost(Where.DATA)


async def _nothing(connection: Connection) -> None:
    """All recipients were refused, and yet DATA was taken: a single dot (RFC 2920 §3.1)."""
    connection.say(command.DataEnded())
    await connection.answer(Where.DOT, connection.sending.limits.dot_seconds)
