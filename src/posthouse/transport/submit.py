"""What a message submission agent does for its users: sender rights and missing fields (RFC 6409 §6, §8).

No word of the message is rewritten: fields are put in front, and `Bcc` (and, under `submission.add_sender`, a
`Sender` that is not the user's) are left out. Lines of the header that no server would take are folded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from mmap import mmap
from secrets import token_hex

from posthouse.mail import header
from posthouse.mail.address import Address, parse_address
from posthouse.mail.address_list import mailboxes
from posthouse.mail.dates import format_rfc5322
from posthouse.mail.fold import LINE, Change, folded
from posthouse.mail.header import Field
from posthouse.mail.ids import Millis
from posthouse.mail.status import Reply, reply
from posthouse.store.accounts import Login
from posthouse.store.sending import Bound, TooMuch
from posthouse.transport.house import House

NOT_YOUR_ADDRESS = reply(553, "5.7.1", "This sender address is not yours; use your own address or an alias of it")
NOT_YOUR_FROM = reply(550, "5.7.1", "The From address of the message is not yours; use your own or an alias of it")
UNREADABLE_FROM = reply(550, "5.6.0", "The From field of the message holds no address that can be read")
NOT_YOUR_SENDER = reply(
    550, "5.7.1", "The Sender address of the message is not yours; use your own or an alias of it, or leave Sender out"
)
BAD_FROM = reply(550, "5.6.0", "The message needs one From field with an address in it")
TOO_MANY_FIELDS = reply(552, "5.3.4", "The header of the message has too many fields")

ABOUT_AN_HOUR, ABOUT_A_DAY = 55, 23 * 60  # minutes
NAME_SHOWN = 60  # octets of the name of a field that an answer shows
REMEMBERED_OCTETS = 1_000  # of a field whose addresses are remembered: one author, and a long name

# Fields that name the authors and senders; a message sent on has its own (RFC 5322 §3.6.2, §3.6.6).
_ORIGINATORS = (b"from", b"sender", b"resent-from", b"resent-sender")
_HIDDEN = (b"bcc", b"resent-bcc")  # RFC 5322 §3.6.3


@dataclass(frozen=True, slots=True)
class Edit:
    """How a message is changed: `front` is put before it, the spans in `changes` (ascending) are replaced."""

    front: bytes = b""
    changes: tuple[Change, ...] = ()


async def may_send(login: Login, address: Address, house: House) -> Reply | None:
    """The refusal when a user may not use this sender address (RFC 6409 §6.1). Raises Unavailable."""
    if address == login.address:
        return None
    foreign = await house.rights.strangers(login.account, frozenset({address}), house.store)
    return NOT_YOUR_ADDRESS if foreign else None


async def complete(
    octets: bytes | mmap, header_stop: int, login: Login, received: Millis, house: House
) -> Edit | Reply:
    """Check the authors and add what is missing: From, Date, Message-ID (RFC 6409 §8). Raises Unavailable."""
    fields = header.split(octets, 0, header_stop)
    if len(fields) >= header.FIELDS:  # what stands behind these would be seen by others and not by us
        return TOO_MANY_FIELDS
    named = _by_name(fields)
    from_count = len(named.get(b"from", ()))
    authors = {name: _addresses(octets, named.get(name, ())) for name in _ORIGINATORS}
    if from_count > 1 or (from_count and not authors[b"from"]):
        return BAD_FROM
    strangers = await _strangers(login, authors, house)
    # Who sends a message on stands in Resent-From; its From is somebody else's by right (RFC 5322 §3.6.6).
    responsible = authors[b"resent-from"] or authors[b"from"]
    foreign = not strangers.isdisjoint(responsible)
    senders = tuple(field for name in _sender_names(named) for field in named.get(name, ()))
    pretended = not strangers.isdisjoint(_addresses(octets, senders))
    if not house.add_sender:
        if foreign:
            return NOT_YOUR_FROM if any(responsible) else UNREADABLE_FROM
        if pretended:
            return NOT_YOUR_SENDER
    front = _missing(named, login, received, house.hostname)
    if foreign:
        front += b"Sender: <%s>\r\n" % str(login.address).encode("utf-8")
    cut = {field for name in _HIDDEN for field in named.get(name, ())}
    if foreign:
        cut.update(named.get(b"sender", ()))
    if pretended:
        cut.update(senders)
    folds = folded(octets, [field for field in fields if field not in cut])
    if isinstance(folds, Field):
        return _line_too_long(folds)
    return Edit(front, tuple(sorted([*folds, *((field.start, field.stop, b"") for field in cut)])))


def _line_too_long(field: Field) -> Reply:
    """The refusal while it can still be mended: no server would take this line (RFC 5322 §2.1.1)."""
    name = field.name[:NAME_SHOWN].decode("ascii", "replace")
    return reply(
        550,
        "5.6.0",
        f"The field {name} of the header has a line of more than {LINE} octets and no blank to fold it at",
    )


def too_much(found: TooMuch, now: Millis) -> Reply:
    """The answer to a user who has sent as much as a user may: how much that is, and when it is possible again."""
    said = _BOUNDS[found.bound].format(found.most)
    if found.again is None:
        return reply(554, "5.7.1", f"This message is for more people than you may write to: {said}")
    minutes = -(-(found.again - now) // 60_000)
    wait = f"in {minutes} minutes" if minutes < 120 else f"in {-(-minutes // 60)} hours"
    # Counted in slots, so that it may be some minutes more than the hour or the day of which the sentence speaks.
    if found.bound is Bound.MESSAGES and minutes > ABOUT_AN_HOUR:
        wait = "in about an hour"
    elif minutes > ABOUT_A_DAY:
        wait = "in about a day"
    return reply(451, "4.7.1", f"You have sent as much as you may ({said}); it is possible again {wait}")


_BOUNDS = {
    Bound.MESSAGES: "{} messages in an hour",
    Bound.RECIPIENTS: "{} recipients in a day",
    Bound.FIRSTS: "{} people in a day whom you never wrote to before",
}


def _sender_names(named: dict[bytes, list[Field]]) -> tuple[bytes, ...]:
    """The fields that name who sends: of a message sent on, not the one of its first sending (RFC 5322 §3.6.6)."""
    return (b"resent-sender",) if b"resent-from" in named else (b"sender", b"resent-sender")


def _by_name(fields: Iterable[Field]) -> dict[bytes, list[Field]]:
    named: dict[bytes, list[Field]] = {}
    for field in fields:
        named.setdefault(field.name.lower(), []).append(field)
    return named


def _addresses(octets: bytes | mmap, fields: Iterable[Field]) -> tuple[Address | None, ...]:
    """The addresses in these fields; None for one that cannot be an address and so is nobody's."""
    values = [octets[field.value_start : field.stop] for field in fields]
    found = [(_read_addresses if len(value) > REMEMBERED_OCTETS else _same_addresses)(value) for value in values]
    return tuple(chain.from_iterable(found))


def _read_addresses(value: bytes) -> tuple[Address | None, ...]:
    return tuple(parse_address(item.addr_spec) for item in mailboxes(value))


_same_addresses = lru_cache(1024)(_read_addresses)  # the same people write again and again


async def _strangers(
    login: Login, authors: dict[bytes, tuple[Address | None, ...]], house: House
) -> set[Address | None]:
    """Those of the addresses that are not the user's."""
    asked = {address for addresses in authors.values() for address in addresses} - {login.address}
    known = {address for address in asked if address is not None}
    if not known:
        return asked
    return (asked - known) | await house.rights.strangers(login.account, frozenset(known), house.store)


def _missing(named: dict[bytes, list[Field]], login: Login, received: Millis, hostname: str) -> bytes:
    """The fields every message must have and this one has not (RFC 5322 §3.6, RFC 6409 §8.2, §8.3)."""
    lines = []
    if b"from" not in named:
        lines.append(f"From: <{login.address}>")
    if b"date" not in named:
        lines.append(f"Date: {format_rfc5322(received)}")
    if b"message-id" not in named:
        lines.append(f"Message-ID: <{token_hex(16)}@{hostname}>")
    return "".join(line + "\r\n" for line in lines).encode("utf-8")
