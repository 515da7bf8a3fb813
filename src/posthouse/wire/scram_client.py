"""SCRAM from the client's side: SCRAM-SHA-256 and SCRAM-SHA-1, with and without -PLUS (RFC 5802 §3 to §7, RFC 7677).

    client = ScramClient("SCRAM-SHA-256", user, password, nonce)
    client.first()            the initial response
    client.final(challenge)   the answer to the server's first message; None where that message is not to be trusted
    client.proves(last)       whether the server has shown that it knows the password too

`final` computes Hi(), which is slow on purpose: call it in a thread.

It does NOT know where a channel binding comes from (net/binding.py). It chooses no nonce.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import NamedTuple

from posthouse.wire.scram import MESSAGE_LENGTH, saslprep

FEWEST_ITERATIONS = 4_096  # RFC 5802 §5.1 and RFC 7677 §4 ask for it; fewer would hand out a password easily guessed
MOST_ITERATIONS = 1_000_000  # half a second of work; more would be an attack on us
PLUS = "-PLUS"
HASHES = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}

# RFC 5802 §7   server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]
_SERVER_FIRST = re.compile(
    rb"r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+),s=(?P<salt>[A-Za-z0-9+/=]+),i=(?P<count>[1-9][0-9]{0,9})(?:,[A-Za-z]=[^,]*)*\Z"
)


class Binding(NamedTuple):
    """What a connection can be bound to: the name of the channel binding, and its octets."""

    name: str
    octets: bytes


class ScramClient:
    """One exchange."""

    __slots__ = ("_bare", "_bound", "_hash", "_header", "_nonce", "_password", "_signature")

    def __init__(self, mechanism: str, user: str, password: str, nonce: str, binding: Binding | None = None) -> None:
        """`nonce`: printable ASCII without comma, fresh for each exchange. `binding`: what this connection can be bound
        to; without -PLUS the server is then told that it seems not to know that. Raises ValueError for a name or
        password with characters that SASLprep forbids (RFC 4013 §2.3)."""
        name, prepared = saslprep(user), saslprep(password)
        if name is None or prepared is None:
            raise ValueError("the name or password holds characters that SASL does not allow (RFC 4013)")
        self._hash = HASHES[mechanism.removesuffix(PLUS)]
        # RFC 5802 §7   gs2-header = gs2-cbind-flag "," [ authzid ] "," ; gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
        # RFC 5802 §6   "n": the client knows no channel binding; "y": it does, and has seen no -PLUS
        self._header, self._bound = b"n,," if binding is None else b"y,,", b""
        if mechanism.endswith(PLUS):
            if binding is None:
                raise ValueError(f"there is nothing that {mechanism} could be bound to")
            self._header, self._bound = f"p={binding.name},,".encode("ascii"), binding.octets
        self._password = prepared.encode("utf-8")
        self._nonce = nonce.encode("ascii")
        escaped = name.replace("=", "=3D").replace(",", "=2C").encode("utf-8")
        self._bare = b"n=%s,r=%s" % (escaped, self._nonce)
        self._signature: bytes | None = None  # what the server has to show

    def first(self) -> bytes:
        """client-first-message (RFC 5802 §7)."""
        return self._header + self._bare

    def final(self, challenge: bytes) -> bytes | None:
        """client-final-message; None where the challenge is none, has another nonce, or asks for too few or too many
        iterations."""
        match = _SERVER_FIRST.match(challenge) if len(challenge) <= MESSAGE_LENGTH else None
        if not match or not match["nonce"].startswith(self._nonce) or match["nonce"] == self._nonce:
            return None
        salt, count = _decode(match["salt"]), int(match["count"])
        if not salt or not FEWEST_ITERATIONS <= count <= MOST_ITERATIONS:
            return None
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, count)
        client_key = self._hmac(salted, b"Client Key")
        without_proof = b"c=%s,r=%s" % (b64encode(self._header + self._bound), match["nonce"])
        auth_message = b",".join((self._bare, challenge, without_proof))
        stored_key = hashlib.new(self._hash, client_key).digest()
        proof = bytes(a ^ b for a, b in zip(client_key, self._hmac(stored_key, auth_message), strict=True))
        self._signature = self._hmac(self._hmac(salted, b"Server Key"), auth_message)
        return b"%s,p=%s" % (without_proof, b64encode(proof))

    def proves(self, last: bytes) -> bool:
        """Whether server-final-message holds the signature that only who knows the password can make."""
        if self._signature is None or len(last) > MESSAGE_LENGTH:
            return False
        return hmac.compare_digest(last.partition(b",")[0], b"v=" + b64encode(self._signature))

    def _hmac(self, key: bytes, octets: bytes) -> bytes:
        return hmac.digest(key, octets, self._hash)


def _decode(octets: bytes) -> bytes | None:
    try:
        return a2b_base64(octets, strict_mode=True)
    except Base64Error:
        return None
