"""A provider of identities for tests: keys, tokens signed by hand (so that they can be as wrong as a test wants), and
an HTTPS server on loopback with its discovery document and its keys."""

import json
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from webserver import Web, page


def b64(octets: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(octets).decode().rstrip("=")


def _uint(number: int, octets: int | None = None) -> str:
    return b64(number.to_bytes(octets or (number.bit_length() + 7) // 8))


class Signer:
    """One key of the provider."""

    def __init__(self, algorithm: str, kid: str, key: Any = None) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.key = key or self._make()

    def _make(self) -> Any:
        if self.algorithm == "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        if self.algorithm == "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        return rsa.generate_private_key(65537, 2048)

    def public(self) -> dict[str, Any]:
        """The key as a JWK (RFC 7518 §6)."""
        public = self.key.public_key()
        if self.algorithm == "ES256":
            numbers = public.public_numbers()
            members = {"kty": "EC", "crv": "P-256", "x": _uint(numbers.x, 32), "y": _uint(numbers.y, 32)}
        elif self.algorithm == "EdDSA":
            members = {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        else:
            numbers = public.public_numbers()
            members = {"kty": "RSA", "n": _uint(numbers.n), "e": _uint(numbers.e)}
        return {**members, "kid": self.kid, "use": "sig"}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token (RFC 7515 §7.1). `header` changes the header; None takes a member away."""
        header = {"alg": self.algorithm, "kid": self.kid, **header}
        header = {name: value for name, value in header.items() if value is not None}
        signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        return f"{signed}.{b64(self._signature(signed.encode()))}"

    def _signature(self, octets: bytes) -> bytes:
        if self.algorithm == "ES256":
            r, s = decode_dss_signature(self.key.sign(octets, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32) + s.to_bytes(32)
        if self.algorithm == "EdDSA":
            return bytes(self.key.sign(octets))
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)
        scheme = pss if self.algorithm == "PS256" else padding.PKCS1v15()
        return bytes(self.key.sign(octets, scheme, hashes.SHA256()))


ISSUER = "https://id.home.test"


def claims(now: float, **changes: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim away."""
    found = {"iss": ISSUER, "aud": "posthouse", "exp": int(now) + 300, "email": "anna@home.test", **changes}
    return {name: value for name, value in found.items() if value is not None}


def documents(web: Web, *signers: Signer, issuer: str = ISSUER, keys: str = "") -> None:
    """Let a server answer as the provider: discovery and keys, by path."""
    keys = keys or f"{issuer}/keys"
    found = {
        "/.well-known/openid-configuration": json.dumps({"issuer": issuer, "jwks_uri": keys}),
        "/keys": json.dumps({"keys": [signer.public() for signer in signers]}),
    }

    def answer(request: bytes) -> bytes:
        path = request.split(b" ", 2)[1].decode()
        text = found.get(path)
        return page(b"", status="404 Not Found") if text is None else page(text.encode(), "application/json")

    host = urlsplit(issuer).hostname or ""
    web.pages[host] = answer
