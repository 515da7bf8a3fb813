"""One line of an SMTP or LMTP client, read.

RFC 5321 §4.1, RFC 2033 §4, RFC 3030 §2, RFC 4954 §4, RFC 4468 §3.5.

`parse(line)` turns one command line, already cut from the stream, into a command value, `Unknown` or `Malformed`.
It never raises. What is checked here is syntax: verbs, paths, and (in `parameters.py`) parameters with their limits.
The order of commands and the size of messages are checked in `order.py` and `server.py`; whether a user exists or a
sender is welcome is decided above.

It gives source routes, `%` and `!` no meaning (RFC 5321 §3.3, §4.1.2, appendix F.2).
"""

from collections.abc import Callable

from posthouse.mail.status import Reply, reply
from posthouse.wire.sasl import decode
from posthouse.wire.smtp import grammar, parameters
from posthouse.wire.smtp.command import (
    Auth,
    Bdat,
    Burl,
    Command,
    Data,
    Ehlo,
    Expn,
    Helo,
    Help,
    Lhlo,
    Mail,
    Malformed,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unknown,
    Vrfy,
)
from posthouse.wire.smtp.reply import BAD_BASE64, UNRECOGNIZED

VERB_SHOWN = 32  # octets of an unknown verb that are kept

_NO_ARGUMENT: dict[bytes, Command] = {b"DATA": Data(), b"RSET": Rset(), b"QUIT": Quit(), b"STARTTLS": StartTls()}

CONTROL_OCTETS = reply(500, "5.5.2", "There are control characters in that line")


def parse(line: bytes, known: frozenset[bytes] = parameters.ALWAYS) -> Command:
    """A command from its line without CRLF (RFC 5321 §4.1.1). `known`: the parameters of MAIL and RCPT, and BURL, that
    this client may use. Never raises."""
    if grammar.CONTROL.search(line):
        return Malformed(CONTROL_OCTETS)
    match = grammar.LINE.match(line)
    if not match:
        return Malformed(UNRECOGNIZED)
    verb, argument = match["verb"].upper(), match["argument"] or b""
    if verb == b"BURL" and verb not in known:
        return Unknown("BURL")
    if verb in _NO_ARGUMENT:
        return _malformed("5.5.4", f"{verb.decode()} takes no argument") if argument else _NO_ARGUMENT[verb]
    if verb in _WITH_PARAMETERS:
        return _WITH_PARAMETERS[verb](argument, known)
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


def _mail(argument: bytes, known: frozenset[bytes]) -> Command:
    match = grammar.FROM.match(argument)
    if not match:
        return _malformed("5.5.2" if argument[:5].upper() != b"FROM:" else "5.1.7", "Say MAIL FROM:<user@example.org>")
    path = grammar.reverse_path(match["path"])
    if isinstance(path, Reply):
        return Malformed(path)
    mail = parameters.read_mail(Mail(path), match["parameters"] or b"", known)
    if isinstance(mail, Mail) and not mail.utf8 and path.address and not path.address.ascii:
        return Malformed(reply(550, "5.6.7", "An address outside ASCII needs SMTPUTF8"))  # RFC 6531 §3.5
    return mail


def _rcpt(argument: bytes, known: frozenset[bytes]) -> Command:
    match = grammar.TO.match(argument)
    if not match:
        return _malformed("5.5.2" if argument[:3].upper() != b"TO:" else "5.1.3", "Say RCPT TO:<user@example.org>")
    path = grammar.forward_path(match["path"])
    if isinstance(path, Reply):
        return Malformed(path)
    return parameters.read_rcpt(Rcpt(path), match["parameters"] or b"", known)


def _bdat(argument: bytes) -> Command:
    """BDAT (RFC 3030 §2). Where its size cannot be read, what follows cannot be told from commands: close."""
    match = grammar.BDAT.match(argument)
    if not match:
        return Malformed(reply(501, "5.5.4", "Say BDAT size or BDAT size LAST", close=True))
    return Bdat(int(match["size"]), match["last"] is not None)


def _burl(argument: bytes) -> Command:
    match = grammar.BURL.match(argument)
    if not match:
        return _malformed("5.5.4", "Say BURL imap://... or BURL imap://... LAST")
    return Burl(match["url"], match["last"] is not None)


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


_WITH_PARAMETERS: dict[bytes, Callable[[bytes, frozenset[bytes]], Command]] = {b"MAIL": _mail, b"RCPT": _rcpt}
_WITH_ARGUMENT: dict[bytes, Callable[[bytes], Command]] = {
    b"EHLO": _ehlo,
    b"HELO": _helo,
    b"LHLO": _lhlo,
    b"BDAT": _bdat,
    b"BURL": _burl,
    b"AUTH": _auth,
    b"NOOP": _noop,
    b"HELP": _help,
    b"VRFY": _vrfy,
    b"EXPN": _expn,
}
