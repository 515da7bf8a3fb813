"""trust/tokens.py: tokens read and judged (RFC 7519, RFC 7515, RFC 8725)."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.trust.tokens import DEPTH, LEEWAY, LENGTH, Fault, Rules, Token, json_object, judge, read

NOW = 1_800_000_000
RULES = Rules("https://id.home.test", frozenset({"posthouse", "mail"}))
CLAIMS = {"iss": "https://id.home.test", "aud": "posthouse", "exp": NOW + 300, "email": "anna@home.test"}


def b64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def made(claims: Any = CLAIMS, signature: bytes = b"sign", **header: Any) -> str:
    header = {"alg": "RS256", **header}
    return ".".join((b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()), b64(signature)))


def judged(rules: Rules = RULES, now: int = NOW, **claims: Any) -> str | Fault:
    """`None` takes a claim away."""
    found = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    token = read(made(found))
    assert isinstance(token, Token), token
    return judge(token, rules, now)


def test_the_example_of_rfc_7519() -> None:
    """RFC 7519 §3.1, whose algorithm is none of ours: no secret of ours can have signed it."""
    example = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    assert read(example) is Fault.ALGORITHM
    assert read(example.replace("JIUzI1NiJ9", "SUzI1NiJ9")) is Fault.MALFORMED


def test_a_token_is_read() -> None:
    """RFC 7515 §7.1."""
    text = made(kid="one", typ="at+jwt")
    token = read(text)
    assert isinstance(token, Token)
    assert (token.algorithm, token.kid, token.issuer) == ("RS256", "one", "https://id.home.test")
    assert token.signed == text.rpartition(".")[0].encode()
    assert token.signature == b"sign"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "HS512", "RS512", "ES256K", "RS1", "", None, 5, ["RS256"]]
)
def test_algorithms_that_are_never_taken(algorithm: object) -> None:
    """RFC 8725 §3.1."""
    assert read(made(alg=algorithm)) is Fault.ALGORITHM


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        made().replace(".", "..", 1),
        made(signature=b""),
        made()[:-1] + "=",
        made() + "\n",
        made() + "é",
        made(claims=[]),
        made(claims=5),
        made(kid=5),
        made(kid="k" * 300),
        made(claims={"x": "y" * LENGTH}),
        b64(b'{"alg":"RS256","alg":"HS256"}') + "." + b64(b"{}") + ".c2ln",
        b64(b'{"alg":"RS256"') + "." + b64(b"{}") + ".c2ln",
        b64(b'{"alg":"RS256"}') + "." + b64(b'{"exp":NaN}') + ".c2ln",
        b64(b'{"alg":"RS256"}') + "." + b64(b'{"exp":Infinity}') + ".c2ln",
        b64(b'{"alg":"RS256"}') + "." + b64(b"\xff{}") + ".c2ln",
        b64(b'{"alg":"RS256"}') + "." + b64(b'{"a":' * 500 + b"1" + b"}" * 500) + ".c2ln",
        b64(b'{"alg":"RS256"}') + "." + b64(b"[" * 9000) + ".c2ln",
        b64(b'{"alg":"RS256"}') + "." + b64(b'{"a":' + b"9" * 9000 + b"}") + ".c2ln",
    ],
)
def test_what_is_no_token(text: str) -> None:
    assert read(text) is Fault.MALFORMED


def test_an_extension_that_must_be_understood() -> None:
    """RFC 7515 §4.1.11, RFC 7797 §6."""
    assert read(made(crit=["b64"], b64=False)) is Fault.CRITICAL
    assert read(made(crit=[])) is Fault.CRITICAL


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({}, "anna@home.test"),
        ({"aud": ["x", "mail"]}, "anna@home.test"),
        ({"aud": "other"}, Fault.AUDIENCE),
        ({"aud": ["x", 5, None]}, Fault.AUDIENCE),
        ({"aud": {"posthouse": 1}}, Fault.AUDIENCE),
        ({"aud": None}, Fault.AUDIENCE),
        ({"iss": "https://id.home.test/"}, Fault.ISSUER),
        ({"iss": ["https://id.home.test"]}, Fault.ISSUER),
        ({"iss": None}, Fault.ISSUER),
        ({"exp": None}, Fault.MALFORMED),
        ({"exp": str(NOW + 300)}, Fault.MALFORMED),
        ({"exp": True}, Fault.MALFORMED),
        ({"exp": -1}, Fault.MALFORMED),
        ({"exp": 10**30}, Fault.MALFORMED),
        ({"exp": NOW + 0.5}, "anna@home.test"),
        ({"nbf": "soon"}, Fault.MALFORMED),
        ({"nbf": NOW}, "anna@home.test"),
        ({"email": None}, Fault.NO_USER),
        ({"email": ""}, Fault.NO_USER),
        ({"email": ["anna@home.test"]}, Fault.NO_USER),
        ({"email_verified": True}, "anna@home.test"),
        ({"email_verified": False}, Fault.UNVERIFIED),
        ({"email_verified": "true"}, Fault.UNVERIFIED),
    ],
)
def test_claims(claims: dict[str, Any], found: str | Fault) -> None:
    """RFC 7519 §4.1."""
    assert judged(**claims) == found


@pytest.mark.parametrize(
    ("exp", "nbf", "found"),
    [
        (NOW - LEEWAY + 1, 0, "anna@home.test"),
        (NOW - LEEWAY, 0, Fault.EXPIRED),
        (NOW + 300, NOW + LEEWAY, "anna@home.test"),
        (NOW + 300, NOW + LEEWAY + 1, Fault.NOT_YET),
    ],
)
def test_clocks_may_differ_by_a_minute(exp: int, nbf: int, found: str | Fault) -> None:
    """RFC 7519 §4.1.4, §4.1.5."""
    assert judged(exp=exp, nbf=nbf) == found


def test_another_claim_and_a_domain() -> None:
    rules = Rules(RULES.issuer, RULES.audiences, "preferred_username", "home.test")
    assert judged(rules, preferred_username="anna", email_verified=False) == "anna@home.test"
    assert judged(rules, preferred_username="anna@other.test") == "anna@other.test"
    assert judged(rules) is Fault.NO_USER


def test_a_scope() -> None:
    """RFC 8693 §4.2, RFC 9068 §2.2.3."""
    rules = Rules(RULES.issuer, RULES.audiences, scope="mail")
    assert judged(rules, scope="openid mail") == "anna@home.test"
    assert judged(rules, scp=["mail"]) == "anna@home.test"
    assert judged(rules, scp="mail") == "anna@home.test"
    assert judged(rules, scope="openid mailbox") is Fault.SCOPE
    assert judged(rules) is Fault.SCOPE


def test_deep_json_is_refused_before_it_is_read() -> None:
    assert json_object(b'{"a":' * DEPTH + b"1" + b"}" * DEPTH, DEPTH) is not None
    assert json_object(b'{"a":' * (DEPTH + 1) + b"1" + b"}" * (DEPTH + 1), DEPTH) is None
    assert json_object(b"{" * 10_000_000, DEPTH) is None


@given(st.text(max_size=60) | st.binary(max_size=60).map(b64).map(lambda part: f"{part}.{part}.{part}"))
def test_garbage_is_a_fault(text: str) -> None:
    assert isinstance(read(text), Fault)


@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "exp", "nbf", "email", "email_verified", "scope"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
    )
)
def test_any_claims_are_judged(claims: dict[str, Any]) -> None:
    token = read(made(claims))
    if isinstance(token, Token):
        judge(token, Rules("", frozenset({"x"}), scope="y"), NOW)
