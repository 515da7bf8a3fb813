"""SCRAM-SHA-256: keys, messages, and the server's side of the exchange (RFC 5802, RFC 7677).

Octets in, octets out; nonces are handed in. `ScramServer` is what `sasl.py` wraps for the sessions.

It does NOT do channel binding: SCRAM-SHA-256-PLUS is not offered, so a client that asks for it (`p=`) is refused, and
one that would have liked it (`y`) is served (RFC 5802 §6). It gives no server error (`e=`): a failed exchange ends
with the carrying protocol's own refusal, the same for every reason.
"""

import hashlib
import hmac
import re
import stringprep
import unicodedata
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass

ITERATIONS = 4_096  # RFC 7677 §4 asks for at least this; more costs every client, and Argon2id guards what is stored
SALT_LENGTH = 16  # octets of a salt made here
NAME_LENGTH = 255  # octets of a user name
MESSAGE_LENGTH = 2_048  # octets of one message; real ones stay below 400
PASSWORD_LENGTH = 1_024  # characters that SASLprep is run over


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
    authzid: str
    authcid: str
    nonce: bytes
    bare: bytes  # client-first-message-bare, as sent


def derive(password: str, salt: bytes, iterations: int = ITERATIONS) -> ScramKeys:
    """The keys for a password (RFC 5802 §3). Slow on purpose: about 3 ms for 4,096 iterations.

    Raises ValueError where the password has characters that SASLprep forbids (RFC 4013 §2.3)."""
    salted = salted_password(password, salt, iterations)
    return ScramKeys(salt, iterations, _hash(_client_key(salted)), _server_key(salted))


def salted_password(password: str, salt: bytes, iterations: int) -> bytes:
    """SaltedPassword = Hi(Normalize(password), salt, i) (RFC 5802 §3). Raises ValueError as `derive` does."""
    prepared = saslprep(password)
    if prepared is None:
        raise ValueError("the password holds characters that SASL does not allow (RFC 4013)")
    return hashlib.pbkdf2_hmac("sha256", prepared.encode("utf-8"), salt, iterations)


def fake_keys(authcid: str, secret: bytes, iterations: int = ITERATIONS) -> ScramKeys:
    """Keys for a user who does not exist: the same salt each time it is asked for, and a StoredKey no client can have,
    so that the exchange goes on and fails like a wrong password (RFC 5802 §5.1). `secret` is the server's own."""
    name = authcid.encode("utf-8", "replace")
    salt = _hmac(secret, b"salt " + name)[:SALT_LENGTH]
    return ScramKeys(salt, iterations, _hmac(secret, b"stored " + name), _hmac(secret, b"server " + name))


class ScramServer:
    """The server's side: `first`, then the caller looks the keys up, then `challenge`, then `final`."""

    __slots__ = ("_asked", "_first", "_keys", "_nonce", "proved")

    def __init__(self, nonce: str) -> None:
        """`nonce`: printable ASCII without comma, fresh for each exchange (RFC 5802 §5.1)."""
        self._nonce = nonce.encode("ascii")
        self._first: ClientFirst | None = None
        self._keys: tuple[ScramKeys, ...] = ()
        self._asked = b""
        self.proved: ScramKeys | None = None  # those whose password the client has

    def first(self, message: bytes) -> ClientFirst | None:
        """Read the client-first-message; None where it is not one or asks for channel binding."""
        self._first = parse_client_first(message)
        return self._first

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
        if not match or match["header"] != b64encode(self._first.header):
            return None
        if not hmac.compare_digest(match["nonce"], self._first.nonce + self._nonce):
            return None
        proof = _decode(match["proof"])
        if proof is None or len(proof) != hashlib.sha256().digest_size:
            return None
        auth_message = b",".join((self._first.bare, self._asked, match["without_proof"]))
        for keys in self._keys:
            client_key = _xor(proof, _hmac(keys.stored_key, auth_message))
            if hmac.compare_digest(_hash(client_key), keys.stored_key):
                self.proved = self.proved or keys
        if self.proved is None:
            return None
        return b"v=" + b64encode(_hmac(self.proved.server_key, auth_message))


# RFC 5802 §7   printable = %x21-2B / %x2D-7E ; c-nonce = printable
_NONCE = rb"[\x21-\x2b\x2d-\x7e]+"
# RFC 5802 §7   saslname = 1*(value-safe-char / "=2C" / "=3D")
_SASLNAME = rb"(?:[^\x00,=]|=2C|=3D)+"
# RFC 5802 §7   gs2-header = gs2-cbind-flag "," [ authzid ] "," ; `p=` would be channel binding.
# client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions]; a mandatory extension is refused.
_CLIENT_FIRST = re.compile(
    rb"(?P<header>[ny],(?:a=(?P<authzid>%s))?,)(?P<bare>n=(?P<authcid>%s),r=(?P<nonce>%s)(?:,[A-Za-z]=[^\x00,]+)*)\Z"
    % (_SASLNAME, _SASLNAME, _NONCE)
)
# RFC 5802 §7   client-final-message = channel-binding "," nonce ["," extensions] "," proof
_CLIENT_FINAL = re.compile(
    rb"(?P<without_proof>c=(?P<header>[A-Za-z0-9+/=]+),r=(?P<nonce>%s)(?:,[A-Za-z]=[^\x00,]+)*?),p=(?P<proof>[A-Za-z0-9+/=]+)\Z"
    % _NONCE
)


def parse_client_first(message: bytes) -> ClientFirst | None:
    """client-first-message (RFC 5802 §7), or None where it is not one, or asks for channel binding (`p=`)."""
    match = _CLIENT_FIRST.match(message) if len(message) <= MESSAGE_LENGTH else None
    if not match:
        return None
    authcid, authzid = _saslname(match["authcid"]), _saslname(match["authzid"] or b"")
    if not authcid or authzid is None:
        return None
    return ClientFirst(match["header"], authzid, authcid, match["nonce"], match["bare"])


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


def _hmac(key: bytes, octets: bytes) -> bytes:
    return hmac.digest(key, octets, "sha256")


def _hash(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def _client_key(salted: bytes) -> bytes:
    return _hmac(salted, b"Client Key")


def _server_key(salted: bytes) -> bytes:
    return _hmac(salted, b"Server Key")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
