"""What one SMTP or LMTP session holds: who is there, how far they are, how many mistakes they made (RFC 5321 §3)."""

from dataclasses import dataclass, field

from posthouse.mail.envelope import Envelope, Recipient
from posthouse.mail.ids import Trail
from posthouse.mail.status import Reply
from posthouse.net.link import Link
from posthouse.serve.caller import offer
from posthouse.serve.limits import SessionLimits
from posthouse.serve.login import Door
from posthouse.serve.standing import Standing
from posthouse.transport.client import Client
from posthouse.transport.house import House, SmtpRole
from posthouse.transport.route import Leads
from posthouse.transport.spool import Spool
from posthouse.wire.sasl import Offer
from posthouse.wire.smtp import command
from posthouse.wire.smtp.order import State
from posthouse.wire.smtp.server import SmtpServer


@dataclass(frozen=True, slots=True)
class Wishes:
    """What MAIL asked for. `release`: not before this moment, 0 for at once; `lowered`: the priority is less than was
    asked for."""

    envelope: Envelope  # without recipients
    release: int = 0
    lowered: bool = False


@dataclass(slots=True)
class Transaction:
    """One message on its way in: from MAIL to the final dot (RFC 5321 §3.3)."""

    mail: command.Mail
    wishes: Wishes
    trail: Trail
    most: int  # recipients
    recipients: list[Recipient] = field(default_factory=list)
    leads: list[Leads] = field(default_factory=list)  # of each of them
    refused: int = 0  # recipients beyond the limit
    spool: Spool | None = None
    fault: Reply | None = None  # why the message cannot be kept, found while it was still coming


@dataclass(slots=True)
class Session:
    """One connection: who is there, how far they are, and how many mistakes they made."""

    link: Link
    house: House
    door: Door
    role: SmtpRole
    usual: SessionLimits
    engine: SmtpServer
    client: Client
    began: float
    standing: Standing
    trails: list[Trail] = field(default_factory=list)  # of messages that the journal tells of
    refusals: int = 0  # that the journal was told of
    transaction: Transaction | None = None
    errors: int = 0
    junk: int = 0
    transactions: int = 0
    unknown: int = 0
    failed_logins: int = 0
    window_began: float = 0.0  # of the octets counted in `window_size`: is DATA coming fast enough?
    window_size: int = 0
    several: tuple[Reply, ...] = ()  # by LMTP: what each recipient of the message is told (RFC 2033 §4.2)

    @property
    def offer(self) -> Offer:
        """The SASL mechanisms of this connection."""
        return offer(self.link, self.door.withheld, bearer=self.door.tokens is not None)

    @property
    def stranger(self) -> bool:
        """Neither a user nor the server in front of us."""
        return self.client.login is None and not self.client.lmtp

    @property
    def limits(self) -> SessionLimits:
        """What holds now."""
        return self.door.peers.patience(self.client.ip, self.usual) if self.stranger else self.usual

    @property
    def silence(self) -> float:
        """How long the peer may say nothing now, in seconds. It is asked for EHLO sooner than RFC 5321 §4.5.3.2.7
        wishes for a command: who connects to say nothing holds a place that others want."""
        seconds = self.limits.command_seconds
        waiting = self.engine.state is State.START and not self.client.lmtp
        return min(seconds, self.usual.greeting_seconds) if waiting else seconds


def forget(talk: Session) -> None:
    """End the transaction without a message (RFC 5321 §4.1.1.5); nothing of it stays."""
    if talk.transaction is not None and talk.transaction.spool is not None:
        talk.transaction.spool.close()
    talk.transaction = None
