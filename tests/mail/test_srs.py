"""mail/srs.py: senders of mail that is sent on, and the way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import Address, Domain, parse_address
from posthouse.mail.srs import HASH, VALID_DAYS, is_rewritten, restore, rewrite

KEY = b"k" * 32
HOME, BEN = Domain("home.test"), Address("ben", Domain("work.test"))
TODAY = 20_000

locals_ = st.text('abcXYZ019.+-=_!/ "\\ü', min_size=1, max_size=30)
domains = st.sampled_from([Domain("a.test"), Domain("long-name.example.org"), Domain("[192.0.2.1]")])


def test_there_and_back() -> None:
    made = rewrite(BEN, HOME, KEY, TODAY)
    assert made is not None
    assert made.domain == HOME
    assert made.local.startswith("SRS0=")
    assert made.local.endswith("=work.test=ben")
    assert restore(made, KEY, TODAY) == BEN
    assert restore(made, KEY, TODAY + VALID_DAYS) == BEN
    assert restore(made, KEY, TODAY + VALID_DAYS + 1) is None
    assert restore(made, KEY, TODAY - 1) is None
    assert restore(made, b"other" * 8, TODAY) is None
    assert restore(BEN, KEY, TODAY) is None


@given(locals_, domains, st.integers(0, 100_000))
def test_every_sender_comes_back(local: str, domain: Domain, day: int) -> None:
    sender = Address(local, domain)
    made = rewrite(sender, HOME, KEY, day)
    if made is None:
        return
    assert parse_address(str(made)) == made, "it is an address that others can write to"
    assert is_rewritten(made)
    back = restore(made, KEY, day)
    assert back is not None
    if not is_rewritten(sender):
        assert back == sender


def test_case_may_change_on_the_way() -> None:
    made = rewrite(BEN, HOME, KEY, TODAY)
    assert made is not None
    assert restore(Address(made.local.lower(), HOME), KEY, TODAY) == BEN
    assert restore(Address(made.local.upper(), HOME), KEY, TODAY) == Address("BEN", BEN.domain)


def test_no_letter_may_be_another() -> None:
    made = rewrite(BEN, HOME, KEY, TODAY)
    assert made is not None
    for at in range(5, len(made.local)):
        letter = "z" if made.local[at] != "z" else "y"
        assert restore(Address(made.local[:at] + letter + made.local[at + 1 :], HOME), KEY, TODAY) is None
    assert restore(Address(f"SRS0={'a' * HASH}=aa=work.test=ben", HOME), KEY, TODAY) is None


def test_what_others_have_rewritten() -> None:
    """The way back leads over the first forwarder, however many there are."""
    first = Address("SRS0=hash=tt=work.test=ben", Domain("one.test"))
    second = rewrite(first, HOME, KEY, TODAY)
    assert second is not None
    assert second.local.startswith("SRS1=")
    assert restore(second, KEY, TODAY) == first
    third = rewrite(second, Domain("three.test"), b"three" * 8, TODAY)
    assert third is not None
    assert third.local.startswith("SRS1=")
    assert len(third.local) == len(second.local), "it does not grow"
    assert restore(third, b"three" * 8, TODAY) == first
    plus = Address("SRS0+hash=tt=work.test=ben", Domain("one.test"))
    made = rewrite(plus, HOME, KEY, TODAY)
    assert made is not None
    assert restore(made, KEY, TODAY) == plus


def test_too_long() -> None:
    """RFC 5321 §4.5.3.1.1: some servers take no more than 64 octets."""
    assert rewrite(Address("x" * 60, Domain("work.test")), HOME, KEY, TODAY) is None


@pytest.mark.parametrize(
    "local", ["SRS0", "SRS0=", "SRS0=a", "SRS0====", "SRS1=a=b", "SRS1=", "SRS0=a=bb=c=", "srs0=a=!!=x=y"]
)
def test_junk(local: str) -> None:
    assert restore(Address(local, HOME), KEY, TODAY) is None
    rewrite(Address(local, BEN.domain), HOME, KEY, TODAY)


@given(st.text(max_size=64))
def test_garbage_is_no_surprise(local: str) -> None:
    restore(Address(f"SRS0={local}", HOME), KEY, TODAY)
    restore(Address(f"SRS1={local}", HOME), KEY, TODAY)
