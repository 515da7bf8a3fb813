"""Settings: one TOML file, checked whole, as frozen values. docs/operate/settings.md has a line for each.

Everything has a default, so the file may be empty. `POSTHOUSE__SMTP__LISTEN='[2525]'` in the environment overrides
`smtp.listen`; its value is TOML, or plain text where that is no TOML. No limit can be turned off: 0 is refused.
"""

import difflib
import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from posthouse.config_out import RelaySection, SendingSection, settle_relay, settle_sending
from posthouse.config_out import problems as problems_out
from posthouse.net.nameservers import Trust, servers_of

ENVIRONMENT = "POSTHOUSE__"
FILE_VARIABLE = "POSTHOUSE_CONFIG"  # names the file where `--config` does not
SETTINGS_FILE = 1024 * 1024  # octets; more is no settings file
MANY_WORKERS = 64  # workers by default at most: beyond it one writes for all and the others wait

MANY_LEVELS = 100  # of search keys inside each other: they are read by recursion

Count = Annotated[int, Meta(ge=1)]
Percent = Annotated[int, Meta(ge=1, le=100)]
Seconds = Annotated[float, Meta(gt=0, le=10_000_000)]  # TOML has inf, and that would be no limit


def millis(seconds: float) -> int:
    """A time of the settings for who counts in milliseconds; never 0."""
    return max(1, int(seconds * 1000))


class Octets(int):
    """A size in octets; in the file also text such as "50 MiB"."""


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


class LoginSettings(Struct, frozen=True):
    """How users log in."""

    allow_plaintext: bool = False


class Log(Struct, frozen=True):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Journal(Struct, frozen=True):
    """The journey of messages, for `posthouse trace` and `posthouse why`."""

    days: Annotated[int, Meta(ge=1, le=36_500)] = 30
    wire_days: Annotated[int, Meta(ge=1, le=36_500)] = 7


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
    log: Log = Log()
    journal: Journal = Journal()
    limits: Limits = Limits()

    @property
    def directory(self) -> Path:
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


class ConfigError(Exception):
    """The settings cannot be used. `problems` has a sentence for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# --- from the file to values


def default_file() -> Path:
    """Where the file is when nobody says: $POSTHOUSE_CONFIG, /etc/posthouse, or the user's own folder."""
    named = os.environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/etc/posthouse/posthouse.toml")
    from platformdirs import user_config_path  # only where it is needed: it costs an import

    return user_config_path("posthouse") / "posthouse.toml"


def default_data() -> Path:
    """Where mail is kept when nobody says."""
    if os.geteuid() == 0:
        return Path("/var/lib/posthouse")
    from platformdirs import user_data_path

    return user_data_path("posthouse")


def load(file: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file (None: the default file, which need not be there unless $POSTHOUSE_CONFIG names it).
    Raises ConfigError."""
    wanted = file is not None or bool(os.environ.get(FILE_VARIABLE))
    file = (file or default_file()).absolute()
    table: dict[str, Any] = {}
    if wanted or file.exists():
        table = read_table(file)
    try:
        return settle(override(table, environment), file.parent)
    except ConfigError as error:
        raise ConfigError([f"{file}: {problem}" for problem in error.problems]) from error


def read_table(file: Path) -> dict[str, Any]:
    """The file as TOML. Raises ConfigError."""
    try:
        with file.open("rb") as stream:
            octets = stream.read(SETTINGS_FILE + 1)
        if len(octets) > SETTINGS_FILE:
            raise ConfigError([f"{file}: this is larger than a settings file can be (1 MiB)"])
        return tomllib.loads(octets.decode("utf-8"))
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: not UTF-8 text (octet {error.start + 1})"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{file}: not valid TOML: {error}"]) from error


def override(table: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """The table with what the environment says in its place: POSTHOUSE__LOG__LEVEL=debug."""
    result = json.loads(json.dumps(table, default=str))
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT):
            continue
        *sections, key = name.removeprefix(ENVIRONMENT).lower().split("__")
        place = result
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError([f"{name} in the environment: {section} is not a table"])
            place = inner
        place[key] = _toml_value(text)
    return dict(result)


def _toml_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def settle(table: Mapping[str, Any], folder: Path = Path("/")) -> Settings:
    """Values from a table, all problems found at once. Relative paths begin at `folder`. Raises ConfigError."""
    problems: list[str] = []
    settings = _section(table, Settings, "", problems)
    if problems:
        raise ConfigError(problems)
    assert isinstance(settings, Settings)
    problems += problems_out(settings.relay, settings.sending)
    try:
        servers_of(settings.dns.servers, Trust(settings.dns.trust))
    except ValueError as error:
        problems.append(f"dns.servers: {error}; an IP address is expected, with or without a port")
    if problems:
        raise ConfigError(problems)
    return msgspec.structs.replace(
        settings,
        hostname=settings.hostname.rstrip(".") or socket.gethostname(),
        data=str(folder / settings.data if settings.data else default_data()),
        relay=settle_relay(settings.relay, folder),
        sending=settle_sending(settings.sending, folder),
        tls=Tls(
            tuple(Certificate(str(folder / c.certificate), str(folder / c.key)) for c in settings.tls.certificates)
        ),
    )


def _section(value: object, kind: type[Struct], path: str, problems: list[str]) -> Struct | None:
    if not isinstance(value, Mapping):
        problems.append(f"{path}: expected a table, got {_shown(value)}")
        return None
    before = len(problems)
    prefix = f"{path}." if path else ""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    problems += [_unknown(prefix, key, list(fields)) for key in value if key not in fields]
    found = {}
    for name, field in fields.items():
        if name in value:
            found[name] = _value(value[name], field.type, prefix + name, problems)
        elif field.required:
            problems.append(f"{prefix}{name}: missing")
    return kind(**found) if len(problems) == before else None


def _value(value: object, kind: Any, path: str, problems: list[str]) -> object:
    if kind is Listen or kind is Octets:
        return _spelled(value, kind, path, problems)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _section(value, kind, path, problems)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            problems.append(f"{path}: expected a list, got {_shown(value)}")
            return ()
        one = get_args(kind)[0]
        return tuple(_value(each, one, f"{path}[{index}]", problems) for index, each in enumerate(value))
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append(f"{path}: {_worded(str(error), kind)}, got {_shown(value)}")
        return None


def _spelled(value: object, kind: Any, path: str, problems: list[str]) -> object:
    found = parse_listen(value) if kind is Listen else parse_octets(value)
    if found is None:
        wanted = 'a port (1 to 65535), "address:port" or "unix:path"' if kind is Listen else 'octets, such as "50 MiB"'
        problems.append(f"{path}: expected {wanted}, got {_shown(value)}")
    return found


def _unknown(prefix: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {prefix}{close[0]}?" if close else f"known here: {', '.join(known)}"
    return f"{prefix}{key}: unknown setting; {hint}"


def _shown(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)[:80]


_WORDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}


def _worded(message: str, kind: Any) -> str:
    """msgspec's "Expected `int` >= 1" for people."""
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(base) is Literal:
        return f"expected one of {', '.join(get_args(base))}"
    if "matching regex" in message:
        return "expected a host name such as mail.example.org"
    words = _WORDS.get(getattr(base, "__name__", ""), "another kind of value")
    bound = re.search(r"`(?:int|float)` (>=|>|<=) ([\d.]+)", message)
    if bound is None:
        return f"expected {words}"
    return f"expected {words} {({'>=': 'of at least', '>': 'above', '<=': 'of at most'})[bound[1]]} {bound[2]}"


_SIZE = re.compile(r"(\d+) ?(|[KMG]i?B)", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1000, "ki": 1024, "m": 1000**2, "mi": 1024**2, "g": 1000**3, "gi": 1024**3}


def parse_octets(value: object) -> Octets | None:
    """A size: a whole number above 0, or text such as "50 MiB"; None where it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Octets(value) if value > 0 else None
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    return Octets(int(match[1]) * _FACTORS[match[2].lower().removesuffix("b")]) if int(match[1]) else None


def parse_listen(value: object) -> Listen | None:
    """Where to listen: 25, "25", "127.0.0.1:25", "[::1]:25", "*:25" or "unix:run/lmtp.sock"; None otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Listen("*", value) if 0 < value < 65536 else None
    if not isinstance(value, str):
        return None
    if value.startswith("unix:"):
        return Listen(path=value.removeprefix("unix:")) if len(value) > len("unix:") else None
    host, _, port = value.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return None
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return None
    return Listen(host or "*", int(port))
