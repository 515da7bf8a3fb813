"""What the sender of a message is told of its delivery: one DSN for all that happened at once (RFC 3461 §5, §6).

`report` is pure: it is given outcomes and gives the message to send, or None where nothing is to be said. Nothing is
ever said about a message without a sender, so no bounce is bounced (RFC 5321 §4.5.5), nor to who asked for silence.

The text has three parts for each recipient, or for all of whom the same is to be said: what happened, what the sender
can do, and the technical answer as it came.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from mmap import mmap
from typing import NamedTuple

from posthouse.mail import compose, dsn, header
from posthouse.mail.address import Address, ForwardPath, ReversePath, parse_address
from posthouse.mail.dates import format_rfc5322
from posthouse.mail.dsn import DeliveryStatus, RecipientStatus
from posthouse.mail.envelope import BodyType, DsnReturn, Envelope, Notify, Recipient
from posthouse.mail.ids import QUEUE_LETTER, Millis
from posthouse.mail.outcome import Action, Outcome
from posthouse.mail.spelling import readable
from posthouse.store.queue import QueueItem
from posthouse.transport.words import Words, explain, reason

WHOLE = 256 * 1024  # octets of a message that RET=FULL brings back; a larger one comes back as its header
HEADER = 64 * 1024  # octets of a header that come back: a message about a message stays readable
NAMED = 50  # recipients that the text names one by one; all are in the part for programs
QUOTED = 1_000  # characters of a technical answer that the text shows
SUBJECT = 200  # characters of the subject that stand in ours

# What a DSN must be asked for, by what happened (RFC 3461 §4.1).
_ASKED = {
    Action.FAILED: Notify.FAILURE,
    Action.DELAYED: Notify.DELAY,
    Action.DELIVERED: Notify.SUCCESS,
    Action.RELAYED: Notify.SUCCESS,
    Action.EXPANDED: Notify.SUCCESS,
}
_WORST_FIRST = (Action.FAILED, Action.DELAYED, Action.RELAYED, Action.EXPANDED, Action.DELIVERED)
_SUBJECTS = {
    Action.FAILED: "Not delivered",
    Action.DELAYED: "Not delivered yet",
    Action.RELAYED: "Handed over",
    Action.EXPANDED: "Delivered",
    Action.DELIVERED: "Delivered",
}
_HEADINGS = {
    Action.FAILED: "Your message could not be delivered to:",
    Action.DELAYED: "Your message could not be delivered yet to:",
    Action.RELAYED: "Your message was handed over to a server that will not report further, for:",
    Action.EXPANDED: "Your message was delivered to several people behind:",
    Action.DELIVERED: "Your message was delivered to:",
}
_TRACED = "Your message was handed over to the next server, for:"  # which reports further by itself (RFC 2852 §4)


class Letter(NamedTuple):
    """What the house itself has to say to somebody."""

    envelope: Envelope
    octets: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """The message that a DSN is about: the Envelope it came with, its octets, and when and as what it came."""

    envelope: Envelope
    octets: bytes | mmap
    arrived: Millis
    name: str  # what it is called here: no two messages, and no two items of the queue, have the same
    retry_until: Millis | None = None  # until when those that are delayed are tried


#: See `reporter`.
Reporter = Callable[[QueueItem, Sequence[Outcome], bytes | mmap], Letter | None]


def of_item(item: QueueItem, octets: bytes | mmap) -> Told:
    """What is in the queue, as something to tell of."""
    return Told(item.envelope, octets, item.created, f"{item.trail}.{QUEUE_LETTER}{item.id}", item.expires)


def reporter(hostname: str, clock: Callable[[], Millis]) -> Reporter:
    """What the queue asks after every attempt: the letter to the sender of an item, or None."""
    return lambda item, outcomes, octets: report(of_item(item, octets), outcomes, hostname, clock())


def report(about: Told, outcomes: Sequence[Outcome], hostname: str, now: Millis) -> Letter | None:
    """The DSN that says all of these outcomes of which the sender wants to hear; None where there is nothing to say."""
    sender = about.envelope.sender.address
    news = [outcome for outcome in outcomes if wanted(about.envelope, outcome)]
    if sender is None or not news:
        return None
    utf8 = not sender.ascii
    status = _status(about, news, hostname)
    whole, returned = _returned(about, news)
    text = _text(about, news, hostname)
    body = dsn.print_report(text, status, returned, whole=whole, utf8=utf8)
    octets = _header(about, news, hostname, now) + body
    return Letter(_envelope(about.envelope, sender, octets), octets)


def wanted(envelope: Envelope, outcome: Outcome) -> bool:
    """Whether the sender wants to hear of this (RFC 3461 §4.1, §5.2; RFC 2852 §4 for by-trace)."""
    recipient = outcome.recipient
    if outcome.action is Action.RELAYED:
        traced = envelope.deliver_by is not None and envelope.deliver_by.trace and recipient.notify != frozenset()
        return traced or (recipient.wants(Notify.SUCCESS) and not outcome.dsn)
    return recipient.wants(_ASKED[outcome.action])


def _envelope(about: Envelope, sender: Address, octets: bytes) -> Envelope:
    """RFC 3461 §6.1: no sender, and no DSN about the DSN. What protects the message protects what tells of it
    (RFC 8689 §5), and it goes as fast (RFC 6710 §4.6)."""
    return Envelope(
        ReversePath(),
        (Recipient(ForwardPath(sender), notify=frozenset()),),
        BodyType.SEVEN_BIT if octets.isascii() else BodyType.EIGHT_BIT_MIME,
        utf8=not sender.ascii,
        require_tls=about.require_tls,
        priority=about.priority,
    )


# --- for programs


def _status(about: Told, news: Sequence[Outcome], hostname: str) -> DeliveryStatus:
    by = about.envelope.deliver_by
    return DeliveryStatus(
        hostname,
        tuple(_recipient(outcome, about) for outcome in news),
        about.envelope.envid,
        about.arrived,
        Millis(by.until) if by is not None else None,
    )


def _recipient(outcome: Outcome, about: Told) -> RecipientStatus:
    answered = outcome.answer is not None
    return RecipientStatus(
        dsn.typed(str(outcome.recipient.path)),
        outcome.action,
        outcome.status,
        outcome.recipient.orcpt,
        outcome.mta if answered else "",
        dsn.diagnostic(outcome.answer) if outcome.answer is not None else "",
        outcome.at,
        about.retry_until if outcome.action is Action.DELAYED else None,
    )


def _returned(about: Told, news: Sequence[Outcome]) -> tuple[bool, bytes]:
    """The message as far as it comes back: whole only when it failed, was asked for and is not too large; of one that
    was to be protected only the header (RFC 3461 §4.3, RFC 8689 §5)."""
    failed = any(outcome.action is Action.FAILED for outcome in news)
    full = about.envelope.ret is DsnReturn.FULL and failed and not about.envelope.require_tls
    if full and len(about.octets) <= WHOLE:
        return True, bytes(about.octets)
    head = bytes(about.octets[: min(header.body_start(about.octets), HEADER)])
    if len(head) == HEADER:
        head = head[: head.rfind(b"\n") + 1]
    return False, head


# --- for people


def _header(about: Told, news: Sequence[Outcome], hostname: str, now: Millis) -> bytes:
    sender = about.envelope.sender.address
    assert sender is not None
    subject = header.first(about.octets, b"subject")
    theirs = header.decode_words(header.unfold(subject))[:SUBJECT].strip() if subject else ""
    ours = _SUBJECTS[_worst(news)]
    fields = [
        compose.structured("From", ["Mail", "delivery", f"<postmaster@{hostname}>"]),
        compose.structured("To", [compose.mailbox(sender)]),
        compose.field("Subject", f"{ours}: {theirs}" if theirs else ours),
        *_references(about.octets),
        compose.written_by_machine(now, f"{about.name}.{now}.{_worst(news).value}@{hostname}", "auto-replied"),
    ]
    return b"".join(fields)


def _references(octets: bytes | mmap) -> list[bytes]:
    """So that mail programs show the answer below what it answers (RFC 5322 §3.6.4)."""
    value = header.first(octets, b"message-id")
    ids = header.message_ids(value) if value else []
    if not ids or not ids[0].isascii() or len(ids[0]) > compose.LONGEST_LINE // 2:
        return []
    return [compose.structured(name, [f"<{ids[0]}>"]) for name in ("In-Reply-To", "References")]


def _worst(news: Sequence[Outcome]) -> Action:
    actions = {outcome.action for outcome in news}
    return next(action for action in _WORST_FIRST if action in actions)


def _text(about: Told, news: Sequence[Outcome], hostname: str) -> str:
    pieces = [f"This is the mail server {hostname}."]
    named = sorted(news, key=lambda one: _WORST_FIRST.index(one.action))[:NAMED]
    said = [_said(one, about, hostname) for one in named]
    for _, some in groupby(sorted(said, key=_alike), key=_alike):
        pieces += _of_group(list(some))
    if len(news) > NAMED:
        pieces.append(f"The second part of this message names {len(news) - NAMED} more.")
    pieces.append(_what_comes_back(about, news))
    return "\n\n".join(pieces) + "\n"


class _Said(NamedTuple):
    """What the text says of one recipient."""

    outcome: Outcome
    heading: str
    words: Words
    technical: str


def _said(outcome: Outcome, about: Told, hostname: str) -> _Said:
    traced = outcome.action is Action.RELAYED and outcome.dsn
    heading = _TRACED if traced else _HEADINGS[outcome.action]
    return _Said(outcome, heading, _words(outcome, about, hostname), _technical(outcome))


def _alike(said: _Said) -> tuple[int, str, str, str]:
    """Those of whom the same is said, but for their names, stand together in the text."""
    address, domain = str(said.outcome.recipient.path), said.outcome.recipient.path.address.domain.name
    words = list(said.words)
    for name in filter(None, (readable(address), address, readable(domain), domain, said.outcome.mta)):
        words = [text.replace(name, "") for text in words]
    return _WORST_FIRST.index(said.outcome.action), said.heading, words[0], words[1]


def _of_group(some: Sequence[_Said]) -> list[str]:
    names = "\n".join(f"  {_shown(said.outcome.recipient)}" for said in some)
    technical = dict.fromkeys(said.technical for said in some)
    if len(technical) > 1:  # whose is which
        technical = dict.fromkeys(f"{said.outcome.recipient.path}: {said.technical}" for said in some if said.technical)
    parts = (
        ("What happened", dict.fromkeys(said.words.happened for said in some)),
        ("What you can do", dict.fromkeys(said.words.advice for said in some)),
        ("The technical answer", technical),
    )
    found = [f"{some[0].heading}\n{names}"]
    for title, texts in parts:
        if any(texts):
            found.append(f"{title}:\n" + "\n".join(_indented(text) for text in texts if text))
    return found


def _words(outcome: Outcome, about: Told, hostname: str) -> Words:
    match outcome.action:
        case Action.FAILED:
            found = explain(outcome, hostname)
            # RFC 3463 §2: a status of class 4 says that it was given up after having been tried for some time.
            given_up = outcome.status.cls == 4
            return Words(found.happened + _why_given_up(outcome, about), found.advice) if given_up else found
        case Action.DELAYED:
            until = f" until {format_rfc5322(about.retry_until)}" if about.retry_until is not None else ""
            advice = f"Nothing needs to be done: it is tried again and again{until}. You are told if that fails."
            return Words(explain(outcome, hostname).happened, advice)
        case _:
            return Words("", "")


def _why_given_up(outcome: Outcome, about: Told) -> str:
    by = about.envelope.deliver_by
    if by is not None and by.give_back and outcome.at >= by.until:  # RFC 2852 §4
        return " You wanted it back if it was not delivered in time, and that time is over."
    return f" It was tried for {_span(outcome.at - about.arrived)}, and is not tried any more."


def _span(millis: int) -> str:
    """How long, in the largest unit that fits."""
    for size, name in ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")):
        count = millis // size
        if count:
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "a moment"


def _shown(recipient: Recipient) -> str:
    """The recipient, and whom the sender wrote to where that was another (RFC 3461 §4.2)."""
    path = str(recipient.path)
    original = recipient.orcpt.address if recipient.orcpt else path
    # RFC 6533 §3: the name of a domain that people write is the same as its A-labels.
    if str(parse_address(original) or original).lower() == path.lower():
        return _spelled(path)
    return f"{_spelled(original)} (which leads to {_spelled(path)})"


def _spelled(address: str) -> str:
    """The address as people write it; behind it what servers call its domain, where that is something else."""
    spelled = readable(address)
    return address if spelled == address else f"{spelled} ({address.rpartition('@')[2]})"


def _technical(outcome: Outcome) -> str:
    place = outcome.mta + (f" [{outcome.ip}]" if outcome.ip else "")
    if outcome.answer is None:
        at = f"{place}: " if place else ""
        return "" if outcome.status.cls == 2 else f"{at}{outcome.status} {reason(outcome)}"
    when = f" to {outcome.where.upper()}" if outcome.where in ("mail", "rcpt", "data") else ""
    return f"{place} answered{when}: {dsn.diagnostic(outcome.answer)}"[:QUOTED]


def _what_comes_back(about: Told, news: Sequence[Outcome]) -> str:
    whole, _ = _returned(about, news)
    return f"Your {'message' if whole else 'message header'} is attached. Answers to this message reach the postmaster."


def _indented(text: str) -> str:
    """Lines of at most 76 characters, each behind two blanks."""
    lines, line = [], ""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    for word in text.split():
        if line and len(line) + 1 + len(word) > 74:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return "\n".join(f"  {each}" for each in [*lines, line])
