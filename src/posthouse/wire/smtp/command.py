"""SMTP and LMTP commands as values, and the events of `SmtpServer`.

RFC 5321 §4.1, RFC 2033 §4, RFC 3030 §2, RFC 4954 §4, RFC 4468 §3.2.

Each event says in its docstring how many replies the engine expects before it is asked for the next event. `parse.py`
reads them from lines; which may come when is known to `server.py`.

It does NOT say what a value means: a moment in the future, a user, a URL are looked at above.
"""

from dataclasses import dataclass

from posthouse.mail.address import ForwardPath, ReversePath
from posthouse.mail.envelope import BodyType, DsnReturn, Notify, OriginalRecipient
from posthouse.mail.ids import Millis
from posthouse.mail.status import Reply


@dataclass(frozen=True, slots=True)
class Ehlo:
    """EHLO (RFC 5321 §4.1.1.1). `name` is what the client calls itself, as it was written: a domain, a literal or junk
    without blanks. One reply; a positive one ends any transaction (§4.1.4)."""

    name: str


@dataclass(frozen=True, slots=True)
class Helo:
    """HELO (RFC 5321 §4.1.1.1). As Ehlo, but the client knows no extensions."""

    name: str


@dataclass(frozen=True, slots=True)
class Lhlo:
    """LHLO, LMTP's EHLO (RFC 2033 §4.1)."""

    name: str


@dataclass(frozen=True, slots=True)
class By:
    """BY= of MAIL as it was written (RFC 2852 §4)."""

    seconds: int  # by-time: from now on; less than 0 where it is over already
    give_back: bool  # by-mode R, else N
    trace: bool  # by-trace T


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL (RFC 5321 §4.1.1.2). One reply; a positive one begins the transaction."""

    path: ReversePath
    size: int | None = None  # SIZE= in octets, never above the message size limit (RFC 1870 §4)
    body: BodyType = BodyType.SEVEN_BIT  # BODY= (RFC 6152 §3)
    utf8: bool = False  # SMTPUTF8 (RFC 6531 §3.4)
    auth: str | None = None  # AUTH= decoded from xtext; "<>" when unknown (RFC 4954 §5)
    ret: DsnReturn | None = None  # RET= (RFC 3461 §4.3)
    envid: str | None = None  # ENVID= decoded from xtext (RFC 3461 §4.4)
    require_tls: bool = False  # REQUIRETLS (RFC 8689 §2)
    priority: int | None = None  # MT-PRIORITY= (RFC 6710 §3)
    by: By | None = None  # BY= (RFC 2852 §4)
    hold_for: int | None = None  # HOLDFOR=, in seconds (RFC 4865 §4)
    hold_until: Millis | None = None  # HOLDUNTIL=, never beside HOLDFOR (RFC 4865 §4)


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT (RFC 5321 §4.1.1.3). One reply; a positive one adds the recipient."""

    path: ForwardPath
    notify: frozenset[Notify] | None = None  # NOTIFY=; empty for NEVER (RFC 3461 §4.1)
    orcpt: OriginalRecipient | None = None  # ORCPT= decoded (RFC 3461 §4.2, RFC 6533 §3)


@dataclass(frozen=True, slots=True)
class Data:
    """DATA (RFC 5321 §4.1.1.4). One reply: 354 lets the content come as Octets and DataEnded; any other does not."""


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT (RFC 3030 §2): `size` octets follow as Octets, then ChunkEnded or (`last`) DataEnded. No reply now."""

    size: int
    last: bool


@dataclass(frozen=True, slots=True)
class Burl:
    """BURL (RFC 4468 §3.2): the content, or a chunk of it, is what the URL names; the session fetches it and says so by
    `engine.fetched`. One reply; a positive one to `last` ends the message."""

    url: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class Rset:
    """RSET (RFC 5321 §4.1.1.5). One reply; a positive one ends any transaction."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP (RFC 5321 §4.1.1.9). One reply."""


@dataclass(frozen=True, slots=True)
class Help:
    """HELP (RFC 5321 §4.1.1.8), whatever about. One reply."""


@dataclass(frozen=True, slots=True)
class Vrfy:
    """VRFY (RFC 5321 §4.1.1.6), whoever is meant. One reply."""


@dataclass(frozen=True, slots=True)
class Expn:
    """EXPN (RFC 5321 §4.1.1.7), whatever list is meant. One reply."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT (RFC 5321 §4.1.1.10). One reply, after which the engine reads nothing more."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS (RFC 3207 §4). One reply; after 220 the session calls `engine.starttls()` and speaks TLS."""


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH (RFC 4954 §4). `mechanism` in upper case, `initial` decoded from base64, b"" for "=", None when absent.
    One reply: 334 (`reply.challenge`) lets an AuthLine come, 235 ends it well, any other ends it badly."""

    mechanism: str
    initial: bytes | None = None


@dataclass(frozen=True, slots=True)
class AuthLine:
    """The client's answer to 334, decoded; None when it cancelled with "*" (RFC 4954 §4). One reply, as for Auth."""

    octets: bytes | None


@dataclass(frozen=True, slots=True)
class Octets:
    """Content of the message, in order, dots already removed (RFC 5321 §4.5.2). No reply."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ChunkEnded:
    """A chunk that was not the last is here (RFC 3030 §2). One reply: `fault` if there is one, or 250, or a refusal."""

    fault: Reply | None = None


@dataclass(frozen=True, slots=True)
class DataEnded:
    """The message is complete: after the final dot, or the last chunk. With a `fault` nothing of it may be kept and the
    fault is the reply. One reply; in LMTP mode one reply for each accepted recipient, in order (RFC 2033 §4.2)."""

    fault: Reply | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A mistake of the peer: wrong syntax, wrong order, a limit passed. One reply: this one."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Unknown:
    """A verb this server does not know (RFC 5321 §4.2.4). One reply, `reply.UNRECOGNIZED`."""

    verb: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer closed, or the engine is at its end. No reply is possible."""


Command = (
    Ehlo
    | Helo
    | Lhlo
    | Mail
    | Rcpt
    | Data
    | Bdat
    | Burl
    | Rset
    | Noop
    | Help
    | Vrfy
    | Expn
    | Quit
    | StartTls
    | Auth
    | Malformed
    | Unknown
)
Event = Command | AuthLine | Octets | ChunkEnded | DataEnded | Closed
