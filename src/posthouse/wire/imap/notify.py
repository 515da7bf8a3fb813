"""NOTIFY, read: of which events in which mailboxes a client wants to be told (RFC 5465 §3.1, §6, §8).

The examples of RFC 5465 leave out the parentheses around events that its grammar asks for, so both are taken. Events
that are not supported are refused with NO [BADEVENT], which names those that are. It does not know which mailboxes
there are.
"""

from dataclasses import dataclass
from enum import Enum

from posthouse.wire.imap.condition import Condition, Fault, over_limit
from posthouse.wire.imap.fetch import FetchItem, fetch_items
from posthouse.wire.imap.grammar import OPEN, Scanner

GROUPS = 100  # event groups of one NOTIFY
NAMED = 1_000  # mailboxes that one NOTIFY names


class Which(Enum):
    """filter-mailboxes (RFC 5465 §6, §8)."""

    SELECTED = b"SELECTED"
    SELECTED_DELAYED = b"SELECTED-DELAYED"
    INBOXES = b"INBOXES"
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    MAILBOXES = b"MAILBOXES"


class Occurrence(Enum):
    """The events that are supported (RFC 5465 §5), as BADEVENT spells them."""

    MESSAGE_NEW = b"MessageNew"
    MESSAGE_EXPUNGE = b"MessageExpunge"
    FLAG_CHANGE = b"FlagChange"
    MAILBOX_NAME = b"MailboxName"
    SUBSCRIPTION_CHANGE = b"SubscriptionChange"
    MAILBOX_METADATA_CHANGE = b"MailboxMetadataChange"
    SERVER_METADATA_CHANGE = b"ServerMetadataChange"


Events = frozenset[Occurrence]

SELECTED_ONES = frozenset({Which.SELECTED, Which.SELECTED_DELAYED})
_NAMING = frozenset({Which.SUBTREE, Which.MAILBOXES})
_BOTH: Events = frozenset({Occurrence.MESSAGE_NEW, Occurrence.MESSAGE_EXPUNGE})
MESSAGE_EVENTS: Events = _BOTH | {Occurrence.FLAG_CHANGE}
_BY_NAME = {event.value.upper(): event for event in Occurrence}
BADEVENT = b"BADEVENT (%b)" % b" ".join(event.value for event in Occurrence)


@dataclass(frozen=True, slots=True)
class EventGroup:
    """event-group: these events of these mailboxes. `items`: what is shown of new messages of the selected mailbox."""

    which: Which
    names: tuple[str, ...]
    events: Events
    items: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    """NOTIFY SET, or NOTIFY NONE where `groups` is None. `status`: STATUS responses are wanted at once."""

    tag: bytes
    groups: tuple[EventGroup, ...] | None = None
    status: bool = False


def parse_notify(tag: bytes, scanner: Scanner) -> Notify:
    """What follows `NOTIFY` (RFC 5465 §8)."""
    scanner.space()
    word = scanner.word()
    if word == b"NONE":
        return Notify(tag)
    if word != b"SET":
        raise Fault("NOTIFY takes SET or NONE.")
    scanner.space()
    status = scanner.take(b"STATUS")
    if status:
        scanner.space()
    groups = [_group(scanner)]
    while not scanner.ended:
        scanner.space()
        groups.append(_group(scanner))
        if len(groups) > GROUPS:
            raise over_limit(f"NOTIFY takes at most {GROUPS} event groups.")
    if sum(len(group.names) for group in groups) > NAMED:
        raise over_limit(f"NOTIFY may name at most {NAMED} mailboxes.")
    if sum(group.which in SELECTED_ONES for group in groups) > 1:
        raise Fault("Only one event group may be for the selected mailbox.")
    return Notify(tag, tuple(groups), status)


def _group(scanner: Scanner) -> EventGroup:
    """event-group = "(" filter-mailboxes SP events ")"."""
    scanner.mark(b"(")
    which = _which(scanner)
    names: tuple[str, ...] = ()
    if which in _NAMING:
        scanner.space()
        several = scanner.peek() == OPEN
        names = tuple(scanner.parenthesized(Scanner.mailbox)) if several else (scanner.mailbox(),)
    scanner.space()
    found = _events(scanner)
    scanner.mark(b")")
    events = frozenset(found)
    _check(which, events, found)
    return EventGroup(which, names, events, found.get(Occurrence.MESSAGE_NEW, ()))


def _which(scanner: Scanner) -> Which:
    word = scanner.word()
    try:
        return Which(word)
    except ValueError:
        raise Fault(f"NOTIFY knows no mailboxes {word.decode('ascii')}.") from None


def _events(scanner: Scanner) -> dict[Occurrence, tuple[FetchItem, ...]]:
    """events = ( "(" event *(SP event) ")" ) / "NONE", or the events without their parentheses."""
    inside = scanner.take(b"(")
    if not inside and scanner.take(b"NONE"):
        return {}
    found: dict[Occurrence, tuple[FetchItem, ...]] = {}
    while True:
        event = _event(scanner)
        if event in found:
            raise Fault(f"{event.value.decode('ascii')} stands twice among the events.")
        more = scanner.octets[scanner.position : scanner.position + 2] == b" ("
        if more and event is Occurrence.MESSAGE_NEW:
            scanner.space()
            found[event] = fetch_items(scanner)
        else:
            found[event] = ()
        if scanner.peek() == ord(")"):
            break
        scanner.space()
    if inside:
        scanner.mark(b")")
    return found


def _event(scanner: Scanner) -> Occurrence:
    event = _BY_NAME.get(scanner.word())
    if event is None:
        raise Fault("One of these events is not supported here.", BADEVENT, Condition.NO)
    return event


def _check(which: Which, events: Events, found: dict[Occurrence, tuple[FetchItem, ...]]) -> None:
    """RFC 5465 §5, §6.1."""
    if events & MESSAGE_EVENTS and not events >= _BOTH:
        raise Fault("MessageNew and MessageExpunge go together, and FlagChange needs both.")
    if which in SELECTED_ONES and events - MESSAGE_EVENTS:
        raise Fault("Only MessageNew, MessageExpunge and FlagChange can be told of the selected mailbox.")
    if which not in SELECTED_ONES and found.get(Occurrence.MESSAGE_NEW):
        raise Fault("Only of new messages in the selected mailbox can FETCH items be shown.")
