"""What hostile clients say in the commands of RFC 9208 §7, and how its responses are printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.imap.condition import Fault
from posthouse.wire.imap.parse import parse_command
from posthouse.wire.imap.quota import RESOURCES, GetQuota, Resource, SetQuota, print_quota, print_quota_root


@pytest.mark.parametrize(
    "octets",
    [
        b"GETQUOTA",
        b"GETQUOTA ",
        b"GETQUOTA a b",
        b"GETQUOTAROOT",
        b"GETQUOTAROOT INBOX INBOX",
        b"SETQUOTA a",
        b"SETQUOTA a STORAGE 5",
        b"SETQUOTA a (STORAGE)",
        b"SETQUOTA a (STORAGE -1)",
        b"SETQUOTA a (STORAGE 1.5)",
        b"SETQUOTA a (STORAGE 9223372036854775808)",
        b"SETQUOTA a (STORAGE " + b"9" * 5_000 + b")",
        b"SETQUOTA a (STORAGE 5 STORAGE 6)",
        b"SETQUOTA a (STORAGE 5 storage 5)",
        b"SETQUOTA a (STORAGE 5",
        b"SETQUOTA a (5 STORAGE)",
        b"SETQUOTA a (STORAGE 5) x",
        b"SETQUOTA a (*STORAGE 5)",
        b"SETQUOTA a (%b 5)" % (b"X" * 65),
        b"SETQUOTA a (%b)" % b" ".join(b"X%d 1" % number for number in range(RESOURCES + 1)),
        b"GETQUOTA " + b"a" * 1_025,
    ],
)
def test_what_is_no_command(octets: bytes) -> None:
    with pytest.raises(Fault):
        parse_command(b"a1 " + octets)


@given(st.binary(max_size=60))
def test_any_octets_are_limits_or_a_fault(octets: bytes) -> None:
    try:
        command = parse_command(b"a1 SETQUOTA root (" + octets + b")")
    except Fault:
        return
    assert isinstance(command, SetQuota)
    assert len(dict(command.limits)) == len(command.limits) <= RESOURCES
    assert all(0 <= limit < 1 << 63 for _, limit in command.limits)


def test_what_is_one() -> None:
    """RFC 9208 §4.1: names of resources in any case, an empty list, and a root that is no UTF-8 names nothing."""
    assert parse_command(b'a1 setquota "" (storage 9223372036854775807)') == SetQuota(
        b"a1", "", (("STORAGE", (1 << 63) - 1),)
    )
    assert parse_command(b'a1 SETQUOTA "#user/alice" ()') == SetQuota(b"a1", "#user/alice", ())
    assert parse_command(b"a1 GETQUOTA {1}\r\n\xff") == GetQuota(b"a1", "\ufffd")


def test_responses() -> None:
    """RFC 9208 §4.2."""
    some = [Resource("STORAGE", 54, 111), Resource("MESSAGE", 42, 1_000)]
    assert print_quota("#user/alice", some).octets == b"* QUOTA #user/alice (STORAGE 54 111 MESSAGE 42 1000)\r\n"
    assert print_quota("", []).octets == b'* QUOTA "" ()\r\n'
    assert print_quota_root("Entw\xfcrfe", "a b").octets == b'* QUOTAROOT Entw&APw-rfe "a b"\r\n'
