"""What the tests of sending share: an item of the queue, a Sender for servers on this machine, short patience."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from mmap import mmap

from fakes import START
from posthouse.mail.address import Address, Domain, ForwardPath, ReversePath
from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import Trail
from posthouse.mail.outcome import Action, Outcome
from posthouse.transport.connection import Sending, SendLimits
from posthouse.transport.send import Sender
from posthouse.transport.target import Target, Unreachable
from sink import Sink

WORK = Domain("work.test")
TRAIL = Trail("0123456789abcdef")
ANNA = ReversePath(Address("anna", Domain("home.test")))
MESSAGE = b"Subject: hello\r\n\r\n.dot\r\n..two\r\nbye\r\n"


def seconds(**each: float) -> SendLimits:
    """Limits with so many seconds for the steps named, and 5 for the others."""
    waits = ("connect", "hello", "handshake", "mail", "rcpt", "data", "block", "dot", "idle")
    return SendLimits(**{f"{step}_seconds": each.get(step, 5.0) for step in waits})  # type: ignore[arg-type]


HASTY = seconds(hello=0.4, mail=0.4, rcpt=0.4, data=0.4, block=0.6, dot=0.4, connect=2, handshake=2)


def to(name: str) -> Recipient:
    """A recipient at work.test."""
    return Recipient(ForwardPath(Address(name, WORK)))


@dataclass(frozen=True)
class Item:
    """As the queue has it."""

    envelope: Envelope
    destination: Domain = WORK
    trail: Trail = TRAIL


def item(*names: str, sender: ReversePath = ANNA) -> Item:
    """A message of anna's to these at work.test."""
    return Item(Envelope(sender, tuple(map(to, names or ("ben",)))))


@dataclass
class Rig:
    """A Sender, and the servers it finds."""

    sender: Sender
    targets: list[Target] = field(default_factory=list)

    async def send(self, one: Item, octets: bytes | mmap = MESSAGE) -> tuple[Outcome, ...]:
        """One attempt."""
        return await self.sender.attempt(one, octets)

    async def outcome(self, octets: bytes | mmap = MESSAGE) -> Outcome:
        """Of one attempt to one recipient."""
        [found] = await self.send(item(), octets)
        return found


def target(server: Sink, host: str = "mx.test") -> Target:
    """How the server is found."""
    return Target(host, (server.host,), server.port)


@contextlib.asynccontextmanager
async def rig(
    *servers: Sink | Target, limits: SendLimits | None = None, sending: Sending | None = None
) -> AsyncIterator[Rig]:
    """A Sender for these servers, the first preferred."""
    targets = [one if isinstance(one, Target) else target(one, f"mx{at}.test") for at, one in enumerate(servers)]

    async def find(domain: Domain, envelope: Envelope) -> tuple[Target, ...] | Unreachable:
        return tuple(made.targets)

    sender = Sender(find, replace(sending or Sending("us.test"), limits=limits or seconds()), lambda: START)
    made = Rig(sender, [replace(one, preference=at) for at, one in enumerate(targets)])
    try:
        yield made
    finally:
        await sender.close()


def brief(outcomes: Sequence[Outcome]) -> list[tuple[Action, str, str]]:
    """Action, where and status."""
    return [(one.action, one.where, str(one.status)) for one in outcomes]
