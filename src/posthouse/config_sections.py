"""The sections of the settings file, as frozen values. docs/operate/settings.md has a line for each."""

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from posthouse.config_directory import DirectorySection
from posthouse.config_login import LoginSettings
from posthouse.config_octets import Octets
from posthouse.config_out import RelaySection, SendingSection
from posthouse.config_quota import QuotaSection

MANY_WORKERS = 64  # workers by default at most: beyond it one writes for all and the others wait

MANY_LEVELS = 100  # of search keys inside each other: they are read by recursion

Count = Annotated[int, Meta(ge=1)]
Percent = Annotated[int, Meta(ge=1, le=100)]
Seconds = Annotated[float, Meta(gt=0, le=10_000_000)]  # TOML has inf, and that would be no limit


def millis(seconds: float) -> int:
    """A time of the settings for who counts in milliseconds; never 0."""
    return max(1, int(seconds * 1000))


class Listen(Struct, frozen=True):
    """Where to listen: every address (`host` "*"), one address, or a Unix socket at `path`."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Smtp(Struct, frozen=True):
    """Mail from other servers (RFC 5321)."""

    listen: tuple[Listen, ...] = (Listen("*", 25),)
    forged_notices: Literal["junk", "refuse", "accept"] = "junk"
    dsn: bool = True


class Submission(Struct, frozen=True):
    """Mail from our users (RFC 6409, RFC 8314)."""

    listen: tuple[Listen, ...] = (Listen("*", 587),)
    listen_tls: tuple[Listen, ...] = (Listen("*", 465),)
    add_sender: bool = False
    highest_priority: Annotated[int, Meta(ge=-9, le=9)] = 4
    longest_hold_seconds: Annotated[int, Meta(ge=1, le=999_999_999)] = 31 * 24 * 3600


class Imap(Struct, frozen=True):
    """Reading mail (RFC 9051)."""

    listen: tuple[Listen, ...] = (Listen("*", 143),)
    listen_tls: tuple[Listen, ...] = (Listen("*", 993),)
    unauthenticate: bool = True
    withheld: tuple[str, ...] = ()


class Pop3(Struct, frozen=True):
    """Fetching mail (RFC 1939)."""

    listen: tuple[Listen, ...] = (Listen("*", 110),)
    listen_tls: tuple[Listen, ...] = (Listen("*", 995),)


class Lmtp(Struct, frozen=True):
    """Mail from a trusted server in front of us (RFC 2033)."""

    listen: tuple[Listen, ...] = (Listen(path="run/lmtp.sock"),)


class QueueSection(Struct, frozen=True):
    """Mail on its way to other servers (RFC 5321 §4.5.4)."""

    leave: bool = True
    attempts: Count = 50
    destination_connections: Count = 20
    first_retry_seconds: Seconds = 300.0
    longest_retry_seconds: Seconds = 7_200.0
    delay_notice_seconds: Seconds = 4 * 3_600.0
    lifetime_seconds: Seconds = 5 * 24 * 3_600.0
    failures: Count = 3
    first_rest_seconds: Seconds = 60.0
    longest_rest_seconds: Seconds = 7_200.0
    lease_seconds: Seconds = 25.0


class Certificate(Struct, frozen=True):
    """A certificate chain and its key, PEM."""

    certificate: str
    key: str


class Tls(Struct, frozen=True):
    """Certificates; without any, a self-signed one is made in the data directory."""

    certificates: tuple[Certificate, ...] = ()


class Dns(Struct, frozen=True):
    """Who is asked for names and records (RFC 1035)."""

    servers: tuple[str, ...] = ()
    trust: Literal["loopback", "all", "none"] = "loopback"


class Log(Struct, frozen=True):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Journal(Struct, frozen=True):
    """The journey of messages, for `posthouse trace` and `posthouse why`."""

    days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    wire_days: Annotated[int, Meta(ge=1, le=36_500)] = 7


class RetentionSection(Struct, frozen=True):
    """How long what nobody wants is kept. Here 0 days have a meaning: messages stay, or go at once."""

    trash_days: Annotated[int, Meta(ge=0, le=36_500)] = 30
    junk_days: Annotated[int, Meta(ge=0, le=36_500)] = 30
    removed_days: Annotated[int, Meta(ge=0, le=36_500)] = 30
    removed_size: Octets = Octets(10 * 1024 * 1024 * 1024)
    room: Octets = Octets(256 * 1024 * 1024)


class MessageSection(Struct, frozen=True):
    """What one message and one transaction may be."""

    message_size: Octets = Octets(50 * 1024 * 1024)
    recipients: Count = 1_000
    header_size: Octets = Octets(1024 * 1024)
    field_size: Octets = Octets(256 * 1024)
    header_fields: Count = 2_000
    received_fields: Count = 50
    spool_above: Octets = Octets(256 * 1024)


class PeerSection(Struct, frozen=True):
    """What one IP address (IPv4 /32, IPv6 /64) or user may do, over all workers."""

    smtp_connections: Count = 50
    imap_connections: Count = 100
    imap_connections_of_user: Count = 20
    pop3_connections: Count = 100
    pop3_connections_of_user: Count = 20
    new_connections: Count = 300
    new_connections_wide: Count = 900
    unknown_recipients: Count = 60
    unknown_recipients_seconds: Count = 600
    login_failures_minute: Count = 10
    login_failures_day: Count = 50
    account_failures_hour: Count = 100
    domain_failures_hour: Count = 1_000
    messages_hour: Count = 200
    recipients_day: Count = 2_000
    first_recipients_day: Count = 500
    offences: Count = 3
    recipients_of_offender: Count = 100
    rate_refusal_seconds: Seconds = 1.0
    refusal_seconds: Seconds = 2.0
    slow_refusal_seconds: Seconds = 15.0
    exempt_loopback: bool = False


class SessionSection(Struct, frozen=True):
    """What one SMTP session may do."""

    soft_errors: Count = 5
    hard_errors: Count = 20
    error_delay_seconds: Seconds = 1.0
    error_delay_most_seconds: Seconds = 10.0
    junk_commands: Count = 100
    transactions: Count = 1_000
    age_seconds: Seconds = 3_600.0
    unknown_recipients: Count = 20
    login_failures: Count = 3
    command_seconds: Seconds = 300.0
    greeting_seconds: Seconds = 30.0
    slow_window_seconds: Seconds = 60.0
    slow_octets: Octets = Octets(1_024)
    command_line: Octets = Octets(4_096)
    auth_line: Octets = Octets(12_288)
    swallowed: Octets = Octets(65_536)
    text_line: Octets = Octets(1024 * 1024)
    discarded: Octets = Octets(256 * 1024 * 1024)


class ImapSection(Struct, frozen=True):
    """What one IMAP session may do."""

    before_login_seconds: Seconds = 60.0
    sasl_seconds: Seconds = 180.0
    idle_seconds: Seconds = 35 * 60.0
    login_failures: Count = 3
    append_size: Octets = Octets(100 * 1024 * 1024)
    append_messages: Count = 1_000
    messages: Count = 1_000_000
    line: Octets = Octets(65_536)
    line_before_login: Octets = Octets(8_192)
    literal: Octets = Octets(65_536)
    literal_before_login: Octets = Octets(4_096)
    literals: Count = 500
    command: Octets = Octets(1024 * 1024)
    search_depth: Annotated[int, Meta(ge=1, le=MANY_LEVELS)] = 50
    search_keys: Count = 1_000
    number_ranges: Count = 10_000
    contexts: Count = 10


class Pop3Section(Struct, frozen=True):
    """What one POP3 session may do."""

    before_login_seconds: Seconds = 60.0
    sasl_seconds: Seconds = 180.0
    idle_seconds: Seconds = 600.0
    login_failures: Count = 3
    mistakes: Count = 50
    line: Octets = Octets(1_024)


class LinkSection(Struct, frozen=True):
    """What one connection of any service may take."""

    handshake_seconds: Seconds = 30.0
    stall_seconds: Seconds = 300.0
    high_water: Octets = Octets(1024 * 1024)


class SendSection(Struct, frozen=True):
    """How long other servers are waited for, and how long a connection to them is used."""

    connect_seconds: Seconds = 30.0
    hello_seconds: Seconds = 300.0
    handshake_seconds: Seconds = 30.0
    mail_seconds: Seconds = 300.0
    rcpt_seconds: Seconds = 300.0
    data_seconds: Seconds = 120.0
    block_seconds: Seconds = 180.0
    dot_seconds: Seconds = 600.0
    attempt_seconds: Seconds = 3_600.0
    idle_seconds: Seconds = 10.0
    transactions: Count = 100
    age_seconds: Seconds = 300.0


class DnsSection(Struct, frozen=True):
    """How long the DNS is waited for, and how much of it is remembered."""

    try_seconds: Seconds = 2.0
    tries: Count = 3
    name_seconds: Seconds = 10.0
    questions: Count = 200
    cache_size: Octets = Octets(16 * 1024 * 1024)


class WorkerSection(Struct, frozen=True):
    """What one worker may hold."""

    connections: Count = 5_000
    reserved_descriptors: Count = 200
    memory: Octets = Octets(1024 * 1024 * 1024)
    restart_percent: Percent = 95
    hash_threads: Count = 2
    hash_queue: Count = 32


class StressSection(Struct, frozen=True):
    """When a worker is under stress, and what strangers may then do."""

    connections_percent: Percent = 80
    memory_percent: Percent = 80
    commit_seconds: Seconds = 2.0
    greeting_seconds: Seconds = 1.0
    calm_seconds: Seconds = 60.0
    command_seconds: Seconds = 10.0
    errors: Count = 1
    junk_commands: Count = 1
    recipients: Count = 100


class Limits(Struct, frozen=True):
    """Everything a stranger could use too much of."""

    message: MessageSection = MessageSection()
    peer: PeerSection = PeerSection()
    session: SessionSection = SessionSection()
    imap: ImapSection = ImapSection()
    pop3: Pop3Section = Pop3Section()
    link: LinkSection = LinkSection()
    send: SendSection = SendSection()
    worker: WorkerSection = WorkerSection()
    stress: StressSection = StressSection()
    dns: DnsSection = DnsSection()


class Settings(Struct, frozen=True):
    """The whole file. Paths are absolute, `hostname` is never empty."""

    hostname: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{0,253}$")] = ""
    data: str = ""
    workers: Annotated[int, Meta(ge=1, le=256)] = min(os.cpu_count() or 1, MANY_WORKERS)
    user: str = ""
    drain_seconds: Seconds = 10.0
    heartbeat_seconds: Seconds = 30.0
    smtp: Smtp = Smtp()
    submission: Submission = Submission()
    imap: Imap = Imap()
    pop3: Pop3 = Pop3()
    lmtp: Lmtp = Lmtp()
    queue: QueueSection = QueueSection()
    tls: Tls = Tls()
    dns: Dns = Dns()
    relay: RelaySection = RelaySection()
    sending: SendingSection = SendingSection()
    login: LoginSettings = LoginSettings()
    directory: DirectorySection = DirectorySection()
    log: Log = Log()
    journal: Journal = Journal()
    retention: RetentionSection = RetentionSection()
    quota: QuotaSection = QuotaSection()
    limits: Limits = Limits()

    @property
    def folder(self) -> Path:
        """The data directory."""
        return Path(self.data)

    def listeners(self) -> dict[str, tuple[Listen, ...]]:
        """Service name -> where it listens. The names are those worker.py knows."""
        return {
            "smtp": self.smtp.listen,
            "submission": self.submission.listen,
            "submissions": self.submission.listen_tls,
            "imap": self.imap.listen,
            "imaps": self.imap.listen_tls,
            "pop3": self.pop3.listen,
            "pop3s": self.pop3.listen_tls,
            "lmtp": self.lmtp.listen,
        }
