"""What leaves the house: recipients on other servers, of users and of aliases that lead there (RFC 5321 §3.9)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Notify, OriginalRecipient, Recipient
from posthouse.mail.ids import AccountId, Trail
from posthouse.store.moment import Moment
from posthouse.store.queue import Outgoing, Patience
from posthouse.transport.route import Leads


class Departures(NamedTuple):
    """What goes into the queue, in the transaction that keeps the message."""

    at: Moment
    outgoing: tuple[Outgoing, ...]


def nobody_else(domain: Domain) -> ReversePath | None:
    """Mail that an alias sends on keeps its sender."""
    return None


class Departing(NamedTuple):
    """How a message leaves: whose submission it is, its journey, and who is named as the sender of what an alias of a
    domain sends on; None: who sent it."""

    account: AccountId | None
    trail: Trail
    patience: Patience = Patience()
    as_sender: Callable[[Domain], ReversePath | None] = nobody_else


def departures(envelope: Envelope, leads: Sequence[Leads], way: Departing) -> tuple[Outgoing, ...]:
    """The ways out: one for those whom a user writes to, one for those behind aliases who are here and have no room
    now, one for those elsewhere whom aliases of a domain lead to; `leads` says of each recipient where it led."""
    ways: list[Outgoing] = []
    pairs = list(zip(envelope.recipients, leads, strict=True))
    direct = tuple(recipient for recipient, leading in pairs if leading.leaves)
    if direct:
        ways.append(Outgoing(way.trail, replace(envelope, recipients=direct), way.account, patience=way.patience))
    waiting = tuple(_waiting(pairs))
    if waiting:
        ways.append(Outgoing(way.trail, replace(envelope, recipients=waiting), None, patience=way.patience))
    for domain, forwarded in _forwarded(pairs).items():
        sender = way.as_sender(domain) or envelope.sender
        onward = replace(envelope, sender=sender, recipients=tuple(forwarded))
        ways.append(Outgoing(way.trail, onward, None, patience=way.patience))
    return tuple(ways)


def _waiting(pairs: Iterable[tuple[Recipient, Leads]]) -> Iterator[Recipient]:
    """Those here who have no room now. Nothing leaves the house, so the sender stays as it is."""
    known: set[Address] = set()
    for recipient, leading in pairs:
        for address in leading.waits:
            if address not in known:
                known.add(address)
                yield forward(recipient, address, several=_several(leading))


def _several(leading: Leads) -> bool:
    return len(leading.onward) + len(leading.accounts) > 1


def _forwarded(pairs: Iterable[tuple[Recipient, Leads]]) -> dict[Domain, list[Recipient]]:
    """Those whom aliases lead to, by the domain of the alias."""
    found: dict[Domain, list[Recipient]] = {}
    known: set[tuple[Domain, Address]] = set()
    for recipient, leading in pairs:
        for address in leading.forwards:
            domain = recipient.path.address.domain
            if (domain, address) not in known:  # two aliases may lead to one
                known.add((domain, address))
                found.setdefault(domain, []).append(forward(recipient, address, several=_several(leading)))
    return found


def forward(recipient: Recipient, address: Address, *, several: bool) -> Recipient:
    """The recipient that an alias leads to; whom the sender wrote to goes along (RFC 3461 §5.2.7). Where it leads to
    several, its expansion is the success that was asked for, and nothing more is said of it (RFC 3461 §5.2.7.3)."""
    kind = "rfc822" if recipient.path.address.ascii else "utf-8"
    original = recipient.orcpt or OriginalRecipient(kind, str(recipient.path))
    notify = recipient.notify
    if several and notify is not None:
        notify -= {Notify.SUCCESS}
    return replace(recipient, path=ForwardPath(address), notify=notify, orcpt=original)
