"""net/directory.py: a name in a filter and in a distinguished name (RFC 4515 §3, RFC 4514 §2.4)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import Address, Domain
from posthouse.net.directory import escaped, filled, unknown_places

HOME = Domain("home.test")


def test_a_name_cannot_end_the_place_it_stands_in() -> None:
    assert filled("(mail={address})", Address("anna", HOME)) == "(mail=anna\\40home\\2etest)"
    hostile = Address("*)(uid=*", HOME)
    assert filled("(uid={local})", hostile) == "(uid=\\2a\\29\\28uid\\3d\\2a)"
    assert (
        filled("(&(uid={local})(dc={domain}))", Address("{domain}", HOME)) == "(&(uid=\\7bdomain\\7d)(dc=home\\2etest))"
    )
    assert escaped("ä\0,") == "\\c3\\a4\\00\\2c"


def test_places_that_are_none() -> None:
    assert unknown_places("(mail={address})(x={user}{local})") == ["user"]


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_what_is_escaped_is_the_same_octets(text: str) -> None:
    found = escaped(text)
    assert re.fullmatch(r"(?:[A-Za-z0-9]|\\[0-9a-f]{2})*", found)
    octets = re.sub(rb"\\([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), found.encode("ascii"))
    assert octets == text.encode("utf-8")
