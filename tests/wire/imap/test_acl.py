"""What hostile clients say in the commands of RFC 4314."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.wire.imap.acl import RIGHTS, VIRTUAL, rights_change, spell_rights
from posthouse.wire.imap.condition import Fault


@given(st.binary(max_size=40))
def test_any_octets_are_rights_or_a_fault(octets: bytes) -> None:
    try:
        change = rights_change(octets)
    except Fault:
        return
    assert change.rights <= set(RIGHTS)


@given(st.frozensets(st.sampled_from(RIGHTS)), st.frozensets(st.sampled_from(RIGHTS)))
def test_adding_and_removing(present: frozenset[str], some: frozenset[str]) -> None:
    letters = "".join(some).encode()
    assert rights_change(b"+" + letters).of(present) == present | some
    assert rights_change(b"-" + letters).of(present) == present - some
    assert rights_change(letters).of(present) == some


@given(st.frozensets(st.sampled_from(RIGHTS)))
def test_what_is_said_is_understood(rights: frozenset[str]) -> None:
    said = spell_rights(rights)
    assert {letter for letter in said if letter not in VIRTUAL} == rights
    plain = "".join(letter for letter in said if letter not in VIRTUAL)
    assert rights_change(plain.encode()).rights == rights


@pytest.mark.parametrize("octets", [b"L", b"q", b"+-l", b"l r", b"\xff", b"0"])
def test_no_rights(octets: bytes) -> None:
    with pytest.raises(Fault):
        rights_change(octets)
