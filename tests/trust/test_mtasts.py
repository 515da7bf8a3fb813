"""MTA-STS records and policies (RFC 8461 §3, §4.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.trust import mtasts
from posthouse.trust.mtasts import Mode, Policy, matches_policy, parse_policy, record_id

GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\nmax_age: 604800\r\n"


def test_the_example_of_the_rfc() -> None:
    policy = parse_policy(GOOD)
    assert isinstance(policy, Policy)
    assert (policy.mode, policy.max_age) == (Mode.ENFORCE, 604_800)
    assert policy.patterns == ("mail.example.com", "*.example.net")
    assert parse_policy("\n".join(policy.lines).encode()) == policy


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("mail.example.com", True),
        ("MAIL.example.com.", True),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        (".example.net", False),
        ("mail.example.org", False),
        ("", False),
    ],
)
def test_hosts(host: str, named: bool) -> None:
    policy = parse_policy(GOOD)
    assert isinstance(policy, Policy)
    assert matches_policy(policy, host) is named


def test_line_ends_unknown_fields_and_what_is_said_twice() -> None:
    """RFC 8461 §3.2: LF is taken, unknown fields are skipped, of a field said twice the first counts."""
    policy = parse_policy(
        b"version: STSv1\nmode:testing\nnew: x\nmode: none\nmax_age : 99999999999"[:-1] + b"\nmx: a.test"
    )
    assert isinstance(policy, Policy)
    assert policy.mode is Mode.TESTING
    assert policy.max_age == mtasts.MAX_AGE


@pytest.mark.parametrize(
    ("octets", "wrong"),
    [
        (b"", "version"),
        (GOOD.replace(b"STSv1", b"STSv2"), "version"),
        (GOOD.replace(b"enforce", b"strict"), "mode"),
        (GOOD.replace(b"604800", b"-1"), "max_age"),
        (GOOD.replace(b"604800", "٣".encode()), "max_age"),
        (GOOD.replace(b"mx: ", b"my: "), "names no mx"),
        (GOOD.replace(b"*.Example.net", b"*.*.net"), "no name of an mx"),
        (GOOD.replace(b"*.Example.net", b"mx*.example.net"), "no name of an mx"),
        (GOOD + b"garbage\n", "no field"),
        (GOOD + b"a: \xff\n", "UTF-8"),
        (b"a: b\n" * 3_000, "too many lines"),
        (GOOD + b"x: " + b"y" * 65_536, "too large"),
    ],
)
def test_policies_that_are_none(octets: bytes, wrong: str) -> None:
    said = parse_policy(octets)
    assert isinstance(said, str)
    assert wrong in said


def test_a_policy_that_takes_itself_back_names_nobody() -> None:
    policy = parse_policy(b"version: STSv1\nmode: none\nmax_age: 86400\n")
    assert policy == Policy(Mode.NONE, 86_400)
    assert policy.lines == ("version: STSv1", "mode: none", "max_age: 86400")


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"v=spf1 -all", b"v=STSv1 ; a=b; id=2"], "2"),
        ([b"v=STSv1; id=1;", b"v=STSv1; id=1;"], None),
        ([b"v=STSv1; id=;"], None),
        ([b"v=STSv1; id=a-b;"], None),
        ([b"v=STSv1; id=" + b"a" * 33], None),
        ([b"v=STSv12; id=1"], None),
        ([b"v=STSv1"], None),
        ([], None),
    ],
)
def test_records(texts: list[bytes], found: str | None) -> None:
    """RFC 8461 §3.1: more than one record is none."""
    assert record_id(texts) == found


def test_where_they_are() -> None:
    assert mtasts.owner("a.test") == "_mta-sts.a.test"
    assert mtasts.policy_host("a.test") == "mta-sts.a.test"


@given(st.binary(max_size=300))
def test_garbage(octets: bytes) -> None:
    parse_policy(octets)
    parse_policy(GOOD + octets)
    record_id([octets, b"v=STSv1;" + octets])
