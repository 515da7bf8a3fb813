"""The one bundle a worker makes and hands to its sessions: the store, who we are, and the limits of a transaction."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from secrets import token_bytes

from posthouse.mail.ids import Millis
from posthouse.store.moment import Moment, moment
from posthouse.store.queue import Patience
from posthouse.store.quota import Rules
from posthouse.store.removed import Removal
from posthouse.store.store import Store
from posthouse.transport.directory import Directory
from posthouse.transport.journey import Journey
from posthouse.transport.rights import Rights
from posthouse.transport.route import Routes
from posthouse.transport.signing import Signing
from posthouse.transport.spool import DiskSpace


class SmtpRole(Enum):
    """For whom a port listens."""

    MX = "mx"  # other servers, for our own domains (RFC 5321 §2.1)
    SUBMISSION = "submission"  # our users, STARTTLS first (RFC 6409 §3.1)
    SUBMISSIONS = "submissions"  # our users, TLS from the first octet (RFC 8314 §3.3)
    LMTP = "lmtp"  # a trusted server in front of us (RFC 2033)


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """What one message and one transaction may be. Octets and counts; every one is settable."""

    message_size: int = 50 * 1024 * 1024  # announced by SIZE (RFC 1870 §4)
    recipients: int = 1_000  # RFC 5321 §4.5.3.1.8 asks for 100
    header_size: int = 1024 * 1024  # real headers end at about 100 KiB; nothing is ever cut
    field_size: int = 256 * 1024  # a To of 2,000 addresses fits
    header_fields: int = 2_000  # a list of 50 relays with ARC sets has some 500
    received_fields: int = 50  # loops end here (RFC 5321 §6.3); long honest ways have 20
    spool_above: int = 256 * 1024  # larger messages wait in a file, not in memory


class ForgedNotices(Enum):
    """What becomes of notices about mail that was not sent from here (decision 0087)."""

    JUNK = "junk"  # they are filed in Junk
    REFUSE = "refuse"
    ACCEPT = "accept"  # they are mail as any other


@dataclass(frozen=True, slots=True)
class SubmissionRules:
    """What users may wish of their mail. Settable."""

    highest_priority: int = 4  # MT-PRIORITY (RFC 6710 §4.1): urgent, as X.400 has it; 9 is for who runs the server
    longest_hold: int = 31 * 24 * 3600  # seconds of FUTURERELEASE (RFC 4865 §3)


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """How quotas are kept. `permanent`: mail for a full mailbox is refused for good (552) and not for now (452).
    `warnings`: the percentages at which users are warned, ascending. `administrators`: who may set quotas by IMAP, as
    access control lists have them."""

    rules: Rules = field(default_factory=Rules)
    permanent: bool = False
    warnings: tuple[int, ...] = (80, 95)
    administrators: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class House:
    """Everything transport needs, made once by the worker (architecture.md).

    `hostname` is our name in the greeting and in Received (RFC 5321 §4.1.3); `clock` is the wall clock; `tls` is the
    context STARTTLS uses, or None where there is no certificate. `allow_plaintext_login` offers AUTH without TLS: for
    tests and loopback only. `add_sender` decides what happens to a user's message whose From is not theirs: refused
    (False), or a Sender field names them (RFC 6409 §8.1). `unauthenticate` offers UNAUTHENTICATE (RFC 8437 §8).
    `withheld` are IMAP capabilities that are not announced (docs/quirks.md). `leave`: users may send to other servers,
    and aliases lead there. `moment` adds to the wall clock what nobody can set (store/moment.py). `secret`
    is the same in all workers, and for ever. `dsn_for_strangers` offers DSN to other servers. `keep_removed`: what is
    removed may come back (store/removed.py). `directory`: users who are known elsewhere.
    """

    store: Store
    hostname: str
    clock: Callable[[], Millis]
    tls: ssl.SSLContext | None = None
    limits: MessageLimits = field(default_factory=MessageLimits)
    allow_plaintext_login: bool = False
    add_sender: bool = False
    unauthenticate: bool = True
    disk: DiskSpace = field(default_factory=DiskSpace)
    routes: Routes = field(default_factory=Routes)
    rights: Rights = field(default_factory=Rights)
    journey: Journey = field(default_factory=Journey)
    signing: Signing = field(default_factory=Signing)
    withheld: frozenset[str] = frozenset()
    leave: bool = True
    patience: Patience = field(default_factory=Patience)
    moment: Callable[[Millis], Moment] = moment
    submission: SubmissionRules = SubmissionRules()
    forged_notices: ForgedNotices = ForgedNotices.JUNK
    dsn_for_strangers: bool = True
    secret: bytes = field(default_factory=lambda: token_bytes(32))
    keep_removed: bool = True
    quota: QuotaPolicy = QuotaPolicy()
    directory: Directory | None = None

    @property
    def spool(self) -> Path:
        """Where large messages wait while they are received."""
        return self.store.spool

    def removal(self, agent: str) -> Removal | None:
        """What is removed now, by whom or what; None where that ends it at once."""
        return Removal(self.clock(), agent) if self.keep_removed else None
