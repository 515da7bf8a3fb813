"""SMTP and LMTP commands as values, and the events of `SmtpServer`.

RFC 5321 §4.1, RFC 2033 §4, RFC 3030 §2, RFC 4954 §4, RFC 1870 §3, RFC 6531 §3.

`parse(line)` turns one command line, already cut from the stream, into a command value, `Unknown` or `Malformed`.
It never raises. What is checked here is syntax: verbs, paths, parameters, their limits. The order of commands and the
size of messages are checked in `server.py`; whether a user exists or a sender is welcome is decided above.

Each event says in its docstring how many replies the engine expects before it is asked for the next event.

It does NOT know DSN's parameters (RFC 3461: NOTIFY, ORCPT, RET, ENVID): they are not announced and get 555 5.5.4.
It gives source routes, `%` and `!` no meaning (RFC 5321 §3.3, §4.1.2, appendix F.2).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from posthouse.mail.address import ForwardPath, ReversePath, parse_address
from posthouse.mail.envelope import BodyType
from posthouse.mail.status import Reply, reply
from posthouse.wire.sasl import decode
from posthouse.wire.smtp import grammar
from posthouse.wire.smtp.reply import BAD_BASE64, UNRECOGNIZED

VERB_SHOWN = 32  # octets of an unknown verb that are kept


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
class Mail:
    """MAIL (RFC 5321 §4.1.1.2). One reply; a positive one begins the transaction."""

    path: ReversePath
    size: int | None = None  # SIZE= in octets, never above the message size limit (RFC 1870 §4)
    body: BodyType = BodyType.SEVEN_BIT  # BODY= (RFC 6152 §3)
    utf8: bool = False  # SMTPUTF8 (RFC 6531 §3.4)
    auth: str | None = None  # AUTH= decoded from xtext; "<>" when unknown (RFC 4954 §5)


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT (RFC 5321 §4.1.1.3). One reply; a positive one adds the recipient."""

    path: ForwardPath


@dataclass(frozen=True, slots=True)
class Data:
    """DATA (RFC 5321 §4.1.1.4). One reply: 354 lets the content come as Octets and DataEnded; any other does not."""


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT (RFC 3030 §2): `size` octets follow as Octets, then ChunkEnded or (`last`) DataEnded. No reply now."""

    size: int
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

_NO_ARGUMENT: dict[bytes, Command] = {b"DATA": Data(), b"RSET": Rset(), b"QUIT": Quit(), b"STARTTLS": StartTls()}

CONTROL_OCTETS = reply(500, "5.5.2", "There are control characters in that line")
UNKNOWN_PARAMETER = "is not a parameter that this server knows here"


def parse(line: bytes) -> Command:
    """A command from its line without CRLF (RFC 5321 §4.1.1). Never raises."""
    if grammar.CONTROL.search(line):
        return Malformed(CONTROL_OCTETS)
    match = grammar.LINE.match(line)
    if not match:
        return Malformed(UNRECOGNIZED)
    verb, argument = match["verb"].upper(), match["argument"] or b""
    if verb in _NO_ARGUMENT:
        return _malformed("5.5.4", f"{verb.decode()} takes no argument") if argument else _NO_ARGUMENT[verb]
    if verb in _WITH_ARGUMENT:
        return _WITH_ARGUMENT[verb](argument)
    return Unknown(verb[:VERB_SHOWN].decode("ascii", "replace"))


def _malformed(status: str, text: str) -> Malformed:
    return Malformed(reply(501, status, text))


def _ehlo(argument: bytes) -> Command:
    name = _client_name(argument)
    return Ehlo(name) if name else _malformed("5.5.4", "Say EHLO and the name of your host")


def _helo(argument: bytes) -> Command:
    name = _client_name(argument)
    return Helo(name) if name else _malformed("5.5.4", "Say HELO and the name of your host")


def _lhlo(argument: bytes) -> Command:
    name = _client_name(argument)
    return Lhlo(name) if name else _malformed("5.5.4", "Say LHLO and the name of your host")


def _client_name(argument: bytes) -> str | None:
    return argument.decode("ascii") if grammar.CLIENT_NAME.match(argument) else None


def _mail(argument: bytes) -> Command:
    match = grammar.FROM.match(argument)
    if not match:
        return _malformed("5.5.2" if argument[:5].upper() != b"FROM:" else "5.1.7", "Say MAIL FROM:<user@example.org>")
    path = grammar.reverse_path(match["path"])
    if isinstance(path, Reply):
        return Malformed(path)
    parameters = grammar.split_parameters(match["parameters"] or b"")
    if isinstance(parameters, Reply):
        return Malformed(parameters)
    mail = _with_parameters(Mail(path), parameters)
    if isinstance(mail, Mail) and not mail.utf8 and path.address and not path.address.ascii:
        return Malformed(reply(550, "5.6.7", "An address outside ASCII needs SMTPUTF8"))  # RFC 6531 §3.5
    return mail


def _with_parameters(mail: Mail, parameters: dict[bytes, bytes | None]) -> Mail | Malformed:
    """Mail-parameters (RFC 5321 §4.1.1.11), each by its own RFC."""
    for keyword, value in parameters.items():
        read = _MAIL_PARAMETERS.get(keyword)
        if read is None:
            return Malformed(reply(555, "5.5.4", f"{keyword.decode()} {UNKNOWN_PARAMETER}"))
        changed = read(mail, value)
        if isinstance(changed, Malformed):
            return changed
        mail = changed
    return mail


def _size(mail: Mail, value: bytes | None) -> Mail | Malformed:
    if value is None or not grammar.SIZE.match(value):
        return _malformed("5.5.4", "SIZE= wants a number of octets")
    return replace(mail, size=int(value))


def _body(mail: Mail, value: bytes | None) -> Mail | Malformed:
    match (value or b"").upper():
        case b"7BIT":
            return replace(mail, body=BodyType.SEVEN_BIT)
        case b"8BITMIME":
            return replace(mail, body=BodyType.EIGHT_BIT_MIME)
        case b"":
            return _malformed("5.5.4", "BODY= wants 7BIT or 8BITMIME")
    return Malformed(reply(555, "5.5.4", "BODY= is 7BIT or 8BITMIME here"))


def _smtputf8(mail: Mail, value: bytes | None) -> Mail | Malformed:
    return replace(mail, utf8=True) if value is None else _malformed("5.5.4", "SMTPUTF8 takes no value")


def _auth_parameter(mail: Mail, value: bytes | None) -> Mail | Malformed:
    """AUTH= (RFC 4954 §5): a mailbox in xtext, or `<>`."""
    text = grammar.parse_xtext(value) if value else None
    if not text or (text != "<>" and parse_address(text) is None):
        return _malformed("5.5.4", "AUTH= wants an address in xtext, or <>")
    return replace(mail, auth=text)


def _rcpt(argument: bytes) -> Command:
    match = grammar.TO.match(argument)
    if not match:
        return _malformed("5.5.2" if argument[:3].upper() != b"TO:" else "5.1.3", "Say RCPT TO:<user@example.org>")
    path = grammar.forward_path(match["path"])
    if isinstance(path, Reply):
        return Malformed(path)
    parameters = grammar.split_parameters(match["parameters"] or b"")
    if isinstance(parameters, Reply):
        return Malformed(parameters)
    for keyword in parameters:
        return Malformed(reply(555, "5.5.4", f"{keyword.decode()} {UNKNOWN_PARAMETER}"))
    return Rcpt(path)


def _bdat(argument: bytes) -> Command:
    """BDAT (RFC 3030 §2). Where its size cannot be read, what follows cannot be told from commands: close."""
    match = grammar.BDAT.match(argument)
    if not match:
        return Malformed(reply(501, "5.5.4", "Say BDAT size or BDAT size LAST", close=True))
    return Bdat(int(match["size"]), match["last"] is not None)


def _auth(argument: bytes) -> Command:
    match = grammar.AUTH.match(argument)
    if not match:
        return _malformed("5.5.4", "Say AUTH and the name of a mechanism")
    mechanism, initial = match["mechanism"].decode().upper(), match["initial"]
    if initial is None:
        return Auth(mechanism)
    octets = b"" if initial == b"=" else decode(initial)
    return Malformed(BAD_BASE64) if octets is None else Auth(mechanism, octets)


def _noop(argument: bytes) -> Command:
    return Noop()


def _help(argument: bytes) -> Command:
    return Help()


def _vrfy(argument: bytes) -> Command:
    return Vrfy() if argument else _malformed("5.5.4", "Say VRFY and a name")


def _expn(argument: bytes) -> Command:
    return Expn() if argument else _malformed("5.5.4", "Say EXPN and a list")


_MAIL_PARAMETERS = {b"SIZE": _size, b"BODY": _body, b"SMTPUTF8": _smtputf8, b"AUTH": _auth_parameter}
_WITH_ARGUMENT: dict[bytes, Callable[[bytes], Command]] = {
    b"EHLO": _ehlo,
    b"HELO": _helo,
    b"LHLO": _lhlo,
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"BDAT": _bdat,
    b"AUTH": _auth,
    b"NOOP": _noop,
    b"HELP": _help,
    b"VRFY": _vrfy,
    b"EXPN": _expn,
}
