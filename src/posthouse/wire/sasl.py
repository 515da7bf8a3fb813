"""SASL exchanges from the server's side: PLAIN, LOGIN, EXTERNAL, SCRAM, and by tokens (RFC 4422 §3, RFC 4616,
RFC 5802, RFC 7677, RFC 7628).

An exchange is driven by the session of whatever protocol carries it (SMTP AUTH, IMAP AUTHENTICATE, POP3 AUTH):

    exchange = start(mechanism, nonce, offer)    # None: this mechanism is not offered on this connection
    step = exchange.step(initial)                # None where the client sent no initial response

    Challenge(octets)    send it (334, "+ "); give the client's answer to exchange.step()
    KeysWanted(authcid)  look the keys up, or make `scram.fake_keys`; give them to exchange.keys()
    Bearer(user, token)  check the token; succeed, or send `oauth.failure`, take whatever is answered, and fail
    Credentials(...)     verify the password, then succeed or fail
    Proven(authcid)      the client has proved itself: succeed; so for Certified(authcid)
    Failed(malformed)    501 5.5.2 / BAD where malformed, else 535 5.7.8 / NO, as late as for a wrong password

All octets are as they stand after base64 has been taken off (`decode`). Cancelling ("*") is the session's matter: it
drops the exchange. A password may be wrong even when SCRAM says nothing: only `Proven` and `Certified` are success.

It does NOT verify passwords and tokens, look anyone up, wait, or choose nonces. An authorization identity other than
the authentication identity is a failed proof: nobody may act for another here (RFC 4616 §2). LOGIN has no RFC; it is as
in draft-murchison-sasl-login, for old programs that know nothing better.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from posthouse.wire.oauth import Bearer, OAuthBearer, XOAuth2
from posthouse.wire.scram import Hash, ScramKeys, ScramServer

PLUS = "-PLUS"
SCRAM = {"SCRAM-SHA-256": Hash.SHA256, "SCRAM-SHA-1": Hash.SHA1}
TOKENS: dict[str, OAuthBearer | XOAuth2] = {"OAUTHBEARER": OAuthBearer(), "XOAUTH2": XOAuth2()}
# Strongest first, as they should be announced.
MECHANISMS = ("EXTERNAL", *(name + plus for name in SCRAM for plus in (PLUS, "")), *TOKENS, "PLAIN", "LOGIN")
NAME_LENGTH = 255  # octets of authzid and authcid each, RFC 4616 §2
PASSWORD_LENGTH = 1_024  # octets; RFC 4616 §2 asks for 255, people paste long ones


@dataclass(frozen=True, slots=True)
class Offer:
    """What this connection lets an exchange be. `bindings`: what TLS can be bound to, octets by the name of the
    binding (RFC 5929, RFC 9266). `names`: whom the certificate that the client has shown is for. `bearer`: there is
    somebody to check tokens. `withheld` mechanisms are not offered all the same."""

    bindings: Mapping[str, bytes] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    bearer: bool = False
    withheld: frozenset[str] = frozenset()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What may be announced, strongest first."""
        return tuple(name for name in MECHANISMS if self._has(name))

    def _has(self, name: str) -> bool:
        if name in self.withheld:
            return False
        if name in TOKENS:
            return self.bearer
        if name == "EXTERNAL":
            return bool(self.names)
        return bool(self.bindings) or not name.endswith(PLUS)


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
    kind: Hash = Hash.SHA256


@dataclass(frozen=True, slots=True)
class Proven:
    """The client has proved that it is this user, by the password of these keys (SCRAM)."""

    authcid: str
    keys: ScramKeys


@dataclass(frozen=True, slots=True)
class Certified:
    """The certificate that the client has shown is this user's (EXTERNAL)."""

    authcid: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The exchange is over. `malformed`: what the client sent is not of the mechanism's form; otherwise its proof
    failed."""

    malformed: bool


Step = Challenge | Credentials | KeysWanted | Bearer | Proven | Certified | Failed

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


class External:
    """EXTERNAL (RFC 4422 Appendix A): the certificate that the client has shown in the handshake says who it is."""

    __slots__ = ("_names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def step(self, client: bytes | None) -> Step:
        """Take the authorization identity, or nothing where the certificate has one name."""
        if client is None:
            return Challenge(b"")
        authzid = _name(client)
        if authzid is None:
            return MALFORMED
        if not authzid:
            return Certified(self._names[0]) if len(self._names) == 1 else REFUSED
        fitting = [name for name in self._names if name.casefold() == authzid.casefold()]
        return Certified(fitting[0]) if fitting else REFUSED


class Scram:
    """SCRAM (RFC 5802 §5, RFC 7677).

    The server's last message goes out as a challenge, which the client answers with nothing: neither SMTP nor IMAP
    can send it with the success itself (RFC 4954 §4, RFC 9051 §6.2.2)."""

    __slots__ = ("_authcid", "_kind", "_proven", "_server")

    def __init__(self, mechanism: str, nonce: str, bindings: Mapping[str, bytes] | None = None) -> None:
        """`nonce`: printable ASCII without comma, fresh for each exchange."""
        self._kind = SCRAM[mechanism.removesuffix(PLUS)]
        self._server = ScramServer(nonce, self._kind, bindings, plus=mechanism.endswith(PLUS))
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
        return KeysWanted(first.authcid, self._kind)

    @property
    def proven(self) -> bool:
        """Whether the client's proof was right, so that the next challenge is the server's (RFC 5802 §3)."""
        return self._proven

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


class Token:
    """OAUTHBEARER and XOAUTH2 (RFC 7628 §3): a token of a provider of identities, in one message."""

    __slots__ = ("_form",)

    def __init__(self, form: OAuthBearer | XOAuth2) -> None:
        self._form = form

    def step(self, client: bytes | None) -> Step:
        """Take the token."""
        return Challenge(b"") if client is None else self._form.read(client) or MALFORMED


Exchange = Plain | Login | External | Scram | Token


def start(mechanism: str, nonce: str, offer: Offer) -> Exchange | None:
    """The exchange for a mechanism's name in any case, or None where it is not offered here."""
    name = mechanism.upper()
    if name not in offer.mechanisms:
        return None
    if name in TOKENS:
        return Token(TOKENS[name])
    match name:
        case "PLAIN":
            return Plain()
        case "LOGIN":
            return Login()
        case "EXTERNAL":
            return External(offer.names)
    announced = any(each.endswith(PLUS) for each in offer.mechanisms)
    return Scram(name, nonce, offer.bindings if announced else None)


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
