"""What the house itself has to say, made ready to go out with the transaction that it tells of."""

from dataclasses import replace
from typing import NamedTuple

from posthouse.mail.header import header_end
from posthouse.mail.ids import AccountId, Millis, Trail
from posthouse.store.blobs import NewBlob
from posthouse.store.emails import NewEmail
from posthouse.store.script import Script
from posthouse.transport.accept import TO_INBOX, Filing, Tell, accept, prepare
from posthouse.transport.bounce import Letter
from posthouse.transport.depart import Departing, Departures, departures
from posthouse.transport.encoding import encoded
from posthouse.transport.house import House
from posthouse.transport.resolve import sender_leads
from posthouse.transport.signing import above, signatures, times
from posthouse.transport.trace import return_path


class Ready(NamedTuple):
    """A letter that is described, hashed and addressed; large ones are durable already."""

    message: NewEmail | NewBlob
    accounts: tuple[AccountId, ...]
    leaving: Departures | None
    tell: Tell | None
    filing: Filing = TO_INBOX


async def make_ready(letter: Letter, trail: Trail, house: House, tell: Tell | None = None) -> Ready | None:
    """Find out where it goes; None where nobody has the address. Raises Unavailable."""
    leads = [await sender_leads(each.path.address, house) for each in letter.envelope.recipients]  # one: the sender
    accounts = tuple(sorted({account for way in leads for account in way.accounts}))
    front = return_path(letter.envelope) if accounts else b""
    now = house.clock()
    ways = departures(letter.envelope, leads, Departing(None, trail, house.patience))
    if not accounts and not ways:
        return None
    whole = front + (await _signed(letter.octets, now, house) if ways else letter.octets)
    message = await prepare(house.store, whole, now) if accounts else await house.store.blobs.put(whole)
    leaving = Departures(house.moment(now), tuple(replace(way, skip=len(front)) for way in ways))
    return Ready(message, accounts, leaving if ways else None, tell)


async def _signed(octets: bytes, now: Millis, house: House) -> bytes:
    """The house speaks by its own name, or by the domain above it. What is signed holds as long as mail waits."""
    keys = await house.signing.keys(above(house.hostname), house.store)
    if not keys.signers:
        return octets
    octets = await encoded(octets) or octets
    start = header_end(octets)
    when = times(now, house.patience.lifetime)
    return await signatures(octets[:start], (octets, start), keys.signers, when) + octets


def take_letters(letters: tuple[Ready, ...]) -> Script[None]:
    """Keep several, or none, in one transaction."""
    for letter in letters:  # inside one script, in the writer's thread
        yield from take_letter(letter)


def take_letter(letter: Ready) -> Script[None]:
    """Keep it, inside the transaction of what it tells of."""
    yield from accept(letter.message, letter.accounts, letter.leaving, letter.tell, letter.filing)
