"""net/jwks.py: keys of a provider, and signatures (RFC 7517, RFC 7515, RFC 7518, RFC 8037)."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from posthouse.net.jwks import KEYS, TRIED, fitting, read_keys, verify
from posthouse.trust.tokens import Fault, Token, read
from provider import Signer


def keys_of(*members: dict[str, Any]) -> Any:
    return read_keys(json.dumps({"keys": members}).encode())


def token_of(signer: Signer, **header: Any) -> Token:
    token = read(signer.sign({"iss": "x"}, **header))
    assert isinstance(token, Token)
    return token


def test_the_example_of_rfc_7515() -> None:
    """RFC 7515 Appendix A.3: ES256, its key and its signature."""
    key = {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }
    text = (
        "eyJhbGciOiJFUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    token = read(text)
    assert isinstance(token, Token)
    assert verify(keys_of(key), token) is None
    forged = read(text[:-4] + "AAAA")
    assert isinstance(forged, Token)
    assert verify(keys_of(key), forged) is Fault.SIGNATURE


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_every_algorithm(algorithm: str) -> None:
    """RFC 7518 §3.3 to §3.5, RFC 8037 §3.1."""
    signer, other = Signer(algorithm, "one"), Signer(algorithm, "one")
    keys = keys_of(signer.public())
    assert verify(keys, token_of(signer)) is None
    assert verify(keys, token_of(other)) is Fault.SIGNATURE


def test_two_keys_of_one_name() -> None:
    """RFC 7517 §4.5: also of two kinds."""
    signers = [Signer("RS256", "one"), Signer("RS256", "one"), Signer("ES256", "one")]
    keys = keys_of(*(signer.public() for signer in signers))
    assert all(verify(keys, token_of(signer)) is None for signer in signers)


def test_a_token_without_a_name() -> None:
    signers = [Signer("ES256", str(number)) for number in range(TRIED + 2)]
    keys = keys_of(*(signer.public() for signer in signers))
    assert verify(keys, token_of(signers[1], kid=None)) is None
    assert len(fitting(keys, token_of(signers[1], kid=None))) == TRIED
    assert verify(keys, token_of(signers[1], kid="unknown")) is Fault.KEY


def test_a_key_is_used_as_it_says() -> None:
    """RFC 7517 §4.2, §4.4; RFC 8725 §3.1: the key decides the algorithm, not the token."""
    signer = Signer("RS256", "one")
    for members in (
        {"use": "enc"},
        {"alg": "PS256"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": None},
        {"alg": 5},
        {"kid": 5},
    ):
        assert verify(keys_of({**signer.public(), **members}), token_of(signer)) is Fault.KEY
    assert verify(keys_of({**signer.public(), "alg": "RS256", "x5c": ["?"], "new": {}}), token_of(signer)) is None


@pytest.mark.parametrize(
    "members",
    [
        {"n": "AQAB"},
        {"n": 5},
        {"n": "!"},
        {"n": "A" * 20_000},
        {"n": None},
        {"e": "AQ"},
        {"e": "A" * 400},
        {"e": None},
        {"e": ""},
    ],
)
def test_rsa_keys_that_are_passed_over(members: dict[str, Any]) -> None:
    """RFC 7518 §3.3, §6.3.1."""
    assert keys_of({**Signer("RS256", "one").public(), **members}) == ()


@pytest.mark.parametrize(
    "members", [{"x": "AAAA"}, {"x": 5}, {"y": None}, {"crv": "P-384"}, {"crv": None}, {"crv": ["P-256"]}]
)
def test_other_keys_that_are_passed_over(members: dict[str, Any]) -> None:
    """RFC 7518 §6.2.1."""
    assert keys_of({**Signer("ES256", "one").public(), **members}) == ()


def test_small_rsa_keys() -> None:
    """RFC 7518 §3.3: a key of size 2048 bits or larger."""
    small = Signer("RS256", "one", rsa.generate_private_key(65537, 1024))
    assert keys_of(small.public()) == ()


def test_many_keys() -> None:
    one = Signer("ES256", "one").public()
    assert len(keys_of(*({**one, "kid": str(number)} for number in range(KEYS + 50)))) == KEYS


@pytest.mark.parametrize("octets", [b"", b"[]", b"{}", b'{"keys":5}', b"\xff", b"{" * 100_000, b'{"keys":[' * 9])
def test_what_is_no_set(octets: bytes) -> None:
    assert read_keys(octets) is None


@given(st.binary(max_size=40), st.recursive(st.none() | st.text(max_size=3), lambda x: st.lists(x, max_size=3)))
def test_garbage(octets: bytes, value: object) -> None:
    read_keys(octets)
    assert not read_keys(json.dumps({"keys": [value, {"kty": value}, {"kty": "RSA", "n": value}]}).encode())


def test_private_parts_are_left_where_they_are() -> None:
    """A provider that publishes its private key is not made more dangerous by us."""
    members = Signer("ES256", "one").public()
    [key] = keys_of({**members, "d": "AAAA"})
    assert "d" not in key.key.as_dict()


def test_kinds() -> None:
    assert isinstance(Signer("ES256", "x").key, ec.EllipticCurvePrivateKey)
    assert isinstance(Signer("EdDSA", "x").key, ed25519.Ed25519PrivateKey)
