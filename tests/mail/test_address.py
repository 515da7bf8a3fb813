"""Domains, addresses and paths (RFC 5321 §4.1.2, §4.1.3, RFC 6531 §3.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.address import (
    Address,
    Domain,
    ForwardPath,
    ReversePath,
    parse_address,
    parse_domain,
    parse_local,
    quote_local,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Home.Test", "home.test"),
        ("home.test.", "home.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("my_host.test", "my_host.test"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:DB8::1]", "[IPv6:2001:db8::1]"),
    ],
)
def test_domain(text: str, name: str) -> None:
    assert parse_domain(text) == Domain(name)
    assert str(Domain(name)) == name
    assert Domain(name).literal is name.startswith("[")


NO_DOMAINS = [
    "",
    ".",
    "a..b",
    "-a.test",
    "a-.test",
    "a b",
    "x" * 64,
    "a." * 200,
    "a\nb",
    "home.test\n",
    "\u0080\u0081.test",
]
NO_DOMAINS += ["[", "[]", "[1.2.3]", "[192.0.2.1", "[IPv6:x]"]


@pytest.mark.parametrize("text", NO_DOMAINS)
def test_no_domain(text: str) -> None:
    assert parse_domain(text) is None


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("anna@Home.test", "anna"),
        ('"a b"@home.test', "a b"),
        ('"a\\"b"@home.test', 'a"b'),
        ("a+tag@home.test", "a+tag"),
    ],
)
def test_address(text: str, local: str) -> None:
    address = parse_address(text)
    assert address == Address(local, Domain("home.test"))
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "anna", "@home.test", "anna@", ".a@b.test", "a..b@c.test", "a b@c.test", "x" * 255 + "@c"]
)
def test_no_address(text: str) -> None:
    assert parse_address(text) is None


def test_local_is_bounded() -> None:
    assert parse_local("x" * 64) == "x" * 64
    assert parse_local("x" * 65) is None


def test_ascii() -> None:
    assert Address("anna", Domain("home.test")).ascii
    assert not Address("änna", Domain("home.test")).ascii


def test_paths() -> None:
    address = Address("a b", Domain("home.test"))
    assert str(ReversePath(address)) == '"a b"@home.test'
    assert str(ReversePath()) == ""
    assert str(ForwardPath(address)) == '"a b"@home.test'
    assert str(ForwardPath(Address("Postmaster", Domain("")))) == "Postmaster"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
def test_locals_come_back(local: str) -> None:
    assert parse_local(quote_local(local)) == local


@given(st.text(max_size=40))
def test_garbage_is_no_address(text: str) -> None:
    address = parse_address(text)
    assert address is None or parse_address(str(address)) == address
