"""Aliases that lead to other servers: in whose name mail is sent on, the way back, circles (RFC 5321 §3.9.1, §6.3).

The sender becomes an address of the alias's domain (mail/srs.py), so that the mail comes from a server that may send
for it; what is said of the delivery comes back here and is led on to the sender. A sender of this house stays as it is.
"""

import hmac
import re
from collections.abc import Sequence
from mmap import mmap

from posthouse.mail.address import Address, Domain, ReversePath
from posthouse.mail.envelope import Envelope
from posthouse.mail.ids import AccountId, Trail
from posthouse.mail.srs import restore, rewrite
from posthouse.transport.depart import Departing
from posthouse.transport.house import House
from posthouse.transport.route import Leads

DAY = 24 * 3_600_000  # milliseconds

_DELIVERED_TO = re.compile(rb"^delivered-to[ \t]*:[ \t]*<?([^\r\n>]{1,320})", re.IGNORECASE | re.MULTILINE)


async def departing(
    envelope: Envelope, leads: Sequence[Leads], account: AccountId | None, trail: Trail, house: House
) -> Departing:
    """How mail with this Envelope leaves the house. Raises Unavailable."""
    sender = envelope.sender.address
    if sender is None or not any(way.forwards for way in leads):
        return Departing(account, trail, house.patience)
    if await house.routes.is_local(sender.domain, house.store):
        return Departing(account, trail, house.patience)
    return Departing(account, trail, house.patience, lambda domain: _as_sender(sender, domain, house))


def _as_sender(sender: Address, domain: Domain, house: House) -> ReversePath:
    """Who sends on what an alias of this domain got; the sender itself where its address is too long for more."""
    return ReversePath(rewrite(sender, domain, _key(house), house.clock() // DAY) or sender)


def leads_back(address: Address, house: House) -> Address | None:
    """Whom mail to an address is for that `departing` made; None where it did not, or too long ago."""
    return restore(address, _key(house), house.clock() // DAY)


def _key(house: House) -> bytes:
    return hmac.digest(house.secret, b"srs", "sha256")


def circles(octets: bytes | mmap, header_stop: int, hostname: str, address: Address) -> bool:
    """Whether what an alias sends on has been there before: a Received field of ours, or a Delivered-To field of
    anybody, names the alias (RFC 5321 §6.3)."""
    name = re.escape(str(address).encode("utf-8"))
    ours = rb"\bby %b \(Posthouse\)[^;]{1,300}\bfor <%b>" % (re.escape(hostname.encode("utf-8")), name)
    head = octets[:header_stop]
    if re.search(ours, head, re.IGNORECASE):
        return True
    wanted = str(address).encode("utf-8").lower()
    return any(found.strip().lower() == wanted for found in _DELIVERED_TO.findall(head))
