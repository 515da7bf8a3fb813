"""trust/totp.py: one-time passwords by time (RFC 6238, RFC 4226)."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.trust.totp import base32, hotp, step_at, uri, verify

SECRET = b"12345678901234567890"  # of RFC 4226 §D and RFC 6238 §B
HOTP = ("755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489")
# RFC 6238 §B, the last six of its eight digits.
TOTP = ((59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (1_234_567_890, "005924"))
TOTP += ((2_000_000_000, "279037"), (20_000_000_000, "353130"))


def test_the_values_of_rfc_4226() -> None:
    """RFC 4226 §D."""
    assert tuple(hotp(SECRET, counter) for counter in range(10)) == HOTP


@pytest.mark.parametrize(("seconds", "code"), TOTP)
def test_the_values_of_rfc_6238(seconds: int, code: str) -> None:
    """RFC 6238 §B."""
    assert hotp(SECRET, step_at(seconds)) == code
    assert verify(SECRET, code, seconds, -1) == step_at(seconds)


def test_one_step_of_leeway() -> None:
    """RFC 6238 §5.2."""
    code = hotp(SECRET, 100)
    found = {seconds: verify(SECRET, code, seconds, -1) for seconds in (2969, 2970, 3000, 3059, 3060)}
    assert found == {2969: None, 2970: 100, 3000: 100, 3059: 100, 3060: None}


def test_a_step_is_used_once() -> None:
    """RFC 6238 §5.2: the verifier must not take the second attempt."""
    assert verify(SECRET, hotp(SECRET, 100), 3000, 100) is None
    assert verify(SECRET, hotp(SECRET, 99), 3000, 100) is None
    assert verify(SECRET, hotp(SECRET, 101), 3000, 100) == 101


def test_codes_may_be_typed_with_blanks() -> None:
    assert verify(SECRET, " 287 082\n", 59, -1) == 1


@given(st.text(max_size=20))
def test_what_is_no_code_is_refused(typed: str) -> None:
    if "".join(typed.split()) not in {hotp(SECRET, step) for step in (99, 100, 101)}:
        assert verify(SECRET, typed, 3000, -1) is None


def test_the_uri_for_an_app() -> None:
    found = urlsplit(uri(SECRET, "Post & house", "anna@home.test"))
    assert (found.scheme, found.netloc, found.path) == ("otpauth", "totp", "/Post%20%26%20house:anna@home.test")
    values = parse_qs(found.query)
    assert values["secret"] == [base32(SECRET)] == ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"]
    assert values["issuer"] == ["Post & house"]
