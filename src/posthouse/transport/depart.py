"""What leaves the house: recipients on other servers, of users and of aliases that lead there (RFC 5321 §3.9)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from posthouse.mail.address import Address, ForwardPath
from posthouse.mail.envelope import Envelope, Notify, OriginalRecipient, Recipient
from posthouse.mail.ids import AccountId, Trail
from posthouse.store.moment import Moment
from posthouse.store.queue import Outgoing, Patience
from posthouse.transport.route import Leads


class Departures(NamedTuple):
    """What goes into the queue, in the transaction that keeps the message."""

    at: Moment
    outgoing: tuple[Outgoing, ...]


def departures(
    envelope: Envelope, leads: Sequence[Leads], account: AccountId | None, trail: Trail, patience: Patience
) -> tuple[Outgoing, ...]:
    """The ways out: one for those whom a user writes to, one for those whom aliases lead to; `leads` says of each
    recipient where it led."""
    ways: list[Outgoing] = []
    pairs = list(zip(envelope.recipients, leads, strict=True))
    direct = tuple(recipient for recipient, way in pairs if way.leaves)
    if direct:
        ways.append(Outgoing(trail, replace(envelope, recipients=direct), account, patience=patience))
    forwarded = tuple(
        forward(recipient, address, several=len(way.forwards) + len(way.accounts) > 1)
        for recipient, way in pairs
        for address in way.forwards
    )
    if forwarded:
        ways.append(Outgoing(trail, replace(envelope, recipients=forwarded), None, patience=patience))
    return tuple(ways)


def forward(recipient: Recipient, address: Address, *, several: bool) -> Recipient:
    """The recipient that an alias leads to; whom the sender wrote to goes along (RFC 3461 §5.2.7). Where it leads to
    several, its expansion is the success that was asked for, and nothing more is said of it (RFC 3461 §5.2.7.3)."""
    kind = "rfc822" if recipient.path.address.ascii else "utf-8"
    original = recipient.orcpt or OriginalRecipient(kind, str(recipient.path))
    notify = recipient.notify
    if several and notify is not None:
        notify -= {Notify.SUCCESS}
    return replace(recipient, path=ForwardPath(address), notify=notify, orcpt=original)
