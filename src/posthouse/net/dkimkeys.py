"""The arithmetic of DKIM: keys made, digests signed, and signatures checked by the keys of others (RFC 6376 §3.3,
RFC 8301 §3.2, RFC 8463 §3). What is signed is said in trust/dkim.py.
"""

from base64 import b64encode
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from posthouse.trust.dkim import Algorithm, Fault, Seal

BITS = 2_048  # of an RSA key that is made here: RFC 8301 §3.2 asks for it, and longer ones fit badly in the DNS
LEAST_BITS = 1_024  # RFC 8301 §3.2
MOST_BITS = 8_192  # RFC 8301 §3.2 asks for 4,096; a longer key only costs us time
EXPONENT_BITS = 64  # of a key of others: real ones have 17, and a long one makes each check slow
REMEMBERED = 256  # keys of others that are read; large senders sign with few

_DIGEST = Prehashed(SHA256())
_PUBLIC = {
    "rsa": (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    "ed25519": (serialization.Encoding.Raw, serialization.PublicFormat.Raw),
}


class Pair(NamedTuple):
    """A key: `private` is PKCS #8, `public` as it stands in p= before base64 (RFC 6376 §3.6.1, RFC 8463 §4.2)."""

    private: bytes
    public: bytes


def make_pair(algorithm: Algorithm) -> Pair:
    """A new key; an RSA key takes a part of a second."""
    if algorithm is Algorithm.RSA:
        key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = rsa.generate_private_key(65_537, BITS)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(private, key.public_key().public_bytes(*_PUBLIC[algorithm.kind]))


def record(algorithm: Algorithm, public: bytes) -> str:
    """The key record to be published (RFC 6376 §3.6.1). It has no s=: it is for all services (decision 0125)."""
    return f"v=DKIM1; k={algorithm.kind}; p={b64encode(public).decode()}"


def make_seal(private: bytes) -> Seal:
    """What signs digests by a private key of ours. Raises ValueError where that is none."""
    # Our own key needs no proof of its primes, which takes a hundred times as long as a signature.
    key = serialization.load_der_private_key(private, None, unsafe_skip_rsa_key_validation=True)
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda digest: key.sign(digest, padding.PKCS1v15(), _DIGEST)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign  # RFC 8463 §3: PureEdDSA of the digest
    raise ValueError("the key is neither RSA nor Ed25519")


def check_seal(algorithm: Algorithm, public: bytes, seal: bytes, digest: bytes) -> Fault | None:
    """`CheckSeal` of trust/dkim.py. Never raises for what a stranger has sent."""
    key = _read(algorithm, public)
    if isinstance(key, Fault):
        return key
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(seal, digest, padding.PKCS1v15(), _DIGEST)
        else:
            key.verify(seal, digest)
    except InvalidSignature:
        return Fault.SEAL
    return None


@lru_cache(REMEMBERED)
def _read(algorithm: Algorithm, public: bytes) -> rsa.RSAPublicKey | ed25519.Ed25519PublicKey | Fault:
    """SubjectPublicKeyInfo, as everybody publishes it, or RSAPublicKey, as RFC 6376 §3.6.1 says."""
    try:
        if algorithm is Algorithm.ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(public)
        key = serialization.load_der_public_key(public)
    except (ValueError, UnsupportedAlgorithm):
        return Fault.KEY_SYNTAX
    if not isinstance(key, rsa.RSAPublicKey):
        return Fault.KEY_KIND
    if key.key_size < LEAST_BITS:
        return Fault.KEY_SIZE
    heavy = key.key_size > MOST_BITS or key.public_numbers().e.bit_length() > EXPONENT_BITS
    return Fault.KEY_KIND if heavy else key
