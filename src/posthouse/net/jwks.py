"""The keys of an OpenID provider (RFC 7517), and whether one of them has signed a token (RFC 7515 §5.2, RFC 7518 §3).

joserfc reads the keys and verifies. What we add is bounds: how many keys are taken, of which kinds and sizes, and how
many are tried for one token.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from posthouse.trust.tokens import Fault, Token, json_object

KEYS = 100  # that are taken of one provider; real ones have two to ten
TRIED = 4  # keys of one name or kind that are tried for one token
RSA_BITS = (2_048, 8_192)  # RFC 7518 §3.3 asks for 2048; larger keys only cost us time
DEPTH = 6  # of JSON
# The kind of key that an algorithm wants, and its curve (RFC 7518 §3.1, RFC 8037 §3.1).
_KINDS = {"RS256": ("RSA", ""), "PS256": ("RSA", ""), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
_EXPONENT = 8  # octets of an RSA exponent: real ones have three; a long one makes each verification slow


@dataclass(frozen=True, slots=True)
class Key:
    """A public key. `algorithm` "" where it is for all that its kind can do."""

    kid: str | None
    kind: tuple[str, str]
    algorithm: str
    key: Any = field(repr=False)


def read_keys(octets: bytes) -> tuple[Key, ...] | None:
    """The keys of a JWK Set that can verify tokens; None where it is none (RFC 7517 §5). Never raises."""
    found = json_object(octets, DEPTH)
    keys = None if found is None else found.get("keys")
    if not isinstance(keys, list):
        return None
    read = (_read(key) for key in keys[:KEYS] if isinstance(key, dict))
    return tuple(key for key in read if key is not None)


def _read(members: dict[str, Any]) -> Key | None:
    """RFC 7517 §5: keys that are not understood are passed over."""
    kind: Any = (members.get("kty"), members.get("crv", ""))
    if kind not in _KINDS.values() or members.get("use", "sig") != "sig" or not _bounded(members):
        return None
    kid, algorithm = members.get("kid"), members.get("alg", "")
    if not (kid is None or isinstance(kid, str)) or not isinstance(algorithm, str):
        return None
    from joserfc import jwk
    from joserfc.errors import JoseError

    try:
        key = jwk.import_key({name: members[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in members})
        key.public_key  # noqa: B018 (read from its numbers here, and not with the first token)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return Key(kid, kind, algorithm, key)


def _bounded(members: dict[str, Any]) -> bool:
    if members["kty"] != "RSA":
        return True
    modulus, exponent = (_number(members.get(name)) for name in ("n", "e"))
    return RSA_BITS[0] <= modulus.bit_length() <= RSA_BITS[1] and 2 < exponent.bit_length() <= _EXPONENT * 8


def _number(text: object) -> int:
    """Base64urlUInt (RFC 7518 §2); 0 where it is none."""
    if not isinstance(text, str) or len(text) > RSA_BITS[1]:
        return 0
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return 0


def fitting(keys: Sequence[Key], token: Token) -> list[Key]:
    """Those that may have signed the token: of its name, if it names one, and of the kind of its algorithm. Two keys
    may share a name (RFC 7517 §4.5)."""
    wanted = [
        key
        for key in keys
        if key.kind == _KINDS[token.algorithm]
        and key.algorithm in ("", token.algorithm)
        and (token.kid is None or key.kid == token.kid)
    ]
    return wanted[:TRIED]


def verify(keys: Sequence[Key], token: Token) -> Fault | None:
    """None where one of the keys has signed the token. About 0.1 ms for each key that is tried."""
    candidates = fitting(keys, token)
    if not candidates:
        return Fault.KEY
    return None if any(_signed(key, token) for key in candidates) else Fault.SIGNATURE


def _signed(key: Key, token: Token) -> bool:
    from joserfc import jws
    from joserfc.errors import JoseError

    # The algorithm itself, and not jws.deserialize_compact: what else the header says was judged already, and must
    # mean nothing to the library.
    try:
        return bool(jws.JWSRegistry.algorithms[token.algorithm].verify(token.signed, token.signature, key.key))
    except (JoseError, ValueError, TypeError):
        return False
