"""SCRAM-SHA-1 and SCRAM-SHA-256, with and without -PLUS: keys, messages, and the server's side (RFC 5802, RFC 7677).

Octets in, octets out; nonces and channel bindings are handed in. `ScramServer` is what `sasl.py` wraps for the
sessions.

It does NOT know where a channel binding comes from (net/binding.py). It gives no server error (`e=`): a failed
exchange ends with the carrying protocol's own refusal, the same for every reason.
"""

import hashlib
import hmac
import re
import stringprep
import unicodedata
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

ITERATIONS = 4_096  # RFC 7677 §4 asks for at least this; more costs every client, and Argon2id guards what is stored
SALT_LENGTH = 16  # octets of a salt made here
NAME_LENGTH = 255  # octets of a user name
MESSAGE_LENGTH = 2_048  # octets of one message; real ones stay below 400
PASSWORD_LENGTH = 1_024  # characters that SASLprep is run over


class Hash(Enum):
    """The hash function of a mechanism, as hashlib calls it."""

    SHA1 = "sha1"  # RFC 5802 §4
    SHA256 = "sha256"  # RFC 7677 §3

    @property
    def octets(self) -> int:
        """Of one digest."""
        return 20 if self is Hash.SHA1 else 32


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What a server keeps instead of a password (RFC 5802 §3: StoredKey, ServerKey)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """client-first-message, read (RFC 5802 §7)."""

    header: bytes  # gs2-header, as sent
    flag: str  # gs2-cbind-flag: "n", "y", or "p=" and the name of the channel binding
    authzid: str
    authcid: str
    nonce: bytes
    bare: bytes  # client-first-message-bare, as sent


def derive(password: str, salt: bytes, kind: Hash = Hash.SHA256, iterations: int = ITERATIONS) -> ScramKeys:
    """The keys for a password (RFC 5802 §3). Slow on purpose: about 3 ms for 4,096 iterations.

    Raises ValueError where the password has characters that SASLprep forbids (RFC 4013 §2.3)."""
    prepared = saslprep(password)
    if prepared is None:
        raise ValueError("the password holds characters that SASL does not allow (RFC 4013)")
    salted = hashlib.pbkdf2_hmac(kind.value, prepared.encode("utf-8"), salt, iterations)
    stored_key = hashlib.new(kind.value, hmac.digest(salted, b"Client Key", kind.value)).digest()
    return ScramKeys(salt, iterations, stored_key, hmac.digest(salted, b"Server Key", kind.value))


def fake_keys(authcid: str, secret: bytes, kind: Hash = Hash.SHA256, iterations: int = ITERATIONS) -> ScramKeys:
    """Keys for a user who does not exist: the same salt each time it is asked for, and a StoredKey no client can have,
    so that the exchange goes on and fails like a wrong password (RFC 5802 §5.1). `secret` is the server's own."""
    name = authcid.encode("utf-8", "replace")

    def made(purpose: bytes) -> bytes:
        return hmac.digest(secret, purpose + name, "sha256")

    # The salt is the same for both kinds, as that of a real user is.
    stored, server = made(b"stored ")[: kind.octets], made(b"server ")[: kind.octets]
    return ScramKeys(made(b"salt ")[:SALT_LENGTH], iterations, stored, server)


class ScramServer:
    """The server's side: `first`, then the caller looks the keys up, then `challenge`, then `final`."""

    __slots__ = ("_asked", "_binding", "_bindings", "_first", "_hash", "_keys", "_nonce", "_plus", "proved")

    def __init__(
        self, nonce: str, kind: Hash = Hash.SHA256, bindings: Mapping[str, bytes] | None = None, *, plus: bool = False
    ) -> None:
        """`nonce`: printable ASCII without comma, fresh for each exchange (RFC 5802 §5.1). `bindings`: what this
        connection can be bound to, octets by the name of the binding; where there is any, -PLUS was announced.
        `plus`: the client has chosen the mechanism with -PLUS."""
        self._nonce = nonce.encode("ascii")
        self._hash = kind
        self._bindings = bindings or {}
        self._plus = plus
        self._binding = b""
        self._first: ClientFirst | None = None
        self._keys: tuple[ScramKeys, ...] = ()
        self._asked = b""
        self.proved: ScramKeys | None = None  # those whose password the client has

    def first(self, message: bytes) -> ClientFirst | None:
        """Read the client-first-message; None where it is not one, or its channel binding does not fit."""
        first = parse_client_first(message)
        if first is not None and self._bound(first.flag):
            self._first = first
        return self._first

    def _bound(self, flag: str) -> bool:
        """Whether the flag is one that a client may send here (RFC 5802 §6). "y" says that the server seemed not to
        know -PLUS: where it was announced, somebody between us has taken it out of the list."""
        if not self._plus:
            return flag == "n" or (flag == "y" and not self._bindings)
        self._binding = self._bindings.get(flag.removeprefix("p="), b"")
        return flag.startswith("p=") and bool(self._binding)

    def challenge(self, keys: ScramKeys, *others: ScramKeys) -> bytes:
        """The server-first-message (RFC 5802 §7). `others` are further passwords of the user, of the same salt and
        iterations, because this message has room for one. Raises RuntimeError before `first`."""
        if self._first is None:
            raise RuntimeError("challenge before client-first-message")
        nonce = self._first.nonce + self._nonce
        self._keys = (keys, *others)
        self._asked = b"r=%s,s=%s,i=%d" % (nonce, b64encode(keys.salt), keys.iterations)
        return self._asked

    def final(self, message: bytes) -> bytes | None:
        """The server-final-message where the client-final-message proves the password; None where it does not."""
        if self._first is None or not self._keys:
            raise RuntimeError("client-final-message before the challenge")
        match = _CLIENT_FINAL.match(message) if len(message) <= MESSAGE_LENGTH else None
        # RFC 5802 §7   cbind-input = gs2-header [ cbind-data ]
        bound = b64encode(self._first.header + self._binding)
        if not match or not hmac.compare_digest(match["bound"], bound):
            return None
        if not hmac.compare_digest(match["nonce"], self._first.nonce + self._nonce):
            return None
        proof = _decode(match["proof"])
        if proof is None or len(proof) != self._hash.octets:
            return None
        auth_message = b",".join((self._first.bare, self._asked, match["without_proof"]))
        for keys in self._keys:
            client_key = _xor(proof, self._hmac(keys.stored_key, auth_message))
            if hmac.compare_digest(hashlib.new(self._hash.value, client_key).digest(), keys.stored_key):
                self.proved = self.proved or keys
        if self.proved is None:
            return None
        return b"v=" + b64encode(self._hmac(self.proved.server_key, auth_message))

    def _hmac(self, key: bytes, octets: bytes) -> bytes:
        return hmac.digest(key, octets, self._hash.value)


# RFC 5802 §7   printable = %x21-2B / %x2D-7E ; c-nonce = printable
_NONCE = rb"[\x21-\x2b\x2d-\x7e]+"
# RFC 5802 §7   saslname = 1*(value-safe-char / "=2C" / "=3D")
_SASLNAME = rb"(?:[^\x00,=]|=2C|=3D)+"
# RFC 5802 §7   gs2-header = gs2-cbind-flag "," [ authzid ] "," ; gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
# RFC 5802 §7   cb-name = 1*(ALPHA / DIGIT / "." / "-")
# client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]; a mandatory extension is refused.
_CLIENT_FIRST = re.compile(
    rb"(?P<header>(?P<flag>p=[A-Za-z0-9.-]+|[ny]),(?:a=(?P<authzid>%s))?,)"
    rb"(?P<bare>n=(?P<authcid>%s),r=(?P<nonce>%s)(?:,[A-Za-z]=[^\x00,]+)*)\Z" % (_SASLNAME, _SASLNAME, _NONCE)
)
# RFC 5802 §7   client-final-message = channel-binding "," nonce ["," extensions] "," proof
_CLIENT_FINAL = re.compile(
    rb"(?P<without_proof>c=(?P<bound>[A-Za-z0-9+/=]+),r=(?P<nonce>%s)(?:,[A-Za-z]=[^\x00,]+)*?),p=(?P<proof>[A-Za-z0-9+/=]+)\Z"
    % _NONCE
)


def parse_client_first(message: bytes) -> ClientFirst | None:
    """client-first-message (RFC 5802 §7), or None where it is not one."""
    match = _CLIENT_FIRST.match(message) if len(message) <= MESSAGE_LENGTH else None
    if not match:
        return None
    authcid, authzid = _saslname(match["authcid"]), _saslname(match["authzid"] or b"")
    if not authcid or authzid is None:
        return None
    flag = match["flag"].decode("ascii")
    return ClientFirst(match["header"], flag, authzid, authcid, match["nonce"], match["bare"])


def _saslname(octets: bytes) -> str | None:
    try:
        text = octets.replace(b"=2C", b",").replace(b"=3D", b"=").decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if len(text.encode("utf-8")) <= NAME_LENGTH else None


_FORBIDDEN = (  # RFC 4013 §2.3
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str | None:
    """Prepare a name or password for comparison (RFC 4013), or None where it holds what is forbidden there.

    Characters that Unicode 3.2 did not have (emoji) are kept, as RFC 3454 §7 allows for queries, so that they can be
    part of a password; clients and server then prepare them alike."""
    if len(text) > PASSWORD_LENGTH:
        return None
    if text.isascii():
        return text if text.isprintable() else None
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if any(table(char) for char in prepared for table in _FORBIDDEN):
        return None
    return prepared if _directions_agree(prepared) else None


def _directions_agree(text: str) -> bool:
    """Text that runs from right to left begins and ends so, and holds nothing that runs the other way (RFC 3454 §6)."""
    right_to_left = [stringprep.in_table_d1(char) for char in text]
    if not any(right_to_left):
        return True
    return right_to_left[0] and right_to_left[-1] and not any(map(stringprep.in_table_d2, text))


def _decode(octets: bytes) -> bytes | None:
    try:
        return a2b_base64(octets, strict_mode=True)
    except Base64Error:
        return None


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
