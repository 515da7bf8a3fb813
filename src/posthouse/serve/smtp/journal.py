"""What a session adds to the journeys of its messages: refusals, and the conversation (transport/journey.py).

That a message was taken is told by `transport/receive.py`, in the transaction that takes it.
"""

from posthouse.mail.address import ForwardPath, ReversePath
from posthouse.mail.ids import Trail
from posthouse.mail.status import Reply
from posthouse.serve.smtp.state import Session, Transaction
from posthouse.transport import journey
from posthouse.transport.journey import Subject

TRAILS = 100  # journeys that one conversation is told of
REFUSALS = 20  # told of one connection: beyond it somebody tries out names, and the log has the rest


def refused_sender(talk: Session, trail: Trail, sender: ReversePath, answer: Reply) -> None:
    """MAIL was refused."""
    _refused(talk, Subject(trail, "", sender, ()), "MAIL", answer)


def refused_recipient(talk: Session, path: ForwardPath, answer: Reply) -> None:
    """RCPT was refused."""
    if talk.transaction is not None:
        about = Subject(talk.transaction.trail, "", talk.transaction.mail.path, (str(path),))
        _refused(talk, about, "RCPT", answer)


def ended(talk: Session, transaction: Transaction, answer: Reply) -> None:
    """The message was whole, and taken or refused; by LMTP it may be both (RFC 2033 §4.2)."""
    if answer.positive:
        _remember(talk, transaction.trail)
    answers = talk.several or (answer,) * len(transaction.recipients)
    pairs = zip(transaction.recipients, answers, strict=True)
    refused = [(str(each.path), one) for each, one in pairs if not one.positive]
    if refused:
        about = Subject(transaction.trail, "", transaction.mail.path, tuple(path for path, _ in refused))
        _refused(talk, about, "the end of the message", refused[0][1])


def over(talk: Session) -> None:
    """The connection has ended: keep the conversation, if it was about a message."""
    conversation = talk.engine.conversation
    if conversation is not None and talk.trails:
        house = talk.house
        house.journey.note(journey.wire(house.clock(), conversation, talk.trails, talk.client.ip))


def _refused(talk: Session, about: Subject, step: str, answer: Reply) -> None:
    talk.refusals += 1
    if talk.refusals > REFUSALS:
        return
    _remember(talk, about.trail)
    house = talk.house
    house.journey.note(journey.refused(house.clock(), talk.client, about, (step, answer)))


def _remember(talk: Session, trail: Trail) -> None:
    if len(talk.trails) < TRAILS and trail not in talk.trails[-1:]:
        talk.trails.append(trail)
