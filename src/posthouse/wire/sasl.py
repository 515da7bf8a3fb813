"""SASL exchanges from the server's side: PLAIN, LOGIN, SCRAM-SHA-256 (RFC 4422 §3, RFC 4616, RFC 5802, RFC 7677).

An exchange is driven by the session of whatever protocol carries it (SMTP AUTH, IMAP AUTHENTICATE, later POP3 AUTH):

    exchange = start(mechanism, nonce)           # None: this mechanism is not known
    step = exchange.step(initial)                # None where the client sent no initial response

    Challenge(octets)    send it (334, "+ "); give the client's answer to exchange.step()
    KeysWanted(authcid)  look the keys up, or make `scram.fake_keys`; give them to exchange.keys()
    Credentials(...)     verify the password, then succeed or fail
    Proven(authcid)      the client has proved itself: succeed
    Failed(malformed)    501 5.5.2 / BAD where malformed, else 535 5.7.8 / NO, as late as for a wrong password

All octets are as they stand after base64 has been taken off (`decode`). Cancelling ("*") is the session's matter: it
drops the exchange. A password may be wrong even when SCRAM says nothing: only `Proven` is success.

It does NOT verify passwords, look anyone up, wait, or choose nonces. An authorization identity other than the
authentication identity is a failed proof: nobody may act for another here (RFC 4616 §2). LOGIN has no RFC; it is as in
draft-murchison-sasl-login, for old programs that know nothing better.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass

from posthouse.wire.scram import ScramKeys, ScramServer

MECHANISMS = ("SCRAM-SHA-256", "PLAIN", "LOGIN")  # strongest first, as they should be announced
NAME_LENGTH = 255  # octets of authzid and authcid each, RFC 4616 §2
PASSWORD_LENGTH = 1_024  # octets; RFC 4616 §2 asks for 255, people paste long ones


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send these octets to the client and go on with its answer."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password to be verified (PLAIN, LOGIN)."""

    authcid: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(authcid={self.authcid!r}, password=...)"


@dataclass(frozen=True, slots=True)
class KeysWanted:
    """Look up the SCRAM keys of this user, and go on with `keys`, also when there is no such user."""

    authcid: str


@dataclass(frozen=True, slots=True)
class Proven:
    """The client has proved that it is this user, by the password of these keys (SCRAM)."""

    authcid: str
    keys: ScramKeys


@dataclass(frozen=True, slots=True)
class Failed:
    """The exchange is over. `malformed`: what the client sent is not of the mechanism's form; otherwise its proof
    failed."""

    malformed: bool


Step = Challenge | Credentials | KeysWanted | Proven | Failed

MALFORMED = Failed(malformed=True)
REFUSED = Failed(malformed=False)


class Plain:
    """PLAIN (RFC 4616): one message, `[authzid] NUL authcid NUL passwd`."""

    __slots__ = ()

    def step(self, client: bytes | None) -> Step:
        """Take the message; without an initial response ask for it with an empty challenge."""
        if client is None:
            return Challenge(b"")
        pieces = client.split(b"\0")
        if len(pieces) != 3:
            return MALFORMED
        authzid, authcid = _name(pieces[0]), _name(pieces[1])
        if authzid is None or authcid is None:
            return MALFORMED
        return _credentials(authzid, authcid, pieces[2])

    def keys(self, keys: ScramKeys, *others: ScramKeys) -> Step:
        """PLAIN wants no keys: our bug."""
        raise RuntimeError("PLAIN wants no keys")


class Login:
    """LOGIN: the name, then the password, each to a prompt that clients do not read."""

    __slots__ = ("_authcid",)

    def __init__(self) -> None:
        self._authcid: str | None = None

    def step(self, client: bytes | None) -> Step:
        """Take the name (some clients send it as initial response), then the password."""
        if client is None:
            return Challenge(b"Username:")
        if self._authcid is not None:
            return MALFORMED if b"\0" in client else _credentials("", self._authcid, client)
        self._authcid = _name(client)
        return MALFORMED if self._authcid is None else Challenge(b"Password:")

    def keys(self, keys: ScramKeys, *others: ScramKeys) -> Step:
        """LOGIN wants no keys: our bug."""
        raise RuntimeError("LOGIN wants no keys")


class ScramSha256:
    """SCRAM-SHA-256 (RFC 5802 §5, RFC 7677).

    The server's last message goes out as a challenge, which the client answers with nothing: neither SMTP nor IMAP
    can send it with the success itself (RFC 4954 §4, RFC 9051 §6.2.2)."""

    __slots__ = ("_authcid", "_proven", "_server")

    def __init__(self, nonce: str) -> None:
        """`nonce`: printable ASCII without comma, fresh for each exchange."""
        self._server = ScramServer(nonce)
        self._authcid: str | None = None
        self._proven = False

    def step(self, client: bytes | None) -> Step:
        """Take the client's next message."""
        if self._proven:
            keys = self._server.proved
            return REFUSED if client or self._authcid is None or keys is None else Proven(self._authcid, keys)
        if self._authcid is not None:
            return self._finish(client or b"")
        if client is None:
            return Challenge(b"")
        first = self._server.first(client)
        if first is None:
            return MALFORMED
        if first.authzid not in ("", first.authcid):
            return REFUSED
        self._authcid = first.authcid
        return KeysWanted(first.authcid)

    def keys(self, keys: ScramKeys, *others: ScramKeys) -> Step:
        """The keys asked for by KeysWanted: those of each password of the user, of one salt. Raises RuntimeError where
        none were."""
        return Challenge(self._server.challenge(keys, *others))

    def _finish(self, client: bytes) -> Step:
        final = self._server.final(client)
        if final is None:
            return REFUSED
        self._proven = True
        return Challenge(final)


Exchange = Plain | Login | ScramSha256


def start(mechanism: str, nonce: str) -> Exchange | None:
    """The exchange for a mechanism's name in any case, or None where it is not known here."""
    match mechanism.upper():
        case "PLAIN":
            return Plain()
        case "LOGIN":
            return Login()
        case "SCRAM-SHA-256":
            return ScramSha256(nonce)
    return None


def decode(text: bytes) -> bytes | None:
    """Octets from base64 as SASL profiles carry it, or None where it is anything else: no blanks, no line ends, no
    missing or superfluous `=` (RFC 4648 §3.1 to §3.3)."""
    try:
        return a2b_base64(text, strict_mode=True)
    except Base64Error:
        return None


def _credentials(authzid: str, authcid: str, password: bytes) -> Step:
    if not authcid or not password or len(password) > PASSWORD_LENGTH:
        return MALFORMED
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        return MALFORMED
    if authzid not in ("", authcid):
        return REFUSED
    return Credentials(authcid, text)


def _name(octets: bytes) -> str | None:
    if b"\0" in octets or len(octets) > NAME_LENGTH:
        return None
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None
