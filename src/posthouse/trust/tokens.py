"""Tokens of an OpenID provider: a JWT read, and whether its claims are for us (RFC 7519 §4.1, RFC 7515 §3.1, RFC 9068).

    token = read(text)                       a Token, or a Fault; nothing of it is believed yet
    ... its signature is verified by a key of the provider that `token.issuer` names (net/jwks.py) ...
    user = judge(token, rules, now)          the user that it is for, or a Fault

A Fault is for the log and for tests. The client hears only that the token is not good.

It does NOT verify signatures, fetch keys, or look at a clock. Only signatures by keys that are public elsewhere are
known: `none`, and HS256 with a secret of ours, are no algorithms here (RFC 8725 §3.1).
"""

import json
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")  # RFC 7518 §3.1, RFC 8037 §3.1
LENGTH = 16_384  # characters of a token; those of real providers have 800 to 4,000
DEPTH = 20  # of objects and lists in each other: those of real providers have three
KID_LENGTH = 256  # characters of the name of a key; real ones have up to 64
LEEWAY = 60  # seconds that the provider's clock and ours may differ (RFC 7519 §4.1.4)
_NO_BRACKETS = bytes(octet for octet in range(256) if octet not in b"[]{}")
LATEST = 253_402_300_800  # seconds: the year 10000; what is later was not meant


class Fault(Enum):
    """Why a token is not good."""

    MALFORMED = "it is no JWT"
    ALGORITHM = "its algorithm is not one that we know"
    CRITICAL = "it has an extension that we do not know"
    ISSUER = "it is of another provider"
    KEY = "no key of the provider has its name"
    SIGNATURE = "its signature is not good"
    AUDIENCE = "it is for somebody else"
    EXPIRED = "its time is over"
    NOT_YET = "its time has not come"
    NO_USER = "it names no user"
    UNVERIFIED = "the provider has not verified the address"
    SCOPE = "it does not have the scope"
    OTHER_USER = "it is for another user than the client says"
    UNKNOWN_USER = "its user has no account here"


@dataclass(frozen=True, slots=True)
class Token:
    """A JWT as it says it is. `signed` is what the signature is over."""

    algorithm: str
    kid: str | None
    claims: Mapping[str, object]
    signed: bytes
    signature: bytes

    @property
    def issuer(self) -> str:
        """`iss` (RFC 7519 §4.1.1), "" where there is none."""
        issuer = self.claims.get("iss")
        return issuer if isinstance(issuer, str) else ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token of one provider must say. `claim` names the user; where that has no domain, `domain` is added.
    `scope` "" asks for none."""

    issuer: str
    audiences: frozenset[str]
    claim: str = "email"
    domain: str = ""
    scope: str = ""


def read(text: str) -> Token | Fault:
    """A JWT in its compact form (RFC 7515 §7.1). Never raises."""
    pieces = text.split(".")
    if len(text) > LENGTH or len(pieces) != 3:
        return Fault.MALFORMED
    octets = [_octets(piece) for piece in pieces]
    header, claims = (None if piece is None else _object(piece) for piece in octets[:2])
    if header is None or claims is None or not octets[2]:
        return Fault.MALFORMED
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS or not isinstance(algorithm, str):
        return Fault.ALGORITHM
    if "crit" in header:  # RFC 7515 §4.1.11: what must be understood, and is not
        return Fault.CRITICAL
    if kid is not None and not (isinstance(kid, str) and len(kid) <= KID_LENGTH):
        return Fault.MALFORMED
    return Token(algorithm, kid, claims, text.rpartition(".")[0].encode("ascii"), octets[2])


def judge(token: Token, rules: Rules, now: int) -> str | Fault:
    """The user that a token is for, whose signature was verified; `now` in seconds since 1970."""
    if token.issuer != rules.issuer:
        return Fault.ISSUER
    if not _texts(token.claims.get("aud")) & rules.audiences:
        return Fault.AUDIENCE
    wrong = _out_of_time(token.claims, now)
    if wrong is not None:
        return wrong
    if rules.scope and rules.scope not in _scopes(token.claims):
        return Fault.SCOPE
    return _user(token.claims, rules)


def _out_of_time(claims: Mapping[str, object], now: int) -> Fault | None:
    """RFC 7519 §4.1.4, §4.1.5. A token without an end is none for us."""
    ends, begins = _moment(claims.get("exp")), _moment(claims.get("nbf", 0))
    if ends is None or begins is None:
        return Fault.MALFORMED
    if ends <= now - LEEWAY:
        return Fault.EXPIRED
    return Fault.NOT_YET if begins > now + LEEWAY else None


def _user(claims: Mapping[str, object], rules: Rules) -> str | Fault:
    user = claims.get(rules.claim)
    if not isinstance(user, str) or not user:
        return Fault.NO_USER
    # OpenID Connect Core §5.1: where it is false anybody may have written the address there.
    if rules.claim == "email" and claims.get("email_verified", True) is not True:
        return Fault.UNVERIFIED
    return user if "@" in user or not rules.domain else f"{user}@{rules.domain}"


def _scopes(claims: Mapping[str, object]) -> set[str]:
    """RFC 8693 §4.2: `scope`, separated by spaces; Microsoft calls it `scp`, and some make it a list."""
    found = claims.get("scope", claims.get("scp"))
    return set(found.split(" ")) if isinstance(found, str) else _texts(found)


def _texts(value: object) -> set[str]:
    """`aud` is one string or a list of them (RFC 7519 §4.1.3)."""
    if isinstance(value, str):
        return {value}
    return {one for one in value if isinstance(one, str)} if isinstance(value, list) else set()


def _moment(value: object) -> float | None:
    """NumericDate (RFC 7519 §2)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < LATEST else None


def _octets(piece: str) -> bytes | None:
    """base64url without padding (RFC 7515 §2)."""
    if not piece.isascii() or not piece.replace("-", "a").replace("_", "a").isalnum():
        return None
    try:
        return urlsafe_b64decode(piece + "=" * (-len(piece) % 4))
    except Base64Error:
        return None


def _object(octets: bytes) -> dict[str, object] | None:
    """A JSON object that is not deep, and names nothing twice (RFC 7515 §4)."""
    return json_object(octets, DEPTH)


def json_object(octets: bytes, depth: int) -> dict[str, object] | None:
    """A JSON object with at most so many brackets open at a time, and no member twice; None where it is none."""
    if _deeper(octets, depth):
        return None
    try:
        found = json.loads(octets.decode("utf-8"), object_pairs_hook=_once, parse_constant=_never)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _deeper(octets: bytes, depth: int) -> bool:
    """Whether more brackets are open at a time; those inside strings count too, which does no harm."""
    level = 0
    for octet in octets.translate(None, _NO_BRACKETS):
        level += 1 if octet in b"[{" else -1
        if level > depth:
            return True
    return False


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _never(text: str) -> object:
    raise ValueError(f"{text} is no JSON")
