"""wire/oauth.py (RFC 7628, RFC 6750)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.oauth import TOKEN_LENGTH, Bearer, OAuthBearer, XOAuth2, failure

A = b"\x01"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        # RFC 7628 §4.1
        (
            b"n,a=user@example.com,\x01host=server.example.com\x01port=143"
            b"\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01",
            Bearer("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="),
        ),
        (b"n,,\x01auth=Bearer x\x01\x01", Bearer("", "x")),
        (b"y,,\x01auth=bearer   x.y_z~+/-==\x01\x01", Bearer("", "x.y_z~+/-==")),
        (b"n,a==2C=3D,\x01AUTH=Bearer x\x01unknown=a b\tc\x01\x01", Bearer(",=", "x")),
        (b"n,a=\xc3\xa4@home.test,\x01auth=Bearer x\x01\x01", Bearer("ä@home.test", "x")),
        (b"", None),
        (A, None),
        (b"n,,\x01\x01", None),
        (b"n,,\x01auth=Bearer x\x01", None),
        (b"n,,\x01auth=Bearer x", None),
        (b"n,,\x01auth=Bearer x\x01\x01\x01", None),
        (b"n,,\x01auth=Bearer x\x01auth=Bearer y\x01\x01", None),
        (b"n,,\x01auth=Bearer \x01\x01", None),
        (b"n,,\x01auth=Basic x\x01\x01", None),
        (b"n,,\x01auth=Bearer x y\x01\x01", None),
        (b"n,,\x01auth=Bearer \xff\x01\x01", None),
        (b"n,,\x01a1=x\x01auth=Bearer x\x01\x01", None),
        (b"n,,\x01host=\0\x01auth=Bearer x\x01\x01", None),
        (b"p=tls-exporter,,\x01auth=Bearer x\x01\x01", None),
        (b"n,a=,\x01auth=Bearer x\x01\x01", None),
        (b"n,a=" + b"a" * 256 + b",\x01auth=Bearer x\x01\x01", None),
        (b"n,a=\xff,\x01auth=Bearer x\x01\x01", None),
        (b"n\x01auth=Bearer x\x01\x01", None),
        (b"n,,\x01auth=Bearer " + b"x" * TOKEN_LENGTH + b"\x01\x01", None),
    ],
)
def test_oauthbearer(message: bytes, expected: Bearer | None) -> None:
    """RFC 7628 §3.1."""
    assert OAuthBearer().read(message) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            b"user=a@home.test\x01auth=Bearer vF9d==\x01\x01",
            Bearer("a@home.test", "vF9d==", google=True),
        ),
        (b"user=\x01auth=Bearer x\x01\x01", None),
        (b"user=a\x01auth=x\x01\x01", None),
        (b"user=a\x01auth=Bearer x\x01", None),
        (b"auth=Bearer x\x01user=a\x01\x01", None),
        (b"user=" + b"a" * 256 + b"\x01auth=Bearer x\x01\x01", None),
        (b"user=a\0\x01auth=Bearer x\x01\x01", None),
        (b"user=a\x01auth=Bearer " + b"x" * TOKEN_LENGTH + b"\x01\x01", None),
        (b"", None),
    ],
)
def test_xoauth2(message: bytes, expected: Bearer | None) -> None:
    assert XOAuth2().read(message) == expected


def test_what_is_said_of_a_bad_token() -> None:
    """RFC 7628 §3.2.2."""
    said = json.loads(
        failure(google=False, scope="mail", configuration="https://id.test/.well-known/openid-configuration")
    )
    assert said == {
        "status": "invalid_token",
        "scope": "mail",
        "openid-configuration": "https://id.test/.well-known/openid-configuration",
    }
    assert json.loads(failure(google=False, scope="", configuration="")) == {"status": "invalid_token"}
    assert json.loads(failure(google=True, scope="", configuration="x")) == {
        "status": "401",
        "schemes": "bearer",
        "scope": "",
    }


def test_tokens_are_not_printed() -> None:
    assert "secret" not in repr(Bearer("anna", "secret"))


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_garbage(octets: bytes, more: bytes) -> None:
    for form in (OAuthBearer(), XOAuth2()):
        assert form.read(octets) is None
        form.read(b"n,a=" + octets + b",\x01auth=Bearer " + more + b"\x01\x01")
        form.read(b"user=" + octets + b"\x01auth=Bearer " + more + b"\x01\x01")
